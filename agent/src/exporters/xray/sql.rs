//! The member `sql`, for what speaks SQL; what else is a database has its attributes as metadata.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::facts::Facts;
use super::json;
use super::keys::Key;

const SYSTEMS: [Key; 2] = [Key::DbSystemName, Key::DbSystem];
const QUERIES: [Key; 2] = [Key::DbQueryText, Key::DbStatement];
const NAMES: [Key; 2] = [Key::DbNamespace, Key::DbName];
const HOSTS: [(Key, Key); 4] = [
    (Key::ServerAddress, Key::ServerPort),
    (Key::NetPeerName, Key::NetPeerPort),
    (Key::NetworkPeerAddress, Key::NetworkPeerPort),
    (Key::NetSockPeerAddr, Key::NetSockPeerPort),
];

/// `db.system` and `db.system.name` of databases that speak SQL.
const SPEAK_SQL: [&str; 44] = [
    "actian.ingres",
    "aws.redshift",
    "clickhouse",
    "cloudscape",
    "cockroachdb",
    "db2",
    "derby",
    "edb",
    "firebird",
    "firstsql",
    "gcp.spanner",
    "h2",
    "h2database",
    "hanadb",
    "hive",
    "hsqldb",
    "ibm.db2",
    "ibm.informix",
    "ibm.netezza",
    "informix",
    "ingres",
    "instantdb",
    "interbase",
    "mariadb",
    "maxdb",
    "microsoft.sql_server",
    "mssql",
    "mssqlcompact",
    "mysql",
    "netezza",
    "oracle",
    "oracle.db",
    "other_sql",
    "pointbase",
    "postgresql",
    "redshift",
    "sap.hana",
    "sap.maxdb",
    "spanner",
    "sqlite",
    "sybase",
    "teradata",
    "trino",
    "vertica",
];

/// The host of the database, for its name.
pub fn host<'a>(facts: &Facts<'_, 'a>) -> Option<&'a str> {
    let connection = facts.text(Key::DbConnectionString);
    let connected = connection.and_then(host_of);
    connected.or_else(|| HOSTS.iter().find_map(|&(host, _)| facts.text(host)))
}

/// `jdbc:postgresql://user@host:port/name` and its likes.
fn host_of(connection: &str) -> Option<&str> {
    let (_, rest) = connection.split_once("://")?;
    let authority = rest.split(['/', '?', ';']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

/// Writes the members of `sql`, if the span is about a database that speaks it.
pub fn write(out: &mut String, facts: &mut Facts<'_, '_>, span_name: &str) {
    let Some((_, system)) = facts
        .first(&SYSTEMS)
        .filter(|(_, system)| SPEAK_SQL.contains(system))
    else {
        return;
    };
    url(out, facts, system, span_name);
    facts.write_text(out, "sanitized_query", &QUERIES);
    facts.write_text(out, "database_type", &SYSTEMS);
    facts.write_text(out, "user", &[Key::DbUser]);
}

fn url(out: &mut String, facts: &mut Facts<'_, '_>, system: &str, span_name: &str) {
    if facts.write_text(out, "url", &[Key::DbConnectionString]) {
        return;
    }
    let host = HOSTS
        .iter()
        .find_map(|&(key, port)| Some((key, facts.text(key)?, port)));
    let Some((host_key, host, port_key)) = host else {
        json::text(out, "url", span_name);
        return;
    };
    let port = facts.int(port_key);
    let name = facts.first(&NAMES);
    let is_address = host.contains(':') && !host.starts_with('[');
    let host = if is_address {
        Cow::Owned(format!("[{host}]"))
    } else {
        Cow::Borrowed(host)
    };
    let mut url = format!("{system}://{host}");
    // Writing to a String cannot fail.
    if let Some(port) = port {
        write!(url, ":{port}").unwrap_or_default();
    }
    if let Some((_, name)) = name {
        write!(url, "/{name}").unwrap_or_default();
    }
    if json::text(out, "url", &url) {
        let parts = [Some(host_key), port.map(|_| port_key), name.map(|(key, _)| key)];
        parts.into_iter().flatten().for_each(|key| facts.mark(key));
    }
}
