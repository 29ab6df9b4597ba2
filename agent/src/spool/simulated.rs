//! A disk in memory that counts, fails and crashes on demand: for tests and for simulation
//! of whole agents.
//!
//! What was not synced may be lost in part by [`SimulatedDisk::crash`], as a machine that
//! loses power loses it. Of time it knows only how long the writer is to wait for it. It does not
//! model a disk that lies about a sync.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

/// Kinds of operations that can be counted and made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Making a file and reserving its space.
    Create,
    /// Writing; a write that fails has written its first half.
    Write,
    /// Reading.
    Read,
    /// Making a file's content durable; a sync that fails has synced nothing.
    Sync,
    /// Cutting a file.
    Truncate,
    /// Giving a file another name.
    Rename,
    /// Removing a name.
    Remove,
    /// Making names durable.
    SyncDir,
}

const EIO: i32 = 5;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Which part of what was written since the last sync a loss of power leaves of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// So many bytes from its beginning.
    First(usize),
    /// Each sector or not, by the bits of this number, again and again.
    Sectors(u64),
}

/// A disk in memory; clones share it.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    durable_names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    locks: BTreeSet<PathBuf>,
    counts: BTreeMap<Operation, u64>,
    harm: Harm,
    faults: Vec<Fault>,
    /// Changes until the process dies in one; see [`SimulatedDisk::die_after`].
    fuse: Option<u64>,
    is_dead: bool,
    /// Processes before a crash have an older life and may change nothing any more.
    life: u64,
    observer: Option<Observer>,
    pace: Duration,
}

/// What a disk did to its users, counted.
#[derive(Debug, Clone, Default)]
pub struct Harm {
    /// Operations that failed, by the errno.
    pub failed: BTreeMap<i32, u64>,
    /// Writes of which half was written, because they failed or the process died.
    pub torn_writes: u64,
    /// Files of which a loss of power took something that was not synced.
    pub lost_writes: u64,
    /// Groups of records that waited because the disk was slow.
    pub slow_groups: u64,
}

type Observer = Arc<dyn Fn(Operation) + Send + Sync>;

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

struct Fault {
    operation: Operation,
    skip: u32,
    times: u32,
    errno: i32,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    content: Arc<Mutex<Content>>,
    life: u64,
}

struct Lock {
    disk: SimulatedDisk,
    path: PathBuf,
    life: u64,
}

impl SimulatedDisk {
    /// Lets the operation succeed `skip` times, then fail `times` times with this errno.
    pub fn fail(&self, operation: Operation, skip: u32, times: u32, errno: i32) {
        self.0.lock().faults.push(Fault {
            operation,
            skip,
            times,
            errno,
        });
    }

    /// Calls this before each operation, while the disk can be used.
    pub fn observe(&self, observer: impl Fn(Operation) + Send + Sync + 'static) {
        self.0.lock().observer = Some(Arc::new(observer));
    }

    /// Lets so many changes succeed; in the next one the process dies, a write half done. From then
    /// on nothing changes until [`SimulatedDisk::crash`] or [`SimulatedDisk::lose_power`].
    pub fn die_after(&self, changes: u64) {
        self.0.lock().fuse = Some(changes);
    }

    /// Each group of records takes so long from now on.
    pub fn set_pace(&self, pace: Duration) {
        self.0.lock().pace = pace;
    }

    /// Whether the process has died in a change.
    pub fn is_dead(&self) -> bool {
        self.0.lock().is_dead
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.0.lock().faults.clear();
    }

    /// How often the operation was tried.
    pub fn count(&self, operation: Operation) -> u64 {
        self.0.lock().counts.get(&operation).copied().unwrap_or_default()
    }

    /// What it has done so far.
    pub fn harm(&self) -> Harm {
        self.0.lock().harm.clone()
    }

    /// Ends the process: files that it has open change nothing any more, and its locks are free
    /// (what else it holds must be dropped before). With
    /// `kept_bytes` the machine ends too: of each file the first so many bytes are as written,
    /// the rest as last synced; and names are as last synced.
    pub fn crash(&self, kept_bytes: Option<usize>) {
        let mut state = self.0.lock();
        state.life += 1;
        state.locks.clear();
        state.faults.clear();
        state.fuse = None;
        state.is_dead = false;
        let Some(kept) = kept_bytes else { return };
        state.names = state.durable_names.clone();
        for content in state.names.values() {
            content.lock().lose_unsynced(Kept::First(kept));
        }
    }

    /// Ends the process and the machine: of each file, told its length, the part that `keep` chooses
    /// is as written, the rest as last synced. Names are as last synced, or all there: a file
    /// system may write them before it is asked to.
    pub fn lose_power(&self, keeps_names: bool, mut keep: impl FnMut(usize) -> Kept) {
        self.crash(None);
        let mut state = self.0.lock();
        if !keeps_names {
            state.names = state.durable_names.clone();
        }
        state.durable_names = state.names.clone();
        let mut lost_writes = 0;
        for content in state.names.values() {
            let mut content = content.lock();
            let written = content.now.clone();
            let kept = keep(written.len());
            content.lose_unsynced(kept);
            lost_writes += u64::from(content.now != written);
        }
        state.harm.lost_writes += lost_writes;
    }

