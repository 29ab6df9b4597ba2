//! Tests of the whole way: arbitrary requests of an independent implementation
//! (opentelemetry-proto) in, rows, payload, rows, OTLP JSON, and back.

pub mod arbitrary;
pub mod normal;
mod roundtrip;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as Logs;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Spans;
use proptest::prelude::*;

use super::{CheckLimits, Origin, RowBuilder, check, json_to_protobuf};

pub fn builder(signal: Signal) -> RowBuilder {
    let origin = Origin {
        region: "eu-central-1".to_owned(),
        cluster: "prod".to_owned(),
        node: "node-1".to_owned(),
        agent_id: "a".to_owned(),
    };
    RowBuilder::new(signal, &origin)
}

/// Nothing that arrives may panic, whatever it is.
fn survive(signal: Signal, bytes: &[u8]) {
    let limits = CheckLimits::default();
    if let Ok(checked) = check(signal, bytes.to_vec().into(), &limits) {
        let mut rows = builder(signal);
        let pushed = rows
            .push(&checked.body, 1)
            .expect("what the check passes becomes rows");
        assert_eq!(pushed, checked.items);
        assert_eq!(rows.finish().num_rows(), rows_of(checked.items));
    }
    let mut rows = builder(signal);
    if rows.push(bytes, 1).is_err() {
        assert_eq!(rows.rows(), 0, "a refused body leaves nothing behind");
    }
    assert_eq!(rows.rows(), rows.finish().num_rows());
    let mut rows = builder(signal);
    if let Ok(pushed) = rows.push_accepted(bytes, 1) {
        assert_eq!(rows.finish().num_rows(), rows_of(pushed), "columns of one length");
    }
    drop(json_to_protobuf(signal, bytes, &limits));
}

/// prost decodes it, and finds in it the items that the check counted.
fn another_reader_takes_what_the_check_passes(signal: Signal, bytes: &[u8]) {
    use prost::Message;
    let Ok(checked) = check(signal, bytes.to_vec().into(), &CheckLimits::default()) else {
        return;
    };
    let body = checked.body;
    let items = match signal {
        Signal::Spans => Spans::decode(body).map(|request| normal::spans(&request).len()),
        Signal::Logs => Logs::decode(body).map(|request| normal::logs(&request).len()),
        Signal::Metrics => Metrics::decode(body).map(|request| normal::metrics(&request).len()),
    };
    assert_eq!(items, Ok(rows_of(checked.items)));
}

fn rows_of(items: u32) -> usize {
    usize::try_from(items).expect("items fit")
}

fn signals() -> impl Strategy<Value = Signal> {
    prop::sample::select(Signal::ALL.to_vec())
}

fn encoded() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    use prost::Message;
    prop_oneof![
        arbitrary::spans().prop_map(|request: Spans| (Signal::Spans, request.encode_to_vec())),
        arbitrary::logs().prop_map(|request: Logs| (Signal::Logs, request.encode_to_vec())),
        arbitrary::metrics().prop_map(|request: Metrics| (Signal::Metrics, request.encode_to_vec())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(signal in signals(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survive(signal, &bytes);
    }

    #[test]
    fn truncated_and_altered_requests_never_panic(
        (signal, mut bytes) in encoded(),
        keep in any::<prop::sample::Index>(),
        alter in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        if !bytes.is_empty() {
            for (index, byte) in alter {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            survive(signal, &bytes);
            another_reader_takes_what_the_check_passes(signal, &bytes);
            bytes.truncate(keep.index(bytes.len()));
        }
        survive(signal, &bytes);
        another_reader_takes_what_the_check_passes(signal, &bytes);
    }

    #[test]
    fn truncated_json_never_panics(request in arbitrary::spans(), keep in any::<prop::sample::Index>()) {
        let mut json = serde_json::to_vec(&request).expect("JSON");
        json.truncate(keep.index(json.len() + 1));
        survive(Signal::Spans, &json);
    }
}

/// Resource, scope and, of data points, the series of each row.
fn contexts(batch: &RecordBatch) -> Vec<[Option<String>; 4]> {
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).expect("a column of every signal");
        let column = column.as_dictionary::<Int32Type>();
        let value = |key| column.values().as_string::<i32>().value(key).to_owned();
        column.key(row).map(value)
    };
    let series = |row| {
        let column = batch.column_by_name("series_id")?;
        Some(column.as_primitive::<Int64Type>().value(row).to_string())
    };
    let names = ["resource", "service_name", "scope"];
    let of_row = |row| {
        let [resource, service, scope] = names.map(|name| text(name, row));
        [resource, service, scope, series(row)]
    };
    (0..batch.num_rows()).map(of_row).collect()
}

#[test]
fn a_row_has_the_resource_and_scope_of_its_own_group_whatever_came_before() {
    let service = |name| {
        format!(
            r#""resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{name}"}}}}]}},"#
        )
    };
    let (a, b) = (service("a"), service("b"));
    let (s, t) = (r#""scope":{"name":"s"},"#, r#""scope":{"name":"t"},"#);
    let (url, none) = (r#""schemaUrl":"u","#, "");
    let groups = [
        (a.as_str(), none, s, none),
        (&a, none, s, none),
        (&b, none, s, none),
        (&b, none, t, none),
        (&b, none, t, url),
        (&b, url, t, url),
        (none, none, t, url),
        (r#""resource":{},"#, none, t, url),
        (none, none, none, none),
        (&a, none, s, none),
    ];
    for (signal, groups_key, scopes_key, items) in [
        (
            Signal::Spans,
            "resourceSpans",
            "scopeSpans",
            r#""spans":[{"traceId":"01020304050607080102030405060708","spanId":"0102030405060708"}]"#,
        ),
        (
            Signal::Logs,
            "resourceLogs",
            "scopeLogs",
            r#""logRecords":[{"timeUnixNano":"1"}]"#,
        ),
        (
            Signal::Metrics,
            "resourceMetrics",
            "scopeMetrics",
            r#""metrics":[{"name":"m","gauge":{"dataPoints":[{"timeUnixNano":"1","asInt":"1"}]}}]"#,
        ),
    ] {
        let mut together = builder(signal);
        let mut apart = Vec::new();
        for (resource, resource_url, scope, scope_url) in groups {
            let json = format!(
                r#"{{"{groups_key}":[{{{resource}{resource_url}"{scopes_key}":[{{{scope}{scope_url}{items}}}]}}]}}"#
            );
            let body = json_to_protobuf(signal, json.as_bytes(), &CheckLimits::default()).expect("OTLP JSON");
            together.push_accepted(&body, 1).expect("sound");
            let mut alone = builder(signal);
            alone.push_accepted(&body, 1).expect("sound");
            apart.extend(contexts(&alone.finish()));
        }
        assert_eq!(contexts(&together.finish()), apart, "{signal}");
    }
}
