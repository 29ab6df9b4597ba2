//! A network of a test's own, made of the kernel's parts: the agent behind a router, each in a
//! namespace, and the aggregator with an address of its own that the router can drop every
//! packet to or from. Nobody is told: connections stay half open, as they do when a cable is cut.
//! What the test itself says to the agent is never dropped.
//!
//! ```text
//! test (.5), aggregator (.9) ─── veth ─── (.6) router (.1) ─── veth ─── (.2) agent
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::peers;

/// Networks of 16 addresses in 198.18.0.0/15, which is kept for tests (RFC 2544).
const NETWORKS: u32 = 8_192;

static MADE: AtomicU32 = AtomicU32::new(0);

/// Packets that the router drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Those in both directions.
    Both,
    /// Those from the agent: what the aggregator says still arrives.
    FromAgent,
}

/// A router between the test and an agent; all of it goes when this is dropped.
pub struct Network {
    ip: PathBuf,
    number: u32,
    dropping: Vec<&'static str>,
}

impl Network {
    /// Makes one; `None` where that is refused, which the runner's summary says.
    pub fn build() -> Result<Option<Self>> {
        let Some(ip) = peers::find("ip")? else {
            return Ok(None);
        };
        let number = (std::process::id() * 16 + MADE.fetch_add(1, Ordering::Relaxed)) % NETWORKS;
        let network = Self {
            ip,
            number,
            dropping: Vec::new(),
        };
        network.lay()?;
        Ok(Some(network))
    }

    fn lay(&self) -> Result<()> {
        let (router, agent, here) = (self.name("r"), self.name("a"), self.name("h"));
        let [north, south, wan, host, far] = [6, 1, 2, 5, 9].map(|last| self.address(last));
        let near = self.address(0);
        for command in [
            format!("netns add {router}"),
            format!("netns add {agent}"),
            format!("link add {here} type veth peer name north netns {router}"),
            format!("-n {router} link add south type veth peer name wan netns {agent}"),
            format!("addr add {host}/30 dev {here}"),
            format!("addr add {far}/32 dev {here}"),
            format!("link set {here} up"),
            format!("-n {router} addr add {north}/30 dev north"),
            format!("-n {router} addr add {south}/30 dev south"),
            format!("-n {router} link set north up"),
            format!("-n {router} link set south up"),
            format!("-n {router} route add {far} via {host}"),
            format!("-n {agent} addr add {wan}/30 dev wan"),
            format!("-n {agent} link set lo up"),
            format!("-n {agent} link set wan up"),
            format!("-n {agent} route add default via {south}"),
            format!("route add {near}/30 via {north}"),
        ] {
            run(&self.ip, &command)?;
        }
        let forward = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        let status = Command::new(&self.ip)
            .args(["netns", "exec", &router])
            .args(forward)
            .status()?;
        ensure!(status.success(), "the router does not forward: {status}");
        Ok(())
    }

    /// At most 15 bytes: the name of an interface.
    fn name(&self, part: &str) -> String {
        format!("meridian-{part}{}", self.number)
    }

    fn address(&self, host: u8) -> IpAddr {
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        IpAddr::V4((base + self.number * 16 + u32::from(host)).into())
    }

    /// Where the agent listens.
    pub fn agent(&self) -> IpAddr {
        self.address(2)
    }

    /// Where the aggregator listens for it.
    pub fn aggregator(&self) -> IpAddr {
        self.address(9)
    }

    /// What starts a process where the agent is: a command that goes before its own.
    pub fn launcher(&self) -> Vec<String> {
        let ip = self.ip.display().to_string();
        vec![ip, "netns".to_owned(), "exec".to_owned(), self.name("a")]
    }

    /// Drops packets from now on, without a word to anybody.
    pub fn cut(&mut self, cut: Cut) -> Result<()> {
        let directions: &[&str] = match cut {
            Cut::Both => &["to", "from"],
            Cut::FromAgent => &["to"],
        };
        for direction in directions {
            self.rule("add", direction)?;
            self.dropping.push(direction);
        }
        Ok(())
    }

    /// Drops no packet any more.
    pub fn heal(&mut self) -> Result<()> {
        while let Some(direction) = self.dropping.pop() {
            self.rule("del", direction)?;
        }
        Ok(())
    }

    fn rule(&self, action: &str, direction: &str) -> Result<()> {
        let (router, far) = (self.name("r"), self.aggregator());
        let rule = format!("-n {router} rule {action} {direction} {far} blackhole");
        run(&self.ip, &rule)
    }

    /// Makes both directions slow and lossy: by netem, or where the kernel has none by a link of
    /// 1 Mbit/s whose queue delays packets up to 300 ms and drops the rest.
    pub fn worsen(&self) -> Result<()> {
        let discipline = match peers::find("netem")? {
            Some(_) => "netem delay 100ms 30ms loss 5%",
            None => "tbf rate 1mbit burst 8kb latency 300ms",
        };
        let tc = peers::find("tc")?.context("tc comes with ip")?;
        for link in ["north", "south"] {
            let router = self.name("r");
            run(
                &tc,
                &format!("-n {router} qdisc add dev {link} root {discipline}"),
            )?;
        }
        Ok(())
    }
}

fn run(program: &Path, arguments: &str) -> Result<()> {
    let output = Command::new(program).args(arguments.split(' ')).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} {arguments}: {said}",
        program.display()
    );
    Ok(())
}

impl Drop for Network {
    fn drop(&mut self) {
        for part in ["a", "r"] {
            // The links go with the namespaces.
            run(&self.ip, &format!("netns del {}", self.name(part))).ok();
        }
    }
}
