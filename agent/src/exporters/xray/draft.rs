//! A document in the making, and what becomes of it when it grows too long: a member that has no
//! room is left out, an entry of metadata goes on in a further subsegment, and one that fits none
//! is cut. The document says what it lacks. What is written is not known here.

use meridian_proto::attributes::push_json_string;

use super::cause::{Purpose, derived_id};
use super::mapper::Mapped;
use super::metadata::Content;
use super::{document, json};
use crate::otlp::Malformed;

/// What X-Ray takes.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// For what the document says about itself at its end.
const NOTES_BYTES_MAX: usize = 2 << 10;

/// Where the metadata stops.
const BODY_BYTES_MAX: usize = DOCUMENT_BYTES_MAX - NOTES_BYTES_MAX - 64;

/// Where the other members stop, so that there is room for metadata.
const MEMBERS_BYTES_MAX: usize = 48 << 10;

/// An entry that is larger fits no document, whatever its name.
const ENTRY_BYTES_MAX: usize = BODY_BYTES_MAX - (2 << 10);

/// What is kept of such an entry, before JSON's escapes, of which each is six bytes at most.
const CUT_BYTES: usize = 8 << 10;

/// Documents that continue another.
const PARTS_MAX: u64 = 7;

const METADATA: &str = ",\"metadata\":{\"default\":{";

/// A document as X-Ray takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'d> {
    /// The place of its span in the request body.
    pub item: u32,
    /// The trace that it belongs to.
    pub trace_id: u128,
    /// Its id, by which X-Ray speaks of it.
    pub id: [u8; 8],
    /// When the span began.
    pub time_unix_nanos: u64,
    /// The document.
    pub json: &'d str,
    /// Whether it says that something is missing in it.
    pub is_trimmed: bool,
}

/// What a document begins with.
#[derive(Debug, Clone, Copy)]
pub struct Head<'d> {
    /// The place of its span in the request body.
    pub item: u32,
    /// Its name, clean.
    pub name: &'d str,
    /// Its trace: 16 bytes.
    pub trace_id: &'d [u8],
    /// Its id.
    pub id: [u8; 8],
    /// That of its parent.
    pub parent: Option<[u8; 8]>,
    /// Whether it is a segment; else a subsegment.
    pub is_segment: bool,
    /// When it began.
    pub start_unix_nanos: u64,
    /// When it ended.
    pub end_unix_nanos: u64,
}

/// The document.
pub struct Draft<'d> {
    out: &'d mut String,
    each: &'d mut dyn FnMut(Mapped<'_>),
    head: Head<'d>,
    /// The first document, which the others continue.
    first: [u8; 8],
    parts: u64,
    notes: String,
    notes_left_out: usize,
    /// Where the metadata begins.
    metadata: Option<usize>,
}

