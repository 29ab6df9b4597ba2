//! A document as it stands in a call: a string of JSON whose text is JSON. It is escaped where the
//! span is mapped, so that a call is only put together.

use super::draft::Document;

/// A document of a call.
#[derive(Debug)]
pub struct Segment {
    /// By which X-Ray speaks of it.
    pub id: [u8; 8],
    /// The document as a JSON string, without its quotes.
    escaped: Box<str>,
}

impl Segment {
    /// The document, ready to be sent.
    pub fn of(document: &Document<'_>) -> Self {
        Self {
            id: document.id,
            escaped: escape(document.json).into_boxed_str(),
        }
    }

    /// Appends the document as people read it, on lines of its own.
    pub fn show(&self, text: &mut String) {
        let document: Result<String, _> = serde_json::from_str(&format!("\"{}\"", self.escaped));
        let document = document.unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&document).unwrap_or_default();
        text.push_str(&serde_json::to_string_pretty(&value).unwrap_or(document));
        text.push('\n');
    }
}

/// JSON has no control characters left: these two are what a string of it needs escapes for. Eight
/// bytes are looked at together, which is most of what a document costs beside its mapping.
fn escape(json: &str) -> String {
    let mut escaped = Vec::with_capacity(json.len() + json.len() / 3);
    let (words, rest) = json.as_bytes().as_chunks::<8>();
    for word in words {
        let mut from = 0;
        let mut special = zeros(word, b'"') | zeros(word, b'\\');
        while special != 0 {
            let at = special.trailing_zeros() as usize / 8;
            escaped.extend_from_slice(word.get(from..at).unwrap_or_default());
            escaped.push(b'\\');
            from = at;
            special &= special - 1;
        }
        escaped.extend_from_slice(word.get(from..).unwrap_or_default());
    }
    for &byte in rest {
        if matches!(byte, b'"' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    String::from_utf8(escaped).expect("ASCII was put before ASCII")
}

/// The upper bit of each byte that is this one.
fn zeros(word: &[u8; 8], byte: u8) -> u64 {
    const LOWER: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differences = u64::from_le_bytes(*word) ^ u64::from_le_bytes([byte; 8]);
    // Without a carry from byte to byte, which would make a neighbour look like one.
    !(((differences & LOWER) + LOWER) | differences | LOWER)
}

/// The body of a call with these documents.
pub fn body<'s, I: Iterator<Item = &'s Segment>>(segments: impl Fn() -> I) -> String {
    let bytes: usize = segments().map(|segment| segment.escaped.len() + 3).sum();
    let mut body = String::with_capacity(bytes + 32);
    body.push_str("{\"TraceSegmentDocuments\":[");
    for (index, segment) in segments().enumerate() {
        body.push_str(if index > 0 { ",\"" } else { "\"" });
        body.push_str(&segment.escaped);
        body.push('"');
    }
    body.push_str("]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(json: &str) -> Segment {
        Segment {
            id: [1; 8],
            escaped: escape(json).into_boxed_str(),
        }
    }

    proptest! {
        #[test]
        fn a_call_holds_the_documents_as_texts(texts in prop::collection::vec(any::<String>(), 0..5)) {
            let documents: Vec<String> = texts
                .iter()
                .map(|text| serde_json::json!({ "name": text, text: 1 }).to_string())
                .collect();
            let segments: Vec<Segment> = documents.iter().map(|document| segment(document)).collect();
            let body: serde_json::Value = serde_json::from_str(&body(|| segments.iter())).expect("JSON");
            prop_assert_eq!(body, serde_json::json!({ "TraceSegmentDocuments": documents }));
        }
    }
}
