//! The source `nomad_events` for Vector: events of a HashiCorp Nomad cluster, straight from its event stream.
//!
//! Everything about Nomad is in the crate `nomad_events`: connections, the protocol, positions, dates, redaction. Here is what
//! is about Vector: options, outputs and schemas, log events, answers from sinks, internal events.
//!
//! Written as if it were `src/sources/nomad_events` of Vector's tree; `UPSTREAM.md` says what would still have to change.

mod config;
mod internal_events;
mod source;

pub use config::{NomadEventsConfig, StartAt, StartPoint};
