//! A pull reader of JSON that keeps what `serde_json::Value` would lose: numbers come as
//! their text (a 64-bit integer or a double is then exact), objects in order with repeated
//! keys, and nesting is bounded by the caller. It builds no tree.

use std::borrow::Cow;

use thiserror::Error;

/// The text is not JSON, or not the JSON that the caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} at byte {offset}")]
pub struct Fault {
    /// In bytes from the beginning.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// What the next value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or `-`.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`
    Null,
}

/// The reader, at some place in the text.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    depth_max: u32,
}

impl<'a> Reader<'a> {
    /// Reads `text`, in which objects and arrays nest at most `depth_max` levels.
    pub fn new(text: &'a [u8], depth_max: u32) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            depth_max,
        }
    }

    /// Where the reader is.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// A fault at this place.
    pub fn fault(&self, what: &'static str) -> Fault {
        Fault {
            offset: self.at,
            what,
        }
    }

    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// What comes next; white space before it is passed.
    pub fn peek(&mut self) -> Result<Kind, Fault> {
        self.space();
        match self.text.get(self.at) {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.fault("expected a JSON value")),
            None => Err(self.fault("the JSON ends too early")),
        }
    }

    fn word(&mut self, word: &'static [u8]) -> bool {
        let found = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word));
        if found {
            self.at += word.len();
        }
        found
    }

    /// Reads `null`.
    pub fn null(&mut self) -> Result<(), Fault> {
        self.space();
        if self.word(b"null") {
            Ok(())
        } else {
            Err(self.fault("expected null"))
        }
    }

    /// Reads `true` or `false`.
    pub fn bool(&mut self) -> Result<bool, Fault> {
        self.space();
        if self.word(b"true") {
            Ok(true)
        } else if self.word(b"false") {
            Ok(false)
        } else {
            Err(self.fault("expected true or false"))
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    /// Reads a number and returns its text.
    pub fn number(&mut self) -> Result<&'a str, Fault> {
        self.space();
        let start = self.at;
        let _negative = self.word(b"-");
        let leading_zero = self.text.get(self.at) == Some(&b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.fault("a number that JSON does not allow"));
        }
        if self.word(b".") && self.digits() == 0 {
            return Err(self.fault("a number that JSON does not allow"));
        }
        if self.word(b"e") || self.word(b"E") {
            let _signed = self.word(b"+") || self.word(b"-");
            if self.digits() == 0 {
                return Err(self.fault("a number that JSON does not allow"));
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        std::str::from_utf8(text).map_err(|_| self.fault("a number that JSON does not allow"))
    }

    /// Reads a string; it is borrowed unless it has escapes.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.space();
        if !self.word(b"\"") {
            return Err(self.fault("expected a string"));
        }
        let mut owned: Option<String> = None;
        loop {
            let plain = self.plain_part()?;
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(plain),
                        Some(text) => Cow::Owned(text + plain),
                    });
                }
                Some(b'\\') => {
                    self.at += 1;
                    let text = owned.get_or_insert_default();
                    text.push_str(plain);
                    text.push(self.escape()?);
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("a string without its end")),
            }
        }
    }

    fn plain_part(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        self.at += length.unwrap_or(rest.len());
        let part = self.text.get(start..self.at).unwrap_or_default();
        std::str::from_utf8(part).map_err(|error| Fault {
            offset: start + error.valid_up_to(),
            what: "a string that is not UTF-8",
        })
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.text.get(self.at).copied();
        self.at += 1;
        Ok(match letter {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => {
                self.at -= 1;
                return Err(self.fault("an escape that JSON does not know"));
            }
        })
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let first = self.four_hex_digits()?;
        let code = if (0xd800..0xdc00).contains(&first) && self.word(b"\\u") {
            let second = self.four_hex_digits()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.fault("half of a surrogate pair"));
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.fault("half of a surrogate pair"))
    }

    fn four_hex_digits(&mut self) -> Result<u32, Fault> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self
                .text
                .get(self.at)
                .and_then(|byte| char::from(*byte).to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.fault("expected four hex digits"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn open(&mut self, bracket: &'static [u8], what: &'static str) -> Result<(), Fault> {
        self.space();
        if !self.word(bracket) {
            return Err(self.fault(what));
        }
        self.depth += 1;
        if self.depth > self.depth_max {
            return Err(self.fault("the JSON nests too deep"));
        }
        Ok(())
    }

    /// After an element: whether another follows; the closing bracket is read.
    fn more(&mut self, first: &mut bool, bracket: &'static [u8]) -> Result<bool, Fault> {
        self.space();
        if self.word(bracket) {
            self.depth -= 1;
            return Ok(false);
        }
        if *first {
            *first = false;
        } else if !self.word(b",") {
            return Err(self.fault("expected a comma or the closing bracket"));
        }
        Ok(true)
    }

    /// Reads `{`.
    pub fn begin_object(&mut self) -> Result<(), Fault> {
        self.open(b"{", "expected an object")
    }

    /// Reads the next key and its colon, or `}`. `first` is true before the first key.
    pub fn next_key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Fault> {
        if !self.more(first, b"}")? {
            return Ok(None);
        }
        let key = self.string()?;
        self.space();
        if self.word(b":") {
            Ok(Some(key))
        } else {
            Err(self.fault("expected a colon"))
        }
    }

    /// Reads `[`.
    pub fn begin_array(&mut self) -> Result<(), Fault> {
        self.open(b"[", "expected an array")
    }

    /// Goes to the next element, or reads `]`. `first` is true before the first element.
    pub fn next_element(&mut self, first: &mut bool) -> Result<bool, Fault> {
        self.more(first, b"]")
    }

    /// Passes one value of any kind.
    pub fn skip(&mut self) -> Result<(), Fault> {
        let mut first = true;
        match self.peek()? {
            Kind::Object => {
                self.begin_object()?;
                while self.next_key(&mut first)?.is_some() {
                    self.skip()?;
                }
            }
            Kind::Array => {
                self.begin_array()?;
                while self.next_element(&mut first)? {
                    self.skip()?;
                }
            }
            Kind::String => drop(self.string()?),
            Kind::Number => drop(self.number()?),
            Kind::Bool => drop(self.bool()?),
            Kind::Null => self.null()?,
        }
        Ok(())
    }

    /// Whether nothing but white space is left.
    pub fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.fault("bytes after the end of the JSON"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Result<(), Fault> {
        let mut reader = Reader::new(text.as_bytes(), 100);
        reader.skip()?;
        reader.end()
    }

    #[test]
    fn what_json_does_not_allow_is_refused() {
        let refused = [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "1e",
            "\"\\x\"",
            "\"\n\"",
            "nul",
            "[1] 2",
            "{\"a\" 1}",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "+1",
            "\"abc",
        ];
        for text in refused {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(whole(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_ok());
        assert!(whole(&"[".repeat(101)).is_err());
    }

    proptest! {
        #[test]
        fn every_string_comes_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("strings are JSON");
            let mut reader = Reader::new(json.as_bytes(), 1);
            prop_assert_eq!(reader.string().expect("a string"), text);
        }

        #[test]
        fn it_accepts_what_serde_json_accepts(text in "[\\[\\]{}\",:0-9.eE+\\-a-z\\\\ ]{0,40}") {
            let other = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(whole(&text).is_ok(), other.is_ok());
        }
    }
}
