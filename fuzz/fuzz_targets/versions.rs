//! See `nomad_events::fuzzing::versions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nomad_events::fuzzing::versions(data));
