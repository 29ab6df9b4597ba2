//! The target `acknowledgements`; what it asserts is in the package `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (fuzzing::ACKNOWLEDGEMENTS.run)(data));