impl<'d> Draft<'d> {
    /// Begins a document in the place of what the buffer had.
    pub fn begin(out: &'d mut String, head: Head<'d>, each: &'d mut dyn FnMut(Mapped<'_>)) -> Self {
        out.clear();
        document::open(out, &head);
        Self {
            out,
            each,
            first: head.id,
            head,
            parts: 0,
            notes: String::new(),
            notes_left_out: 0,
            metadata: None,
        }
    }

    /// What there is of it, for members that have limits of their own.
    pub fn body(&mut self) -> &mut String {
        self.out
    }

    /// Writes a member, which is left out again if there is no room for it.
    pub fn section<T>(&mut self, write: impl FnOnce(&mut String) -> T, name: &str) -> Option<T> {
        let before = self.out.len();
        let written = write(self.out);
        let bytes = self.out.len() - before;
        if self.out.len() <= MEMBERS_BYTES_MAX {
            return Some(written);
        }
        self.out.truncate(before);
        self.note(&format!("{name}: {bytes} bytes left out"));
        None
    }

    /// The same for what may find its input malformed.
    pub fn fallible_section<T>(
        &mut self,
        write: impl FnOnce(&mut String) -> Result<T, Malformed>,
        name: &str,
    ) -> Result<Option<T>, Malformed> {
        self.section(write, name).transpose()
    }

    /// Says in the document what is missing in it.
    pub fn note(&mut self, note: &str) {
        let before = self.notes.len();
        json::separate(&mut self.notes);
        push_json_string(&mut self.notes, note);
        if self.notes.len() > NOTES_BYTES_MAX - 128 {
            self.notes.truncate(before);
            self.notes_left_out += 1;
        }
    }

    /// The members are complete: entries of metadata come next.
    pub fn begin_metadata(&mut self) {
        self.metadata = Some(self.out.len());
        self.out.push_str(METADATA);
    }

    /// Writes entries that are JSON already, if all of them have room.
    pub fn entries(&mut self, entries: &str) -> bool {
        let fits = self.out.len() + entries.len() < BODY_BYTES_MAX;
        if fits && !entries.is_empty() {
            json::separate(self.out);
            self.out.push_str(entries);
        }
        fits
    }

    /// Writes an entry, here or in a document that continues this one.
    pub fn entry(&mut self, prefix: &str, key: &str, content: &Content<'_, '_>) -> Result<(), Malformed> {
        let before = self.out.len();
        let is_named = json::entry_name(self.out, prefix, key);
        content.write(self.out)?;
        if self.out.len() > BODY_BYTES_MAX {
            self.move_on(before, (prefix, key), content)?;
        }
        if !is_named {
            self.note(&format!("{}: the key is cut", label(prefix, key)));
        }
        Ok(())
    }

    #[cold]
    fn move_on(
        &mut self,
        before: usize,
        (prefix, key): (&str, &str),
        content: &Content<'_, '_>,
    ) -> Result<(), Malformed> {
        let mut entry = self.out.split_off(before);
        let bytes = entry.trim_start_matches(',').len();
        let is_cut = bytes > ENTRY_BYTES_MAX;
        if is_cut {
            entry.clear();
            json::entry_name(&mut entry, prefix, key);
            content.write_cut(&mut entry, CUT_BYTES)?;
        }
        let entry = entry.trim_start_matches(',');
        if self.out.len() + entry.len() >= BODY_BYTES_MAX && self.parts < PARTS_MAX {
            self.next_part();
        }
        let label = label(prefix, key);
        if !self.entries(entry) {
            self.note(&format!("{label}: {bytes} bytes left out"));
        } else if is_cut {
            self.note(&format!("{label}: {bytes} bytes cut to {}", entry.len()));
        }
        Ok(())
    }

    fn next_part(&mut self) {
        self.close();
        self.parts += 1;
        self.head.parent = Some(self.first);
        self.head.id = derived_id(self.head.trace_id, &self.first, Purpose::Part, self.parts);
        self.head.is_segment = false;
        self.out.clear();
        document::open(self.out, &self.head);
        self.begin_metadata();
    }

    /// Ends the document and hands it out.
    pub fn finish(mut self) {
        self.close();
    }

    fn close(&mut self) {
        let is_trimmed = !self.notes.is_empty();
        if is_trimmed {
            if self.metadata.is_none() {
                self.begin_metadata();
            }
            self.write_notes();
        }
        match self.metadata.take() {
            Some(begin) if self.out.len() == begin + METADATA.len() => self.out.truncate(begin),
            Some(_) => self.out.push_str("}}"),
            None => {}
        }
        self.out.push('}');
        let trace_id = <[u8; 16]>::try_from(self.head.trace_id).unwrap_or_default();
        (self.each)(Mapped::Document(Document {
            item: self.head.item,
            trace_id: u128::from_be_bytes(trace_id),
            id: self.head.id,
            time_unix_nanos: self.head.start_unix_nanos,
            json: self.out,
            is_trimmed,
        }));
    }

    fn write_notes(&mut self) {
        let left_out = std::mem::take(&mut self.notes_left_out);
        if left_out > 0 {
            json::separate(&mut self.notes);
            push_json_string(&mut self.notes, &format!("and {left_out} more"));
        }
        let notes = std::mem::take(&mut self.notes);
        json::array(self.out, "meridian.trimmed", |out| out.push_str(&notes));
    }
}

/// How a note calls an entry.
fn label(prefix: &str, key: &str) -> String {
    let (kept, _) = json::cut(key, 60);
    format!("{prefix}{kept}")
}
