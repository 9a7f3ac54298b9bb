//! The stream of a region's events, as something to poll.
//!
//! Bytes become lines (`frame`), lines become envelopes (`envelope`), a pure machine (`machine`) says what to do about them,
//! and the driver does it. What is new waits in the outbox for the host, within `queue_bytes`, until the host has answered
//! for it.

mod agents;
mod asking;
mod changes;
mod driver;
mod inquiry;
mod liveness;
mod losses;
mod machine;
mod mark;
mod namespaces;
pub mod notice;
mod outbox;
mod pending;
mod watch;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use machine::fuzzing;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::checkpoint::Flushed;
use crate::event::{Batch, BatchId};
use crate::invariants::{Invariant, stops_in_time};
use crate::nomad::{Client, Dial, Network};
use crate::options::Settings;
use crate::position::{Delivery, Positions};
use crate::telemetry::CountBytes;
use driver::Driver;
pub use liveness::Liveness;
use notice::{Notice, Status};
use outbox::{Outbox, Saving};

/// How much of the time for a stop is kept for the last saving; at most a quarter of it.
const SAVE_RESERVE: Duration = Duration::from_millis(500);

/// What comes out of an [`EventStream`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Item {
    /// Events of one Raft index, new ones or those of a batch that errored. To be answered with [`Acknowledger::resolve`].
    Batch(Batch),
    /// A fact about the stream. Needs no answer.
    Notice(Notice),
}

/// The events of a region, followed across reconnects.
///
/// Lines are read by a task of its own, so the server is listened to while the host is busy; reading stops when
/// `queue_bytes` of text are without an answer. Failures are [`Notice`]s, never the end: the stream is without end until it
/// is dropped.
///
/// # Cancel safety
///
/// Polling takes an item whole or not at all. Dropping the stream closes the connection and stops the task.
#[derive(Debug)]
pub struct EventStream {
    outbox: Arc<Outbox>,
    tasks: [JoinHandle<()>; 2],
}

/// Tells the stream what became of a batch. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Acknowledger {
    outbox: Arc<Outbox>,
}

impl Acknowledger {
    /// Notes the delivery of a batch. Each batch is to be answered once; later answers change nothing.
    ///
    /// Until then its text counts in `queue_bytes`: a host that answers nothing stops the stream. What errored is handed out
    /// again with another identity, [`MAX_REDELIVERIES`](crate::position::MAX_REDELIVERIES) times at most; then it counts as
    /// rejected. It is not acknowledged meanwhile.
    pub fn resolve(&self, id: BatchId, delivery: Delivery) {
        self.outbox.resolve(self.outbox.now(), id, delivery);
    }

    /// How the stream is at this moment: what its `Status` notice would say.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outbox.status(tokio::time::Instant::now())
    }
}

impl EventStream {
    /// Starts to follow the stream, in a task of its own.
    ///
    /// Its metrics are registered before this returns, with the recorder and in the span of the caller: that is where a host
    /// says which source they belong to.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn follow(settings: Settings) -> Self {
        Self::follow_over(settings, Arc::new(Network), None)
    }

    /// The same, for a host that counts the bytes that come in by its own means: Vector has an internal event for that.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn follow_counting(settings: Settings, count_bytes: CountBytes) -> Self {
        Self::follow_over(settings, Arc::new(Network), Some(count_bytes))
    }

    /// Follows over connections that are made in another way.
    pub(crate) fn follow_over(
        settings: Settings,
        dial: Arc<dyn Dial>,
        count_bytes: Option<CountBytes>,
    ) -> Self {
        let settings = Arc::new(settings);
        let outbox = Outbox::new(settings.queue_bytes, count_bytes);
        outbox.telemetry.queue_limit(settings.queue_bytes);
        let interval = settings.status_interval;
        let agents = Client::new(Arc::clone(&settings), dial);
        let driver = Driver::new(settings, agents, Arc::clone(&outbox));
        // Ends the stream however the driver ends, so that a fault in it cannot look like a quiet cluster.
        let end = EndOnDrop(Arc::clone(&outbox));
        let follow = async move {
            let _end = end;
            driver.run().await;
        };
        let attended = Arc::clone(&outbox);
        let report = futures_util::future::join3(
            driver::report_status(Arc::clone(&outbox), interval),
            driver::report_silence(Arc::clone(&outbox)),
            async move { attended.attend_always(driver::now_nanos).await },
        );
        Self {
            tasks: [
                tokio::spawn(follow.in_current_span()),
                tokio::spawn(async { _ = report.await }.in_current_span()),
            ],
            outbox,
        }
    }

    /// A handle with which to answer batches.
    #[must_use]
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger {
            outbox: Arc::clone(&self.outbox),
        }
    }

    /// How far reading, handing out and acknowledgement have come.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.outbox.positions()
    }

    /// Stops reading and hands nothing out any more, also nothing again; waits until every batch that was handed out is answered,
    /// and saves how far that is: all within `deadline`. Returns the number of batches without an answer, those that errored
    /// included. When it returns, another process may have the folder.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream.
    pub async fn close(self, deadline: Duration) -> usize {
        let asked = tokio::time::Instant::now();
        self.stop();
        let reserve = if self.outbox.saves() {
            SAVE_RESERVE.min(deadline / 4)
        } else {
            Duration::ZERO
        };
        let _ = tokio::time::timeout(deadline - reserve, self.outbox.drained()).await;
        let unanswered = self.outbox.seal();
        if let Some(Saving { saver, task }) = self.outbox.detach() {
            let left = |asked: tokio::time::Instant| deadline.saturating_sub(asked.elapsed());
            if saver.flush(left(asked)).await != Flushed::Saved {
                self.outbox.telemetry.not_saved_at_stop();
            }
            drop(saver);
            let _ = tokio::time::timeout(left(asked), task).await;
        }
        if !stops_in_time(asked.elapsed(), deadline) {
            // No panic in debug builds: a machine that stood still is late without a defect.
            self.outbox
                .telemetry
                .invariant_violated(Invariant::StopsInTime);
        }
        unanswered
    }

    fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.stop();
        // A saving that is under way is brought to its end.
        drop(self.outbox.detach());
    }
}

impl Stream for EventStream {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.outbox.poll_item(cx)
    }
}

struct EndOnDrop(Arc<Outbox>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
