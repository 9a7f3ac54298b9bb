//! Follow HashiCorp Nomad's event stream, and lose nothing silently.

#[cfg(all(feature = "host", feature = "testing"))]
pub mod cli;
pub mod envelope;
pub mod error;
pub mod event;
pub mod frame;
#[cfg(feature = "host")]
mod host;
#[cfg(all(test, feature = "host"))]
mod hostile;
#[cfg(any(feature = "host", feature = "testing"))]
mod loki_push;
mod nomad;
pub mod options;
pub mod payload;
pub mod position;
pub mod stream;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use event::{Batch, BatchId, Event, Origin, RaftIndex};
pub use options::{OptionError, Options, Settings, StartAt};
pub use position::{Delivery, Positions};
pub use stream::{Acknowledger, EventStream, Item};
