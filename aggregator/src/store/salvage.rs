//! Reads a Delta log of which parts are damaged: an entry that is not JSON reads as one that
//! changed nothing, and a checkpoint that cannot be decoded as if it were not there. What is
//! missing for it is known here, so that answers can say so. It repairs and deletes nothing.
//!
//! An entry is taken whole or not at all: half of a merge would show rows twice. Only the
//! sequences that it records are taken where they can be read, because they keep rows from
//! being stored a second time once the entry is put back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use meridian_runtime::tasks;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result,
};
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// What an entry reads as that cannot be read.
const NOTHING_CHANGED: &[u8] = b"{\"commitInfo\":{}}";
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// An object store through which one table's log is read.
#[derive(Debug)]
pub(crate) struct Salvage {
    inner: Arc<dyn ObjectStore>,
    log: Path,
    damage: Mutex<LogDamage>,
}

/// By path, what is wrong.
#[derive(Debug, Default, Clone)]
struct LogDamage {
    entries: BTreeMap<Path, String>,
    checkpoints: BTreeMap<Path, String>,
}

impl LogDamage {
    fn hides(&self, path: &Path) -> bool {
        let is_pointer = path.filename() == Some(LAST_CHECKPOINT);
        self.checkpoints.contains_key(path) || (is_pointer && !self.checkpoints.is_empty())
    }
}

impl Salvage {
    /// The log of the table in `directory`.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, directory: Path) -> Self {
        Self {
            inner,
            log: directory.join("_delta_log"),
            damage: Mutex::default(),
        }
    }

    /// The entries that could not be read, and why: what they did to the table is unknown.
    pub(crate) fn damaged_entries(&self) -> Vec<(Path, String)> {
        self.damage.lock().entries.clone().into_iter().collect()
    }

    /// The checkpoints that are passed over, and why: what they held is read from what is older.
    pub(crate) fn damaged_checkpoints(&self) -> Vec<(Path, String)> {
        self.damage.lock().checkpoints.clone().into_iter().collect()
    }

    /// Whether something of the log is unknown.
    pub(crate) fn is_lossy(&self) -> bool {
        !self.damage.lock().entries.is_empty()
    }

    /// The log is read from its beginning: what is damaged will be met again.
    pub(crate) fn forget_entries(&self) {
        self.damage.lock().entries.clear();
    }

    /// Looks for checkpoints that cannot be decoded; true if there are new ones, or one of
    /// those that were passed over is whole again.
    pub(crate) async fn look_at_checkpoints(&self) -> Result<bool> {
        let listed: Vec<ObjectMeta> = self.inner.list(Some(&self.log)).try_collect().await?;
        let mut damaged = BTreeMap::new();
        for object in listed {
            let path = object.location;
            let is_checkpoint = path
                .filename()
                .is_some_and(|name| name.contains(".checkpoint.") && name.ends_with(".parquet"));
            if !is_checkpoint {
                continue;
            }
            let bytes = self.inner.get(&path).await?.bytes().await?;
            // A decoder may also panic on what it meets.
            let decoded = tasks::blocking("check a checkpoint", move || decode(bytes)).await;
            if let Err(why) = decoded.unwrap_or_else(|panic| Err(panic.to_string())) {
                tracing::error!(%path, why, "a checkpoint of a table's log is damaged and passed over; put back a copy of it, or delete it");
                damaged.insert(path, why);
            }
        }
        let mut damage = self.damage.lock();
        let is_new = !damaged.keys().eq(damage.checkpoints.keys());
        damage.checkpoints = damaged;
        Ok(is_new)
    }

    /// Whether an entry that was damaged can be read again.
    pub(crate) async fn is_mended(&self) -> bool {
        for (path, _) in self.damaged_entries() {
            let Ok(found) = self.inner.get(&path).await else {
                continue;
            };
            let Ok(bytes) = found.bytes().await else { continue };
            if fault_of(&bytes).is_none() {
                return true;
            }
        }
        false
    }

    fn is_entry(&self, path: &Path) -> bool {
        path.extension() == Some("json") && path.prefix_matches(&self.log)
    }

    async fn entry(&self, path: &Path, found: GetResult) -> Result<GetResult> {
        let (meta, attributes) = (found.meta.clone(), found.attributes.clone());
        let mut bytes = found.bytes().await?;
        let fault = fault_of(&bytes);
        let mut damage = self.damage.lock();
        if let Some(why) = fault {
            bytes = salvaged(&bytes);
            if damage.entries.insert(path.clone(), why.clone()).is_none() {
                tracing::error!(%path, why, "an entry of a table's log is damaged and left out; put back a copy of it, or rows stay missing");
            }
        } else {
            damage.entries.remove(path);
        }
        let size = bytes.len() as u64;
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(std::future::ready(Ok(bytes))).boxed()),
            range: 0..size,
            meta: ObjectMeta { size, ..meta },
            attributes,
        })
    }

    fn visible(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let damage = self.damage.lock().clone();
        listed
            .try_filter(move |object| std::future::ready(!damage.hides(&object.location)))
            .boxed()
    }
}

