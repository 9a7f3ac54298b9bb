//! The embedded host: runs the same configuration files as Vector, for what the shipped configurations need.
//!
//! For every configuration that it accepts, what arrives at Loki and at the console is what Vector 0.56.0 would have sent.
//! What it does not know, it refuses by name.

pub(crate) mod api;
pub(crate) mod buffer;
pub(crate) mod channel;
pub(crate) mod config;
pub(crate) mod encoding;
pub(crate) mod event;
#[cfg(test)]
pub(crate) mod heard_log;
pub(crate) mod listener;
pub(crate) mod metrics;
pub(crate) mod sinks;
pub(crate) mod sources;
pub(crate) mod template;
pub(crate) mod throttle;
pub(crate) mod topology;
pub(crate) mod transforms;
pub(crate) mod unit_test;

/// What a user does when this program does not have what Vector has.
pub(crate) const USE_VECTOR: &str = "run this file with `nomad-vector`, which is Vector itself";
