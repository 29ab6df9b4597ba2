//! What happens to the files of a store in a directory: they are listed, kept aside, put back,
//! and damaged in the ways in which disks and people do. It knows where files are, and nothing
//! of what is in them but where a Parquet file's footer begins.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// In how many ways a file can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It is deleted.
    Missing,
    /// Its second half is cut off.
    Truncated,
    /// Everything before its footer is overwritten.
    Corrupt,
}

impl Damage {
    /// Every way.
    pub const ALL: [Damage; 3] = [Damage::Missing, Damage::Truncated, Damage::Corrupt];

    /// Does it; answers what was there before.
    pub fn strike(self, path: &Path) -> Result<Whole> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        match self {
            Damage::Missing => std::fs::remove_file(path)?,
            Damage::Truncated => std::fs::write(path, &bytes[..bytes.len() / 2])?,
            Damage::Corrupt => {
                let mut damaged = bytes.clone();
                let pages = footer_begins(&bytes)?;
                damaged[4..pages].fill(0xA5);
                std::fs::write(path, damaged)?;
            }
        }
        Ok(Whole {
            path: path.to_owned(),
            bytes,
        })
    }
}

/// Where the footer of a Parquet file begins.
fn footer_begins(bytes: &[u8]) -> Result<usize> {
    let tail = bytes.len().checked_sub(8).context("no Parquet file")?;
    let length: [u8; 4] = bytes[tail..tail + 4].try_into()?;
    let length = usize::try_from(u32::from_le_bytes(length))?;
    tail.checked_sub(length).context("no footer")
}

/// A file as it was before it was damaged.
pub struct Whole {
    /// Where it was.
    pub path: PathBuf,
    bytes: Vec<u8>,
}

impl Whole {
    /// The file's name, which is what answers must name.
    pub fn name(&self) -> Result<&str> {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.context("a file's name")
    }

    /// Puts the copy back.
    pub fn restore(&self) -> Result<()> {
        Ok(std::fs::write(&self.path, &self.bytes)?)
    }
}

/// The data files of a table, wherever in it.
pub fn data_files(table: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    gather(table, "parquet", &mut files)?;
    files.retain(|path| !path.to_string_lossy().contains("_delta_log"));
    Ok(files)
}

/// The entries of a table's log, or its checkpoints, by their extension.
pub fn log_files(table: &Path, extension: &str) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    gather(&table.join("_delta_log"), extension, &mut files)?;
    ensure!(
        !files.is_empty(),
        "no {extension} in the log of {}",
        table.display()
    );
    Ok(files)
}

fn gather(folder: &Path, extension: &str, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, extension, files)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            files.insert(path);
        }
    }
    Ok(())
}
