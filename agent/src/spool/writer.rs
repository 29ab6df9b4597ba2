//! The one that changes files: appends groups of records, begins and deletes segments, keeps
//! cursors and signs of life.
//!
//! It is synchronous and single-threaded, and a group is either durable as a whole or failed
//! as a whole. It never writes or syncs again where a write or sync has failed: the segment
//! ends after its last durable record, and the next group begins another. It does not wait:
//! gathering a group is [`super::queue`]'s. Segments begin and end in [`room`].

mod room;

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, DiskFile, is_full};
use super::marks::{self, Alive, SavedCursor, Sign};
use super::record::{self, ALIGNMENT, HEADER_BYTES, Header};
use super::scan::Located;
use super::segment::{END_MARK, SEGMENT_HEADER_BYTES, Spare};
use super::window::{Accepted, Window};
use super::{AppendError, Appended, NewRecord, RECORD_BYTES_MAX, Shared, SpoolConfig};
use meridian_runtime::clock::Clock;

/// When a refused client should come back: about what an exporter needs to free a segment.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];

/// What one append is answered.
pub(super) type Answer = Result<Appended, AppendError>;

/// The newest segment while records can be added to it.
struct Active {
    file: Arc<dyn DiskFile>,
    salt: u32,
    /// Where the last durable record ends.
    bytes: u64,
    capacity_bytes: u64,
    /// Its file held another segment before.
    recycled: bool,
}

/// Records that are about to be written together.
#[derive(Default)]
struct Group {
    records: Vec<(Header, NewRecord)>,
    bytes: u64,
    by_hash: HashMap<u128, usize>,
    /// Which answer belongs to which record; several where one is a duplicate of another.
    waiting: Vec<(usize, usize)>,
}

/// Owns the directory.
pub(super) struct Writer {
    config: SpoolConfig,
    disk: Arc<dyn Disk>,
    clock: Clock,
    shared: Arc<Shared>,
    window: Window,
    alive: Alive,
    active: Option<Active>,
    /// The file of a delivered segment, for the next one.
    spare: Option<Spare>,
    empty: Vec<PathBuf>,
    next_seq: u64,
    group: Group,
    /// The disk's last operation for a record failed; logged once until one succeeds.
    failing: bool,
    /// Cursors or a sign of life could not be written; logged once until they can.
    losing_marks: bool,
    _lock: Box<dyn Send>,
}

impl Writer {
    /// Takes over an opened directory; makes no segment before there is a record.
    pub fn new(
        config: SpoolConfig,
        disk: Arc<dyn Disk>,
        clock: Clock,
        shared: Arc<Shared>,
        parts: WriterParts,
    ) -> Self {
        let next_seq = shared.index.lock().next_seq;
        let WriterParts {
            window,
            alive,
            empty,
            lock,
        } = parts;
        Self {
            config,
            disk,
            clock,
            shared,
            window,
            alive,
            active: None,
            spare: None,
            empty,
            next_seq,
            group: Group::default(),
            failing: false,
            losing_marks: false,
            _lock: lock,
        }
    }