/// Why these bytes are no entry of a log.
fn fault_of(bytes: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some("it is not UTF-8".to_owned());
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    if lines.peek().is_none() {
        return Some("it is empty".to_owned());
    }
    lines
        .filter_map(|line| serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(line).err())
        .map(|error| format!("it is not JSON: {error}"))
        .next()
}

/// The entry without what it changes: only the sequences that it records.
fn salvaged(bytes: &[u8]) -> Bytes {
    let is_transaction = |line: &&[u8]| {
        let value = serde_json::from_slice::<serde_json::Value>(line);
        value.is_ok_and(|value| value["txn"].is_object())
    };
    let transactions = bytes.split(|byte| *byte == b'\n').filter(is_transaction);
    let lines: Vec<&[u8]> = std::iter::once(NOTHING_CHANGED).chain(transactions).collect();
    Bytes::from(lines.join(&b'\n'))
}

fn decode(bytes: Bytes) -> std::result::Result<(), String> {
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| error.to_string())?;
    reader.try_for_each(|batch| batch.map(drop).map_err(|error| error.to_string()))
}

#[async_trait]
impl ObjectStore for Salvage {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.damage.lock().hides(location) {
            return Err(Error::NotFound {
                path: location.to_string(),
                source: "it is damaged, or points to what is".into(),
            });
        }
        let is_whole = !options.head && options.range.is_none();
        let found = self.inner.get_opts(location, options).await?;
        if is_whole && self.is_entry(location) {
            return self.entry(location, found).await;
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.visible(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.visible(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        let damage = self.damage.lock();
        listed.objects.retain(|object| !damage.hides(&object.location));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl std::fmt::Display for Salvage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str =
        "{\"add\":{\"path\":\"a\"}}\n{\"commitInfo\":{}}\n{\"txn\":{\"appId\":\"x\",\"version\":7}}";

    #[test]
    fn an_entry_that_is_cut_or_empty_or_overwritten_is_damaged() {
        assert_eq!(fault_of(ENTRY.as_bytes()), None);
        for bytes in [&b""[..], b"\n", b"{\"add\":{\"pa", b"{\"add\":{\xff}}", b"[1]"] {
            assert!(fault_of(bytes).is_some(), "{bytes:?}");
        }
    }

    #[test]
    fn of_a_damaged_entry_only_the_sequences_are_taken() {
        let damaged = ENTRY.replace("\"path\"", "\"path");
        let read = salvaged(damaged.as_bytes());
        assert_eq!(
            std::str::from_utf8(&read).expect("text"),
            "{\"commitInfo\":{}}\n{\"txn\":{\"appId\":\"x\",\"version\":7}}"
        );
    }
}
