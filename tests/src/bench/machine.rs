//! What the figures were measured on, and with which versions. It reads descriptions of the
//! kernel, of git and of the installer, and changes nothing.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// The versions of the peers, as they are installed.
const VERSIONS: &str = include_str!("../../../scripts/versions.env");

/// A machine, at the time of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Its logical cores.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel.
    pub kernel: String,
    /// The file system and the device under the folder for temporary files.
    pub disk: String,
    /// Runnable tasks over the last minute, before the run: others on the machine.
    pub load: String,
    /// The commit that was built, with a mark if files were changed since.
    pub commit: String,
    /// `release`, or `debug`, whose figures mean nothing.
    pub profile: &'static str,
    /// `NAME=version` of each peer.
    pub peers: Vec<&'static str>,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let kib: u64 = field("/proc/meminfo", "MemTotal")
            .trim_end_matches(" kB")
            .parse()
            .unwrap_or(0);
        let is_peer = |line: &&str| {
            ["ROTEL", "COLLECTOR", "DUCKDB"]
                .iter()
                .any(|name| line.starts_with(name))
        };
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease"),
            disk: disk(&std::env::temp_dir()),
            load: load(),
            commit: output("git", &["describe", "--always", "--dirty", "--abbrev=10"]),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            peers: VERSIONS.lines().filter(is_peer).collect(),
        }
    }

    /// In a few lines.
    pub fn text(&self) -> String {
        format!(
            "{} cores of {}, {} MiB, Linux {}, {}; load {} before the run\ncommit {}, {} build; {}",
            self.cores,
            self.cpu,
            self.memory_mib,
            self.kernel,
            self.disk,
            self.load,
            self.commit,
            self.profile,
            self.peers.join(", "),
        )
    }
}

/// Runnable tasks over the last minute.
pub fn load() -> String {
    let load = read("/proc/loadavg");
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// The mount with the longest path that holds `folder`.
fn disk(folder: &Path) -> String {
    let mounts = read("/proc/mounts");
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let holding = fields.filter(|fields| fields.get(1).is_some_and(|path| folder.starts_with(path)));
    let best = holding.max_by_key(|fields| fields[1].len());
    best.map_or_else(String::new, |fields| {
        format!("{} on {}", fields.get(2).unwrap_or(&"?"), fields[0])
    })
}

fn output(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or_else(String::new, |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}
