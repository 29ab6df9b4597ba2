//! A receiver on free ports in front of a store that does as it is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use meridian_agent::intake::Store;
use meridian_agent::intake::admission::Admission;
use meridian_agent::ledger::Ledger;
use meridian_agent::receivers::otlp::{OtlpConfig, OtlpReceiver};
use meridian_agent::spool::{AppendError, Appended, NewRecord, Spool};
use meridian_runtime::http::ConnectionMetrics;
use meridian_runtime::net::Network;
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use prometheus::{IntCounter, Registry};
use tokio_util::sync::CancellationToken;

use super::client::Client;

/// How the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Takes,
    IsFull,
    Fails,
}

#[derive(Default)]
pub struct StandIn {
    pub mood: Mutex<Mood>,
    pub records: Mutex<Vec<NewRecord>>,
}

impl Store for StandIn {
    fn append(
        &self,
        record: NewRecord,
        accepted: IntCounter,
    ) -> BoxFuture<'_, Result<Appended, AppendError>> {
        async move {
            match *self.mood.lock() {
                Mood::Takes => {
                    let items = u64::from(record.items);
                    let appended = self.take(record);
                    accepted.inc_by(if appended.duplicate { 0 } else { items });
                    Ok(appended)
                }
                Mood::IsFull => Err(AppendError::Full {
                    retry_after: Duration::from_millis(2500),
                }),
                Mood::Fails => Err(AppendError::Failed(Arc::new(io::Error::other("disk on fire")))),
            }
        }
        .boxed()
    }
}

impl StandIn {
    /// Keeps a copy: the body itself would keep its memory reserved.
    fn take(&self, mut record: NewRecord) -> Appended {
        record.body = Bytes::copy_from_slice(&record.body);
        let mut records = self.records.lock();
        let known = records
            .iter()
            .position(|known| record.hash.is_some() && known.hash == record.hash);
        let place = known.unwrap_or(records.len());
        if known.is_none() {
            records.push(record);
        }
        let seq = u64::try_from(place).expect("a few records") + 1;
        Appended {
            seq,
            duplicate: known.is_some(),
        }
    }
}

pub struct Rig {
    pub store: Arc<StandIn>,
    pub registry: Registry,
    pub admission: Arc<Admission>,
    pub grpc: Client,
    pub http: Client,
    pub shutdown: CancellationToken,
    pub task: Task<()>,
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(OtlpConfig::default()).await
    }

    pub async fn with(config: OtlpConfig) -> Self {
        let store = Arc::new(StandIn::default());
        Self::before(Arc::clone(&store) as Arc<dyn Store>, store, config).await
    }

    /// A receiver in front of a real spool; the stand-in stays empty.
    pub async fn on_spool(spool: Spool) -> Self {
        Self::before(Arc::new(spool), Arc::default(), OtlpConfig::default()).await
    }

    async fn before(store: Arc<dyn Store>, stand_in: Arc<StandIn>, config: OtlpConfig) -> Self {
        let free = "127.0.0.1:0".parse().expect("an address");
        let config = OtlpConfig {
            grpc: free,
            http: free,
            ..config
        };
        let registry = Registry::new();
        let ledger = Ledger::new(&registry).expect("a new registry");
        let connections = ConnectionMetrics::new(&registry, "meridian_agent").expect("a new registry");
        let receiver = OtlpReceiver::bind(config, &Network::System, store, ledger, connections).await;
        let receiver = receiver.expect("free ports");
        let (grpc, http) = (Client(receiver.grpc_address()), Client(receiver.http_address()));
        let (admission, shutdown) = (receiver.admission(), CancellationToken::new());
        let token = shutdown.clone();
        let task = tasks::spawn("receiver", async move {
            receiver.run(token).await.unwrap_or_else(|never| match never {});
        });
        let store = stand_in;
        Self {
            store,
            registry,
            admission,
            grpc,
            http,
            shutdown,
            task,
        }
    }

    pub fn set(&self, mood: Mood) {
        *self.store.mood.lock() = mood;
    }

    pub fn records(&self) -> Vec<NewRecord> {
        self.store.records.lock().clone()
    }

    /// The sum of a counter over its series whose labels include `label`.
    pub fn counted(&self, name: &str, label: &str) -> f64 {
        let name = format!("meridian_agent_{name}");
        let families = self.registry.gather();
        let series = families
            .iter()
            .filter(|family| family.name() == name)
            .flat_map(|family| family.get_metric());
        series
            .filter(|metric| metric.get_label().iter().any(|pair| pair.value() == label))
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }

    /// Waits until no request holds memory any more.
    pub async fn memory_is_free(&self) {
        let freed = async {
            while self.admission.bytes_used() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), freed)
            .await
            .expect("memory is given back");
    }
}
