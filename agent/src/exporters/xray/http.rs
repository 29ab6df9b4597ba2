//! The member `http`: the request and its response, by the old and the new conventions. A URL that
//! nobody recorded as a whole is put together from its parts.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::document::SERVER;
use super::facts::Facts;
use super::json;
use super::keys::Key;

const METHODS: [Key; 2] = [Key::HttpRequestMethod, Key::HttpMethod];
const STATUSES: [Key; 2] = [Key::HttpResponseStatusCode, Key::HttpStatusCode];
const LENGTHS: [Key; 2] = [Key::HttpResponseBodySize, Key::HttpResponseContentLength];
const USER_AGENTS: [Key; 2] = [Key::UserAgentOriginal, Key::HttpUserAgent];
const PEERS: [Key; 3] = [Key::NetworkPeerAddress, Key::NetSockPeerAddr, Key::NetPeerIp];

/// One of these, and the span is about HTTP: an address alone may be a database's.
const SIGNS: [Key; 12] = [
    Key::HttpRequestMethod,
    Key::HttpMethod,
    Key::HttpResponseStatusCode,
    Key::HttpStatusCode,
    Key::UrlFull,
    Key::HttpUrl,
    Key::HttpTarget,
    Key::HttpScheme,
    Key::HttpHost,
    Key::HttpServerName,
    Key::HttpClientIp,
    Key::HttpUserAgent,
];

/// Hosts of a server, each with the key of its port.
const SERVER_HOSTS: [(Key, Option<Key>); 5] = [
    (Key::ServerAddress, Some(Key::ServerPort)),
    (Key::HttpHost, None),
    (Key::HttpServerName, Some(Key::NetHostPort)),
    (Key::NetHostName, Some(Key::NetHostPort)),
    (Key::HostName, Some(Key::NetHostPort)),
];

/// Hosts that a client calls.
const CLIENT_HOSTS: [(Key, Option<Key>); 7] = [
    (Key::ServerAddress, Some(Key::ServerPort)),
    (Key::HttpHost, None),
    (Key::NetPeerName, Some(Key::NetPeerPort)),
    (Key::NetSockPeerName, Some(Key::NetSockPeerPort)),
    (Key::NetworkPeerAddress, Some(Key::NetworkPeerPort)),
    (Key::NetSockPeerAddr, Some(Key::NetSockPeerPort)),
    (Key::NetPeerIp, Some(Key::NetPeerPort)),
];

/// The status of the response.
pub fn status(facts: &Facts<'_, '_>) -> Option<i64> {
    facts.first_int(&STATUSES).map(|(_, status)| status)
}

/// Writes the members of `http`, if the span is about HTTP.
pub fn write(out: &mut String, facts: &mut Facts<'_, '_>, kind: i32) {
    if !SIGNS.iter().any(|&key| facts.has(key)) {
        return;
    }
    json::object(out, "request", |out| request(out, facts, kind == SERVER));
    json::object(out, "response", |out| {
        facts.write_int(out, "status", &STATUSES);
        facts.write_int(out, "content_length", &LENGTHS);
    });
}

fn request(out: &mut String, facts: &mut Facts<'_, '_>, is_server: bool) {
    method(out, facts);
    if let Some(url) = Url::of(facts, is_server)
        && json::text(out, "url", &url.text)
    {
        url.parts.into_iter().flatten().for_each(|key| facts.mark(key));
    }
    facts.write_text(out, "user_agent", &USER_AGENTS);
    client(out, facts, is_server);
}

fn method(out: &mut String, facts: &mut Facts<'_, '_>) {
    let original = [Key::HttpRequestMethodOriginal];
    if facts.text(Key::HttpRequestMethod) == Some("_OTHER") && facts.write_text(out, "method", &original) {
        facts.mark(Key::HttpRequestMethod);
    } else {
        facts.write_text(out, "method", &METHODS);
    }
}

