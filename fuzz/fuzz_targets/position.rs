//! See `nomad_events::fuzzing::position`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nomad_events::fuzzing::position(data));
