//! A few seeds of the simulation, and that a seed is a run: the same every time. Many seeds are
//! `make simulate`'s.

use std::path::Path;

use anyhow::Result;
use system_tests::simulation::driver::Entropy;

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");
/// Among these, requests are repeated across a leap of an agent's clock (6), and spools fill (3).
const SEEDS: u64 = 6;

#[test]
fn no_invariant_is_violated_under_faults() -> Result<()> {
    let entropy = Entropy::build()?;
    let failed = entropy.run_all(Path::new(PROGRAM), 1, SEEDS, 2)?;
    let failed: Vec<String> = failed
        .iter()
        .map(|report| format!("SEED={}: {}", report.seed, report.why()))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn a_seed_gives_the_same_events_again() -> Result<()> {
    let entropy = Entropy::build()?;
    let run = |seed| entropy.run(Path::new(PROGRAM), seed);
    for seed in [3, 4] {
        let (once, again) = (run(seed)?, run(seed)?);
        assert_eq!(once.text, again.text, "SEED={seed}");
    }
    assert_ne!(run(3)?.hash, run(4)?.hash, "two seeds are two runs");
    Ok(())
}
