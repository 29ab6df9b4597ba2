//! Batches out of real OTLP records, and out of records that are none.

use meridian_proto::payload;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;

use super::*;

fn origin() -> Origin {
    Origin {
        region: "eu-central-1".to_owned(),
        cluster: "prod-eu".to_owned(),
        node: "node-1".to_owned(),
        agent_id: "b8a3c8f4-0000-4000-8000-000000000001".to_owned(),
    }
}

fn logs(seq: u64, items: u32) -> Record {
    let log = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        ..LogRecord::default()
    };
    let scope_logs = ScopeLogs {
        log_records: vec![log; items as usize],
        ..ScopeLogs::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        }],
    };
    record(seq, items, request.encode_to_vec())
}

fn record(seq: u64, items: u32, body: Vec<u8>) -> Record {
    Record {
        seq,
        signal: Signal::Logs,
        items,
        received_unix_nanos: 1_700_000_000_000_000_000,
        overlay: Bytes::new(),
        body: Bytes::from(body),
    }
}

#[test]
fn a_batch_says_where_each_record_ends() {
    let built = build(Signal::Logs, &[logs(7, 2), logs(9, 1), logs(40, 3)], &origin()).expect("rows");
    assert_eq!((built.first_seq, built.last_seq, built.rows), (7, 40, 6));
    assert_eq!(built.record_seq_deltas, [0, 2, 31]);
    assert_eq!(built.record_rows, [2, 1, 3]);
    assert_eq!(built.corrupt, []);
    let rows = payload::decode(Signal::Logs, &built.payload, built.uncompressed_bytes, 1 << 20);
    assert_eq!(rows.expect("a payload").num_rows(), 6);
}

#[test]
fn a_record_that_is_no_otlp_costs_only_itself() {
    let poison = record(8, 5, vec![0xff; 20]);
    let built = build(Signal::Logs, &[logs(7, 2), poison, logs(9, 1)], &origin()).expect("rows");
    assert_eq!((built.first_seq, built.last_seq, built.rows), (7, 9, 3));
    assert_eq!(built.record_rows, [2, 0, 1]);
    assert_eq!(built.corrupt, [CorruptRecord { seq: 8, items: 5 }]);
}

#[test]
fn a_batch_of_nothing_but_poison_need_not_be_sent() {
    let built = build(Signal::Logs, &[record(8, 5, vec![0xff; 20])], &origin()).expect("no rows");
    assert_eq!(built.window_bytes(), 0);
    assert_eq!(
        built.shipment(Lane::Live).corrupt,
        [CorruptRecord { seq: 8, items: 5 }]
    );
}

#[test]
fn the_message_carries_all_of_it() {
    let built = build(Signal::Logs, &[logs(7, 2)], &origin()).expect("rows");
    let message = built.clone().into_message(Lane::Live, 99);
    assert_eq!(message.signal, 2);
    assert_eq!((message.first_seq, message.last_seq, message.rows), (7, 7, 2));
    assert_eq!(message.watermark_unix_nanos, 99);
    assert_eq!(message.uncompressed_bytes, built.uncompressed_bytes);
    assert_eq!(message.payload, built.payload);
}
