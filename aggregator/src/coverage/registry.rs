//! Who is expected, kept beside the tables: one object per aggregator process, replaced as a
//! whole, so that a restarted aggregator and its peers know the same agents.
//!
//! The order of steps is what makes it true: a watermark is written here only after its rows
//! are committed, and a peer's watermark is believed only after the tables were read again.

mod hearsay;

use bytes::Bytes;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::Coverage;
use super::agent::{Agent, AgentRecord};
use crate::store::{Lane, LaneKey, Store, StoreError};
use hearsay::{Hearsay, Look};

const DIRECTORY: &str = "agents";
/// The object of a process that has not written for so long is deleted; what it said is in ours.
const STALE_AFTER: u64 = 3_600_000_000_000;

/// Why the registry could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The objects.
    #[error("the registry of agents cannot be reached")]
    Objects(#[from] object_store::Error),
    /// The tables.
    #[error("the tables cannot be read")]
    Tables(#[from] StoreError),
    /// The content.
    #[error("the registry of agents cannot be written")]
    Encode(#[from] serde_json::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    written: u64,
    agents: Vec<AgentRecord>,
}

/// Exchanges what is known with other processes through the store.
#[derive(Debug)]
pub struct Registry {
    name: String,
    store: Store,
    coverage: Coverage,
    clock: Clock,
    hearsay: Mutex<Hearsay>,
}

impl Registry {
    /// The registry of this process.
    pub fn new(store: Store, coverage: Coverage, clock: Clock) -> Self {
        Self {
            name: format!("{DIRECTORY}/{}.json", Uuid::new_v4()),
            store,
            coverage,
            clock,
            hearsay: Mutex::default(),
        }
    }

    /// Learns what others know, then tells what is known here.
    pub async fn exchange(&self) -> Result<(), RegistryError> {
        let stale = self.learn().await?;
        self.write().await?;
        for name in stale {
            self.store.delete_beside(&name).await?;
        }
        Ok(())
    }

    /// Learns what others told, and writes nothing: a store without room is read all the same.
    /// Answers the names of what nobody keeps up any more, which may go after a write.
    pub async fn learn(&self) -> Result<Vec<String>, RegistryError> {
        let (stale, agents) = self.read().await?;
        self.store.refresh().await?;
        self.coverage.learn(agents);
        Ok(stale)
    }

    /// Tells what is known here.
    pub async fn write(&self) -> Result<(), RegistryError> {
        self.note_commits();
        let document = Document {
            written: self.clock.now_unix_nanos(),
            agents: self.coverage.records(),
        };
        let bytes = Bytes::from(serde_json::to_vec(&document)?);
        Ok(self.store.put_beside(&self.name, bytes).await?)
    }

    /// Brings the committed watermarks up to what the store has committed.
    pub fn note_commits(&self) {
        self.coverage.committed(|agent| {
            let lane = LaneKey {
                agent,
                lane: Lane::Live,
            };
            Signal::ALL.map(|signal| self.store.committed(signal, &lane))
        });
    }

    async fn read(&self) -> Result<(Vec<String>, Vec<AgentRecord>), RegistryError> {
        let objects = self.store.read_beside(DIRECTORY).await?;
        let now = self.clock.now_unix_nanos();
        let look = Look {
            unix_nanos: now,
            at: Instant::now(),
        };
        let mut hearsay = self.hearsay.lock();
        let (mut stale, mut agents) = (Vec::new(), Vec::new());
        for (name, bytes) in objects {
            if name == self.name {
                continue;
            }
            match serde_json::from_slice::<Document>(&bytes) {
                Ok(mut document) => {
                    let ahead = hearsay.ahead(&name, document.written, look);
                    let written = document.written.saturating_sub(ahead);
                    for agent in &mut document.agents {
                        agent.of_clock_ahead(ahead, written);
                    }
                    agents.extend(document.agents);
                    if now.saturating_sub(written) > STALE_AFTER {
                        hearsay.forget(&name);
                        stale.push(name);
                    }
                }
                Err(error) => {
                    tracing::warn!(name, %error, "an object of the agents' registry is not readable")
                }
            }
        }
        Ok((stale, agents))
    }
}

impl Coverage {
    /// What is known, as it survives this process.
    pub(crate) fn records(&self) -> Vec<AgentRecord> {
        let known = self.0.known.lock();
        known.agents.values().map(|agent| agent.record.clone()).collect()
    }

    /// What others know.
    pub(crate) fn learn(&self, records: Vec<AgentRecord>) {
        let agents = &mut self.0.known.lock().agents;
        for record in records {
            match agents.get_mut(&record.id) {
                Some(agent) => agent.merge(record),
                None => {
                    agents.insert(record.id, Agent::from_record(record));
                }
            }
        }
    }
}
