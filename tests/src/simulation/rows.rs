//! The rows of the spans table, read by replaying every entry of its Delta log and opening its
//! Parquet files: nothing of the aggregator's reading is used.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use arrow_array::{Array, BinaryArray, RecordBatch};
use bytes::Bytes;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::bucket::Bucket;

/// A span's id.
pub(super) type Id = [u8; 8];

/// What the log of the table says, replayed from its first entry.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The files of the newest version.
    pub(super) files: BTreeSet<String>,
}

impl Log {
    /// Replays the log. A committed sequence that descends is an error: a cursor went back.
    pub(super) fn replay(entries: &BTreeMap<Path, Bytes>) -> Result<Self> {
        let mut log = Self::default();
        let mut sequences: BTreeMap<String, i64> = BTreeMap::new();
        let of_spans = entries
            .iter()
            .filter(|(path, _)| path.as_ref().contains("spans/_delta_log/"));
        for (number, (path, entry)) in of_spans.enumerate() {
            let version = path.filename().and_then(|name| name.strip_suffix(".json"));
            let version: usize = version.context("a version")?.parse()?;
            ensure!(version == number, "version {version} follows {number} others");
            for action in serde_json::Deserializer::from_slice(entry).into_iter::<Value>() {
                log.apply(&action?, &mut sequences)
                    .with_context(|| format!("entry {path}"))?;
            }
        }
        Ok(log)
    }

    fn apply(&mut self, action: &Value, sequences: &mut BTreeMap<String, i64>) -> Result<()> {
        if let Some(path) = action["add"]["path"].as_str() {
            ensure!(self.files.insert(path.to_owned()), "{path} is added twice");
        }
        if let Some(path) = action["remove"]["path"].as_str() {
            ensure!(self.files.remove(path), "{path} is removed and was not there");
        }
        if let Some(lane) = action["txn"]["appId"].as_str() {
            let version = action["txn"]["version"]
                .as_i64()
                .context("a transaction's version")?;
            let before = sequences.insert(lane.to_owned(), version).unwrap_or(0);
            ensure!(
                version >= before,
                "the committed sequence of {lane} went from {before} to {version}"
            );
        }
        Ok(())
    }
}

/// The spans of each file that was ever read.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, Vec<Id>>);

impl Files {
    /// The spans of a file, named as in the log.
    pub(super) async fn spans(&mut self, bucket: &Bucket, name: &str) -> Result<&[Id]> {
        if !self.0.contains_key(name) {
            let path = Path::parse(format!("store/spans/{name}"))?;
            let bytes = bucket
                .read(&path)
                .await
                .with_context(|| format!("the table's file {name}"))?;
            let mut ids = Vec::new();
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
                ids.extend(ids_of(&batch?)?);
            }
            self.0.insert(name.to_owned(), ids);
        }
        Ok(self.0.get(name).map(Vec::as_slice).unwrap_or_default())
    }
}

/// The spans' ids of a batch.
pub(super) fn ids_of(batch: &RecordBatch) -> Result<Vec<Id>> {
    let column = batch.column_by_name("span_id").context("no column span_id")?;
    let Some(ids) = column.as_any().downcast_ref::<BinaryArray>() else {
        bail!("span_id is of type {}", column.data_type());
    };
    let ids = ids.iter().map(|id| Ok(Id::try_from(id.context("no id")?)?));
    ids.collect()
}
