//! Reading a mapping key by key, and remembering which keys were asked for.
//!
//! It never stops at a fault: it records it and hands out a placeholder.

use std::cell::RefCell;

use super::error::{Fault, Position};
use super::node::{Entry, Kind, Node};
use super::suggest::nearest;
use super::value::FromConfig;

/// One mapping of the file. Keys that nobody has read when it is finished (or dropped) are
/// unknown keys, which are faults.
#[must_use = "unknown keys are found when a section is finished"]
#[derive(Debug)]
pub struct Section<'a> {
    entries: &'a [Entry],
    /// Of the mapping's key, or of the nearest one around it where it is absent.
    at: Position,
    path: String,
    known: Vec<String>,
    /// What is in it is of no interest: there is already a fault about the whole.
    refused: bool,
    faults: &'a RefCell<Vec<Fault>>,
}

impl<'a> Section<'a> {
    pub(super) fn root(node: &'a Node, faults: &'a RefCell<Vec<Fault>>) -> Self {
        Self::over(Some(node), node.at, String::new(), faults)
    }

    /// A value that must be there.
    pub fn required<T: FromConfig>(&mut self, key: &str) -> T {
        if !self.refused
            && self
                .entry(key)
                .is_none_or(|entry| matches!(entry.value.kind, Kind::Null))
        {
            let at = self.entry(key).map_or(self.at, |entry| entry.at);
            self.record(at, self.path_of(key), "is required".to_owned());
        }
        self.maybe(key).unwrap_or_else(T::placeholder)
    }

    /// A value that has a default.
    pub fn optional<T: FromConfig>(&mut self, key: &str, default: T) -> T {
        self.maybe(key).unwrap_or(default)
    }

    /// A value that may be absent.
    pub fn maybe<T: FromConfig>(&mut self, key: &str) -> Option<T> {
        let value = &self.read(key)?.value;
        self.scalar(value, self.path_of(key))
    }

    /// One of a few named values.
    pub fn choice<T: Clone>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(entry) = self.read(key) else {
            return default;
        };
        let Some(text) = self.text(&entry.value, &self.path_of(key)) else {
            return default;
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return value.clone();
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "{text:?} is not one of {}{}",
            names.join(", "),
            did_you_mean(text, names.iter().copied())
        );
        self.record(entry.value.at, self.path_of(key), message);
        default
    }

    /// A list of values; a single value is a list of one, an absent key an empty list.
    pub fn list<T: FromConfig>(&mut self, key: &str) -> Vec<T> {
        let Some(entry) = self.read(key) else {
            return Vec::new();
        };
        let path = self.path_of(key);
        match &entry.value.kind {
            Kind::Sequence(items) => {
                let items = items.iter().enumerate();
                items
                    .filter_map(|(index, item)| self.scalar(item, format!("{path}[{index}]")))
                    .collect()
            }
            _ => self.scalar(&entry.value, path).into_iter().collect(),
        }
    }

    /// A mapping under a key. Where it is absent it reads as empty, so that the keys that it
    /// requires are reported.
    pub fn section(&mut self, key: &str) -> Section<'a> {
        let entry = self.read(key);
        let at = entry.map_or(self.at, |entry| entry.at);
        let mut section = Self::over(
            entry.map(|entry| &entry.value),
            at,
            self.path_of(key),
            self.faults,
        );
        section.refused |= self.refused;
        section
    }

    /// A mapping under a key, if the key is there.
    pub fn section_opt(&mut self, key: &str) -> Option<Section<'a>> {
        let is_there = self.entry(key).is_some();
        let section = self.section(key);
        is_there.then_some(section)
    }

    /// The mappings under a key by name, with the line of each, as in
    /// `exporters: {aggregator: {…}, aggregator/second: {…}}`.
    pub fn entries(&mut self, key: &str) -> Vec<(String, usize, Section<'a>)> {
        let mut parent = self.section(key);
        let mut children = Vec::new();
        for entry in parent.entries {
            let section = parent.section(&entry.key);
            children.push((entry.key.clone(), entry.at.line, section));
        }
        children
    }

    /// Whether a key is there, be it empty.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Records a fault about a key's value that the reading part found, such as a limit that
    /// is out of its range. The message continues the key: `must be at least 1`. A key that has
    /// a fault already gets no second one: its value is only a placeholder.
    pub fn fault(&self, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        if self.faults.borrow().iter().any(|fault| fault.key == path) {
            return;
        }
        let at = self.entry(key).map_or(self.at, |entry| entry.value.at);
        self.record(at, path, message.into());
    }

    /// Records a fault about the section as a whole (an exporter of an unknown type) and takes
    /// no further interest in its keys.
    pub fn refuse(mut self, message: impl Into<String>) {
        self.record(self.at, self.path.clone(), message.into());
        self.refused = true;
    }

    /// Ends the reading: keys that were not asked for are unknown, and faults.
    pub fn finish(self) {
        drop(self);
    }

    fn over(node: Option<&'a Node>, at: Position, path: String, faults: &'a RefCell<Vec<Fault>>) -> Self {
        let mut section = Self {
            entries: &[],
            at,
            path,
            known: Vec::new(),
            refused: false,
            faults,
        };
        match node.map(|node| &node.kind) {
            Some(Kind::Mapping(entries)) => section.entries = entries,
            Some(Kind::Scalar(_) | Kind::Sequence(_)) => {
                section.record(
                    at,
                    section.path.clone(),
                    "is not a mapping of keys to values".to_owned(),
                );
                section.refused = true;
            }
            Some(Kind::Faulty) => section.refused = true,
            Some(Kind::Null) | None => {}
        }
        section
    }

    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn read(&mut self, key: &str) -> Option<&'a Entry> {
        if !self.known.iter().any(|known| known == key) {
            self.known.push(key.to_owned());
        }
        self.entry(key)
    }

    fn scalar<T: FromConfig>(&self, node: &'a Node, path: String) -> Option<T> {
        let text = self.text(node, &path)?;
        match T::from_config(text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.record(node.at, path, format!("{text:?} {message}"));
                None
            }
        }
    }

    fn text(&self, node: &'a Node, path: &str) -> Option<&'a str> {
        match &node.kind {
            Kind::Scalar(text) => Some(text),
            Kind::Null | Kind::Faulty => None,
            Kind::Sequence(_) | Kind::Mapping(_) => {
                self.record(node.at, path.to_owned(), "is not a single value".to_owned());
                None
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn record(&self, at: Position, key: String, message: String) {
        self.faults.borrow_mut().push(Fault { at, key, message });
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        if self.refused {
            return;
        }
        let known = || self.known.iter().map(String::as_str);
        for entry in self
            .entries
            .iter()
            .filter(|entry| known().all(|known| known != entry.key))
        {
            let message = format!(
                "is not a key that is known here{}",
                did_you_mean(&entry.key, known())
            );
            self.record(entry.at, self.path_of(&entry.key), message);
        }
    }
}

fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}
