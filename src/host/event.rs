//! A log event on its way through the topology, and the answer that its batch waits for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use vrl::value::Value;

use crate::event::BatchId;
use crate::position::Delivery;
use crate::stream::Acknowledger;

/// A parsed event takes about ten times the memory of its text (220 values, 210 keys of their own each, on the recording).
pub(crate) const PARSED_TO_TEXT: usize = 10;

/// A log event: what programs see as `.`, what they see as `%`, and who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct LogEvent {
    /// The event, an object unless a program made something else of it.
    pub(crate) value: Value,
    /// Vector's event metadata, `%` in a program.
    pub(crate) metadata: Value,
    /// Answers for the event when the last copy of it is gone.
    pub(crate) finalizer: Finalizer,
    /// Bytes that the event counts for where it waits.
    pub(crate) weight: usize,
}

/// Who is told what became of a batch: the stream, or a test.
pub(crate) trait Answer: fmt::Debug + Send + Sync {
    /// Notes the delivery of a batch. Called once for each batch.
    fn resolve(&self, id: BatchId, delivery: Delivery);
}

impl Answer for Acknowledger {
    fn resolve(&self, id: BatchId, delivery: Delivery) {
        Self::resolve(self, id, delivery);
    }
}

/// One event's share in the answer for its batch. A clone is another share; a share that is dropped without a word counts as
/// delivered, as in Vector, so an event that a transform drops holds nothing up. A share that is dropped by a panic counts as
/// errored: nobody decided to drop that event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finalizer(Option<Arc<Pending<dyn Answer>>>);

#[derive(Debug)]
struct Pending<A: Answer + ?Sized> {
    id: BatchId,
    worst: AtomicU8,
    answer: A,
}

impl Finalizer {
    /// For a batch of the stream: when the last clone is dropped, the worst delivery noted goes to the stream.
    pub(crate) fn new(answer: impl Answer + 'static, id: BatchId) -> Self {
        Self(Some(Arc::new(Pending {
            id,
            worst: AtomicU8::new(rank(Delivery::Delivered)),
            answer,
        })))
    }

    /// For an event that nobody waits for: a notice.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Notes what became of the event. The worst note of a batch counts.
    pub(crate) fn note(&self, delivery: Delivery) {
        if let Some(pending) = &self.0 {
            pending.worst.fetch_max(rank(delivery), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
impl Answer for std::sync::mpsc::Sender<Delivery> {
    fn resolve(&self, _: BatchId, delivery: Delivery) {
        // A test that has dropped its receiver does not want to know.
        let _ = self.send(delivery);
    }
}

#[cfg(test)]
impl Finalizer {
    /// For a test: the delivery that would have gone to the stream comes out of the receiver.
    pub(crate) fn observed() -> (Self, std::sync::mpsc::Receiver<Delivery>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        (Self::new(sender, BatchId(0)), receiver)
    }
}

impl Drop for Finalizer {
    fn drop(&mut self) {
        if self.0.is_some() && std::thread::panicking() {
            self.note(Delivery::Errored);
        }
    }
}

impl<A: Answer + ?Sized> Drop for Pending<A> {
    fn drop(&mut self) {
        let delivery = match *self.worst.get_mut() {
            0 => Delivery::Delivered,
            1 => Delivery::Errored,
            _ => Delivery::Rejected,
        };
        self.answer.resolve(self.id, delivery);
    }
}

fn rank(delivery: Delivery) -> u8 {
    match delivery {
        Delivery::Delivered => 0,
        Delivery::Errored => 1,
        Delivery::Rejected => 2,
    }
}
