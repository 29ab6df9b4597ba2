//! A document as it stands in a call: a string of JSON whose text is JSON. It is escaped where the
//! span is mapped, so that a call is only put together.

use bytes::Bytes;

use super::draft::Document;
use crate::requests::quoted::Quoter;

/// A document of a call.
#[derive(Debug)]
pub struct Segment {
    /// By which X-Ray speaks of it.
    pub id: [u8; 8],
    /// The document as a JSON string, without its quotes.
    escaped: Bytes,
}

impl Segment {
    /// The document, ready to be sent.
    pub fn of(document: &Document<'_>, quoter: &mut Quoter) -> Self {
        Self {
            id: document.id,
            escaped: quoter.quote(document.json),
        }
    }

    /// Appends the document as people read it, on lines of its own.
    pub fn show(&self, text: &mut String) {
        let document: Result<String, _> =
            serde_json::from_str(&format!("\"{}\"", String::from_utf8_lossy(&self.escaped)));
        let document = document.unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&document).unwrap_or_default();
        text.push_str(&serde_json::to_string_pretty(&value).unwrap_or(document));
        text.push('\n');
    }
}

/// The body of a call with these documents.
pub fn body<'s, I: Iterator<Item = &'s Segment>>(segments: impl Fn() -> I) -> Vec<u8> {
    let bytes: usize = segments().map(|segment| segment.escaped.len() + 3).sum();
    let mut body = Vec::with_capacity(bytes + 32);
    body.extend_from_slice(b"{\"TraceSegmentDocuments\":[");
    for (index, segment) in segments().enumerate() {
        body.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
        body.extend_from_slice(&segment.escaped);
        body.push(b'"');
    }
    body.extend_from_slice(b"]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_call_holds_the_documents_as_texts(texts in prop::collection::vec(any::<String>(), 0..5)) {
            let documents: Vec<String> = texts
                .iter()
                .map(|text| serde_json::json!({ "name": text, text: 1 }).to_string())
                .collect();
            let mut quoter = Quoter::default();
            let segments: Vec<Segment> = documents
                .iter()
                .map(|document| Segment { id: [1; 8], escaped: quoter.quote(document) })
                .collect();
            let body: serde_json::Value = serde_json::from_slice(&body(|| segments.iter())).expect("JSON");
            prop_assert_eq!(body, serde_json::json!({ "TraceSegmentDocuments": documents }));
        }
    }
}
