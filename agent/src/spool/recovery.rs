//! Opening a spool's directory: taking its lock, finding out who it is, and making sense of
//! every segment that is there, however the last process ended.
//!
//! What cannot be read is set aside under another name, never deleted, and never stops the
//! agent: new telemetry matters more. It does not accept records; that is the writer's.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meridian_proto::ids::AgentId;

use super::cold::{ColdFile, FrameCache};
use super::compress::Compressed;
use super::delivery::{Cursor, NOT_TAKEN};
use super::disk::{Disk, DiskFile};
use super::index::{Committed, Index, Segment};
use super::marks::{self, Alive, Identity, SavedCursor, Sign};
use super::record::HEADER_BYTES;
use super::scan::{self, Expected, Located};
use super::segment::{self, Cold, SegmentHeader};
use super::undelivered::Undelivered;
use super::window::{Accepted, Window};
use super::{SpoolConfig, SpoolError};

/// Times of records may be so far ahead of the clock and still be continued from. A clock
/// that was wrong by more must not rule all later times.
const CLOCK_AHEAD_MAX_NANOS: u64 = 3_600_000_000_000;

/// What was found when the spool was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last sign of life before this start, the last record if no other is left; 0 if there
    /// is none, as in a new spool.
    pub last_alive_unix_nanos: u64,
    /// Whether the last process closed the spool.
    pub clean: bool,
    /// Records that are there.
    pub records: u64,
    /// Bytes of an unfinished write that were cut off.
    pub torn_bytes: u64,
    /// Records in the middle that are damaged and were skipped.
    pub corrupt_records: u64,
    /// Segments that could not be read or belong to another spool, renamed to `.bad`.
    pub segments_set_aside: u64,
}

/// An opened directory, ready for a writer.
pub(super) struct Opened {
    pub identity: AgentId,
    pub recovery: Recovery,
    pub index: Index,
    pub window: Window,
    pub alive: Alive,
    pub lock: Box<dyn Send>,
    /// Segments without a record, to be removed when a newer one is there.
    pub empty: Vec<PathBuf>,
    /// What compressed segments keep in memory.
    pub frames: FrameCache,
}

/// Opens the directory and recovers what is there.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    config: &SpoolConfig,
    now: u64,
    exporters: &[String],
) -> Result<Opened, SpoolError> {
    let dir = config.path.as_path();
    let cursors_dir = dir.join("cursors");
    disk.create_dir(&cursors_dir)
        .map_err(|source| fault("create", &cursors_dir, source))?;
    if let Some(above) = dir.parent() {
        // Durable before anything in it, where the directory above may be opened.
        disk.sync_dir(above).ok();
    }
    disk.sync_dir(dir).map_err(|source| fault("sync", dir, source))?;
    let lock = take_lock(&**disk, dir)?;
    let names = disk.list(dir).map_err(|source| fault("list", dir, source))?;
    remove_unfinished(&**disk, dir, &names)?;
    remove_unfinished(
        &**disk,
        &cursors_dir,
        &disk
            .list(&cursors_dir)
            .map_err(|source| fault("list", &cursors_dir, source))?,
    )?;
    let alive_path = dir.join("alive");
    let (alive, sign) =
        Alive::open(&**disk, &alive_path).map_err(|source| fault("open", &alive_path, source))?;
    let identity = identify(&**disk, dir, &names)?;

    let mut segments = Segments::new(&**disk, dir, identity);
    segments.recover(&names)?;
    let frames = segments.frames;
    let mut found = segments.found;
    found.next_seq = found.next_seq.max(sign.next_seq);
    found.recovery.last_alive_unix_nanos = match sign.unix_nanos {
        // Power loss takes signs that were never synced. A spool with records is not a new one.
        0 => found.last_received,
        signed => signed,
    };
    found.recovery.clean = sign.clean;

    let cursors = marks::read_cursors(&**disk, &cursors_dir, exporters)
        .map_err(|source| fault("read", &cursors_dir, source))?;
    let mut window = Window::new(Arc::clone(disk), dir, nanos(config.retry_window));
    let hashes = std::mem::take(&mut found.hashes);
    window
        .load(hashes)
        .map_err(|source| fault("rewrite", &dir.join("hashes"), source))?;
    let (recovery, empty) = (found.recovery.clone(), std::mem::take(&mut found.empty));
    let index = found.into_index(exporters, |name| cursors.get(name).cloned(), now, sign);
    Ok(Opened {
        identity,
        recovery,
        index,
        window,
        alive,
        lock,
        empty,
        frames,
    })
}

