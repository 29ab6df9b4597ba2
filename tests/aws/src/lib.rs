//! One account of AWS in one region, in this process and on one port, for the tests and the
//! benchmark of the exporters: X-Ray, CloudWatch Logs, CloudWatch, STS and the OTLP endpoints, in
//! their own protocols. It holds every limit as AWS does, checks signatures by computing them
//! itself, remembers what it took, and fails on demand. What it remembers cannot be queried by
//! AWS's API: a test asks [`Standin::look`].
//!
//! Sources: the service models, API references and user guides of the services; "Create a signed
//! AWS API request", IAM User Guide.
//!
//! ```text
//!            ┌──────── may fail on demand ────────┐
//! request ─► cut off? ─► signature ─► permission ─► throttling, 5xx ─► limits ─► taken ─► answer lost?
//! ```

mod account;
mod action;
mod call;
mod cloudwatch;
mod faults;
mod logs;
mod otlp;
mod problem;
mod seen;
mod server;
mod sigv4;
mod sts;
mod time;
mod xray;

use std::net::SocketAddr;
use std::sync::Arc;

use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::{self, Task};
use tokio::net::TcpListener;

use account::Account;
pub use action::Action;
pub use cloudwatch::{Datum, METRIC_UNITS, Measured};
pub use faults::{Bucket, Denied, Faults};
pub use problem::Cause;
pub use seen::{Document, Refusal, Seen, Stream};

/// Who is known, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The region that signatures must name.
    pub region: String,
    /// The access key that is known from the start.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The token that requests with this key must carry, if any.
    pub session_token: Option<String>,
    /// Of what is left to chance.
    pub seed: u64,
    /// The time of day.
    pub clock: Clock,
    /// Whether what is taken is kept, or only counted.
    pub keeps: bool,
}

impl Settings {
    /// A region, with the key that the documentation of AWS uses.
    pub fn of_region(region: &str) -> Self {
        Self {
            region: region.to_owned(),
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
            seed: 1,
            clock: Clock::system(),
            keeps: true,
        }
    }
}

/// The running stand-in; it ends when this is dropped.
pub struct Standin {
    address: SocketAddr,
    account: Arc<Account>,
    _server: Task<()>,
}

impl Standin {
    /// Listens on a free port of the loopback address.
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let account = Arc::new(Account::new(settings));
        let server = tasks::spawn("aws stand-in", server::serve(listener, Arc::clone(&account)));
        Ok(Self {
            address,
            account,
            _server: server,
        })
    }

    /// What an exporter's `endpoint_url` is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it fails like this.
    pub fn fail(&self, faults: Faults) {
        self.account.state.lock().fail(faults);
    }

    /// Creates a log group with streams, as somebody else would.
    pub fn create_log_group(&self, group: &str, streams: &[&str]) {
        self.account.state.lock().create(group, streams);
    }

    /// How long a log group keeps its events: `None` is for ever, or no such group.
    pub fn retention_days(&self, group: &str) -> Option<i64> {
        self.account.state.lock().groups.get(group)?.retention_days
    }

    /// Looks at what was seen so far.
    pub fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.account.state.lock().seen)
    }

    /// What an AWS client reads from its environment to be let in. There is no other source of
    /// credentials in it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let settings = &self.account.settings;
        let mut pairs = vec![
            ("AWS_ACCESS_KEY_ID", settings.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", settings.secret_access_key.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ENDPOINT_URL_STS", self.url()),
        ];
        if let Some(token) = &settings.session_token {
            pairs.push(("AWS_SESSION_TOKEN", token.clone()));
        }
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}
