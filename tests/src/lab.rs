//! One test's place: a temporary folder with everything its processes write. When the test
//! fails, the ends of their logs are printed before the folder goes.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use parking_lot::{Mutex, MutexGuard};
use tempfile::TempDir;

const LOG_LINES_SHOWN: usize = 40;

static HEAVY: Mutex<()> = Mutex::new(());

/// A temporary folder that reports logs if the test fails.
pub struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    /// A path in the folder, which need not exist.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path())
            .into_iter()
            .flatten()
            .flatten();
        let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        logs
    }
}

impl Drop for Lab {
    #[expect(clippy::print_stderr, reason = "the runner shows it with the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in self.logs() {
                eprintln!("--- the end of {}\n{}", log.display(), tail(&log));
            }
        }
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// Runs a scenario to its end; an error or a panic fails the test and shows the logs.
pub fn run<F, Fut>(scenario: F)
where
    F: FnOnce(Arc<Lab>) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let lab = Arc::new(Lab::new());
    let outcome = block_on(scenario(Arc::clone(&lab)));
    // The panic happens while `lab` is alive, so that its logs are shown.
    if let Err(fault) = outcome {
        fail(&fault);
    }
    drop(lab);
}

/// Runs a scenario that loads the machine: one at a time, so that none starves another.
pub fn run_heavy<F, Fut>(scenario: F)
where
    F: FnOnce(Arc<Lab>) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let _turn = turn();
    run(scenario);
}

/// Waits for the turn of what loads the machine; it lasts until the guard is dropped.
pub fn turn() -> MutexGuard<'static, ()> {
    HEAVY.lock()
}

/// Runs a scenario that may fail; then the error ends with the logs of its processes.
pub fn attempt<T, F, Fut>(scenario: F) -> Result<T>
where
    F: FnOnce(Arc<Lab>) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let lab = Arc::new(Lab::new());
    block_on(scenario(Arc::clone(&lab))).map_err(|fault| {
        let ends = lab.logs().into_iter().map(|log| {
            let end = tail(&log);
            format!("\nthe end of {}:\n{end}", log.display())
        });
        anyhow!("{fault:#}{}", ends.collect::<String>())
    })
}

/// Fails the test with the chain of causes; a backtrace would only lead here.
#[expect(clippy::panic, reason = "how a test fails")]
fn fail(fault: &anyhow::Error) {
    panic!("{fault:#}");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(future)
}
