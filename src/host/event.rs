//! A log event on its way through the topology, and the answer that its batch waits for.

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

/// One event's share in the answer for its batch. A clone is another share; a share that is dropped without a word counts as
/// delivered, as in Vector, so an event that a transform drops holds nothing up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finalizer(Option<Arc<Pending>>);

#[derive(Debug)]
struct Pending {
    waiting: Waiting,
    worst: AtomicU8,
}

/// Who is told.
#[derive(Debug)]
enum Waiting {
    Stream(Acknowledger, BatchId),
    #[cfg(test)]
    Test(std::sync::mpsc::Sender<Delivery>),
}

impl Finalizer {
    /// For a batch of the stream: when the last clone is dropped, the worst delivery noted goes to the stream.
    pub(crate) fn new(acknowledger: Acknowledger, id: BatchId) -> Self {
        Self(Some(Arc::new(Pending {
            waiting: Waiting::Stream(acknowledger, id),
            worst: AtomicU8::new(rank(Delivery::Delivered)),
        })))
    }

    /// For an event that nobody waits for: a notice.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// For a test: the worst delivery noted goes to the receiver when the last clone is dropped.
    #[cfg(test)]
    pub(crate) fn observed() -> (Self, std::sync::mpsc::Receiver<Delivery>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        let pending = Pending {
            waiting: Waiting::Test(sender),
            worst: AtomicU8::new(rank(Delivery::Delivered)),
        };
        (Self(Some(Arc::new(pending))), receiver)
    }

    /// Notes what became of the event. The worst note of a batch counts.
    pub(crate) fn note(&self, delivery: Delivery) {
        if let Some(pending) = &self.0 {
            pending.worst.fetch_max(rank(delivery), Ordering::AcqRel);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let delivery = match *self.worst.get_mut() {
            0 => Delivery::Delivered,
            1 => Delivery::Errored,
            _ => Delivery::Rejected,
        };
        match &self.waiting {
            Waiting::Stream(acknowledger, id) => acknowledger.resolve(*id, delivery),
            #[cfg(test)]
            Waiting::Test(observer) => drop(observer.send(delivery)),
        }
    }
}

fn rank(delivery: Delivery) -> u8 {
    match delivery {
        Delivery::Delivered => 0,
        Delivery::Errored => 1,
        Delivery::Rejected => 2,
    }
}
