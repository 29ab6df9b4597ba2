//! The target `spool`; what it asserts is in the package `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (fuzzing::SPOOL.run)(data));
