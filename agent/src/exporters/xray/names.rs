//! What a document is called: the service that it stands for, as X-Ray draws its map from names.
//! A name is cut and cleaned wherever it comes from, because X-Ray refuses the document otherwise.

use icu_properties::props::{EnumeratedProperty, GeneralCategory, GeneralCategoryGroup};

use super::document::{Item, Role, SERVER};
use super::facts::Facts;
use super::keys::Key;
use super::sql;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 200;

/// What a span without a single valid character is called.
const NAMELESS: &str = "span";

const HOSTS: [Key; 4] = [
    Key::HttpHost,
    Key::NetPeerName,
    Key::ServerAddress,
    Key::NetSockPeerName,
];

/// Whether the span is a call of AWS's API.
pub fn is_aws_call(facts: &Facts<'_, '_>) -> bool {
    let system = facts.first(&[Key::RpcSystem, Key::RpcSystemName]);
    system.is_some_and(|(_, system)| system == "aws-api")
}

/// `aws` for what AWS runs, `remote` for other calls.
pub fn namespace(facts: &Facts<'_, '_>, role: Role, calls_out: CallsOut) -> Option<&'static str> {
    let is_remote = match calls_out {
        CallsOut::No => false,
        CallsOut::Client => true,
        CallsOut::Messaging => role == Role::Subsegment && facts.text(Key::AwsRemoteService).is_some(),
    };
    if role.is_local_root() {
        None
    } else if is_aws_call(facts) || facts.text(Key::AwsService).is_some() {
        Some("aws")
    } else if is_remote || role == Role::Dependency {
        Some("remote")
    } else {
        None
    }
}

/// What a span's kind says about its other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallsOut {
    /// SERVER, INTERNAL and what has no kind.
    No,
    /// CLIENT.
    Client,
    /// PRODUCER and CONSUMER.
    Messaging,
}

impl CallsOut {
    /// Of a `SpanKind`.
    pub fn of(kind: i32) -> Self {
        match kind {
            3 => Self::Client,
            4 | 5 => Self::Messaging,
            _ => Self::No,
        }
    }
}

/// The name of a span's document, in the order of X-Ray's own SDKs: what was set for X-Ray, the
/// peer, AWS's service, the database, the service itself if it is the one that answers, the rest.
pub fn choose(facts: &Facts<'_, '_>, item: &Item<'_, '_>, role: Role) -> String {
    let is_service = item.span.kind == SERVER || role.is_local_root();
    let local = || facts.text(Key::AwsLocalService).filter(|_| is_service);
    let service = || item.resource.service_name.filter(|_| is_service);
    let span_name = item.span.name;
    if role == Role::Service {
        // Its other side is in the document of the dependency.
        return clean(&[local().or_else(service).unwrap_or(span_name)]);
    }
    let calls_out = CallsOut::of(item.span.kind);
    let remote = || {
        let remote = facts.text(Key::AwsRemoteService);
        remote
            .filter(|_| calls_out != CallsOut::No)
            .map(|name| without_prefix(name, facts))
    };
    let set = local()
        .or_else(remote)
        .or_else(|| facts.text(Key::PeerService))
        .or_else(|| facts.text(Key::AwsService));
    if let Some(name) = set {
        return clean(&[name]);
    }
    if let Some((_, database)) = facts.first(&[Key::DbNamespace, Key::DbName]) {
        return match sql::host(facts) {
            Some(host) => clean(&[database, "@", host]),
            None => clean(&[database]),
        };
    }
    let rest = service()
        .or_else(|| facts.text(Key::RpcService))
        .or_else(|| aws_service_of_method(facts))
        .or_else(|| facts.first(&HOSTS).map(|(_, host)| host));
    clean(&[rest.unwrap_or(span_name)])
}

fn without_prefix<'t>(name: &'t str, facts: &Facts<'_, '_>) -> &'t str {
    let prefixes = ["AWS.SDK.", "AWS::"];
    let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    bare.filter(|_| is_aws_call(facts)).unwrap_or(name)
}

/// Newer conventions have no `rpc.service`: the method is `S3/PutObject`.
fn aws_service_of_method<'a>(facts: &Facts<'_, 'a>) -> Option<&'a str> {
    let (service, _) = facts.text(Key::RpcMethod)?.rsplit_once('/')?;
    (!service.is_empty()).then_some(service)
}

/// The parts as one name that X-Ray accepts.
pub fn clean(parts: &[&str]) -> String {
    let characters = parts.iter().flat_map(|part| part.chars());
    let mut name: String = characters
        .filter(|&character| is_allowed(character))
        .take(NAME_CHARS_MAX)
        .collect();
    if name.trim().is_empty() {
        NAMELESS.clone_into(&mut name);
    }
    name
}

/// Unicode letters, digits, the space and `_ . : / % & # = + \ - @`.
pub fn is_allowed(character: char) -> bool {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        ' ' | '_' | '.' | ':' | '/' | '%' | '&' | '#' | '=' | '+' | '\\' | '-' | '@' => true,
        '\0'..='\x7f' => false,
        // `char::is_alphabetic` takes marks for letters, too, and X-Ray does not.
        _ => GeneralCategoryGroup::Letter.contains(GeneralCategory::for_char(character)),
    }
}
