//! What exporters keep for their next start, beside their cursors: one file each, replaced in one
//! step. What is in it is the exporter's business.
//!
//! It is kept before the cursor moves, so that the cursor is never ahead of it.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, read_file, replace_file};
use super::marks::file_name;
use super::{Spool, SpoolConfig};

const MAGIC: [u8; 8] = *b"MerKept1";

impl Spool {
    /// What the exporter has kept; `None` if nothing, or if it is damaged.
    pub fn kept(&self, exporter: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.shared.kept_dir.join(file_name(exporter));
        let Some(file) = read_file(&*self.shared.disk, &path)? else {
            return Ok(None);
        };
        let content = decode(&file);
        if content.is_none() {
            tracing::warn!(path = %path.display(), "what the exporter has kept is damaged; it begins anew");
        }
        Ok(content.map(<[u8]>::to_vec))
    }

    /// Keeps this for the exporter in the place of what it has kept before. Durable when it
    /// returns; blocks.
    pub fn keep(&self, exporter: &str, content: &[u8]) -> io::Result<()> {
        let path = self.shared.kept_dir.join(file_name(exporter));
        replace_file(&*self.shared.disk, &path, &encode(content)).map(drop)
    }
}

/// Where it is.
pub(super) fn dir_of(config: &SpoolConfig) -> PathBuf {
    config.path.join("kept")
}

/// Makes the directory, and removes what exporters kept that are not configured any more: as
/// their cursors, it would be wrong when they come back.
pub(super) fn open(disk: &dyn Disk, dir: &Path, exporters: &[String]) -> io::Result<()> {
    disk.create_dir(dir)?;
    disk.sync_dir(dir.parent().unwrap_or(dir))?;
    for name in disk.list(dir)? {
        if exporters.iter().all(|exporter| file_name(exporter) != name) {
            disk.remove(&dir.join(name))?;
        }
    }
    Ok(())
}

fn encode(content: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &crc32c::crc32c(content).to_le_bytes(), content].concat()
}

fn decode(file: &[u8]) -> Option<&[u8]> {
    let (crc, content) = file.strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*crc) == crc32c::crc32c(content)).then_some(content)
}

#[cfg(test)]
mod tests {
    use meridian_runtime::clock::Clock;

    use super::*;

    fn open(dir: &Path, exporters: &[&str]) -> Spool {
        let exporters: Vec<String> = exporters.iter().map(|name| (*name).to_owned()).collect();
        Spool::open(SpoolConfig::new(dir), Clock::system(), &exporters).expect("opens")
    }

    #[tokio::test]
    async fn what_is_kept_is_there_at_the_next_start_and_goes_with_its_exporter() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = open(dir.path(), &["a/b", "c"]);
        assert_eq!(spool.kept("a/b").expect("readable"), None);
        for content in ["first", "second"] {
            spool.keep("a/b", content.as_bytes()).expect("kept");
        }
        spool.keep("c", b"other").expect("kept");
        spool.close().await;
        drop(spool);
        let spool = open(dir.path(), &["a/b"]);
        assert_eq!(spool.kept("a/b").expect("readable"), Some(b"second".to_vec()));
        assert_eq!(spool.kept("c").expect("readable"), None);
        spool.close().await;
    }

    #[test]
    fn a_damaged_file_is_none() {
        let sound = encode(b"content");
        assert_eq!(decode(&sound), Some(&b"content"[..]));
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {at}");
            assert_eq!(decode(&sound[..at]), None, "cut at {at}");
        }
    }
}
