//! Reads durable records back for one exporter, from the page cache as a rule.
//!
//! A reader holds no position: who reads says after which sequence, and moves the cursor
//! when the other side has confirmed.

use std::sync::Arc;

use bytes::Bytes;
use meridian_proto::signal::Signal;
use tokio::sync::watch;

use super::index::Place;
use super::{ReadError, Record, Shared, record};

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
            for place in places {
                match read_one(&place)? {
                    Some(record) => records.push(record),
                    None => self.drop_corrupt(signal, &place),
                }
            }
        }
        Ok(records)
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

/// The record at this place; `None` if it is damaged.
fn read_one(place: &Place) -> Result<Option<Record>, ReadError> {
    let mut bytes = vec![0; place.bytes];
    let read = place
        .file
        .read_at(&mut bytes, place.offset)
        .map_err(|source| ReadError {
            path: place.path.clone(),
            source,
        })?;
    bytes.truncate(read);
    Ok(record::decode(&Bytes::from(bytes), place.salt, place.seq))
}
