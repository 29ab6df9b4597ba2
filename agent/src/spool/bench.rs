//! A spool on a simulated disk for the tests of this module, without the writer's thread, so
//! that a test decides what happens when. It tests nothing itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_runtime::clock::ManualClock;

use super::simulated::SimulatedDisk;
use super::writer::{Answer, Writer};
use super::*;

pub(super) const ENOSPC: i32 = 28;
pub(super) const EIO: i32 = 5;
pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const START: u64 = 1_800_000_000 * SECOND;
pub(super) const DIR: &str = "/spool";

/// A spool without its thread on a simulated disk.
pub(super) struct Bench {
    pub disk: SimulatedDisk,
    pub clock: Clock,
    pub hand: ManualClock,
    pub config: SpoolConfig,
    pub exporters: Vec<String>,
    pub open: Option<(Arc<Shared>, Writer)>,
}

impl Bench {
    pub fn new(change: impl FnOnce(&mut SpoolConfig)) -> Self {
        let mut config = SpoolConfig::new(DIR);
        config.segment_bytes = 4096;
        config.max_bytes = 1 << 20;
        config.linger = Duration::ZERO;
        change(&mut config);
        let (clock, hand) = Clock::manual(START);
        let exporters = vec!["a".to_owned()];
        let mut bench = Self {
            disk: SimulatedDisk::default(),
            clock,
            hand,
            config,
            exporters,
            open: None,
        };
        bench.reopen();
        bench
    }

    pub fn reopen(&mut self) {
        self.open = None;
        let disk = Arc::new(self.disk.clone());
        let opened = open_parts(disk, self.config.clone(), self.clock.clone(), &self.exporters);
        self.open = Some(opened.expect("the spool opens"));
    }

    /// Ends the process, and the machine if `kept_bytes` says so, and opens the spool again.
    pub fn crash(&mut self, kept_bytes: Option<usize>) {
        self.disk.crash(kept_bytes);
        self.reopen();
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.open.as_ref().expect("open").0
    }

    pub fn writer(&mut self) -> &mut Writer {
        &mut self.open.as_mut().expect("open").1
    }

    pub fn append(&mut self, record: NewRecord) -> Answer {
        self.writer().commit(vec![record]).pop().expect("one answer")
    }

    /// Minutes pass, and something is accepted in each.
    pub fn busy_minutes(&mut self, minutes: u128) {
        for minute in 0..minutes {
            self.hand.advance(Duration::from_secs(60));
            self.append(hashed(1_000_000 + minute)).expect("room");
        }
    }

    pub fn advance(&mut self, seq: u64) {
        for signal in Signal::ALL {
            self.shared().index.lock().advance("a", signal, seq);
        }
        self.writer().reclaim();
    }

    /// Compresses the oldest segment that is due, as the thread would.
    pub fn compress(&mut self) -> std::io::Result<bool> {
        let disk = Arc::new(self.disk.clone());
        let compressor = Compressor::new(disk, Arc::clone(self.shared()), self.config.clone());
        compressor.step(&mut |_| false)
    }

    pub fn read_all(&self, signal: Signal) -> Vec<Record> {
        let reader = Reader {
            shared: Arc::clone(self.shared()),
            durable: self.shared().durable.subscribe(),
        };
        reader.read(signal, 0, u32::MAX, usize::MAX).expect("readable")
    }

    pub fn seqs(&self) -> Vec<u64> {
        self.read_all(Signal::Spans)
            .iter()
            .map(|record| record.seq)
            .collect()
    }

    pub fn pending(&self) -> Pending {
        self.shared().index.lock().pending("a")
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        let paths = self.disk.paths().into_iter();
        paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
            .collect()
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.shared().index.lock().dropped("a", Signal::Spans, reason)
    }
}

pub(super) fn spans(body: &[u8]) -> NewRecord {
    NewRecord {
        signal: Signal::Spans,
        items: 2,
        hash: None,
        body: Bytes::copy_from_slice(body),
        overlay: Bytes::from_static(b"pod"),
    }
}

pub(super) fn hashed(hash: u128) -> NewRecord {
    NewRecord {
        hash: Some(hash),
        ..spans(b"the body")
    }
}

pub(super) fn appended(seq: u64, duplicate: bool) -> Appended {
    Appended { seq, duplicate }
}

pub(super) fn is_full(answer: &Answer) -> bool {
    matches!(answer, Err(AppendError::Full { .. }))
}