    /// Changes a file's bytes behind the spool's back.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(content) = self.0.lock().names.get(path) {
            let mut content = content.lock();
            change(&mut content.now);
            content.durable = content.now.clone();
        }
    }

    /// The bytes of a file; 0 if it is not there.
    pub fn length(&self, path: &Path) -> usize {
        let state = self.0.lock();
        state
            .names
            .get(path)
            .map_or(0, |content| content.lock().now.len())
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }

    fn attempt(&self, operation: Operation, life: Option<u64>) -> io::Result<()> {
        let observer = self.0.lock().observer.clone();
        if let Some(observer) = observer {
            observer(operation);
        }
        let mut state = self.0.lock();
        if life.is_some_and(|life| life != state.life) {
            return Err(io::Error::other("the process has ended"));
        }
        if operation != Operation::Read {
            state.burn()?;
        }
        *state.counts.entry(operation).or_default() += 1;
        for fault in state
            .faults
            .iter_mut()
            .filter(|fault| fault.operation == operation)
        {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                let errno = fault.errno;
                *state.harm.failed.entry(errno).or_default() += 1;
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        Ok(())
    }

    fn file(&self, content: Arc<Mutex<Content>>) -> Arc<dyn DiskFile> {
        let life = self.0.lock().life;
        Arc::new(SimulatedFile {
            disk: self.clone(),
            content,
            life,
        })
    }
}

impl State {
    /// Counts the changes down to the process's death.
    fn burn(&mut self) -> io::Result<()> {
        if self.is_dead {
            return Err(io::Error::other("the process has died"));
        }
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => {
                self.is_dead = true;
                // With an errno a write is half done.
                Err(io::Error::from_raw_os_error(EIO))
            }
            Some(changes) => {
                *changes -= 1;
                Ok(())
            }
        }
    }
}

impl Content {
    fn lose_unsynced(&mut self, kept: Kept) {
        match kept {
            Kept::First(kept) => {
                let kept = kept.min(self.now.len());
                let mut rest = self.durable.get(kept..).unwrap_or_default().to_vec();
                self.now.truncate(kept);
                self.now.append(&mut rest);
            }
            Kept::Sectors(bits) => {
                self.durable.resize(self.now.len(), 0);
                let sectors = self.now.chunks_mut(SECTOR_BYTES);
                for (number, (now, durable)) in sectors.zip(self.durable.chunks(SECTOR_BYTES)).enumerate() {
                    if (bits >> (number % 64)) & 1 == 0 {
                        now.copy_from_slice(durable);
                    }
                }
            }
        }
        self.durable = self.now.clone();
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut state = self.0.lock();
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock {
            disk: self.clone(),
            path: path.to_owned(),
            life: state.life,
        }))
    }

    fn create(&self, path: &Path, reserve_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.attempt(Operation::Create, None)?;
        let reserved = usize::try_from(reserve_bytes).map_err(io::Error::other)?;
        let content = Arc::new(Mutex::new(Content {
            now: vec![0; reserved],
            durable: Vec::new(),
        }));
        self.0.lock().names.insert(path.to_owned(), Arc::clone(&content));
        Ok(self.file(content))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.0.lock().names.get(path).cloned();
        Ok(self.file(content.ok_or_else(|| missing(path))?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.attempt(Operation::Rename, None)?;
        let mut state = self.0.lock();
        let content = state.names.remove(from).ok_or_else(|| missing(from))?;
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::Remove, None)?;
        self.0
            .lock()
            .names
            .remove(path)
            .map(drop)
            .ok_or_else(|| missing(path))
    }

    fn pace(&self) -> Duration {
        let mut state = self.0.lock();
        state.harm.slow_groups += u64::from(!state.pace.is_zero());
        state.pace
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.attempt(Operation::SyncDir, None)?;
        let mut state = self.0.lock();
        let state = &mut *state;
        state.durable_names.retain(|path, _| path.parent() != Some(dir));
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        state
            .durable_names
            .extend(inside.map(|(path, content)| (path.clone(), Arc::clone(content))));
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let attempt = self.disk.attempt(Operation::Write, Some(self.life));
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if let Err(error) = &attempt {
            let half = if error.raw_os_error().is_some() {
                bytes.len() / 2
            } else {
                0
            };
            bytes.truncate(half);
            self.disk.0.lock().harm.torn_writes += u64::from(half > 0);
        }
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut content = self.content.lock();
        let end = start + bytes.len();
        if content.now.len() < end && !bytes.is_empty() {
            content.now.resize(end, 0);
        }
        if !bytes.is_empty() {
            content.now[start..end].copy_from_slice(&bytes);
        }
        attempt
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.attempt(Operation::Read, None)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let content = self.content.lock();
        let rest = content.now.get(start..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.attempt(Operation::Sync, Some(self.life))?;
        let mut content = self.content.lock();
        content.durable = content.now.clone();
        Ok(())
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.attempt(Operation::Truncate, Some(self.life))?;
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        self.content.lock().now.resize(length, 0);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().now.len() as u64)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.0.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}
