//! Follow HashiCorp Nomad's event stream, and lose nothing silently.

pub mod envelope;
pub mod error;
pub mod event;
pub mod frame;
mod nomad;
pub mod options;
pub mod payload;
pub mod position;
pub mod stream;
pub mod telemetry;

pub use event::{Batch, BatchId, Event, Origin, RaftIndex};
pub use options::{OptionError, Options, Settings, StartAt};
pub use position::{Delivery, Positions};
pub use stream::{Acknowledger, EventStream, Item};

#[cfg(feature = "host")]
mod host;
