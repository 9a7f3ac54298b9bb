//! An event as a tree: the log event that users see.

use vrl::value::Value;

use crate::event::Event;

/// Makes log events of events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shaper {
    redact: bool,
    region: Option<String>,
}

impl Shaper {
    /// Makes a shaper; `redact` replaces secrets by `[REDACTED]`, `region` fills the field `nomad.region`.
    #[must_use]
    pub fn new(redact: bool, region: Option<String>) -> Self {
        Self { redact, region }
    }

    /// The log event: `Topic`, `Type`, `Key`, `Namespace`, `FilterKeys`, `Index`, `Payload`, `timestamp`, `nomad.*` and
    /// `source_type`.
    #[must_use]
    pub fn log_event(&self, event: &Event) -> Value {
        let _ = (self.redact, &self.region, event);
        unimplemented!()
    }
}