/// The configured time in the spool's unit.
pub(super) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn fault(action: &'static str, path: &Path, source: io::Error) -> SpoolError {
    SpoolError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Send>, SpoolError> {
    let path = dir.join("lock");
    disk.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => SpoolError::Locked { path: dir.to_owned() },
        _ => fault("lock", &path, source),
    })
}

/// Removes files that were being made when the last process ended.
fn remove_unfinished(disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<(), SpoolError> {
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        let path = dir.join(name);
        disk.remove(&path)
            .map_err(|source| fault("remove", &path, source))?;
    }
    Ok(())
}

/// The identity in its file, else the one of the newest segment, else a new one. The file has no
/// checksum: where every segment is of another spool, the file is what is damaged.
fn identify(disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<AgentId, SpoolError> {
    let path = dir.join("identity");
    let known = marks::read_identity(disk, &path).map_err(|source| fault("read", &path, source))?;
    let mut of_segments = identities(disk, dir, names).into_iter().peekable();
    let newest = of_segments.peek().copied();
    let identity = match (&known, newest) {
        (Identity::Known(known), None) => return Ok(*known),
        (Identity::Known(known), Some(_)) if of_segments.any(|identity| identity == *known) => {
            return Ok(*known);
        }
        (_, Some(newest)) => newest,
        (_, None) => AgentId::random(),
    };
    if newest.is_some() || !matches!(known, Identity::Missing) {
        tracing::warn!(path = %path.display(), %identity, "the spool's identity is missing or damaged, writing it anew");
    }
    marks::write_identity(disk, &path, identity).map_err(|source| fault("write", &path, source))?;
    Ok(identity)
}

/// The spools that sound segments belong to, the newest first.
fn identities(disk: &dyn Disk, dir: &Path, names: &[String]) -> Vec<AgentId> {
    let mut seqs: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::first_seq_of(name))
        .collect();
    seqs.sort_unstable();
    let identity = |seq: &u64| {
        let file = disk.open(&dir.join(segment::file_name(*seq))).ok()?;
        Some(SegmentHeader::read(&*file, *seq).ok()?.ok()?.identity)
    };
    seqs.iter().rev().filter_map(identity).collect()
}

/// What the segments hold.
#[derive(Default)]
struct Found {
    segments: Vec<Segment>,
    empty: Vec<PathBuf>,
    hashes: Vec<Accepted>,
    next_seq: u64,
    last_received: u64,
    recovery: Recovery,
}

struct Segments<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    identity: AgentId,
    frames: FrameCache,
    found: Found,
}

impl<'a> Segments<'a> {
    fn new(disk: &'a dyn Disk, dir: &'a Path, identity: AgentId) -> Self {
        Self {
            disk,
            dir,
            identity,
            frames: FrameCache::default(),
            found: Found {
                next_seq: 1,
                ..Found::default()
            },
        }
    }

    fn recover(&mut self, names: &[String]) -> Result<(), SpoolError> {
        let mut seqs = Vec::new();
        for name in names {
            if let Some(seq) = segment::first_seq_of(name) {
                seqs.push(seq);
            } else if let Some(seq) = name.strip_suffix(".bad").and_then(segment::first_seq_of) {
                self.reserve_seqs_of(&self.dir.join(name), seq);
            }
        }
        seqs.sort_unstable();
        for (position, seq) in seqs.iter().enumerate() {
            let path = self.dir.join(segment::file_name(*seq));
            match self.recover_one(&path, *seq, seqs.get(position + 1).copied()) {
                Ok(()) => {}
                Err(NotRecovered::NotCut(source)) => return Err(fault("cut", &path, source)),
                Err(NotRecovered::NotRead(why)) if let Some(version) = later_version(&why) => {
                    return Err(SpoolError::Later {
                        path,
                        version,
                        version_known: segment::COLD_VERSION,
                    });
                }
                Err(NotRecovered::NotRead(why)) if is_damage(&why) => self
                    .set_aside(&path, *seq, &why)
                    .map_err(|source| fault("set aside", &path, source))?,
                Err(NotRecovered::NotRead(source)) => return Err(fault("recover", &path, source)),
            }
        }
        Ok(())
    }

