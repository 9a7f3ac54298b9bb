//! See `nomad_events::fuzzing::history`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nomad_events::fuzzing::history(data));
