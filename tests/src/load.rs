//! Load: clients that send small requests of every signal and repeat each, byte for byte,
//! until it is answered. They count what was acknowledged; they never give up an item.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::answers::Answers;
use crate::otlp;

const ITEMS_PER_REQUEST: usize = 10;
/// Between two tries of a request that was not answered.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What the clients were told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// Acknowledged items by [`Signal::index`].
    pub acknowledged: [u64; 3],
    /// Answers 429 and 503.
    pub refusals: u64,
    /// Those of them without Retry-After.
    pub refusals_without_hint: u64,
    /// Requests without an answer.
    pub unanswered: u64,
}

impl Told {
    fn add(&mut self, other: Told) {
        for (sum, count) in self.acknowledged.iter_mut().zip(other.acknowledged) {
            *sum += count;
        }
        self.refusals += other.refusals;
        self.refusals_without_hint += other.refusals_without_hint;
        self.unanswered += other.unanswered;
    }
}

/// Clients at work.
pub struct Load {
    stop: watch::Sender<bool>,
    clients: JoinSet<Told>,
}

impl Load {
    /// Starts `clients` clients, each of which pauses for `pause` between requests.
    pub fn start(agent: SocketAddr, clients: usize, pause: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut set = JoinSet::new();
        for number in 0..clients {
            set.spawn(client(agent, number, pause, stopped.clone()));
        }
        Self { stop, clients: set }
    }

    /// Lets every client finish its request, however often it must be repeated.
    pub async fn finish(mut self) -> Result<Told> {
        self.stop.send_replace(true);
        let mut told = Told::default();
        while let Some(client) = self.clients.join_next().await {
            told.add(client?);
        }
        Ok(told)
    }
}

async fn client(
    agent: SocketAddr,
    number: usize,
    pause: Duration,
    mut stopped: watch::Receiver<bool>,
) -> Told {
    let http = reqwest::Client::new();
    let mut told = Told::default();
    for signal in Signal::ALL.into_iter().cycle() {
        let body = otlp::request(signal, &format!("load-{number}"), ITEMS_PER_REQUEST);
        send_until_answered(&http, agent, signal, &body, &mut told).await;
        told.acknowledged[signal.index()] += ITEMS_PER_REQUEST as u64;
        if tokio::time::timeout(pause, stopped.wait_for(|stop| *stop))
            .await
            .is_ok()
        {
            break;
        }
    }
    told
}

async fn send_until_answered(
    http: &reqwest::Client,
    agent: SocketAddr,
    signal: Signal,
    body: &[u8],
    told: &mut Told,
) {
    loop {
        match otlp::post_protobuf(http, agent, signal, body.to_vec()).await {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => {
                told.refusals += 1;
                if !response.headers().contains_key("retry-after") {
                    told.refusals_without_hint += 1;
                }
            }
            Err(_) => told.unanswered += 1,
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Statements that count the distinct ids of the load, by [`Signal::index`].
const DISTINCT: [&str; 3] = [
    "SELECT count(*) AS n FROM (SELECT DISTINCT trace_id, span_id FROM spans)",
    "SELECT count(DISTINCT body) AS n FROM logs",
    "SELECT count(*) AS n FROM (SELECT DISTINCT attributes['id'] AS id FROM metrics)",
];

/// What one signal's table holds of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Rows in the table.
    pub rows: u64,
    /// Distinct ids among them.
    pub distinct: u64,
}

/// What the tables hold, by [`Signal::index`].
pub async fn stored(answers: &Answers) -> Result<[Stored; 3]> {
    let mut stored = [Stored { rows: 0, distinct: 0 }; 3];
    for signal in Signal::ALL {
        let rows = answers
            .number(&format!("SELECT count(*) AS n FROM {signal}"))
            .await?;
        let distinct = answers.number(DISTINCT[signal.index()]).await?;
        stored[signal.index()] = Stored {
            rows: u64::try_from(rows)?,
            distinct: u64::try_from(distinct)?,
        };
    }
    Ok(stored)
}

/// Fails unless the tables hold every acknowledged item, and each once.
pub fn exactly_once(told: &Told, stored: &[Stored; 3]) -> Result<()> {
    for signal in Signal::ALL {
        let acknowledged = told.acknowledged[signal.index()];
        let stored = stored[signal.index()];
        ensure!(acknowledged > 0, "the load sent no {signal}");
        ensure!(
            stored.distinct == acknowledged,
            "{signal}: {acknowledged} acknowledged, stored {stored:?}"
        );
        ensure!(
            stored.rows == stored.distinct,
            "{signal}: rows are there twice: {stored:?}"
        );
    }
    Ok(())
}
