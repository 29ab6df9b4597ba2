//! Fills the Arrow columns of a signal from accepted requests.

use arrow_array::RecordBatch;
use meridian_proto::{schema, signal::Signal};

use super::wire::Malformed;

/// Where rows come from: the first columns of every table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The agent's region.
    pub region: String,
    /// Its cluster.
    pub cluster: String,
    /// Its node.
    pub node: String,
    /// The identity of its spool.
    pub agent_id: String,
}

/// One signal's columns being filled.
#[derive(Debug)]
pub struct RowBuilder {
    signal: Signal,
}

impl RowBuilder {
    /// An empty builder.
    pub fn new(signal: Signal, origin: &Origin) -> Self {
        let _ = origin;
        Self { signal }
    }

    /// Appends the rows of one accepted request. After a fault the rows before it stay.
    pub fn push(&mut self, body: &[u8], received_unix_nanos: u64) -> Result<u32, Malformed> {
        let _ = (body, received_unix_nanos);
        Ok(0)
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        0
    }

    /// An estimate of the bytes held.
    pub fn bytes(&self) -> usize {
        0
    }

    /// The rows as a batch; the builder is then empty and can be used again.
    pub fn finish(&mut self) -> RecordBatch {
        RecordBatch::new_empty(schema::of(self.signal).clone())
    }
}
