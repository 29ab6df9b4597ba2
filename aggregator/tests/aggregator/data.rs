//! A fixed data set whose answers are known by hand: three regions, a call that crosses
//! them, an error, two logs, and a metric; half in Parquet files, half in memory. Nothing is
//! ingested: the views are built here.

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int16Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use chrono::DateTime;
use meridian_aggregator::coverage::{
    AgentReport, AgentState, RegionReport, RegionState, Report, Status, Window,
};
use meridian_aggregator::query::Source;
use meridian_aggregator::store::{Damage, DataFile, HotBatch, View};
use meridian_proto::ids::{AgentId, from_hex};
use meridian_proto::schema;
use meridian_proto::signal::Signal;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::rows::attributes;

/// 2026-11-23T12:00:00Z.
pub const NOW_NANOS: u64 = 1_795_435_200 * 1_000_000_000;
const NOW_MICROS: i64 = 1_795_435_200 * 1_000_000;
pub const TRACE_A: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub const TRACE_B: &str = "0af7651916cd43dd8448eb211c80319c";

/// Columns that differ from null or the neutral value, one row.
type Row = BTreeMap<&'static str, Cell>;

#[derive(Clone)]
pub enum Cell {
    Text(&'static str),
    Id(&'static str),
    Int(i64),
    /// Seconds before now.
    Ago(i64),
}
use Cell::{Ago, Id, Int, Text};

/// Serves the fixed views.
#[derive(Debug)]
pub struct Fixture {
    store: Arc<dyn ObjectStore>,
    views: BTreeMap<Signal, View>,
}

impl Fixture {
    /// Writes the files below `directory`.
    pub fn new(directory: &FsPath) -> Self {
        let store: Arc<dyn ObjectStore> =
            Arc::new(LocalFileSystem::new_with_prefix(directory).expect("a directory"));
        let mut views = BTreeMap::new();
        for (signal, stored, hot) in [
            (Signal::Spans, stored_spans(), hot_spans()),
            (Signal::Logs, logs(), Vec::new()),
            (Signal::Metrics, Vec::new(), metrics()),
        ] {
            let files = stored.iter().enumerate().map(|(number, row)| {
                let batch = batch(signal, row);
                Arc::new(file(directory, signal, number, row, &batch))
            });
            let hot = hot.iter().map(|row| Arc::new(hot_batch(row, batch(signal, row))));
            let view = View {
                version: 1,
                files: Arc::new(files.collect()),
                hot: hot.collect(),
                removed_to: None,
                damage: Damage::default(),
            };
            views.insert(signal, view);
        }
        Self { store, views }
    }

    /// Many spans in memory, to have more than a limit.
    pub fn with_hot_spans(mut self, count: usize) -> Self {
        let row = &hot_spans()[0];
        let one = batch(Signal::Spans, row);
        let many = concat_batches(&one.schema(), &vec![one.clone(); count]).expect("one schema");
        let view = self.views.get_mut(&Signal::Spans).expect("spans");
        view.hot.push(Arc::new(hot_batch(row, many)));
        self
    }

    pub fn files(&self, signal: Signal) -> Vec<Arc<DataFile>> {
        self.views[&signal].files.to_vec()
    }
}

impl Source for Fixture {
    fn view(&self, signal: Signal) -> View {
        self.views[&signal].clone()
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// `us` is silent; the others are complete to ten seconds ago.
    fn report(&self, regions: Option<&[String]>, window: Window) -> Report {
        let wanted = |name: &str| regions.is_none_or(|regions| regions.iter().any(|region| region == name));
        let names = ["eu", "us", "ap"].into_iter().filter(|name| wanted(name));
        let regions: Vec<RegionReport> = names.map(region).collect();
        let silent = regions.iter().any(|region| region.state == RegionState::Silent);
        Report {
            status: if silent { Status::Partial } else { Status::Ok },
            as_of: NOW_NANOS,
            complete_to: regions.iter().filter_map(|region| region.complete_to).min(),
            regions,
            warnings: window
                .from
                .map(|from| format!("window from {from}"))
                .into_iter()
                .collect(),
        }
    }

    fn agents(&self) -> Vec<AgentReport> {
        vec![
            agent("eu", AgentState::Ok, 1),
            agent("us", AgentState::Silent, 300),
        ]
    }

    fn now_unix_nanos(&self) -> u64 {
        NOW_NANOS
    }
}

fn region(name: &str) -> RegionReport {
    let silent = name == "us";
    let seen = NOW_NANOS - if silent { 300_000_000_000 } else { 1_000_000_000 };
    RegionReport {
        region: name.to_owned(),
        complete_to: Some(seen - 9_000_000_000),
        last_seen: Some(seen),
        agents_reporting: u32::from(!silent),
        agents_expected: 1,
        completeness: Some(if silent { 0.0 } else { 1.0 }),
        state: if silent {
            RegionState::Silent
        } else {
            RegionState::Ok
        },
        gaps: Vec::new(),
    }
}

fn agent(region: &str, state: AgentState, seen_seconds_ago: u64) -> AgentReport {
    let last_seen = NOW_NANOS - seen_seconds_ago * 1_000_000_000;
    AgentReport {
        region: region.to_owned(),
        cluster: "prod".to_owned(),
        node: "node-1".to_owned(),
        agent_id: AgentId::from_slice(&[7; 16]).expect("16 bytes"),
        version: "0.1.0".to_owned(),
        state,
        last_seen,
        watermark: Some(last_seen),
        pending_items: 5,
        pending_bytes: 500,
        oldest_pending: None,
        clock_offset_ms: 0,
    }
}

fn span(pairs: &[(&'static str, Cell)], rest: &[(&'static str, Cell)]) -> Row {
    pairs.iter().chain(rest).cloned().collect()
}

/// The request to the shop in `eu`, whose call to `us` fails there with HTTP 503.
fn stored_spans() -> Vec<Row> {
    let shop = [
        ("region", Text("eu")),
        ("service_name", Text("shop")),
        ("trace_id", Id(TRACE_A)),
    ];
    let stock = [
        ("region", Text("us")),
        ("service_name", Text("stock")),
        ("trace_id", Id(TRACE_A)),
    ];
    vec![
        span(
            &shop,
            &[
                ("span_id", Id("0000000000000001")),
                ("name", Text("GET /cart")),
                ("kind", Text("SERVER")),
                ("status_code", Text("OK")),
                ("start_time", Ago(600)),
                ("duration_ns", Int(900_000_000)),
            ],
        ),
        span(
            &shop,
            &[
                ("span_id", Id("0000000000000002")),
                ("parent_span_id", Id("0000000000000001")),
                ("name", Text("GET stock")),
                ("kind", Text("CLIENT")),
                ("status_code", Text("ERROR")),
                ("start_time", Ago(599)),
                ("duration_ns", Int(500_000_000)),
            ],
        ),
        span(
            &stock,
            &[
                ("span_id", Id("0000000000000003")),
                ("parent_span_id", Id("0000000000000002")),
                ("name", Text("GET /stock")),
                ("kind", Text("SERVER")),
                ("status_code", Text("UNSET")),
                ("http_response_status_code", Int(503)),
                ("start_time", Ago(598)),
                ("duration_ns", Int(400_000_000)),
            ],
        ),
        span(
            &shop,
            &[
                ("trace_id", Id("0000000000000000000000000000000f")),
                ("span_id", Id("00000000000000ff")),
                ("name", Text("GET /old")),
                ("kind", Text("SERVER")),
                ("status_code", Text("OK")),
                ("start_time", Ago(86_400 * 2)),
                ("duration_ns", Int(5_000_000_000)),
            ],
        ),
    ]
}

fn hot_spans() -> Vec<Row> {
    vec![span(
        &[],
        &[
            ("region", Text("eu")),
            ("service_name", Text("shop")),
            ("trace_id", Id(TRACE_B)),
            ("span_id", Id("0000000000000009")),
            ("name", Text("GET /cart")),
            ("kind", Text("SERVER")),
            ("status_code", Text("OK")),
            ("start_time", Ago(5)),
            ("duration_ns", Int(100_000_000)),
            (
                "resource",
                Text(r#"{"attributes":[{"key":"host.arch","value":{"stringValue":"arm64"}}]}"#),
            ),
        ],
    )]
}

fn logs() -> Vec<Row> {
    vec![
        span(
            &[],
            &[
                ("region", Text("us")),
                ("service_name", Text("stock")),
                ("time", Ago(598)),
                ("trace_id", Id(TRACE_A)),
                ("span_id", Id("0000000000000003")),
                ("severity_number", Int(17)),
                ("severity_text", Text("ERROR")),
                ("body", Text("database is away")),
            ],
        ),
        span(
            &[],
            &[
                ("region", Text("eu")),
                ("service_name", Text("shop")),
                ("time", Ago(600)),
                ("trace_id", Id(TRACE_A)),
                ("severity_number", Int(9)),
                ("severity_text", Text("INFO")),
                ("body", Text("cart opened")),
            ],
        ),
    ]
}

fn metrics() -> Vec<Row> {
    vec![span(
        &[],
        &[
            ("region", Text("eu")),
            ("service_name", Text("shop")),
            ("time", Ago(30)),
            ("metric_name", Text("cart.size")),
            ("metric_type", Text("gauge")),
            ("unit", Text("1")),
            ("series_id", Int(42)),
        ],
    )]
}

fn batch(signal: Signal, row: &Row) -> RecordBatch {
    let columns = schema::of(signal)
        .fields()
        .iter()
        .map(|field| column(field, row.get(field.name().as_str())));
    RecordBatch::try_new(Arc::clone(schema::of(signal)), columns.collect()).expect("a row of the schema")
}

fn column(field: &Field, cell: Option<&Cell>) -> ArrayRef {
    let plain: ArrayRef = match (cell, field.data_type()) {
        (Some(Text(text)), _) => Arc::new(StringArray::from(vec![*text])),
        (Some(Id(hex)), _) => Arc::new(BinaryArray::from_vec(vec![&from_hex(hex).expect("hex")])),
        (Some(Int(number)), _) => Arc::new(Int64Array::from(vec![*number])),
        (Some(Ago(seconds)), _) => Arc::new(
            TimestampMicrosecondArray::from(vec![NOW_MICROS - seconds * 1_000_000]).with_timezone("UTC"),
        ),
        (None, data_type) if field.is_nullable() => new_null_array(data_type, 1),
        (None, DataType::Dictionary(..)) => Arc::new(StringArray::from(vec!["x"])),
        (None, DataType::Int16) => Arc::new(Int16Array::from(vec![0])),
        (None, DataType::Int32) => Arc::new(Int32Array::from(vec![0])),
        (None, DataType::Int64) => Arc::new(Int64Array::from(vec![0])),
        (None, DataType::Timestamp(..)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![NOW_MICROS]).with_timezone("UTC"))
        }
        (None, DataType::Map(..)) => attributes("7", 1),
        (None, other) => panic!("no value for {}: {other}", field.name()),
    };
    cast(&plain, field.data_type()).expect("the column's type")
}

fn text_of(row: &Row, name: &str) -> String {
    match row.get(name) {
        Some(Text(text)) => (*text).to_owned(),
        _ => panic!("{name} is a text of every row"),
    }
}

fn time_of(row: &Row) -> i64 {
    match row.get("start_time").or_else(|| row.get("time")) {
        Some(Ago(seconds)) => NOW_MICROS - seconds * 1_000_000,
        _ => panic!("every row has a time"),
    }
}

fn hot_batch(row: &Row, batch: RecordBatch) -> HotBatch {
    HotBatch {
        batch,
        region: text_of(row, "region"),
        time_min: time_of(row),
        time_max: time_of(row),
    }
}

/// A file as the store writes them: plain strings, no partition columns, a bloom filter.
fn file(directory: &FsPath, signal: Signal, number: usize, row: &Row, batch: &RecordBatch) -> DataFile {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(..) => field.as_ref().clone().with_data_type(DataType::Utf8),
        _ => field.as_ref().clone(),
    };
    let kept: Vec<(Field, ArrayRef)> = (batch.schema().fields().iter().zip(batch.columns()))
        .filter(|(field, _)| field.name() != "region")
        .map(|(field, array)| {
            (
                plain(field),
                cast(array, plain(field).data_type()).expect("plain"),
            )
        })
        .collect();
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = kept.into_iter().unzip();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("plain rows");
    let properties = WriterProperties::builder()
        .set_column_bloom_filter_enabled(ColumnPath::from("trace_id"), true)
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), rows.schema(), options).expect("a writer");
    writer.write(&rows).expect("rows");
    let bytes = writer.into_inner().expect("a file");
    let name = format!("{signal}-{number}.parquet");
    std::fs::write(directory.join(&name), &bytes).expect("written");
    let (time, service) = (time_of(row), text_of(row, "service_name"));
    DataFile {
        path: Path::from(name),
        size: bytes.len() as u64,
        date: DateTime::from_timestamp_micros(time)
            .expect("a time")
            .date_naive(),
        region: text_of(row, "region"),
        rows: 1,
        time_min: time,
        time_max: time,
        service_min: Some(service.clone()),
        service_max: Some(service),
    }
}
