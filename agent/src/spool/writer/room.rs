//! Room for records: when a segment begins and ends, and which is deleted.
//!
//! It writes no record.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::disk::is_full;
use super::super::index::Segment;
use super::super::recovery::nanos;
use super::super::segment::{self, END_MARK, SEGMENT_HEADER_BYTES, SegmentHeader, Spare};
use super::super::{AppendError, DropReason, SEGMENT_BYTES_MAX, WhenFull};
use super::{Active, Answer, RETRY_AFTER, Writer};

/// Segments are made so large that a full spool has about so many: each is an open file.
const SEGMENTS_MAX: u64 = 256;

impl Writer {
    /// Makes sure that the active segment has room for so many bytes beside the group's.
    pub(super) fn make_room(
        &mut self,
        bytes: u64,
        answers: &mut [Option<Answer>],
    ) -> Result<(), AppendError> {
        if self
            .active
            .as_ref()
            .is_some_and(|active| self.fits(active, bytes))
        {
            return Ok(());
        }
        self.flush(answers);
        self.seal();
        let capacity = self.capacity_for_segment(bytes)?;
        self.begin_segment(capacity)
            .map_err(|error| self.failed("begin a segment", error))
    }

    fn fits(&self, active: &Active, bytes: u64) -> bool {
        let mark = if active.recycled { END_MARK.len() as u64 } else { 0 };
        active.bytes + self.group.bytes + bytes + mark <= active.capacity_bytes
    }

    /// Bytes that a new segment for such a record may take; frees space by the spool's policy.
    fn capacity_for_segment(&mut self, bytes: u64) -> Result<u64, AppendError> {
        let least = SEGMENT_HEADER_BYTES + bytes;
        self.reclaim();
        loop {
            let used = self.shared.index.lock().bytes();
            let room = self.config.max_bytes.saturating_sub(used);
            if room >= least {
                return Ok(self.usual_bytes().min(room).max(least));
            }
            if !self.free_oldest() {
                return Err(AppendError::Full {
                    retry_after: RETRY_AFTER,
                });
            }
        }
    }

    /// The size of a segment unless something is in the way.
    fn usual_bytes(&self) -> u64 {
        let usual = self
            .config
            .segment_bytes
            .max(self.config.max_bytes / SEGMENTS_MAX);
        usual.min(self.config.max_bytes / 4).min(SEGMENT_BYTES_MAX)
    }

    /// Deletes the oldest segment if it is delivered or may be dropped. The newest needs a
    /// successor first, because its name says which sequences are used: an empty one will do.
    fn free_oldest(&mut self) -> bool {
        let is_delivered = {
            let index = self.shared.index.lock();
            let oldest = index.segments.front();
            oldest.is_some_and(|oldest| index.is_delivered(oldest))
        };
        (is_delivered || self.config.when_full == WhenFull::DropOldest)
            && self.release_oldest(DropReason::Full)
    }

    /// Gives up segments whose newest record is older than the spool keeps any.
    pub(super) fn expire(&mut self) {
        let Some(max_age) = self.config.max_age else {
            return;
        };
        let before = self.clock.now_unix_nanos().saturating_sub(nanos(max_age));
        while self.shared.index.lock().oldest_is_before(before) && self.release_oldest(DropReason::Expired) {}
    }

    fn release_oldest(&mut self, reason: DropReason) -> bool {
        let (only, delivered) = {
            let index = self.shared.index.lock();
            let Some(oldest) = index.segments.front() else {
                return false;
            };
            (index.segments.len() == 1, index.is_delivered(oldest))
        };
        if only {
            let begun = self.begin_segment(SEGMENT_HEADER_BYTES);
            if begun
                .map_err(|error| self.failed("begin a segment", error))
                .is_err()
            {
                return false;
            }
        }
        if !delivered {
            let items = self.shared.index.lock().drop_oldest(reason);
            let why = if reason == DropReason::Full {
                "full"
            } else {
                "over its age"
            };
            tracing::warn!(items, why, path = %self.config.path.display(), "dropping the oldest segment of the spool");
        }
        self.reclaim() > 0
    }

    /// Ends the active segment after its last durable record, because nothing is known of
    /// what follows. Should the cut not hold, the next segment's name says where it ends.
    pub(super) fn abandon(&mut self) {
        if let Some(active) = self.active.take()
            && let Err(error) = active.file.truncate(active.bytes)
        {
            tracing::warn!(%error, "cannot cut a segment after a failed write");
        }
    }

    /// Ends the active segment and gives back what it reserved.
    pub(super) fn seal(&mut self) {
        if let Some(active) = self.active.take()
            && active.bytes < active.capacity_bytes
            && let Err(error) = active.file.truncate(active.bytes)
        {
            tracing::warn!(%error, "cannot release the reserved end of a segment");
        }
    }

