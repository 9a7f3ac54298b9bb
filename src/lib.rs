//! Follow HashiCorp Nomad's event stream, and lose nothing silently.

pub mod error;
pub mod event;
pub mod options;
pub mod payload;
pub mod position;
pub mod stream;
#[cfg(feature = "testing")]
pub mod testing;

pub use event::{Batch, BatchId, Event, Origin, RaftIndex};
pub use options::{OptionError, Options, Settings, StartAt};
pub use position::{Delivery, Positions};
pub use stream::{Acknowledger, EventStream, Item};

#[cfg(feature = "host")]
mod host;
