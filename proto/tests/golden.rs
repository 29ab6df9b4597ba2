//! What an earlier release has put on the wire must be read by every later one. The files
//! beside this test were written by the first release and are never written again: a new
//! form gets a new file. It does not test that this release still writes the same bytes.

use std::path::{Path, PathBuf};

use meridian_proto::signal::Signal;
use meridian_proto::stream::{
    Ack, AgentMessage, AggregatorMessage, Batch, Committed, Flush, Gap, Goodbye, Heartbeat, Hello, Welcome,
    agent_message, aggregator_message,
};
use meridian_proto::{payload, rebuild};
use prost::Message;
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).expect("a golden file")
}

#[test]
fn payloads_of_the_first_release_are_read() {
    for signal in Signal::ALL {
        let encoded = bytes(&format!("{signal}.columns"));
        let batch = payload::decode(signal, &encoded, 1 << 20, 1 << 20).expect("decodes");
        let rebuilt = match signal {
            Signal::Spans => rebuild::spans(&batch),
            Signal::Logs => rebuild::logs(&batch),
            Signal::Metrics => rebuild::metrics(&batch),
        };
        let expected: Value = serde_json::from_slice(&bytes(&format!("{signal}.json"))).expect("JSON");
        assert_eq!(rebuilt.expect("rebuilds"), expected, "{signal}");
    }
}

fn agent_messages() -> Vec<(&'static str, agent_message::Kind)> {
    use agent_message::Kind;
    vec![
        ("hello", Kind::Hello(hello())),
        ("batch", Kind::Batch(batch())),
        ("heartbeat", Kind::Heartbeat(heartbeat())),
        ("flush", Kind::Flush(Flush {})),
        ("goodbye", Kind::Goodbye(Goodbye { pending_items: 3 })),
    ]
}

fn hello() -> Hello {
    Hello {
        protocol: 1,
        agent_id: vec![7; 16].into(),
        region: "eu-central-1".to_owned(),
        cluster: "prod-eu".to_owned(),
        node: "node-1".to_owned(),
        version: "0.1.0".to_owned(),
        last_alive_unix_nanos: 1,
        started_unix_nanos: 2,
        now_unix_nanos: 3,
        oldest_seq: 4,
        set_aside: Vec::new(),
    }
}

fn batch() -> Batch {
    Batch {
        signal: 2,
        lane: 1,
        first_seq: 10,
        last_seq: 13,
        rows: 6,
        watermark_unix_nanos: 5,
        encoding: 1,
        payload: vec![1, 2, 3].into(),
        uncompressed_bytes: 300,
        record_seq_deltas: vec![0, 3],
        record_rows: vec![4, 2],
    }
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        watermark_unix_nanos: 1,
        now_unix_nanos: 2,
        pending_items: 3,
        pending_bytes: 4,
        oldest_pending_unix_nanos: 5,
        dropped_items: 6,
        gaps: vec![Gap {
            from_unix_nanos: 7,
            to_unix_nanos: 8,
            reason: "stalled".to_owned(),
        }],
        late: Vec::new(),
    }
}

fn aggregator_messages() -> Vec<(&'static str, aggregator_message::Kind)> {
    use aggregator_message::Kind;
    let welcome = Welcome {
        protocol: 1,
        committed: vec![Committed {
            signal: 1,
            lane: 0,
            seq: 9,
        }],
        window_bytes: 1 << 25,
        aggregator: "a".to_owned(),
        closed_ranges: Vec::new(),
    };
    let ack = Ack {
        signal: 3,
        lane: 1,
        committed_seq: 11,
    };
    vec![("welcome", Kind::Welcome(welcome)), ("ack", Kind::Ack(ack))]
}

#[test]
fn messages_of_the_first_release_are_read() {
    for (name, kind) in agent_messages() {
        let read = AgentMessage::decode(bytes(&format!("{name}.message")).as_slice()).expect("decodes");
        assert_eq!(read, AgentMessage { kind: Some(kind) }, "{name}");
    }
    for (name, kind) in aggregator_messages() {
        let read = AggregatorMessage::decode(bytes(&format!("{name}.message")).as_slice()).expect("decodes");
        assert_eq!(read, AggregatorMessage { kind: Some(kind) }, "{name}");
    }
}
