//! Files that appear whole or not at all, in the order of steps that a loss of power cannot
//! turn around. It knows paths, not objects.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::{Error, Result};
use parking_lot::Mutex;
use uuid::Uuid;

/// Directories that are remembered as durable; all are forgotten when there are more.
const SETTLED_MAX: usize = 4096;

/// The steps, so that a test can watch their order and make one fail.
pub(super) trait Disk: fmt::Debug + Send + Sync + 'static {
    fn make_directories(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        File::options().write(true).create_new(true).open(path)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Some file systems keep their directories by themselves, and refuse this.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                Ok(())
            }
            result => result,
        }
    }
}

/// The one that is there.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}", path.display())]
struct StepError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        let path = path.to_path_buf();
        generic(StepError { step, path, source })
    }
}

pub(super) fn generic(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "directory",
        source: Box::new(error),
    }
}

/// An upload that is used after its end.
pub(super) fn ended() -> Error {
    generic(io::Error::from(io::ErrorKind::InvalidInput))
}

/// How a complete file gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// Only if nobody has the name.
    Link,
    /// In place of who has it.
    Rename,
}

/// Files below one directory.
#[derive(Debug)]
pub(super) struct Files {
    base: PathBuf,
    disk: Box<dyn Disk>,
    /// Directories that are themselves durable: those above them were synced.
    settled: Mutex<HashSet<PathBuf>>,
}

impl Files {
    pub(super) fn new(base: PathBuf, disk: Box<dyn Disk>) -> Self {
        Self {
            base,
            disk,
            settled: Mutex::default(),
        }
    }

    /// Makes the entry of `target` in its directory durable, and the directory's own.
    pub(super) fn settle(&self, target: &Path) -> Result<()> {
        let directory = directory(target);
        self.settle_above(directory)?;
        self.sync(directory)
    }

    fn sync(&self, directory: &Path) -> Result<()> {
        self.disk
            .sync_directory(directory)
            .map_err(failed("sync directory", directory))
    }

    /// Once per directory and process, whoever made it: the process before this one may have
    /// lost its power between making a directory and syncing the one above.
    fn settle_above(&self, directory: &Path) -> Result<()> {
        if self.settled.lock().contains(directory) {
            return Ok(());
        }
        let above = directory.ancestors().skip(1);
        for ancestor in above.take_while(|ancestor| ancestor.starts_with(&self.base)) {
            self.sync(ancestor)?;
        }
        let mut settled = self.settled.lock();
        if settled.len() >= SETTLED_MAX {
            settled.clear();
        }
        settled.insert(directory.to_path_buf());
        Ok(())
    }

    fn create(&self, path: &Path) -> Result<File> {
        let created = match self.disk.create(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = directory(path);
                self.settled.lock().remove(directory);
                self.disk
                    .make_directories(directory)
                    .map_err(failed("make directory", directory))?;
                self.disk.create(path)
            }
            created => created,
        };
        created.map_err(failed("create", path))
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Makes a directory and what leads to it, and all of it durable as far as it may be opened.
pub(super) fn make_directory(path: &Path, disk: &dyn Disk) -> io::Result<()> {
    disk.make_directories(path)?;
    for ancestor in path.canonicalize()?.ancestors() {
        match disk.sync_directory(ancestor) {
            // It is not ours, so we did not make what is in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            result => result?,
        }
    }
    Ok(())
}

/// A file without its name yet. It is removed when it is dropped before it has one.
#[derive(Debug)]
pub(super) struct Staged {
    files: Arc<Files>,
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    is_gone: AtomicBool,
}

impl Staged {
    /// Names that end in `#` and digits are those that `object_store` lists to nobody.
    pub(super) fn create(files: Arc<Files>, target: PathBuf) -> Result<Self> {
        let mut temporary = target.clone().into_os_string();
        temporary.push(format!("#{}", Uuid::new_v4().as_u128()));
        let temporary = PathBuf::from(temporary);
        let file = files.create(&temporary)?;
        Ok(Self {
            files,
            target,
            temporary,
            file,
            is_gone: AtomicBool::new(false),
        })
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.files
            .disk
            .write(&self.file, bytes, offset)
            .map_err(failed("write", &self.temporary))
    }

    /// Gives the file its name. Nobody sees the name before the content is on the disk, and
    /// when this returns the name is there too.
    pub(super) fn publish(&self, how: Publish) -> Result<()> {
        let disk = &self.files.disk;
        disk.sync_file(&self.file)
            .map_err(failed("sync", &self.temporary))?;
        let directory = directory(&self.target);
        self.files.settle_above(directory)?;
        match how {
            Publish::Link => {
                disk.link(&self.temporary, &self.target)
                    .map_err(|source| self.not_linked(source))?;
                self.remove();
            }
            Publish::Rename => {
                disk.rename(&self.temporary, &self.target)
                    .map_err(failed("rename a file to", &self.target))?;
                self.is_gone.store(true, Ordering::Relaxed);
            }
        }
        self.files.sync(directory)
    }

    fn not_linked(&self, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::AlreadyExists {
            return Error::AlreadyExists {
                path: self.target.display().to_string(),
                source: Box::new(source),
            };
        }
        failed("link a file to", &self.target)(source)
    }

    fn remove(&self) {
        if self.is_gone.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.files.disk.remove(&self.temporary) {
            tracing::debug!(path = %self.temporary.display(), %error, "a temporary file stays behind");
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.remove();
    }
}
