//! What a sound agent sends, for inputs to alter: a batch of each signal.

use std::sync::OnceLock;

use meridian_agent::exporters::aggregator::{Lane, build_batch};
use meridian_agent::otlp::Origin;
use meridian_proto::signal::Signal;
use meridian_proto::stream::Batch;

use crate::spool::opened::sound;

const RECORDS: usize = 8;

pub(crate) fn origin() -> Origin {
    Origin {
        region: "eu".to_owned(),
        cluster: "prod".to_owned(),
        node: "node-1".to_owned(),
        agent_id: "a".to_owned(),
    }
}

/// Of the records of the sound spool, by [`Signal::index`].
pub(crate) fn batches() -> &'static [Batch] {
    static BATCHES: OnceLock<Vec<Batch>> = OnceLock::new();
    BATCHES.get_or_init(|| {
        let of = |signal: Signal| {
            let records = sound().records.iter().filter(|record| record.signal == signal);
            let records: Vec<_> = records.take(RECORDS).cloned().collect();
            let built = build_batch(signal, &records, &origin()).expect("rows");
            built.into_message(Lane::Live, 1)
        };
        Signal::ALL.map(of).to_vec()
    })
}
