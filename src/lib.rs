//! Follow HashiCorp Nomad's event stream, and lose nothing silently.
//!
//! Users read the README first. This page is for who works with the code or builds on it.
//!
//! # The tour of the house
//!
//! Data flows one way, and answers flow back:
//!
//! ```text
//! bytes -> frame -> envelope -> stream -> host -> payload -> transforms -> sinks
//!                                 ^                                          |
//!                                 +--------------- position <----------------+
//! ```
//!
//! - [`frame`] cuts bytes into lines, [`envelope`] reads a line and leaves its payload as text. Both are pure.
//! - [`stream`] holds the protocol: a pure machine that says what to do, a driver that does it, and the [`EventStream`] that a
//!   host polls. What it gives is an [`Item`]: a [`Batch`] of [`event`]s, or a [notice](stream::notice) about the stream itself.
//! - [`position`] knows how far reading, handing out and acknowledgement have come, and what proves that a stream goes on where
//!   it stopped. Pure.
//! - [`checkpoint`] keeps the acknowledged position across restarts: what is saved, the file, the lock of its owner.
//! - [`changes`] is what a new version of a job has changed, where the source is told to ask.
//! - [`payload`] dates events, and makes of an event what users see: a tree without secrets, with an id (feature `value`).
//! - [`options`] is what a user may write. [`Settings`] is what the engine needs, checked.
//! - [`invariants`] are the promises as predicates: looked at in production, in property tests, and in the README.
//! - [`error`] is the table of failures, each with its remedy. [`telemetry`] has every log line and metric of the engine.
//! - `nomad` (private) is the HTTP client, `host` (private, feature `host`) runs Vector's configuration files, `cli` is the
//!   program around it.
//! - `testing` (feature `testing`) has the scripted Nomad, the scripted Loki and the recorded events. It uses nothing of the
//!   engine's own parsing, so that it can judge it.
//!
//! # Following a cluster
//!
//! Each batch is to be answered: its text stays in memory until then, and `acknowledged` moves over the answered prefix only.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use nomad_events::options::process_env;
//! use nomad_events::{Delivery, EventStream, Item, Options};
//!
//! # async fn store(_: nomad_events::Event) -> Delivery { Delivery::Delivered }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nomad_events::OptionError> {
//! let mut options = Options::default();
//! options.topics = Some(vec!["Job".to_owned(), "Allocation".to_owned()]);
//! let mut stream = EventStream::follow(options.settings(process_env)?);
//! let acknowledger = stream.acknowledger();
//!
//! while let Some(item) = stream.next().await {
//!     match item {
//!         Item::Batch(batch) => {
//!             let mut worst = Delivery::Delivered;
//!             for event in batch.events {
//!                 worst = worst.max(store(event).await);
//!             }
//!             acknowledger.resolve(batch.id, worst);
//!         }
//!         Item::Notice(notice) => eprintln!("{:?}", notice.kind),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
mod bounded_file;
pub mod changes;
pub mod checkpoint;
#[cfg(all(feature = "host", feature = "testing"))]
pub mod cli;
pub mod envelope;
pub mod error;
pub mod event;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "host")]
mod host;
#[cfg(test)]
#[cfg(feature = "host")]
mod hostile;
pub mod invariants;
#[cfg(any(feature = "host", feature = "testing"))]
mod loki_push;
mod nomad;
pub mod options;
pub mod payload;
pub mod position;
mod secrets;
mod shown;
pub mod stream;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;

pub use changes::{Changes, JobChanges};
pub use event::{Batch, BatchId, Event, Origin, RaftIndex};
pub use options::{OptionError, Options, Settings, StartAt};
pub use position::{Delivery, Positions};
pub use stream::{Acknowledger, EventStream, Item};

/// Compiles the examples of the README with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
