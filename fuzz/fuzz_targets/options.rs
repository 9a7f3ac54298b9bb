//! See `nomad_events::fuzzing::options`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nomad_events::fuzzing::options(data));
