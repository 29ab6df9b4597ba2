//! What an agent says to an aggregator: messages are found wherever the bytes are cut, memory is
//! given back, and a batch that is taken is whole and its sequences are in order.
//!
//! The first byte says whether the rest is a stream's bytes or chooses the messages in it.

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use meridian_aggregator::ingest::Limits;
use meridian_aggregator::ingest::budget::Budget;
use meridian_aggregator::ingest::messages::Messages;
use meridian_aggregator::ingest::rows::{Identity, incoming};
use meridian_proto::ids::AgentId;
use meridian_proto::schema::ORIGIN_COLUMNS;
use meridian_proto::stream::{AgentMessage, Batch, Flush, Heartbeat, agent_message::Kind};
use prost::Message;
use tonic::Status;
use tonic::body::Body;

use crate::batches::batches;
use crate::choices::Choices;
use crate::spool::opened::paused;

const MESSAGES_MAX: usize = 6;
const LIMITS: Limits = Limits {
    memory_bytes: 8 << 20,
    message_bytes: 1 << 20,
    streams_max: 8,
};
/// What the rows of a batch may take.
const ROWS_BYTES_MAX: usize = 4 << 20;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let is_made_up = choices.flag();
    let step = 1 + usize::from(choices.byte()) * 8;
    let stream = if is_made_up {
        made_up(&mut choices)
    } else {
        choices.rest().to_vec()
    };
    let budget = Budget::new(&LIMITS);
    let before = budget.messages_left();
    let chunks = stream.chunks(step);
    let chunks: Vec<_> = chunks
        .map(|chunk| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    let body = Body::new(StreamBody::new(futures::stream::iter(chunks)).boxed());
    let mut messages = Messages::new(body, &budget);
    let read = paused().block_on(async {
        let mut bytes = 0;
        while let Ok(Some(received)) = messages.next().await {
            bytes += received.message.encoded_len();
            if let Some(Kind::Batch(batch)) = &received.message.kind {
                judge(batch);
            }
        }
        bytes
    });
    drop(messages);
    assert_eq!(budget.messages_left(), before, "all memory is given back");
    assert!(
        read <= stream.len() + stream.len() / 2,
        "messages are not larger than what came"
    );
}

fn judge(batch: &Batch) {
    let identity = Identity {
        agent: AgentId::from_slice(&[7; 16]).expect("16 bytes"),
        region: "eu".to_owned(),
        cluster: "prod".to_owned(),
        node: "node-1".to_owned(),
    };
    let Ok((signal, taken)) = incoming(&identity, batch, ROWS_BYTES_MAX) else {
        return;
    };
    assert_eq!(meridian_proto::stream::Signal::from(signal) as i32, batch.signal);
    let rows: usize = taken.records.iter().map(|record| record.rows).sum();
    assert_eq!(rows, taken.batch.num_rows(), "every row is of a record");
    let mut seqs = taken.records.iter().map(|record| record.seq);
    assert!(
        seqs.clone().is_sorted_by(|one, other| one < other),
        "records ascend"
    );
    assert_eq!(
        (seqs.next(), seqs.next_back().or(Some(batch.first_seq))),
        (Some(batch.first_seq), Some(batch.last_seq))
    );
    assert_eq!(taken.lane.agent, identity.agent);
    for column in ORIGIN_COLUMNS {
        let column = taken.batch.column_by_name(column).expect("every table has it");
        assert_eq!(column.null_count(), 0, "rows say where they are from");
    }
}

/// Messages that are framed; batches begin as sound ones.
fn made_up(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..MESSAGES_MAX {
        if choices.is_over() {
            break;
        }
        let kind = match choices.byte() {
            0..16 => Kind::Flush(Flush {}),
            16..32 => Kind::Heartbeat(Heartbeat {
                watermark_unix_nanos: choices.u64(),
                ..Heartbeat::default()
            }),
            number => Kind::Batch(altered(usize::from(number), choices)),
        };
        let message = AgentMessage { kind: Some(kind) }.encode_to_vec();
        let length = u32::try_from(message.len()).expect("small");
        stream.push(0);
        stream.extend(length.to_be_bytes());
        stream.extend(message);
    }
    stream
}

fn altered(number: usize, choices: &mut Choices<'_>) -> Batch {
    let batches = batches();
    let mut batch = batches[number % batches.len()].clone();
    for _ in 0..choices.byte() % 5 {
        match choices.byte() % 10 {
            0 => batch.first_seq = choices.u64(),
            1 => batch.last_seq = choices.u64(),
            2 => batch.rows = choices.u32(),
            3 => batch.uncompressed_bytes = choices.u32(),
            4 => batch.signal = i32::from(choices.byte() % 5),
            5 => batch.lane = i32::from(choices.byte() % 4),
            6 => set(&mut batch.record_rows, choices),
            7 => set(&mut batch.record_seq_deltas, choices),
            8 => {
                let mut payload = batch.payload.to_vec();
                let at = choices.below(payload.len().max(1));
                let byte = choices.byte();
                if let Some(place) = payload.get_mut(at) {
                    *place = byte;
                }
                batch.payload = payload.into();
            }
            _ => batch.payload = Bytes::copy_from_slice(choices.part()),
        }
    }
    batch
}

fn set(numbers: &mut Vec<u32>, choices: &mut Choices<'_>) {
    let (at, number) = (choices.below(numbers.len() + 1), choices.u32());
    match numbers.get_mut(at) {
        Some(place) => *place = number,
        None => numbers.push(number),
    }
}
