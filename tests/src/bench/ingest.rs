//! The part about the aggregator: three agents' streams until they are committed Parquet, and
//! until what was committed is compacted. The agents' own cost is not counted here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use meridian_proto::signal::Signal;

use crate::bench::client::Load;
use crate::bench::content::ITEMS;
use crate::bench::options::Options;
use crate::bench::progress;
use crate::bench::report::{Bound, Column, Part};
use crate::bench::world::{REGIONS, World, aggregator_spec};
use crate::lab::{self, Lab};

const MIB: f64 = 1024.0 * 1024.0;
const RATE: Column = Column::new("items/s committed", 0);
const CPU: Column = Column::new("CPU µs/item to commit", 2);
const CPU_ALL: Column = Column::new("until at rest", 2);
const PEAK: Column = Column::new("peak RSS MiB", 0);
const FILES: Column = Column::new("files", 0);
const FILES_AFTER: Column = Column::new("files at rest", 0);
const DISK: Column = Column::new("disk bytes/item", 1);
const DISK_AFTER: Column = Column::new("disk bytes/item at rest", 1);
const INGEST_MEMORY_MIB: f64 = 1024.0;

const COMMIT_WITHIN: Duration = Duration::from_secs(300);
const REST_WITHIN: Duration = Duration::from_secs(120);

/// Three agents into one aggregator, each signal by itself.
pub fn part(options: &Options) -> Part {
    let mut part = Part::new("aggregator");
    let quiet = options.quiet;
    for signal in Signal::ALL {
        // The other signals have no target; a look is enough.
        let items = if signal == Signal::Spans {
            options.items
        } else {
            options.items / 4
        };
        progress(&format!(
            "{items} {signal} from {} agents into the tables",
            REGIONS.len()
        ));
        let requests = (items / u64::from(ITEMS)).max(1);
        match lab::attempt(|lab| async move { one(&lab, Load::full(signal, requests), quiet).await }) {
            Ok(figures) => {
                for (column, value) in figures {
                    part.record(signal.as_str(), column, value);
                }
            }
            Err(fault) => part.left_out.push(format!("left out: {signal}: {fault:#}")),
        }
    }
    let of = |part: &Part, column| part.median(Signal::Spans.as_str(), column);
    let (cpu, peak) = (of(&part, CPU_ALL), of(&part, PEAK));
    part.goal(
        "aggregator's CPU µs per span, with compaction",
        Bound::AtMost,
        5.0,
        cpu,
    );
    part.goal(
        "aggregator's peak RSS, MiB (ingest_memory)",
        Bound::AtMost,
        INGEST_MEMORY_MIB,
        peak,
    );
    part.note("at rest: compacted as far as the defaults see reason to; fewer files than that are not");
    part.note("all with the defaults: commit_interval 5s, agents' batches of 10,000 rows");
    part
}

async fn one(lab: &Arc<Lab>, load: Load, quiet: Duration) -> Result<Vec<(Column, f64)>> {
    let world = World::start(lab, aggregator_spec(), REGIONS.len()).await?;
    let process = &world.aggregator.process;
    let (before, start) = (process.cpu()?, Instant::now());
    let told = world.send(&load).await?;
    world.committed(COMMIT_WITHIN).await?;
    let items = (told.acknowledged * u64::from(ITEMS)) as f64;
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / items;
    let rate = items / start.elapsed().as_secs_f64();
    let committed = process.cpu()?;
    let files = world.files(lab, load.signal).await?;
    progress("committed; waiting for the compaction");
    if !world.at_rest(quiet, REST_WITHIN).await? {
        progress("the aggregator is still busy; its figures are of now");
    }
    let all = process.cpu()?;
    let after = world.files(lab, load.signal).await?;
    Ok(vec![
        (RATE, rate),
        (CPU, micros(committed.total() - before.total())),
        (CPU_ALL, micros(all.total() - before.total())),
        (PEAK, process.resident_bytes_peak()? as f64 / MIB),
        (FILES, files.files as f64),
        (DISK, files.bytes as f64 / files.rows.max(1) as f64),
        (FILES_AFTER, after.files as f64),
        (DISK_AFTER, after.bytes as f64 / after.rows.max(1) as f64),
    ])
}
