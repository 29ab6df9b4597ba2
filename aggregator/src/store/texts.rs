//! Texts that repeat, each known by a number: the values of a column, and the names that rows
//! are sorted by. It forgets nothing: who fills it with texts of others bounds it.

use std::collections::HashMap;

/// Texts, each once, numbered in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

impl Texts {
    /// The number of a text, which is the next one if it is new.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// All of them, by their numbers.
    pub(crate) fn all(&self) -> &[Box<str>] {
        &self.texts
    }
}
