//! How large a program is without its symbols, as images ship it. It changes no file but its own.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench::targets::Kind;

/// The size of a stripped copy; `None` if this machine cannot have the program.
pub fn stripped_bytes(kind: Kind) -> Result<Option<u64>> {
    let Some(path) = kind.binary()? else {
        return Ok(None);
    };
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("stripped");
    let mut command = Command::new("strip");
    let status = command.arg("-o").arg(&copy).arg(&path).status();
    ensure!(status.context("strip (binutils)")?.success(), "strip failed");
    Ok(Some(std::fs::metadata(&copy)?.len()))
}