    /// Makes the records durable and answers each, in order.
    pub fn commit(&mut self, records: Vec<NewRecord>) -> Vec<Answer> {
        let (received, next_seq) = {
            let mut index = self.shared.index.lock();
            (index.begin_group(self.clock.now_unix_nanos()), index.next_seq)
        };
        if next_seq > self.next_seq {
            // An aggregator knows sequences that this spool has lost: go on after them.
            self.seal();
            self.next_seq = next_seq;
        }
        self.window.expire(received);
        let mut answers: Vec<Option<Answer>> = records.iter().map(|_| None).collect();
        for (slot, record) in records.into_iter().enumerate() {
            if let Some(answer) = self.place(record, slot, received, &mut answers) {
                answers[slot] = Some(answer);
            }
        }
        self.flush(&mut answers);
        // Not before: a group may span segments, and all of it has one time.
        self.shared.index.lock().end_group();
        let unanswered = || {
            Err(AppendError::Failed(Arc::new(io::Error::other(
                "the record was not written",
            ))))
        };
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(unanswered))
            .collect()
    }

    /// Puts a record into the group, or answers it at once.
    fn place(
        &mut self,
        record: NewRecord,
        slot: usize,
        received: u64,
        answers: &mut [Option<Answer>],
    ) -> Option<Answer> {
        if let Some(seq) = record.hash.and_then(|hash| self.window.find(hash)) {
            return Some(Ok(Appended { seq, duplicate: true }));
        }
        if let Some(first) = record.hash.and_then(|hash| self.group.by_hash.get(&hash)) {
            self.group.waiting.push((slot, *first));
            return None;
        }
        let bytes = record::record_bytes(record.overlay.len(), record.body.len());
        let bytes_max = RECORD_BYTES_MAX.min(self.config.max_bytes.saturating_sub(SEGMENT_HEADER_BYTES));
        if bytes > bytes_max {
            return Some(Err(AppendError::TooLarge { bytes, bytes_max }));
        }
        if let Err(error) = self.make_room(bytes, answers) {
            return Some(Err(error));
        }
        let seq = self.next_seq + self.group.records.len() as u64;
        let Some(header) = Header::of(&record, seq, received) else {
            return Some(Err(AppendError::TooLarge { bytes, bytes_max }));
        };
        let position = self.group.records.len();
        if let Some(hash) = record.hash {
            self.group.by_hash.insert(hash, position);
        }
        self.group.waiting.push((slot, position));
        self.group.bytes += bytes;
        self.group.records.push((header, record));
        None
    }

    /// Writes and syncs the group, makes it visible, and answers it.
    fn flush(&mut self, answers: &mut [Option<Answer>]) {
        let group = std::mem::take(&mut self.group);
        if group.records.is_empty() {
            return;
        }
        let written = self.write(&group);
        let failure = written.map_err(|error| {
            self.abandon();
            self.failed("write", error)
        });
        if failure.is_ok() {
            self.works_again();
            self.publish(&group);
        }
        let mut answered = vec![false; group.records.len()];
        for (slot, position) in group.waiting {
            let duplicate = std::mem::replace(&mut answered[position], true);
            let seq = group.records[position].0.seq;
            answers[slot] = Some(failure.clone().map(|()| Appended { seq, duplicate }));
        }
    }

    fn write(&self, group: &Group) -> io::Result<()> {
        let active = self
            .active
            .as_ref()
            .ok_or_else(|| io::Error::other("there is no segment"))?;
        let headers: Vec<[u8; HEADER_BYTES]> = group
            .records
            .iter()
            .map(|(header, _)| header.encode(active.salt))
            .collect();
        let mut parts = Vec::with_capacity(group.records.len() * 4);
        for (bytes, (_, record)) in headers.iter().zip(&group.records) {
            let data = record.overlay.len() + record.body.len();
            let padding = data.next_multiple_of(ALIGNMENT) - data;
            let slices: [&[u8]; 4] = [bytes, &record.overlay, &record.body, &PADDING[..padding]];
            parts.extend(
                slices
                    .into_iter()
                    .filter(|slice| !slice.is_empty())
                    .map(IoSlice::new),
            );
        }
        if active.recycled {
            parts.push(IoSlice::new(&END_MARK));
        }
        active.file.write_at(&mut parts, active.bytes)?;
        if self.config.fsync {
            active.file.sync()?;
        }
        if active.file.is_linked()? {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the segment was deleted while it was in use",
            ))
        }
    }

    /// Makes a durable group visible to readers and to the retry window.
    fn publish(&mut self, group: &Group) {
        let Some(active) = &mut self.active else { return };
        let mut index = self.shared.index.lock();
        index.committed.groups += 1;
        index.committed.records += group.records.len() as u64;
        for (header, _) in &group.records {
            if let Some(segment) = index.segments.back_mut() {
                segment.push(&Located {
                    offset: active.bytes,
                    header: *header,
                });
            }
            active.bytes += header.record_bytes();
            self.next_seq = header.seq + 1;
            if let Some(hash) = header.hash {
                let received_unix_nanos = header.received_unix_nanos;
                self.window.insert(Accepted {
                    hash,
                    seq: header.seq,
                    received_unix_nanos,
                });
            }
        }
        index.next_seq = index.next_seq.max(self.next_seq);
        drop(index);
        self.shared.durable.send_replace(self.next_seq - 1);
    }

    /// See [`Disk::pace`].
    pub fn pace(&self) -> Duration {
        self.disk.pace()
    }

    /// Writes the cursors that moved, and a sign of life.
    pub fn touch(&mut self, clean: bool) {
        self.expire();
        let mut kept = self.write_cursors();
        let unix_nanos = self.clock.now_unix_nanos();
        let next_seq = self.shared.index.lock().next_seq;
        kept = kept.and(self.alive.write(Sign {
            unix_nanos,
            next_seq,
            clean,
        }));
        if clean {
            kept = kept.and(self.alive.sync());
        }
        let was_losing = std::mem::replace(&mut self.losing_marks, kept.is_err());
        if let Err(error) = kept
            && !was_losing
        {
            tracing::warn!(%error, path = %self.config.path.display(), "cannot write the spool's cursors or sign of life");
        }
    }

    pub(super) fn write_cursors(&self) -> io::Result<()> {
        let moved: Vec<(String, SavedCursor)> = {
            let mut index = self.shared.index.lock();
            let cursors = index.cursors.iter_mut();
            let moved = cursors.filter_map(|cursor| std::mem::take(&mut cursor.moved).then_some(cursor));
            moved
                .map(|cursor| {
                    let saved = SavedCursor {
                        undelivered: cursor.undelivered.clone(),
                        asked_seq: cursor.asked_seq,
                    };
                    (cursor.exporter.clone(), saved)
                })
                .collect()
        };
        let dir = self.config.path.join("cursors");
        for (exporter, saved) in moved {
            if let Err(error) = marks::write_cursor(&*self.disk, &dir, &exporter, &saved) {
                let mut index = self.shared.index.lock();
                index
                    .cursors
                    .iter_mut()
                    .for_each(|cursor| cursor.moved |= cursor.exporter == exporter);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The last word of a clean end.
    pub fn close(&mut self) {
        self.seal();
        self.reclaim();
        *self.shared.files.lock() = false;
        self.remove_spare();
        self.touch(true);
    }

    /// How a file error is answered; logged here, when it begins.
    fn failed(&mut self, action: &'static str, error: io::Error) -> AppendError {
        let begins = !std::mem::replace(&mut self.failing, true);
        let path = self.config.path.display();
        if is_full(&error) {
            if begins {
                tracing::warn!(%path, action, "the disk of the spool is full, refusing");
            }
            return AppendError::Full {
                retry_after: RETRY_AFTER,
            };
        }
        if begins {
            tracing::error!(%path, action, %error, "the disk of the spool fails, refusing");
        }
        AppendError::Failed(Arc::new(error))
    }

    fn works_again(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(path = %self.config.path.display(), "the disk of the spool works again");
        }
    }
}

/// What the writer takes over from recovery.
pub(super) struct WriterParts {
    pub window: Window,
    pub alive: Alive,
    pub empty: Vec<PathBuf>,
    pub lock: Box<dyn Send>,
}
