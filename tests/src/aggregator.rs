//! A real aggregator process with a generated configuration, which survives its crashes: the
//! store and the ports stay.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use crate::agent::{more, ready};
use crate::answers::Answers;
use crate::lab::Lab;
use crate::metrics::Metrics;
use crate::ports::{free_address, free_port};
use crate::process::Process;

/// What an aggregator is told.
#[derive(Debug, Clone)]
pub struct AggregatorSpec {
    /// Also the name of its log.
    pub name: String,
    /// The regions that are expected to report.
    pub regions: Vec<String>,
    /// `file://…` or `s3://…`; a folder of its own in the lab where this is empty.
    pub store_url: String,
    /// How long rows wait for company before they are committed.
    pub commit_interval: String,
    /// Further keys of `store`, as a flow mapping's entries.
    pub store_more: String,
    /// Further top-level YAML.
    pub more: String,
    /// Environment variables, such as credentials of an object store.
    pub environment: Vec<(String, String)>,
    /// Where it listens for agents.
    pub ingest_host: IpAddr,
}

impl AggregatorSpec {
    /// An aggregator with a store of its own, which commits often.
    pub fn new(name: &str, regions: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            store_url: String::new(),
            commit_interval: "1s".to_owned(),
            store_more: String::new(),
            more: String::new(),
            environment: Vec::new(),
            ingest_host: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Merges, vacuums and cleans logs every second or two, where it usually takes hours.
    /// `keep` is how long a reader of an older version has.
    pub fn with_hasty_maintenance(mut self, keep: &str) -> Self {
        let hasty = format!(
            "maintenance: {{ interval: 700ms, merge_files: 3, keep_removed: {keep}, keep_log: {keep} }}"
        );
        self.store_more = format!("{hasty}{}", more(&self.store_more));
        self
    }

    fn yaml(&self, store_url: &str, ingest: SocketAddr, http: SocketAddr) -> String {
        format!(
            "listen: {{ ingest: {ingest}, http: {http} }}\n\
             store: {{ url: \"{store_url}\", commit_interval: {}{} }}\n\
             regions: [{}]\n{}",
            self.commit_interval,
            more(&self.store_more),
            self.regions.join(", "),
            self.more
        )
    }
}

/// A running aggregator.
pub struct Aggregator {
    /// Its process.
    pub process: Process,
    spec: AggregatorSpec,
    ingest: SocketAddr,
    http: SocketAddr,
    config: PathBuf,
    lab: Arc<Lab>,
}

impl Aggregator {
    /// Writes the configuration, starts the process and waits until it is ready.
    pub async fn start(lab: &Arc<Lab>, spec: AggregatorSpec) -> Result<Self> {
        let aggregator = Self::begin(lab, spec)?;
        aggregator.ready().await?;
        Ok(aggregator)
    }

    /// The same without waiting.
    pub fn begin(lab: &Arc<Lab>, spec: AggregatorSpec) -> Result<Self> {
        let ingest = SocketAddr::new(spec.ingest_host, free_port());
        let http = free_address();
        let store_url = match spec.store_url.as_str() {
            "" => format!("file://{}", lab.path(&format!("{}.store", spec.name)).display()),
            url => url.to_owned(),
        };
        let yaml = spec.yaml(&store_url, ingest, http);
        let config = lab.write(&format!("{}.yaml", spec.name), &yaml)?;
        let process = launch(lab, &spec, &config)?;
        Ok(Self {
            process,
            spec,
            ingest,
            http,
            config,
            lab: Arc::clone(lab),
        })
    }

    /// Starts the process again, after it was killed or has ended.
    pub async fn restart(&mut self) -> Result<()> {
        self.begin_again()?;
        self.ready().await
    }

    /// The same without waiting.
    pub fn begin_again(&mut self) -> Result<()> {
        self.process = launch(&self.lab, &self.spec, &self.config)?;
        Ok(())
    }

    /// Where agents connect.
    pub fn ingest(&self) -> SocketAddr {
        self.ingest
    }

    /// Where people ask.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The folder of the tables, if they are in a folder of their own.
    pub fn store(&self) -> PathBuf {
        self.lab.path(&format!("{}.store", self.spec.name))
    }

    /// The status of `/livez` or `/readyz`, and what is said there.
    pub async fn says(&self, path: &str) -> Result<(u16, String)> {
        let response = reqwest::get(format!("http://{}{path}", self.http)).await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// A client that asks.
    pub fn answers(&self) -> Answers {
        Answers::new(self.http)
    }

    /// What the process says of itself.
    pub async fn metrics(&self) -> Result<Metrics> {
        let url = format!("http://{}/metrics", self.http);
        Metrics::parse(&reqwest::get(url).await?.error_for_status()?.text().await?)
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        ready(&self.spec.name, self.http).await
    }
}

fn launch(lab: &Lab, spec: &AggregatorSpec, config: &std::path::Path) -> Result<Process> {
    let mut command = Command::new(Process::binary("meridian-aggregator")?);
    command.arg("--config").arg(config);
    command.envs(spec.environment.iter().map(|(key, value)| (key, value)));
    Process::start(&spec.name, &mut command, &lab.path(&format!("{}.log", spec.name)))
}
