//! Texts as they stand in a call that is JSON: their characters escaped, one after the other in
//! memory that many share. A document that is JSON itself has a quote in every few bytes, so that
//! this costs as much as all that was done to write it, unless it is done without branches.

use bytes::{Bytes, BytesMut};
use meridian_proto::attributes::push_json_string;

/// Texts share so much memory, as long as they are smaller.
const CHUNK_BYTES: usize = 64 << 10;

/// Escapes texts.
#[derive(Debug, Default)]
pub struct Quoter {
    free: BytesMut,
}

impl Quoter {
    /// The text as a JSON string, without its quotes.
    pub fn quote(&mut self, text: &str) -> Bytes {
        if text.bytes().fold(false, |found, byte| found | (byte < b' ')) {
            // JSON has no control characters left; other texts may.
            let mut quoted = String::with_capacity(text.len() + text.len() / 4 + 2);
            push_json_string(&mut quoted, text);
            quoted.pop();
            return Bytes::from(quoted).slice(1..);
        }
        let longest = text.len() * 2 + WINDOW_BYTES;
        if self.free.capacity() < longest {
            self.free = BytesMut::with_capacity(longest.max(CHUNK_BYTES));
        }
        self.free.resize(longest, 0);
        let length = escape(text.as_bytes(), &mut self.free);
        self.free.truncate(length);
        self.free.split().freeze()
    }
}

/// What eight bytes can become, a power of two.
const WINDOW_BYTES: usize = 16;

/// Copies the text with a backslash before each quote and backslash, and says how long it is.
/// `out` has room for twice as much, and a window.
fn escape(text: &[u8], out: &mut [u8]) -> usize {
    let mut at = 0;
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        at += escape_word(word, out.get_mut(at..).unwrap_or_default());
    }
    let mut last = [0; 8];
    if let Some(last) = last.get_mut(..rest.len()) {
        last.copy_from_slice(rest);
    }
    // Zeros need no escape.
    at + escape_word(&last, out.get_mut(at..).unwrap_or_default()) - (8 - rest.len())
}

#[inline]
fn escape_word(word: &[u8; 8], out: &mut [u8]) -> usize {
    let Some(window) = out.first_chunk_mut::<WINDOW_BYTES>() else {
        debug_assert!(false, "there is no room for an escape");
        return 0;
    };
    let mut at = 0;
    for &byte in word {
        // Overwritten at once, unless the byte needs it.
        window[at % WINDOW_BYTES] = b'\\';
        at += usize::from(matches!(byte, b'"' | b'\\'));
        window[at % WINDOW_BYTES] = byte;
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_is_what_json_makes_of_it(texts in prop::collection::vec("(\\PC|[\"\\\\]|\n){0,40}", 1..20)) {
            let mut quoter = Quoter::default();
            // All of them are looked at in the end: none writes into another.
            let quoted: Vec<Bytes> = texts.iter().map(|text| quoter.quote(text)).collect();
            for (text, quoted) in texts.iter().zip(quoted) {
                let whole = format!("\"{}\"", String::from_utf8_lossy(&quoted));
                prop_assert_eq!(&serde_json::from_str::<String>(&whole).expect("JSON"), text);
            }
        }
    }

    #[test]
    fn a_text_that_is_larger_than_the_memory_that_is_shared_has_its_own() {
        let mut quoter = Quoter::default();
        let small = quoter.quote("a\"b");
        let large = quoter.quote(&"\"".repeat(CHUNK_BYTES));
        assert_eq!((&small[..], large.len()), (&b"a\\\"b"[..], 2 * CHUNK_BYTES));
        assert_eq!(&quoter.quote("")[..], b"");
    }
}
