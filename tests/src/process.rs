//! One real process: started with its output in a file, signalled, measured, and never left
//! behind. It does not know what the process is.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// Of the times in `/proc/PID/stat`: USER_HZ is 100 wherever Linux runs today.
const MILLIS_PER_TICK: u64 = 10;

/// CPU time of a process, all its threads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// In the process itself.
    pub user: Duration,
    /// In the kernel for it.
    pub system: Duration,
}

impl Cpu {
    /// Both together.
    pub fn total(&self) -> Duration {
        self.user + self.system
    }
}

/// A started process; it is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// The path of a binary of this project, built beside the running test.
    pub fn binary(name: &str) -> Result<PathBuf> {
        let path = build_folder()?.join(name);
        if !path.exists() {
            bail!("{} is not built: run the tests with scripts/test", path.display());
        }
        Ok(path)
    }

    /// Sends a signal: STOP and CONT make a process hang and go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id")?, signal)?;
        Ok(())
    }

    /// Ends the process as a crash does, and waits until it is gone.
    pub fn kill_9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to shut down and waits until it has.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.exit_status(within).await
    }

    /// Waits for the process to end by itself.
    pub async fn exit_status(&mut self, within: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        let child = std::cell::RefCell::new(&mut self.child);
        eventually(within, &format!("the end of {name}"), || async {
            child.borrow_mut().try_wait()?.context("still running")
        })
        .await
    }

    /// Fails if the process has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.log()?),
        }
    }

    /// The most memory that the process has held since its start or [`Process::forget_peak`].
    pub fn resident_bytes_peak(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// The memory that the process holds.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// Begins the peak of the memory anew.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(std::fs::write(self.proc("clear_refs"), "5")?)
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib: u64 = line
            .context("no such line")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?;
        Ok(kib * 1024)
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    /// The CPU time that the process has used.
    pub fn cpu(&self) -> Result<Cpu> {
        let stat = std::fs::read_to_string(self.proc("stat"))?;
        // The name in parentheses may hold blanks; what follows it begins with field 3.
        let (_, fields) = stat.rsplit_once(") ").context("a name in parentheses")?;
        let ticks = |field: usize| -> Result<Duration> {
            let value = fields.split(' ').nth(field - 3).context("a short line")?;
            Ok(Duration::from_millis(value.parse::<u64>()? * MILLIS_PER_TICK))
        };
        Ok(Cpu {
            user: ticks(14)?,
            system: ticks(15)?,
        })
    }

    /// Everything that the process has printed.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already reaped is as good as killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The folder with the binaries: a test executable lies in `deps` below it, the benchmark in it.
pub(crate) fn build_folder() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let folder = executable.parent().context("an executable lies in a folder")?;
    Ok(match folder.parent() {
        Some(parent) if folder.ends_with("deps") => parent.to_owned(),
        _ => folder.to_owned(),
    })
}
