//! The member `annotations`: what X-Ray indexes. Only scalars, by keys of letters, digits, `_` and
//! `.`; what is no annotation, or had to be cut to be one, is left to the metadata.

use meridian_proto::attributes::{push_double, push_int, push_json_string};
use xxhash_rust::xxh3::xxh3_64;

use super::document::{Item, Role};
use super::facts::Facts;
use super::keys::Key;
use super::resource::PREFIX;
use super::{aws, json};
use crate::otlp::{AnyValue, Malformed};

/// Annotations that are indexed, of a document.
const ANNOTATIONS_MAX: usize = 50;

/// Characters of a text.
const TEXT_CHARS_MAX: usize = 1000;

/// Characters of a key.
const KEY_CHARS_MAX: usize = 500;

/// Annotations stop here, for there is only so much room in a document.
const BYTES_MAX: usize = 16 << 10;

/// Of a service that calls out, these tell about its other side.
const OF_THE_CALL: [Key; 4] = [
    Key::AwsRemoteService,
    Key::AwsRemoteOperation,
    Key::AwsRemoteTarget,
    Key::K8sRemoteNamespace,
];

/// Members of `annotations` in the making.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    members: String,
    /// Hashes of the keys that there are: two attributes may have one key when it is clean.
    keys: Vec<u64>,
}

impl Annotations {
    /// Adds an attribute if it can be one; says whether all of it is here now.
    pub fn add(&mut self, prefix: &str, key: &str, value: &AnyValue<'_>) -> bool {
        let is_scalar = match value {
            AnyValue::String(text) => !text.is_empty(),
            AnyValue::Double(value) => value.is_finite(),
            AnyValue::Bool(_) | AnyValue::Int(_) => true,
            AnyValue::None | AnyValue::Bytes(_) | AnyValue::Array(_) | AnyValue::Map(_) => false,
        };
        let before = self.members.len();
        if !is_scalar || self.keys.len() >= ANNOTATIONS_MAX || before > BYTES_MAX {
            return false;
        }
        json::separate(&mut self.members);
        let name_begins = self.members.len();
        self.members.push('"');
        let characters = prefix.chars().chain(key.chars()).take(KEY_CHARS_MAX);
        self.members.extend(characters.map(clean));
        self.members.push_str("\":");
        let name = self.members.get(name_begins..).unwrap_or_default();
        let hash = xxh3_64(name.as_bytes());
        if key.is_empty() || self.keys.contains(&hash) {
            self.members.truncate(before);
            return false;
        }
        self.keys.push(hash);
        push_scalar(&mut self.members, value)
    }
}

fn clean(character: char) -> char {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' => character,
        _ => '_',
    }
}

fn push_scalar(out: &mut String, value: &AnyValue<'_>) -> bool {
    match value {
        AnyValue::String(text) => {
            let (kept, is_whole) = json::cut(text, TEXT_CHARS_MAX);
            push_json_string(out, kept);
            return is_whole;
        }
        AnyValue::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        AnyValue::Int(value) => push_int(out, *value),
        AnyValue::Double(value) => push_double(out, *value),
        AnyValue::None | AnyValue::Bytes(_) | AnyValue::Array(_) | AnyValue::Map(_) => {}
    }
    true
}

/// Writes the member. Says by place which attributes of the span are in it as a whole; none if
/// the list is shorter.
pub fn write(
    out: &mut String,
    item: &Item<'_, '_>,
    facts: &Facts<'_, '_>,
    role: Role,
) -> Result<Vec<bool>, Malformed> {
    let settings = item.settings;
    let listed = match facts.value(Key::AwsXrayAnnotations) {
        Some(value) => aws::texts(value)?,
        None => Vec::new(),
    };
    if listed.is_empty() && !settings.index_all_attributes && settings.indexed_attributes.is_empty() {
        return Ok(Vec::new());
    }
    let mut annotations = Annotations::default();
    if role.is_segment() {
        annotations.clone_from(&item.resource.annotations);
        for key in listed.iter().filter_map(|key| key.strip_prefix(PREFIX)) {
            if let Some(value) = item.resource.attributes.get(key) {
                annotations.add(PREFIX, key, value);
            }
        }
    }
    let mut placed = Vec::new();
    for (_, attribute, is_used) in facts.all() {
        let key = attribute.key;
        let is_named = settings.indexes(key) || listed.contains(&key);
        let of_the_call = || Key::of(key).is_some_and(|key| OF_THE_CALL.contains(&key));
        let is_listing = || Key::of(key) == Some(Key::AwsXrayAnnotations);
        let is_wanted = (is_named || (settings.index_all_attributes && !is_used && !is_listing()))
            && !(role == Role::Service && of_the_call());
        placed.push(is_wanted && annotations.add("", key, &attribute.value));
    }
    json::object(out, "annotations", |out| out.push_str(&annotations.members));
    Ok(placed)
}
