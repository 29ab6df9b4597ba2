//! The real peers: where scripts/peers.py put them, and how they are run. A peer that this
//! machine cannot have is left out with a reason; one that is merely not installed fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::lab::Lab;
use crate::process::{Process, build_folder};

#[derive(Deserialize)]
struct Installed {
    peers: BTreeMap<String, PathBuf>,
    left_out: BTreeMap<String, String>,
}

fn installed() -> Result<Installed> {
    let folder = build_folder()?;
    let path = folder.parent().context("a target folder")?.join("peers.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: run the tests with scripts/test", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The path of a peer's binary; `None` if it was left out, which the runner's summary says.
pub fn find(name: &str) -> Result<Option<PathBuf>> {
    let mut installed = installed()?;
    if installed.left_out.contains_key(name) {
        return Ok(None);
    }
    let path = installed.peers.remove(name);
    Ok(Some(path.with_context(|| {
        format!("{name} is not installed: run the tests with scripts/test")
    })?))
}

/// Runs a program to its end; it must succeed. Answers what it printed.
pub async fn run(lab: &Lab, name: &str, command: &mut Command, within: Duration) -> Result<String> {
    let log = lab.path(&format!("{name}.log"));
    let mut process = Process::start(name, command, &log)?;
    let status = process.exit_status(within).await?;
    ensure!(status.success(), "{name}: {status}\n{}", process.log()?);
    process.log()
}

/// Runs one of the Python programs beside the tests.
pub async fn python(lab: &Lab, script: &str, arguments: &[&str], within: Duration) -> Result<String> {
    python_with(lab, script, arguments, &[], within).await
}

/// The same with further variables in its environment.
pub async fn python_with(
    lab: &Lab,
    script: &str,
    arguments: &[&str],
    environment: &[(String, String)],
    within: Duration,
) -> Result<String> {
    let python = find("python")?.context("Python is never left out")?;
    let mut command = script_of(&python, script);
    command.args(arguments);
    command.envs(environment.iter().map(|(key, value)| (key, value)));
    run(lab, script, &mut command, within).await
}

/// The command that runs one of the Python programs beside the tests.
pub fn script_of(python: &Path, script: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
    let mut command = Command::new(python);
    // The checkout stays clean.
    command.arg("-B").arg(path);
    command
}
