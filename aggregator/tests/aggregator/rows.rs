//! Rows and stores for the tests of this binary. What rows mean is not tested with these.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryArray, Int16Array, Int64Array, MapArray, StringArray, StructArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use meridian_aggregator::config::{MaintenanceConfig, S3Config, StoreConfig};
use meridian_aggregator::store::{Incoming, Lane, LaneKey, Record, Store, StoreMetrics};
use meridian_proto::ids::AgentId;
use meridian_proto::schema;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::metrics::Registry;
use url::Url;

/// Rows of a signal whose ids count up from `first_id`, all at one time.
pub fn rows(signal: Signal, first_id: u64, count: usize, unix_nanos: u64) -> RecordBatch {
    let micros = i64::try_from(unix_nanos / 1_000).expect("a time of this century");
    let columns = schema::of(signal)
        .fields()
        .iter()
        .map(|field| column(field, first_id, count, micros));
    RecordBatch::try_new(Arc::clone(schema::of(signal)), columns.collect()).expect("columns of the schema")
}

fn column(field: &Field, first_id: u64, count: usize, micros: i64) -> ArrayRef {
    let ids = |width: usize| {
        let id = move |row: usize| (first_id + row as u64).to_be_bytes().repeat(width / 8);
        let ids: Vec<Vec<u8>> = (0..count).map(id).collect();
        Arc::new(BinaryArray::from_iter_values(ids)) as ArrayRef
    };
    match (field.name().as_str(), field.data_type()) {
        ("trace_id", _) => ids(16),
        ("span_id", _) => ids(8),
        ("service_name", to) => text("checkout", count, to),
        (_, data_type) if field.is_nullable() => new_null_array(data_type, count),
        (_, to @ DataType::Dictionary(_, _)) => text("x", count, to),
        (_, DataType::Timestamp(_, _)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![micros; count]).with_timezone("UTC"))
        }
        (_, DataType::Int16) => Arc::new(Int16Array::from(vec![0; count])),
        (_, DataType::Int64) => Arc::new(Int64Array::from(vec![7; count])),
        (_, DataType::Map(_, _)) => attributes("42", count),
        (name, other) => panic!("no value for {name}: {other}"),
    }
}

fn text(value: &str, count: usize, to: &DataType) -> ArrayRef {
    let plain = StringArray::from(vec![value; count]);
    cast(&plain, to).expect("strings become dictionaries")
}

/// One entry per row, `{"user.id": value}`.
pub fn attributes(value: &str, count: usize) -> ArrayRef {
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["user.id"; count]));
    let values: ArrayRef = Arc::new(StringArray::from(vec![value; count]));
    let entries = StructArray::new(schema::map_entry_fields(), vec![keys, values], None);
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, count));
    Arc::new(MapArray::new(
        Arc::new(schema::map_entries_field()),
        offsets,
        entries,
        None,
        false,
    ))
}

pub fn agent(number: u8) -> AgentId {
    AgentId::from_slice(&[number; 16]).expect("16 bytes")
}

pub fn now() -> u64 {
    Clock::system().now_unix_nanos()
}

/// One record of two rows for each sequence.
pub fn incoming(signal: Signal, agent: AgentId, seqs: std::ops::RangeInclusive<u64>) -> Incoming {
    let records: Vec<Record> = seqs.clone().map(|seq| Record { seq, rows: 2 }).collect();
    Incoming {
        lane: LaneKey {
            agent,
            lane: Lane::Live,
        },
        region: "eu-central-1".to_owned(),
        batch: rows(signal, seqs.start() * 2, records.len() * 2, now()),
        records,
        reservation: None,
    }
}

/// Nothing is committed unless somebody asks.
pub fn store_config(url: &Url) -> StoreConfig {
    StoreConfig {
        url: url.clone(),
        commit_interval: Duration::from_secs(3_600),
        commit_bytes: 64 << 20,
        maintenance: MaintenanceConfig::default(),
        s3: S3Config::default(),
    }
}

pub async fn open(url: &Url) -> Store {
    open_with(&store_config(url)).await
}

pub async fn open_with(config: &StoreConfig) -> Store {
    let metrics = StoreMetrics::new(&Registry::new()).expect("a registry of its own");
    Store::open(config, Clock::system(), metrics)
        .await
        .expect("the store opens")
}

/// Rows in files and in memory.
pub fn count(store: &Store, signal: Signal) -> (u64, usize) {
    let view = store.view(signal);
    let stored = view.files.iter().map(|file| file.rows).sum();
    (stored, view.hot.iter().map(|hot| hot.batch.num_rows()).sum())
}
