//! The seam between the spool and the file system: the few operations that it needs, with
//! the durability that it counts on, and their real implementation.
//!
//! It knows nothing of the spool's files. [`super::simulated`] is the other implementation.

use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

/// The most parts that one `pwritev` takes (`IOV_MAX` on Linux).
const WRITE_PARTS_MAX: usize = 1024;

/// A directory tree that the spool keeps its files in.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Takes the exclusive lock that lives as long as the guard and the process;
    /// [`io::ErrorKind::WouldBlock`] if another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
    /// Makes an empty file, or empties it, and reserves space: zeros up to `reserve_bytes`.
    fn create(&self, path: &Path, reserve_bytes: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that is there, to read and write.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, in one step, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name; who has the file open can still read it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// How long a writer that is a task waits before each group: a simulated disk may be slow.
    fn pace(&self) -> Duration {
        Duration::ZERO
    }
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all parts one after another; after an error any of it may be written.
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Reads until the buffer is full or the file ends; returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Appends up to `bytes` bytes from there to the buffer, fewer if the file ends before.
    fn read_into(&self, buffer: &mut Vec<u8>, bytes: usize, offset: u64) -> io::Result<()> {
        let start = buffer.len();
        buffer.resize(start + bytes, 0);
        let read = self.read_at(&mut buffer[start..], offset)?;
        buffer.truncate(start + read);
        Ok(())
    }
    /// Makes the content durable. After an error nothing is known of what was written since
    /// the last success, and a second call would not find out (fsyncgate).
    fn sync(&self) -> io::Result<()>;
    /// Sets the length.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// The length.
    fn bytes(&self) -> io::Result<u64>;
    /// Whether the file still has a name. One that was deleted while it is open takes writes as
    /// before, and they end with the process.
    fn is_linked(&self) -> io::Result<bool>;
}

/// Reads a whole small file; `None` if it is not there.
pub(super) fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.bytes()?).map_err(io::Error::other)?;
    let mut content = vec![0; length];
    let read = file.read_at(&mut content, 0)?;
    content.truncate(read);
    Ok(Some(content))
}

/// Makes `path` hold these bytes, durably and in one step: a crash leaves the old content or
/// the new. Returns the new file.
pub(super) fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let unfinished = path.with_extension("tmp");
    let written = disk.create(&unfinished, 0).and_then(|file| {
        file.write_at(&mut [IoSlice::new(content)], 0)?;
        file.sync()?;
        disk.rename(&unfinished, path)?;
        disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(file)
    });
    if written.is_err() {
        // What is left over is removed when the spool is opened next.
        disk.remove(&unfinished).ok();
    }
    written
}

/// Whether an error says that there is no room, rather than that the disk is broken.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

struct RealFile(fs::File);

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn create(&self, path: &Path, reserve_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(path)?;
        if reserve_bytes > 0 {
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, reserve_bytes) {
                // Not every file system can reserve; the spool works without, only slower.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut rest = parts;
        while !rest.is_empty() {
            let count = rest.len().min(WRITE_PARTS_MAX);
            let written = match rustix::io::pwritev(&self.0, &rest[..count], offset) {
                Ok(0) if rest.iter().all(|part| part.is_empty()) => return Ok(()),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            IoSlice::advance_slices(&mut rest, written);
            offset += written as u64;
        }
        Ok(())
    }

    /// Without zeroing the buffer first.
    fn read_into(&self, buffer: &mut Vec<u8>, bytes: usize, offset: u64) -> io::Result<()> {
        let start = buffer.len();
        buffer.reserve(bytes);
        while buffer.len() < start + bytes {
            let at = offset + (buffer.len() - start) as u64;
            match rustix::io::pread(&self.0, spare_capacity(buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The buffer may have more room than was asked for.
        buffer.truncate(start + bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }
}
