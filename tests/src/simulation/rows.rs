//! The rows of the tables, read by replaying every entry of their Delta logs and opening their
//! Parquet files: nothing of the aggregator's reading is used.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch};
use bytes::Bytes;
use meridian_proto::signal::Signal;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::bucket::Bucket;

/// What tells an item from all others: a span's id, that of a log's span, a data point's value.
pub(super) type Id = [u8; 8];

/// What the log of a table says, replayed from its first entry.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The files of the newest version.
    pub(super) files: BTreeSet<String>,
}

impl Log {
    /// Replays the log. A committed sequence that descends is an error: a cursor went back.
    pub(super) fn replay(signal: Signal, entries: &BTreeMap<Path, Bytes>) -> Result<Self> {
        let mut log = Self::default();
        let mut sequences: BTreeMap<String, i64> = BTreeMap::new();
        let log_path = format!("store/{signal}/_delta_log/");
        let of_table = entries
            .iter()
            .filter(|(path, _)| path.as_ref().starts_with(&log_path));
        for (number, (path, entry)) in of_table.enumerate() {
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

/// The items of each file that was ever read.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<Path, Vec<Id>>);

impl Files {
    /// The items of a file.
    pub(super) async fn ids(&mut self, bucket: &Bucket, signal: Signal, path: &Path) -> Result<&[Id]> {
        if !self.0.contains_key(path) {
            let bytes = bucket
                .read(path)
                .await
                .with_context(|| format!("the table's file {path}"))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
            let only = ProjectionMask::columns(reader.parquet_schema(), [column(signal)]);
            let mut ids = Vec::new();
            for batch in reader.with_projection(only).build()? {
                ids.extend(ids_of(signal, &batch?)?);
            }
            self.0.insert(path.clone(), ids);
        }
        Ok(self.0.get(path).map(Vec::as_slice).unwrap_or_default())
    }
}

fn column(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans | Signal::Logs => "span_id",
        Signal::Metrics => "value_int",
    }
}

/// The items of a batch.
pub(super) fn ids_of(signal: Signal, batch: &RecordBatch) -> Result<Vec<Id>> {
    let name = column(signal);
    let column = batch
        .column_by_name(name)
        .with_context(|| format!("no column {name}"))?;
    if let Some(ids) = column.as_any().downcast_ref::<BinaryArray>() {
        let ids = ids.iter().map(|id| Ok(Id::try_from(id.context("no id")?)?));
        return ids.collect();
    }
    let Some(values) = column.as_any().downcast_ref::<Int64Array>() else {
        bail!("{name} is of type {}", column.data_type());
    };
    values
        .iter()
        .map(|value| Ok(value.context("no value")?.to_be_bytes()))
        .collect()
}
