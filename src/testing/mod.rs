//! Scripted servers and recorded events, for our own tests, for the demo, and for the tests of whoever builds on the engine.
//!
//! Nothing here uses the engine's own parsing: the fakes are the oracle that it is judged by.

pub mod deadline;
pub mod loki;
pub mod nomad;
pub mod recording;
pub mod tls;

pub use deadline::{DeadlinePassed, eventually};
