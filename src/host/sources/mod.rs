//! Sources besides the events of Nomad, which come from the engine.

pub(crate) mod internal_metrics;
