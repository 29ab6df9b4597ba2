//! A small disk of a test's own, which is filled to the last byte and has room again: a tmpfs.
//! It does not fail in other ways: it has no bad sectors and forgets nothing.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::peers;

/// What takes the room; a foreign file to whoever writes there.
const BALLAST: &str = "ballast";
const PAGE: [u8; 4096] = [0; 4096];

/// A mounted disk; it is unmounted when this is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk of so many MiB; `None` where that is refused, which the runner's summary says.
    pub fn mount(path: PathBuf, mib: u32) -> Result<Option<Self>> {
        let Some(mount) = peers::find("tmpfs")? else {
            return Ok(None);
        };
        std::fs::create_dir_all(&path)?;
        let options = format!("size={mib}m");
        let mut command = Command::new(mount);
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
        let status = command.status().context("running mount")?;
        ensure!(status.success(), "{command:?}: {status}");
        Ok(Some(Self(path)))
    }

    /// Takes all the room that there is at this moment.
    pub fn fill(&self) -> Result<()> {
        let ballast = self.0.join(BALLAST);
        let mut ballast = File::options().create(true).append(true).open(ballast)?;
        loop {
            match ballast.write_all(&PAGE) {
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                written => written?,
            }
        }
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.0.join(BALLAST))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever has a file open on it keeps it no longer than that.
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}
