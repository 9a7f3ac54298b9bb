//! See `nomad_events::fuzzing::lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nomad_events::fuzzing::lines(data));
