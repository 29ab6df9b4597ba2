//! What X-Ray says of documents that it did not process, and what becomes of each. An answer of
//! 200 is no promise: throttling comes here too, document by document.

use std::collections::HashMap;

use meridian_proto::ids::to_hex;
use serde::Deserialize;

use crate::ledger::DropReason;
use crate::requests::aws::is_passing;
use crate::requests::sink::{Fate, Verdict};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Put {
    #[serde(rename = "UnprocessedTraceSegments")]
    unprocessed: Option<Vec<Unprocessed>>,
}

/// A document that was not processed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Unprocessed {
    /// The document's id; none if X-Ray could not read one.
    #[serde(rename = "Id")]
    id: Option<String>,
    #[serde(rename = "ErrorCode", deserialize_with = "text")]
    pub code: String,
    #[serde(rename = "Message", deserialize_with = "text")]
    message: String,
}

fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Unprocessed {
    /// Whether it may be processed another time.
    pub fn is_passing(&self) -> bool {
        is_passing(&self.code)
    }

    /// For people.
    pub fn told(&self) -> String {
        format!("{} {}", self.code, self.message)
    }
}

/// What was not processed, by the body of an answer.
pub fn read(body: &[u8]) -> Vec<Unprocessed> {
    let put: Put = serde_json::from_slice(body).unwrap_or_default();
    put.unprocessed.unwrap_or_default()
}

/// What becomes of the documents with these ids.
pub fn verdict(unprocessed: &[Unprocessed], ids: impl Iterator<Item = [u8; 8]>) -> Verdict {
    if unprocessed.is_empty() {
        return Verdict::Taken(Vec::new());
    }
    // Two documents of a call may have one id: a span that was accepted twice.
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, id) in ids.enumerate() {
        places.entry(to_hex(&id)).or_default().push(place);
    }
    let mut fates = Vec::new();
    let mut passing_nameless = false;
    for one in unprocessed {
        let named = one.id.as_ref().and_then(|id| places.remove(&id.to_lowercase()));
        match named {
            Some(named) => {
                let fate = match one.is_passing() {
                    true => Fate::Again,
                    false => Fate::Dropped(DropReason::Refused),
                };
                fates.extend(named.into_iter().map(|place| (place, fate)));
            }
            None if one.is_passing() => passing_nameless = true,
            // One of them is no good, and only halves of the call will tell which.
            None if one.id.is_none() => {
                return Verdict::Refused(format!("X-Ray refuses one: {}", one.told()));
            }
            None => {}
        }
    }
    if passing_nameless {
        // What was taken is sent once more, which X-Ray takes for the same.
        let others = places.into_values().flatten();
        fates.extend(others.map(|place| (place, Fate::Again)));
    }
    fates.sort_by_key(|(place, _)| *place);
    Verdict::Taken(fates)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DROPPED: Fate = Fate::Dropped(DropReason::Refused);

    fn verdict_of(body: &str) -> Verdict {
        let ids = [[1; 8], [2; 8], [0xab; 8], [2; 8]];
        verdict(&read(body.as_bytes()), ids.into_iter())
    }

    #[test]
    fn each_document_has_the_fate_that_is_told_of_its_id() {
        for (unprocessed, expected) in [
            ("", vec![]),
            ("[]", vec![]),
            ("null", vec![]),
            (
                r#"[{"Id":"abababABABababab","ErrorCode":"ThrottledException","Message":"slow"}]"#,
                vec![(2, Fate::Again)],
            ),
            (
                r#"[{"Id":"0101010101010101","ErrorCode":"InvalidName","Message":null},{"Id":"0202020202020202","ErrorCode":"InternalFailure"}]"#,
                vec![(0, DROPPED), (1, Fate::Again), (3, Fate::Again)],
            ),
            (
                r#"[{"Id":"0202020202020202","ErrorCode":"InvalidTraceId"},{"Id":"0202020202020202","ErrorCode":"InvalidTraceId"}]"#,
                vec![(1, DROPPED), (3, DROPPED)],
            ),
            (r#"[{"Id":"ffffffffffffffff","ErrorCode":"InvalidName"}]"#, vec![]),
            (
                r#"[{"Id":"0101010101010101","ErrorCode":"InvalidName"},{"Id":null,"ErrorCode":"ThrottledException"}]"#,
                vec![(0, DROPPED), (1, Fate::Again), (2, Fate::Again), (3, Fate::Again)],
            ),
        ] {
            let body = match unprocessed {
                "" => "{}".to_owned(),
                _ => format!(r#"{{"UnprocessedTraceSegments":{unprocessed}}}"#),
            };
            assert_eq!(verdict_of(&body), Verdict::Taken(expected), "{unprocessed}");
        }
        assert_eq!(verdict_of("no JSON"), Verdict::Taken(Vec::new()));
    }

    #[test]
    fn a_fault_without_an_id_is_looked_for_in_halves() {
        let body = r#"{"UnprocessedTraceSegments":[{"ErrorCode":"ParseError","Message":"Invalid segment"}]}"#;
        assert_eq!(
            verdict_of(body),
            Verdict::Refused("X-Ray refuses one: ParseError Invalid segment".to_owned())
        );
    }
}
