//! The benchmark: fresh telemetry at full speed or at a fixed rate into a real process, an
//! empty far side behind it, and what that cost by the kernel's books.
//!
//! It measures one process at a time and only its own CPU and memory, so that the generator
//! and the far side, which share the machine, do not count. It asserts nothing.

mod agents;
mod aws_sink;
pub mod client;
pub mod content;
mod exporters;
mod freshness;
mod hostile;
mod ingest;
mod machine;
pub mod options;
mod otlp_sink;
mod outage;
mod queries;
pub mod random;
pub mod report;
mod row_sink;
pub mod run;
mod size;
mod stored;
mod targets;
pub mod template;
mod world;

use std::io::Write;
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::Result;

/// Says what is being done, and since when.
fn progress(text: &str) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Nobody may be reading.
    say(&format!("==> {:>4.0} s  {text}\n", START.elapsed().as_secs_f64())).ok();
}

fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