    /// Makes the next segment, named by the next sequence, durable under its name.
    fn begin_segment(&mut self, capacity_bytes: u64) -> io::Result<()> {
        if !self.alive.is_linked()? {
            // A new directory by the same name may be another agent's by now.
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the spool's directory was deleted while it was in use; restart the agent",
            ));
        }
        let salt = rand::random();
        // A record that fills its segment leaves no room for the mark.
        let is_usual = capacity_bytes == self.usual_bytes();
        let spare = self.spare.take_if(|spare| is_usual && spare.fits(capacity_bytes));
        self.remove_spare();
        let recycled = spare.is_some();
        let header = SegmentHeader {
            identity: self.shared.identity,
            first_seq: self.next_seq,
            salt,
            cold: None,
            recycled,
        };
        let (path, file) = segment::create(&*self.disk, &self.config.path, &header, capacity_bytes, spare)?;
        self.empty.retain(|empty| *empty != path);
        let opened = Segment::new(Arc::clone(&file), path, salt, self.next_seq, SEGMENT_HEADER_BYTES);
        let mut index = self.shared.index.lock();
        if let Some(before) = index.segments.pop_back_if(|last| last.is_empty())
            && before.path != opened.path
        {
            self.empty.push(before.path);
        }
        index.segments.push_back(opened);
        drop(index);
        self.active = Some(Active {
            file,
            salt,
            bytes: SEGMENT_HEADER_BYTES,
            capacity_bytes,
            recycled,
        });
        for empty in self.empty.drain(..) {
            if let Err(error) = self.disk.remove(&empty) {
                tracing::warn!(%error, segment = %empty.display(), "cannot remove an empty segment");
            }
        }
        Ok(())
    }

    /// Removes the file that is kept for the next segment.
    pub(super) fn remove_spare(&mut self) {
        if let Some(spare) = self.spare.take()
            && let Err(error) = self.disk.remove(&spare.path)
        {
            tracing::warn!(%error, file = %spare.path.display(), "cannot remove the file of a deleted segment");
        }
    }

    /// Deletes the segments that every exporter has passed; returns how many.
    pub fn reclaim(&mut self) -> usize {
        let mut deleted = 0;
        while self.shared.index.lock().oldest_is_delivered() {
            match self.delete_oldest() {
                Ok(()) => deleted += 1,
                Err(error) => {
                    tracing::error!(%error, path = %self.config.path.display(), "cannot delete a delivered segment");
                    break;
                }
            }
        }
        if deleted > 0
            && let Err(error) = self.disk.sync_dir(&self.config.path)
        {
            tracing::warn!(%error, "deleted segments may come back after a crash and be sent again");
            // Under its old name it must not come back with another content.
            self.remove_spare();
        }
        deleted
    }

    fn delete_oldest(&mut self) -> io::Result<()> {
        let (path, last_seq) = {
            let index = self.shared.index.lock();
            let Some(oldest) = index.segments.front() else {
                return Ok(());
            };
            (oldest.path.clone(), oldest.last_seq())
        };
        self.window.expire(self.shared.index.lock().last_time);
        match self.window.save_up_to(last_seq) {
            // Without room nothing could ever be deleted, and so no room be made. The hashes
            // stay in memory and are saved with the next segment's.
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "no room to keep the retry window of a deleted segment");
            }
            saved => saved?,
        }
        // Nobody puts a compressed one in its place meanwhile.
        let shared = Arc::clone(&self.shared);
        let _files = shared.files.lock();
        if self.keep_spare(&path)? {
            return Ok(());
        }
        match self.disk.remove(&path) {
            // Somebody else was faster; it was to go anyway.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        self.shared.index.lock().segments.pop_front();
        Ok(())
    }

    /// Keeps the file of the oldest segment for the next one, if there is none yet, it has the
    /// usual size, and the spool has room for one more.
    fn keep_spare(&mut self, path: &Path) -> io::Result<bool> {
        let active = self.active.as_ref().map_or(0, |active| active.capacity_bytes);
        let (file, bytes) = {
            let index = self.shared.index.lock();
            let Some(oldest) = index.segments.front() else {
                return Ok(false);
            };
            let is_raw = oldest.cold_bytes.is_none();
            if self.spare.is_some() || !is_raw || index.bytes() + active > self.config.max_bytes {
                return Ok(false);
            }
            (Arc::clone(&oldest.file), oldest.bytes)
        };
        let usual = self.usual_bytes();
        if bytes > usual || bytes < usual - usual / 4 || !file.is_linked()? {
            return Ok(false);
        }
        // The name of a file that is removed when the spool is opened next.
        let kept = path.with_extension("tmp");
        self.disk.rename(path, &kept)?;
        self.shared.index.lock().segments.pop_front();
        let path = kept;
        self.spare = Some(Spare { path, file, bytes });
        Ok(true)
    }
}
