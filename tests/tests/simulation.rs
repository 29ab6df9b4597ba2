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

#[test]
fn a_seed_gives_the_same_events_every_time() -> Result<()> {
    let entropy = Entropy::build()?;
    let mut hashes = Vec::new();
    for seed in [3, 4] {
        let runs = [
            entropy.run(Path::new(PROGRAM), seed)?,
            entropy.run(Path::new(PROGRAM), seed)?,
        ];
        assert_eq!(runs[0].text, runs[1].text, "SEED={seed}");
        hashes.push(runs[0].hash.clone());
    }
    assert_ne!(hashes[0], hashes[1], "two seeds are two runs");
    Ok(())
}
