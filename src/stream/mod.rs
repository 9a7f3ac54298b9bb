//! The stream of a cluster's events, as something to poll.

mod liveness;
pub mod notice;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use crate::event::{Batch, BatchId};
use crate::options::Settings;
use crate::position::{Delivery, Positions};
pub use liveness::Liveness;
use notice::Notice;

/// What comes out of an [`EventStream`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Item {
    /// New events of one Raft index. To be answered with [`Acknowledger::resolve`].
    Batch(Batch),
    /// A fact about the stream. Needs no answer.
    Notice(Notice),
}

/// The events of a region, followed across reconnects. Never ends by itself.
#[derive(Debug)]
pub struct EventStream {}

/// Tells the stream what became of a batch. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Acknowledger {}

impl Acknowledger {
    /// Notes the delivery of a batch. Each batch is to be answered once; later answers change nothing.
    pub fn resolve(&self, _id: BatchId, _delivery: Delivery) {
        unimplemented!()
    }
}

impl EventStream {
    /// Starts to follow the stream, in a task of its own on the current Tokio runtime.
    #[must_use]
    pub fn follow(_settings: Settings) -> Self {
        unimplemented!()
    }

    /// A handle with which to answer batches.
    #[must_use]
    pub fn acknowledger(&self) -> Acknowledger {
        unimplemented!()
    }

    /// How far reading, handing out and acknowledgement have come.
    #[must_use]
    pub fn positions(&self) -> Positions {
        unimplemented!()
    }

    /// Stops reading and hands nothing out any more; waits until every batch that was handed out is answered, at most for
    /// `deadline`. Returns the number of batches without an answer.
    pub async fn close(self, _deadline: Duration) -> usize {
        unimplemented!()
    }
}

impl Stream for EventStream {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Item>> {
        unimplemented!()
    }
}
