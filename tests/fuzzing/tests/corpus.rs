//! The short pass over every entry point: the inputs that are kept, and changes of them that are
//! the same at every run. Longer runs, which look for new paths, are `make fuzz`'s.
//!
//! `MERIDIAN_FUZZ_MUTATIONS` says how many changes of each target's inputs are tried, and
//! `MERIDIAN_FUZZ_SEED` which.

use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fuzzing::mutations::Random;
use fuzzing::{
    ACKNOWLEDGEMENTS, AGENT_MESSAGES, ENCODINGS, OTLP_JSON, OTLP_PROTOBUF, PAYLOAD, SPOOL, SQL, TARGETS,
    Target,
};
use meridian_runtime::config::environment;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
const SEED: u64 = 2026;
const MUTATIONS: u64 = 600;
/// As many times fewer, where a run costs milliseconds.
const SLOW: u64 = 20;

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(CORPUS).join(target.name);
    let entries = fs::read_dir(&folder).expect("a corpus in fuzz/corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    // The order of a folder is not the same everywhere, and the changes are drawn by it.
    paths.sort();
    let inputs: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("an input"))
        .collect();
    assert!(inputs.len() > 5, "{} has no corpus", target.name);
    inputs
}

/// Runs the input; what fails is printed so that it can be kept:
/// `printf HEX | xxd -r -p > fuzz/corpus/TARGET/NAME`.
fn run(target: &Target, input: &[u8]) {
    let has_failed = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err();
    assert!(
        !has_failed,
        "{} fails; its input in hex: {}",
        target.name,
        hex(input)
    );
}

fn hex(input: &[u8]) -> String {
    let mut hex = String::new();
    for byte in input {
        write!(hex, "{byte:02x}").expect("memory");
    }
    hex
}

fn pass(target: &Target) {
    let inputs = inputs(target);
    for input in &inputs {
        run(target, input);
    }
    let mutations = number("MERIDIAN_FUZZ_MUTATIONS", MUTATIONS);
    let mutations = if target.is_slow {
        mutations / SLOW
    } else {
        mutations
    };
    let mut random = Random::new(number("MERIDIAN_FUZZ_SEED", SEED));
    for _ in 0..mutations {
        run(target, &random.mutated(&inputs));
    }
}

fn number(variable: &str, default: u64) -> u64 {
    environment(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn protobuf_is_walked_as_others_decode_it() {
    pass(&OTLP_PROTOBUF);
}

#[test]
fn json_says_what_protobuf_says() {
    pass(&OTLP_JSON);
}

#[test]
fn bodies_are_decompressed_within_their_limit() {
    pass(&ENCODINGS);
}

#[test]
fn a_spool_opens_and_keeps_what_was_not_touched() {
    pass(&SPOOL);
}

#[test]
fn columns_of_strangers_cost_what_they_announce() {
    pass(&PAYLOAD);
}

#[test]
fn nothing_is_delivered_that_nobody_confirmed() {
    pass(&ACKNOWLEDGEMENTS);
}

#[test]
fn batches_that_are_taken_are_whole() {
    pass(&AGENT_MESSAGES);
}

#[test]
fn statements_end_with_a_plan_or_an_error() {
    pass(&SQL);
}

#[test]
fn every_target_is_passed_over() {
    assert_eq!(TARGETS.len(), 8, "a new target needs a test here");
}
