//! See `nomad_events::fuzzing::envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nomad_events::fuzzing::envelope(data));
