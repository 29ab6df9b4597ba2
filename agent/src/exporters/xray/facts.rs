//! What a list of attributes says, by known key, and which of them a document has said already:
//! the others are left for its metadata. It writes nothing of its own accord.

use super::json;
use super::keys::{COUNT, Key};
use crate::otlp::AnyValue;
use crate::otlp::view::{Attribute, Attributes};

/// The attributes of a span or of a resource.
pub struct Facts<'s, 'a> {
    list: &'s [Attribute<'a>],
    /// By key: the place of its value in the list, from 1.
    places: [u16; COUNT],
    /// By place: whether the document has it.
    used: Vec<bool>,
}

impl<'s, 'a> Facts<'s, 'a> {
    /// Tells the attributes apart; of several with one key the first counts.
    pub fn of(attributes: &'s Attributes<'a>) -> Self {
        let list = attributes.as_slice();
        let mut places = [0_u16; COUNT];
        for (index, attribute) in list.iter().enumerate() {
            if let Some(key) = Key::of(attribute.key)
                && let Some(place @ 0) = places.get_mut(key.index())
            {
                *place = u16::try_from(index + 1).unwrap_or(0);
            }
        }
        Self {
            list,
            places,
            used: vec![false; list.len()],
        }
    }

    fn place(&self, key: Key) -> Option<usize> {
        let place = self.places.get(key.index()).copied().unwrap_or(0);
        usize::from(place).checked_sub(1)
    }

    /// The value of a key.
    pub fn value(&self, key: Key) -> Option<&'s AnyValue<'a>> {
        self.list.get(self.place(key)?).map(|attribute| &attribute.value)
    }

    /// The text of a key, unless it is empty or no string.
    pub fn text(&self, key: Key) -> Option<&'a str> {
        match self.value(key) {
            Some(AnyValue::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The integer of a key, also if it was written as a string.
    pub fn int(&self, key: Key) -> Option<i64> {
        match self.value(key)? {
            AnyValue::Int(value) => Some(*value),
            AnyValue::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Whether there is a value of that key.
    pub fn has(&self, key: Key) -> bool {
        self.place(key).is_some()
    }

    /// The first of these keys that has a text.
    pub fn first(&self, keys: &[Key]) -> Option<(Key, &'a str)> {
        keys.iter().find_map(|&key| Some((key, self.text(key)?)))
    }

    /// The first of these keys that has an integer.
    pub fn first_int(&self, keys: &[Key]) -> Option<(Key, i64)> {
        keys.iter().find_map(|&key| Some((key, self.int(key)?)))
    }

    /// The document says this.
    pub fn mark(&mut self, key: Key) {
        if let Some(place) = self.place(key) {
            self.mark_place(place);
        }
    }

    /// The document says the attribute at this place.
    pub fn mark_place(&mut self, place: usize) {
        if let Some(used) = self.used.get_mut(place) {
            *used = true;
        }
    }

    /// Writes the first of these keys that has a text. It stays for the metadata if it had to be
    /// cut; another key that says the same does not.
    pub fn write_text(&mut self, out: &mut String, member: &str, keys: &[Key]) -> bool {
        let Some((_, text)) = self.first(keys) else {
            return false;
        };
        if json::text(out, member, text) {
            for &key in keys {
                if self.text(key) == Some(text) {
                    self.mark(key);
                }
            }
        }
        true
    }

    /// Writes the first of these keys that has an integer.
    pub fn write_int(&mut self, out: &mut String, member: &str, keys: &[Key]) {
        if let Some((_, value)) = self.first_int(keys) {
            json::int(out, member, value);
            for &key in keys {
                if self.int(key) == Some(value) {
                    self.mark(key);
                }
            }
        }
    }

    /// Every attribute with its place, and whether the document has it.
    pub fn all(&self) -> impl Iterator<Item = (usize, &'s Attribute<'a>, bool)> {
        let list: &'s [Attribute<'a>] = self.list;
        let used = self.used.iter().copied();
        list.iter()
            .enumerate()
            .zip(used)
            .map(|((place, attribute), used)| (place, attribute, used))
    }
}
