//! Reads durable records back for one exporter, from the page cache as a rule.
//!
//! A reader holds no position: who reads says after which sequence, and moves the cursor
//! when the other side has confirmed.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use bytes::Bytes;
use meridian_proto::signal::Signal;
use tokio::sync::watch;

use super::index::Place;
use super::{ReadError, Record, Shared, record};

/// Records that lie within one stretch of so many bytes are read at once.
const RUN_BYTES: u64 = 1 << 20;
/// A gap of a page is read over.
const GAP_BYTES_MAX: u64 = 4096;

/// Reads durable records for one exporter.
#[derive(Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) durable: watch::Receiver<u64>,
}

impl Reader {
    /// Records of the signal after `after_seq` in order: at least one if there is any, and no
    /// more than both limits allow. A damaged record is left out and counted as dropped.
    /// Reads files: call it where blocking is allowed.
    pub fn read(
        &self,
        signal: Signal,
        after_seq: u64,
        max_items: u32,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let mut records = Vec::new();
        while records.is_empty() {
            let index = self.shared.index.lock();
            let places = index.places(signal, after_seq, u64::from(max_items), max_bytes as u64);
            drop(index);
            if places.is_empty() {
                break;
            }
            for run in places.chunk_by(follows) {
                let bytes = read_run(run)?;
                for place in run {
                    match decode(&bytes, run, place) {
                        Some(record) => records.push(record),
                        None => self.drop_corrupt(signal, place),
                    }
                }
            }
        }
        Ok(records)
    }

    /// Whether there is a record of the signal after `after_seq`. Touches no file.
    pub fn has_more(&self, signal: Signal, after_seq: u64) -> bool {
        self.shared.index.lock().has_after(signal, after_seq)
    }

    /// Resolves when records became durable since the last call; may resolve too often.
    pub async fn wait_for_more(&mut self) {
        if self.durable.changed().await.is_err() {
            // Not reached while the reader itself keeps the sender.
            std::future::pending::<()>().await;
        }
    }

    fn drop_corrupt(&self, signal: Signal, place: &Place) {
        if self.shared.index.lock().drop_corrupt(signal, place.seq) {
            tracing::error!(
                segment = %place.path.display(),
                seq = place.seq,
                "a record of the spool is damaged and dropped"
            );
        }
    }
}

/// Whether two records are read together: so little of other signals lies between them that
/// another read would cost more.
fn follows(one: &Place, other: &Place) -> bool {
    let end = one.offset + one.bytes as u64;
    let is_near = (end..=end + GAP_BYTES_MAX).contains(&other.offset);
    // Runs begin anew at these multiples, so that no buffer is kept long by a few of its records.
    let is_same_stretch = one.offset / RUN_BYTES == other.offset / RUN_BYTES;
    Arc::ptr_eq(&one.file, &other.file) && is_near && is_same_stretch
}

/// The bytes from the first record of a run to the end of its last; fewer if the file ends before.
fn read_run(run: &[Place]) -> Result<Bytes, ReadError> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return Ok(Bytes::new());
    };
    let before_last = usize::try_from(last.offset - first.offset).unwrap_or(0);
    let length = before_last + last.bytes;
    let mut bytes = Vec::with_capacity(length);
    let read = first.file.read_into(&mut bytes, length, first.offset);
    read.map_err(|source| ReadError {
        path: first.path.clone(),
        source,
    })?;
    Ok(Bytes::from(bytes))
}

/// The record at this place of a run; `None` if it is damaged.
fn decode(bytes: &Bytes, run: &[Place], place: &Place) -> Option<Record> {
    let begin = usize::try_from(place.offset - run.first()?.offset).ok()?;
    let end = (begin + place.bytes).min(bytes.len());
    if begin > end {
        return None;
    }
    record::decode(&bytes.slice(begin..end), place.salt, place.seq)
}