/// Who asked. What only proxies can know was forwarded, unless it is the peer itself.
fn client(out: &mut String, facts: &mut Facts<'_, '_>, is_server: bool) {
    let peer = facts.first(&PEERS).map(|(_, peer)| peer);
    let client = [Key::ClientAddress, Key::HttpClientIp];
    if let Some((_, address)) = facts.first(&client) {
        facts.write_text(out, "client_ip", &client);
        if peer != Some(address) {
            json::truth(out, "x_forwarded_for");
        }
    } else if is_server {
        facts.write_text(out, "client_ip", &PEERS);
    }
}

/// A URL, and the attributes that say nothing beside it.
struct Url<'a> {
    text: Cow<'a, str>,
    parts: [Option<Key>; 5],
}

impl<'a> Url<'a> {
    fn of(facts: &Facts<'_, 'a>, is_server: bool) -> Option<Self> {
        if let Some((key, text)) = facts.first(&[Key::UrlFull, Key::HttpUrl]) {
            let text = Cow::Borrowed(text);
            let same = [Key::UrlFull, Key::HttpUrl]
                .map(|other| (other == key || facts.text(other) == Some(&text)).then_some(other));
            let [first, second] = same;
            return Some(Self {
                text,
                parts: [first, second, None, None, None],
            });
        }
        let mut url = Self {
            text: Cow::Borrowed(""),
            parts: [None; 5],
        };
        url.assemble(facts, is_server);
        (!url.text.is_empty()).then_some(url)
    }

    fn assemble(&mut self, facts: &Facts<'_, 'a>, is_server: bool) {
        let [scheme_part, host_part, port_part, path_part, query_part] = &mut self.parts;
        let text = self.text.to_mut();
        let hosts = if is_server {
            &SERVER_HOSTS[..]
        } else {
            &CLIENT_HOSTS[..]
        };
        let host = hosts
            .iter()
            .find_map(|&(key, port)| Some((key, facts.text(key)?, port)));
        let path = facts.first(&[Key::UrlPath, Key::HttpTarget]);
        // An `http.target` has its query in it.
        let query = facts
            .text(Key::UrlQuery)
            .filter(|_| !path.is_some_and(|(key, _)| key == Key::HttpTarget));
        if let Some((key, host, port_key)) = host {
            let port = port_key.and_then(|key| Some((key, facts.int(key)?)));
            let scheme = facts.first(&[Key::UrlScheme, Key::HttpScheme]);
            let secure = matches!(port, Some((_, 443)));
            let name = scheme.map_or(if secure { "https" } else { "http" }, |(_, scheme)| scheme);
            push_origin(text, name, (key, host), port.map(|(_, port)| port));
            *scheme_part = scheme.map(|(key, _)| key);
            *host_part = Some(key);
            *port_part = port.map(|(key, _)| key);
        } else if path.is_none() {
            return;
        }
        let (path_key, path) = path.map_or((None, "/"), |(key, path)| (Some(key), path));
        if !path.starts_with('/') && !text.is_empty() {
            text.push('/');
        }
        text.push_str(path);
        *path_part = path_key;
        if let Some(query) = query {
            text.push('?');
            text.push_str(query.trim_start_matches('?'));
            *query_part = Some(Key::UrlQuery);
        }
    }
}

fn push_origin(text: &mut String, scheme: &str, (key, host): (Key, &str), port: Option<i64>) {
    text.push_str(scheme);
    text.push_str("://");
    // An address of IPv6; the old `http.host` has its port in it.
    let is_bare = key != Key::HttpHost && host.contains(':') && !host.starts_with('[');
    text.push_str(if is_bare { "[" } else { "" });
    text.push_str(host);
    text.push_str(if is_bare { "]" } else { "" });
    let default = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
    if let Some(port) = port.filter(|_| !default) {
        // Writing to a String cannot fail.
        write!(text, ":{port}").unwrap_or_default();
    }
}
