//! The agent's own binary as a process: the only way to give it an environment, where AWS's default
//! chain finds credentials. Its log and its metrics are all that is known of its inside.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};

use meridian_proto::signal::Signal;
use rustix::process::{Pid, Signal as Kill, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use super::process::exchange;
use super::rig::{DEADLINE, assert_balances, sum};
use super::standin::items;

/// A running agent; it is killed when this is dropped, and its log shown if the test has failed.
pub struct Child {
    process: Process,
    directory: TempDir,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Child {
    /// Starts an agent with these exporters (YAML) and no other environment than this.
    pub async fn start(exporters: &str, environment: &[(String, String)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let spool = directory.path().join("spool");
        let config = format!(
            "region: eu-central-1\ncluster: prod\nnode: node-1\n\
             receivers: {{ otlp: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }} }}\n\
             spool: {{ path: {}, fsync: false }}\n\
             exporters:\n{exporters}\
             admin: {{ listen: \"127.0.0.1:0\" }}\n",
            spool.display()
        );
        std::fs::write(directory.path().join("agent.yaml"), config).expect("written");
        let (process, http, admin) = run(directory.path(), environment).await;
        Self {
            process,
            http,
            admin,
            directory,
        }
    }

    /// Kills the agent wherever it is, and starts it again.
    pub async fn restart(&mut self, environment: &[(String, String)]) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("a child");
        (self.process, self.http, self.admin) = run(self.directory.path(), environment).await;
    }

    /// Where the agent's home is.
    pub fn home(&self) -> &Path {
        self.directory.path()
    }

    /// Sends an export request of logs, which must be accepted.
    pub async fn send_logs(&self, body: &[u8]) {
        self.send("/v1/logs", body).await;
    }

    /// Sends an export request to a path, which must be accepted.
    pub async fn send(&self, path: &str, body: &[u8]) {
        let answer = exchange(self.http, &format!("POST {path}"), body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        exchange(self.admin, "GET /metrics", &[]).await
    }

    /// Waits until this holds for the text of `/metrics`.
    pub async fn shows(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let text = self.metrics().await;
            if holds(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{what} is not so in time:\n{text}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits until all accepted items are delivered or dropped; the books must balance. Returns
    /// the text of `/metrics`.
    pub async fn settled(&self, exporter: &str, signal: Signal, accepted: i64) -> String {
        let of = |text: &str, what: &str| items(text, what, exporter, signal);
        // A reading in the middle of a step still counts as pending what is already delivered.
        let is_settled = |text: &str| {
            of(text, "delivered") + of(text, "dropped") == accepted
                && sum(text, "meridian_agent_pending_items", exporter, signal) == 0
        };
        let text = self.shows("everything is settled", is_settled).await;
        assert_balances(&text, exporter, signal);
        text
    }

    /// What the agent has logged.
    pub fn log(&self) -> String {
        read(&self.home().join("agent.log"))
    }

    /// The lines of the log with all of these.
    pub fn logged(&self, parts: &[&str]) -> Vec<String> {
        let log = self.log();
        let lines = log
            .lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.map(str::to_owned).collect()
    }

    /// Waits until the log has such a line.
    pub async fn says(&self, part: &str) {
        read_until(&self.home().join("agent.log"), part, |log| log.contains(part)).await;
    }

    /// Asks the agent to end.
    pub fn ask_to_end(&self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), Kill::TERM).expect("it runs");
    }

    /// Waits until it has ended.
    pub async fn ended(mut self) {
        let deadline = Instant::now() + DEADLINE;
        while self.process.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < deadline, "it does not end");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Child {
    #[expect(clippy::print_stderr, reason = "the runner shows it with the failed test")]
    fn drop(&mut self) {
        // Already gone is as good as killed.
        self.process.kill().ok();
        self.process.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the agent's log\n{}", self.log());
        }
    }
}

/// An agent with the configuration in its home; where it receives, and its metrics are.
async fn run(home: &Path, environment: &[(String, String)]) -> (Process, SocketAddr, SocketAddr) {
    let log = home.join("agent.log");
    let output = File::create(&log).expect("a log");
    let process = Command::new(env!("CARGO_BIN_EXE_meridian-agent"))
        .arg("--config")
        .arg(home.join("agent.yaml"))
        .env_clear()
        .env("HOME", home)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .expect("the agent starts");
    let is_built = |log: &str| log.contains("the agent is built");
    let text = read_until(&log, "the agent is built", is_built).await;
    (process, address(&text, "http="), address(&text, "admin="))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

async fn read_until(path: &Path, what: &str, holds: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let text = read(path);
        if holds(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "{what} is not logged in time:\n{text}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn address(log: &str, name: &str) -> SocketAddr {
    let line = log
        .lines()
        .find(|line| line.contains("the agent is built"))
        .unwrap_or_default();
    let value = line.split_whitespace().find_map(|part| part.strip_prefix(name));
    value
        .expect("it says where it listens")
        .parse()
        .expect("an address")
}
