//! The target `otlp_json`; what it asserts is in the package `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (fuzzing::OTLP_JSON.run)(data));