    /// Indexes a segment and cuts what is not a record off its end; an error sets it aside.
    fn recover_one(&mut self, path: &Path, seq: u64, end_seq: Option<u64>) -> Result<(), NotRecovered> {
        let file = self.disk.open(path)?;
        let header = SegmentHeader::read(&*file, seq)?
            .and_then(|header| match header.identity == self.identity {
                true => Ok(header),
                false => Err(segment::NotASegment::Foreign(header.identity)),
            })
            .map_err(io::Error::other)?;
        if let Some(cold) = header.cold {
            return Ok(self.recover_cold(path, file, &header, cold, end_seq)?);
        }
        let scan = scan::scan(
            &*file,
            Expected {
                salt: header.salt,
                first_seq: seq,
                end_seq,
                recycled: header.recycled,
            },
        )?;
        self.report(path, &scan, end_seq);
        let lost = if end_seq.is_none() {
            seqs_in(scan.torn_bytes)
        } else {
            0
        };
        let after = scan.records.last().map_or(seq, |last| last.header.seq + 1);
        self.found.next_seq = self.found.next_seq.max(after + lost);
        if file.bytes()? > scan.end {
            let cut = file.truncate(scan.end).and_then(|()| file.sync());
            cut.map_err(NotRecovered::NotCut)?;
        }
        if scan.records.is_empty() {
            self.found.empty.push(path.to_owned());
            return Ok(());
        }
        let mut segment = Segment::new(file, path.to_owned(), header.salt, seq, scan.end);
        for located in &scan.records {
            self.found.take(located);
            segment.push(located);
        }
        self.found.segments.push(segment);
        Ok(())
    }

    /// Indexes a compressed segment: its tail says what it holds, and nothing is cut.
    fn recover_cold(
        &mut self,
        path: &Path,
        file: Arc<dyn DiskFile>,
        header: &SegmentHeader,
        cold: Cold,
        end_seq: Option<u64>,
    ) -> io::Result<()> {
        let cold_bytes = file.bytes()?;
        let (file, scan) = ColdFile::open(file, header, cold, end_seq, self.frames.clone())?;
        self.report(path, &scan, Some(u64::MAX));
        let after = scan
            .records
            .last()
            .map_or(header.first_seq, |last| last.header.seq + 1);
        self.found.next_seq = self.found.next_seq.max(after);
        let mut segment = Segment::new(
            Arc::new(file),
            path.to_owned(),
            header.salt,
            header.first_seq,
            scan.end,
        );
        segment.cold_bytes = Some(cold_bytes);
        for located in &scan.records {
            self.found.take(located);
            segment.push(located);
        }
        segment.bytes = scan.end;
        self.found.segments.push(segment);
        Ok(())
    }

    fn report(&mut self, path: &Path, scan: &scan::Scan, end_seq: Option<u64>) {
        let recovery = &mut self.found.recovery;
        recovery.records += scan.records.len() as u64;
        recovery.corrupt_records = recovery.corrupt_records.saturating_add(scan.corrupt_records);
        if scan.corrupt_records > 0 {
            tracing::error!(segment = %path.display(), records = scan.corrupt_records, "skipping damaged records in the spool");
        }
        if end_seq.is_none() && scan.torn_bytes > 0 && !scan.is_leftover {
            recovery.torn_bytes += scan.torn_bytes;
            tracing::warn!(segment = %path.display(), bytes = scan.torn_bytes, "cutting an unfinished write off the spool");
        }
    }

