//! The target `sql`; what it asserts is in the package `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (fuzzing::SQL.run)(data));
