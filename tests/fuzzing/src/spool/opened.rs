//! Spools on a disk in memory, without threads, and a sound one to begin with. Nothing is damaged
//! here.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use meridian_agent::spool::disk::Disk;
use meridian_agent::spool::simulated::SimulatedDisk;
use meridian_agent::spool::{NewRecord, Record, Spool, SpoolConfig, SpoolError};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::simulate;
use tokio::runtime::{Builder, Runtime};

pub(crate) const DIR: &str = "/spool";
pub(crate) const EXPORTER: &str = "a";
const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_000 * SECOND;
const SEGMENT_BYTES: u64 = 4 << 10;
/// Records of the sound spool: first what is delivered, and whose files are used again, then what
/// is compressed, and then what is not.
const PARTS: [u64; 3] = [70, 70, 60];
const LATER: Duration = Duration::from_secs(120);

/// The files of a directory.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A disk that holds these files.
pub(crate) fn disk_of(files: &Files) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    for (path, bytes) in files {
        let written = disk
            .create(path, 0)
            .and_then(|file| file.write_at(&mut [IoSlice::new(bytes)], 0));
        written.expect("a disk in memory takes all");
    }
    disk
}

/// All files on a disk.
pub(crate) fn files_of(disk: &SimulatedDisk) -> Files {
    let mut files = Files::new();
    for path in disk.paths() {
        disk.damage(&path, |bytes| {
            files.insert(path.clone(), bytes.clone());
        });
    }
    files
}

/// What a process does with a spool between its start and its end.
pub(crate) fn with_spool<T>(
    disk: &SimulatedDisk,
    clock: &Clock,
    work: impl AsyncFnOnce(&Spool) -> T,
) -> Result<T, SpoolError> {
    let runtime = paused();
    let _simulation = simulate(runtime.handle().clone());
    let outcome = runtime.block_on(async {
        let exporters = [EXPORTER.to_owned()];
        let spool = Spool::open_on(Arc::new(disk.clone()), config(), clock.clone(), &exporters)?;
        let done = work(&spool).await;
        spool.close().await;
        Ok(done)
    });
    drop(runtime);
    // Whatever the process still held is gone with it.
    disk.crash(None);
    outcome
}

pub(crate) fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true);
    runtime.build().expect("a runtime without threads")
}

fn config() -> SpoolConfig {
    SpoolConfig {
        segment_bytes: SEGMENT_BYTES,
        max_bytes: 1 << 20,
        linger: Duration::ZERO,
        ..SpoolConfig::new(DIR)
    }
}

/// A clock that stands still, for the time after [`sound`] was written.
pub(crate) fn clock() -> Clock {
    Clock::manual(START + 3600 * SECOND).0
}

/// Every record that can be read, in order.
pub(crate) fn read_all(spool: &Spool) -> Vec<Record> {
    let reader = spool.reader(EXPORTER);
    let mut records = Vec::new();
    for signal in Signal::ALL {
        let mut after = 0;
        loop {
            let read = reader
                .read(signal, after, 1000, 1 << 20)
                .expect("a disk in memory is read");
            let Some(last) = read.last() else { break };
            assert!(last.seq > after, "reading goes on");
            after = last.seq;
            records.extend(read);
        }
    }
    records.sort_by_key(|record| record.seq);
    records
}

/// A spool as a process has left it: its files, and the records in them.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) files: Files,
    pub(crate) records: Vec<Record>,
}

/// The same at every call, but for its salts.
pub(crate) fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = SimulatedDisk::default();
        let (clock, hand) = Clock::manual(START);
        let written = with_spool(&disk, &clock, async |spool| {
            let mut number = 0;
            for part in PARTS {
                for _ in 0..part {
                    number += 1;
                    let appended = spool.append(record(number)).await;
                    assert_eq!(appended.expect("room").seq, number);
                    hand.advance(Duration::from_millis(10));
                }
                if number == PARTS[0] {
                    for signal in Signal::ALL {
                        spool.advance(EXPORTER, signal, number);
                    }
                }
                hand.advance(LATER);
                // The compressor looks for work by this clock.
                tokio::time::sleep(LATER).await;
            }
            spool.advance(EXPORTER, Signal::Logs, PARTS[0] + 1);
            spool.ask(EXPORTER, number).await.expect("room");
            read_all(spool)
        });
        Sound {
            records: written.expect("a new spool opens"),
            files: files_of(&disk),
        }
    })
}

/// Requests of which rows can be made; they differ, and compress.
fn record(number: u64) -> NewRecord {
    let signal = Signal::ALL[usize::try_from(number % 3).expect("below 3")];
    let items = 1 + u32::try_from(number % 5).expect("below 5");
    NewRecord {
        signal,
        items,
        hash: Some(u128::from(number) << 70 | 1),
        body: Bytes::from(request(signal, number, items)),
        overlay: Bytes::from_static(b"pod"),
    }
}

/// Items with a name and little else, as protobuf.
fn request(signal: Signal, number: u64, items: u32) -> Vec<u8> {
    let name = format!("item {number}");
    let item = match signal {
        Signal::Spans => [field(1, &[1; 16]), field(2, &[2; 8]), field(5, name.as_bytes())].concat(),
        Signal::Logs => field(5, &field(1, name.as_bytes())),
        Signal::Metrics => {
            let point = field(1, &[0x19, 1, 0, 0, 0, 0, 0, 0, 0]);
            [field(1, name.as_bytes()), field(5, &point)].concat()
        }
    };
    let items: Vec<u8> = (0..items).flat_map(|_| field(2, &item)).collect();
    field(1, &field(2, &items))
}

/// A field with a length, which is below 2^14.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("short");
    let [low, high] = (length & 0x7f | 0x80 | (length >> 7) << 8).to_le_bytes();
    [&[number << 3 | 2, low, high], value].concat()
}

/// Whether a segment of the sound spool is compressed.
pub(crate) fn is_cold(segment: &[u8]) -> bool {
    segment.get(8) == Some(&2)
}

/// Whether the file is a segment.
pub(crate) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}