    fn set_aside(&mut self, path: &Path, seq: u64, why: &io::Error) -> io::Result<()> {
        let aside = path.with_extension("seg.bad");
        tracing::error!(segment = %path.display(), to = %aside.display(), %why, "setting aside a segment that cannot be read");
        self.disk.rename(path, &aside)?;
        self.disk.sync_dir(self.dir)?;
        self.found.recovery.segments_set_aside += 1;
        self.reserve_seqs_of(&aside, seq);
        Ok(())
    }

    /// Keeps sequences that a segment may have used from being used again.
    fn reserve_seqs_of(&mut self, path: &Path, first_seq: u64) {
        let bytes = self
            .disk
            .open(path)
            .and_then(|file| file.bytes())
            .unwrap_or_default();
        self.found.next_seq = self.found.next_seq.max(first_seq.saturating_add(seqs_in(bytes)));
    }
}

/// Why a segment is not indexed.
enum NotRecovered {
    /// It cannot be read, now or for good.
    NotRead(io::Error),
    /// What was read is sound: that the disk does not take a change must not cost it.
    NotCut(io::Error),
}

impl From<io::Error> for NotRecovered {
    fn from(error: io::Error) -> Self {
        Self::NotRead(error)
    }
}

/// Whether an error is about this file for good. Anything else, like too many open files,
/// may pass, and must not cost data.
fn is_damage(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_none_or(|code| code == rustix::io::Errno::IO.raw_os_error())
}

/// The version of a sound segment that this release cannot read. What it holds was accepted, so
/// it must not be left behind as damage is.
fn later_version(error: &io::Error) -> Option<u32> {
    match error.get_ref()?.downcast_ref()? {
        segment::NotASegment::Version(version) => Some(*version),
        _ => None,
    }
}

/// The most records that so many bytes can have held.
fn seqs_in(bytes: u64) -> u64 {
    bytes.div_ceil(HEADER_BYTES as u64)
}

impl Found {
    fn take(&mut self, located: &Located) {
        let header = &located.header;
        self.last_received = self.last_received.max(header.received_unix_nanos);
        if let Some(hash) = header.hash {
            let received_unix_nanos = header.received_unix_nanos;
            self.hashes.push(Accepted {
                hash,
                seq: header.seq,
                received_unix_nanos,
            });
        }
    }

    fn into_index(
        self,
        exporters: &[String],
        cursor: impl Fn(&str) -> Option<SavedCursor>,
        now: u64,
        sign: Sign,
    ) -> Index {
        let oldest = self
            .segments
            .first()
            .map_or(self.next_seq, |segment| segment.first_seq);
        let cursors: Vec<Cursor> = exporters
            .iter()
            .map(|exporter| {
                let mut saved = cursor(exporter).unwrap_or_default();
                for undelivered in &mut saved.undelivered {
                    if undelivered.cursor == NOT_TAKEN {
                        // It may be taken now: from what there is.
                        *undelivered = Undelivered::default();
                    }
                    undelivered.pass(oldest - 1);
                }
                Cursor {
                    exporter: exporter.clone(),
                    undelivered: saved.undelivered,
                    asked_seq: saved.asked_seq,
                    dropped_full: [0; 3],
                    dropped_corrupt: [0; 3],
                    dropped_expired: [0; 3],
                    moved: true,
                }
            })
            .collect();
        let confirmed = cursors
            .iter()
            .flat_map(|cursor| cursor.undelivered.iter().map(|undelivered| undelivered.cursor))
            .max()
            .unwrap_or_default();
        Index {
            segments: self.segments.into(),
            cursors,
            in_flight: None,
            last_time: continued_time(self.last_received.max(sign.unix_nanos), now),
            next_seq: self.next_seq.max(confirmed.saturating_add(1)),
            compressed: Compressed::default(),
            committed: Committed::default(),
        }
    }
}

/// The time that records continue from.
fn continued_time(last: u64, now: u64) -> u64 {
    if last.saturating_sub(now) <= CLOCK_AHEAD_MAX_NANOS {
        return last.max(now);
    }
    tracing::warn!(
        last,
        now,
        "the clock is far behind the spool's last record; times start again from the clock"
    );
    now
}
