//! The store that the queries are asked about: ten million spans over six hours, brought in by
//! agents as quickly as it goes, compacted, and kept for the next run as long as the code that
//! writes it is the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meridian_proto::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::bench::client::{Load, Times};
use crate::bench::content::ITEMS;
use crate::bench::progress;
use crate::bench::world::{REGIONS, World, aggregator_spec};
use crate::lab::Lab;
use crate::otlp::now_unix_nanos;
use crate::process::build_folder;

const HOUR_NANOS: u64 = 3_600_000_000_000;
const HOURS: u64 = 6;
/// A log record for so many spans.
const SPANS_PER_LOG: u64 = 10;
const COMMIT_WITHIN: Duration = Duration::from_secs(900);
const REST_WITHIN: Duration = Duration::from_secs(600);
/// Older stores would fall victim to the retention.
const AGE_NANOS_MAX: u64 = 7 * 24 * HOUR_NANOS;
const MARKER: &str = "loaded.json";
/// What decides over the bytes in a store: the code that makes and writes the rows.
const WRITERS: [&str; 4] = [
    "aggregator/src/store",
    "proto/src",
    "agent/src/otlp",
    "tests/src/bench/content",
];

/// A loaded store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// Its folder.
    pub folder: PathBuf,
    /// Spans in it.
    pub spans: u64,
    /// The time of the first of them, in nanoseconds since the epoch.
    pub from_unix_nanos: u64,
    /// The time of the last.
    pub until_unix_nanos: u64,
    /// How long it took to bring them in and commit them, in seconds.
    pub load_seconds: f64,
}

impl Stored {
    /// The store of an earlier run, or a new one.
    pub async fn open(lab: &Arc<Lab>, spans: u64, quiet: Duration) -> Result<Self> {
        let stores = build_folder()?.join("bench-stores");
        let folder = stores.join(format!("{spans}-{:016x}", fingerprint()?));
        if let Some(stored) = read(&folder) {
            progress(&format!(
                "the store of an earlier run is there: {}",
                folder.display()
            ));
            return Ok(stored);
        }
        // Stores of other formats are of no use any more, and large.
        if stores.exists() {
            std::fs::remove_dir_all(&stores)?;
        }
        std::fs::create_dir_all(&folder)?;
        let stored = load(lab, &folder, spans, quiet).await?;
        std::fs::write(folder.join(MARKER), serde_json::to_vec(&stored)?)?;
        Ok(stored)
    }
}

fn read(folder: &Path) -> Option<Stored> {
    let text = std::fs::read(folder.join(MARKER)).ok()?;
    let stored: Stored = serde_json::from_slice(&text).ok()?;
    let age = now_unix_nanos().saturating_sub(stored.until_unix_nanos);
    (age < AGE_NANOS_MAX).then_some(stored)
}

async fn load(lab: &Arc<Lab>, folder: &Path, spans: u64, quiet: Duration) -> Result<Stored> {
    progress(&format!(
        "bringing {spans} spans of {HOURS} hours into a new store"
    ));
    let mut spec = aggregator_spec();
    spec.store_url = format!("file://{}", folder.display());
    let world = World::start(lab, spec, REGIONS.len()).await?;
    let until_unix_nanos = now_unix_nanos();
    let from_unix_nanos = until_unix_nanos - HOURS * HOUR_NANOS;
    let start = Instant::now();
    for (signal, items) in [(Signal::Spans, spans), (Signal::Logs, spans / SPANS_PER_LOG)] {
        let mut load = Load::full(signal, (items / u64::from(ITEMS)).max(1));
        load.times = Times::Spread(from_unix_nanos, until_unix_nanos);
        world.send(&load).await?;
        progress(&format!("{items} {signal} are acknowledged"));
    }
    world.committed(COMMIT_WITHIN).await?;
    let load_seconds = start.elapsed().as_secs_f64();
    progress(&format!(
        "committed after {load_seconds:.0} s; waiting for the compaction"
    ));
    if !world.at_rest(quiet, REST_WITHIN).await? {
        progress("the aggregator is still busy; going on as it is");
    }
    Ok(Stored {
        folder: folder.to_owned(),
        spans,
        from_unix_nanos,
        until_unix_nanos,
        load_seconds,
    })
}

/// A number that changes with the code that writes stores.
fn fingerprint() -> Result<u64> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for writer in WRITERS {
        gather(&root.join(writer), &mut files)?;
    }
    files.sort();
    // FNV-1a.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files {
        for byte in std::fs::read(&file).with_context(|| file.display().to_string())? {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(hash)
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
