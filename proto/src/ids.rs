//! Trace, span and agent ids: bytes inside, lower-case hex (UUID for agents) outside.

use std::fmt;

use uuid::Uuid;

/// Bytes of a trace id.
pub const TRACE_ID_BYTES: usize = 16;
/// Bytes of a span id.
pub const SPAN_ID_BYTES: usize = 8;

/// The identity of an agent's spool, made with the spool's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(Uuid);

impl AgentId {
    /// A new random identity.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity with these 16 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }

    /// Parses the hyphenated form that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes bytes as lower-case hex, as ids are written everywhere.
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

/// Reads hex in either case; `None` for an odd length or another character.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(hex_value(*high)? << 4 | hex_value(*low)?))
        .collect()
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_written_in_lower() {
        let id = from_hex("5B8EFFF798038103D269B633813FC60C").expect("hex");
        assert_eq!(id.len(), TRACE_ID_BYTES);
        assert_eq!(to_hex(&id), "5b8efff798038103d269b633813fc60c");
        assert_eq!(from_hex("5b8"), None);
        assert_eq!(from_hex("zz"), None);
    }

    #[test]
    fn an_agent_id_survives_text_and_bytes() {
        let id = AgentId::random();
        assert_eq!(AgentId::parse(&id.to_string()), Some(id));
        assert_eq!(AgentId::from_slice(id.as_bytes()), Some(id));
        assert_eq!(AgentId::from_slice(b"short"), None);
    }
}
