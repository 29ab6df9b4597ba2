//! A few seeds of the simulation, and that a seed is a run: the same every time. Many seeds are
//! `make simulate`'s.

use std::path::Path;

use anyhow::Result;
use system_tests::simulation::driver::Entropy;

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");
const SEEDS: u64 = 6;
/// A seed that once failed: power loss took the signs of life of a spool that no aggregator knew.
const OF_A_FORGOTTEN_LIFE: u64 = 65;

#[test]
fn no_invariant_is_violated_under_faults() -> Result<()> {
    let entropy = Entropy::build()?;
    let mut failed = entropy.run_all(Path::new(PROGRAM), 1, SEEDS, 2)?;
    failed.extend(entropy.run_all(Path::new(PROGRAM), OF_A_FORGOTTEN_LIFE, 1, 1)?);
    let failed: Vec<String> = failed
        .iter()
        .map(|report| format!("SEED={}: {}", report.seed, report.why()))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// A thread of the machine that comes late can move an event by a millisecond. Once in a while a
/// run is another one for that reason: of a few runs two must agree.
const RUNS_MAX: usize = 5;

#[test]
fn a_seed_gives_the_same_events_again() -> Result<()> {
    let entropy = Entropy::build()?;
    let hashes = [hash_of_two_runs(&entropy, 3)?, hash_of_two_runs(&entropy, 4)?];
    assert_ne!(hashes[0], hashes[1], "two seeds are two runs");
    Ok(())
}

/// The hash that two runs of the seed have in common.
fn hash_of_two_runs(entropy: &Entropy, seed: u64) -> Result<String> {
    let mut seen = Vec::new();
    for _ in 0..RUNS_MAX {
        let run = entropy.run(Path::new(PROGRAM), seed)?;
        if seen.contains(&run.hash) {
            return Ok(run.hash);
        }
        seen.push(run.hash);
    }
    anyhow::bail!("SEED={seed}: {RUNS_MAX} runs, and all differ")
}
