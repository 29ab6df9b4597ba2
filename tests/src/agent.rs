//! A real agent process with a generated configuration, which survives its crashes: the
//! spool and the ports stay.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::ledger::ledger_balances;
use crate::metrics::Metrics;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// What an agent is told. Lines are YAML that is put under the key they are named for.
#[derive(Debug, Clone)]
pub struct AgentSpec {
    /// Also the name of its log, its spool and its node.
    pub name: String,
    /// The region that it reports.
    pub region: String,
    /// The exporters: key and endpoints.
    pub exporters: Vec<(String, Vec<SocketAddr>)>,
    /// Exporters of other kinds: key, and keys as a flow mapping's entries.
    pub others: Vec<(String, String)>,
    /// Further keys of `receivers.otlp`, as a flow mapping's entries.
    pub otlp: String,
    /// Further keys of `spool`, as a flow mapping's entries.
    pub spool: String,
    /// Further keys of each exporter, as a flow mapping's entries.
    pub exporter: String,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where it listens.
    pub host: IpAddr,
    /// A command that goes before its own.
    pub launcher: Vec<String>,
}

impl AgentSpec {
    /// An agent with these exporters alone.
    pub fn with_others(name: &str, region: &str, others: &[(&str, &str)]) -> Self {
        let others = others
            .iter()
            .map(|(key, entries)| ((*key).to_owned(), (*entries).to_owned()));
        Self {
            exporters: Vec::new(),
            others: others.collect(),
            ..Self::new(name, region, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        }
    }

    /// An agent with one aggregator and defaults.
    pub fn new(name: &str, region: &str, aggregator: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            region: region.to_owned(),
            exporters: vec![("aggregator".to_owned(), vec![aggregator])],
            others: Vec::new(),
            otlp: String::new(),
            spool: String::new(),
            exporter: String::new(),
            environment: Vec::new(),
            host: Ipv4Addr::LOCALHOST.into(),
            launcher: Vec::new(),
        }
    }

    fn yaml(&self, spool: &str, ports: &Ports) -> String {
        let exporters = self.exporters.iter();
        let mut exporters: String = exporters.map(|one| exporter_yaml(one, &self.exporter)).collect();
        let others = self.others.iter();
        exporters.extend(others.map(|(key, entries)| format!("  {key}: {{ {entries} }}\n")));
        format!(
            "region: {}\ncluster: test\nnode: {}\n\
             receivers:\n  otlp: {{ grpc: {}, http: {}{} }}\n\
             spool: {{ path: {spool}{} }}\n\
             exporters:\n{exporters}\
             admin: {{ listen: {} }}\n",
            self.region,
            self.name,
            ports.grpc,
            ports.http,
            more(&self.otlp),
            more(&self.spool),
            ports.admin
        )
    }
}

/// Entries of a flow mapping that follow others.
pub(crate) fn more(entries: &str) -> String {
    if entries.is_empty() {
        String::new()
    } else {
        format!(", {entries}")
    }
}

fn exporter_yaml((key, endpoints): &(String, Vec<SocketAddr>), entries: &str) -> String {
    let urls: Vec<String> = endpoints
        .iter()
        .map(|address| format!("\"http://{address}\""))
        .collect();
    match urls.as_slice() {
        [one] => format!("  {key}: {{ endpoint: {one}{} }}\n", more(entries)),
        several => format!(
            "  {key}: {{ endpoint: [{}]{} }}\n",
            several.join(", "),
            more(entries)
        ),
    }
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    grpc: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
}

/// A running agent.
pub struct Agent {
    /// Its process.
    pub process: Process,
    spec: AgentSpec,
    ports: Ports,
    config: PathBuf,
    lab: Arc<Lab>,
}

impl Agent {
    /// Writes the configuration, starts the process and waits until it is ready.
    pub async fn start(lab: &Arc<Lab>, spec: AgentSpec) -> Result<Self> {
        let free_address = || SocketAddr::new(spec.host, free_port());
        let ports = Ports {
            grpc: free_address(),
            http: free_address(),
            admin: free_address(),
        };
        let spool = lab.path(&format!("{}.spool", spec.name));
        let yaml = spec.yaml(&spool.display().to_string(), &ports);
        let config = lab.write(&format!("{}.yaml", spec.name), &yaml)?;
        let process = launch(lab, &spec, &config)?;
        let agent = Self {
            process,
            spec,
            ports,
            config,
            lab: Arc::clone(lab),
        };
        agent.ready().await?;
        Ok(agent)
    }

    /// Starts the process again, after it was killed or has ended.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.lab, &self.spec, &self.config)?;
        self.ready().await
    }

    /// Where OTLP over gRPC is taken.
    pub fn grpc(&self) -> SocketAddr {
        self.ports.grpc
    }

    /// Where OTLP over HTTP is taken.
    pub fn http(&self) -> SocketAddr {
        self.ports.http
    }

    /// Where the admin endpoints are.
    pub fn admin(&self) -> SocketAddr {
        self.ports.admin
    }

    /// The spool's folder.
    pub fn spool(&self) -> PathBuf {
        self.lab.path(&format!("{}.spool", self.spec.name))
    }

    /// What the agent says of itself.
    pub async fn metrics(&self) -> Result<Metrics> {
        let url = format!("http://{}/metrics", self.ports.admin);
        Metrics::parse(&reqwest::get(url).await?.error_for_status()?.text().await?)
    }

    /// Waits until nothing is pending for any exporter and the ledger balances.
    pub async fn drained(&self, within: Duration) -> Result<()> {
        eventually(
            within,
            &format!("{} has delivered everything", self.spec.name),
            || async {
                let metrics = self.metrics().await?;
                let pending = metrics.sum("meridian_agent_pending_items", &[]);
                ensure!(pending == 0.0, "{pending} items are pending");
                self.check_ledger(&metrics)
            },
        )
        .await
    }

    /// Waits until the ledger balances: a reading may catch an item in mid-air.
    pub async fn balanced(&self) -> Result<()> {
        eventually(Duration::from_secs(5), "the ledger balances", || async {
            self.check_ledger(&self.metrics().await?)
        })
        .await
    }

    fn check_ledger(&self, metrics: &Metrics) -> Result<()> {
        ledger_balances(metrics).map_err(anyhow::Error::msg)
    }

    async fn ready(&self) -> Result<()> {
        ready(&self.spec.name, self.ports.admin).await
    }
}

fn launch(lab: &Lab, spec: &AgentSpec, config: &std::path::Path) -> Result<Process> {
    let binary = Process::binary("meridian-agent")?;
    let mut command = match spec.launcher.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    command.arg("--config").arg(config);
    command.envs(spec.environment.iter().map(|(key, value)| (key, value)));
    Process::start(&spec.name, &mut command, &lab.path(&format!("{}.log", spec.name)))
}

/// Waits until a process says that it is ready.
pub(crate) async fn ready(name: &str, admin: SocketAddr) -> Result<()> {
    let url = format!("http://{admin}/readyz");
    eventually(READY_WITHIN, &format!("{name} is ready"), || async {
        let response = reqwest::get(&url).await?;
        let status = response.status();
        ensure!(status.is_success(), "{status}: {}", response.text().await?);
        Ok(())
    })
    .await
}
