//! The three positions of a stream, never mixed, and the ledger of what was handed out and not yet answered.
//!
//! - *read*: seen on the wire. A reconnect resumes from here.
//! - *emitted*: handed to the host.
//! - *acknowledged*: durable downstream, together with everything before it. A restart resumes from here.
//!
//! Pure: no clock, no I/O.

pub mod proof;

use std::collections::VecDeque;

use crate::event::{BatchId, RaftIndex};

/// What became of a batch downstream.
///
/// Ordered by how bad it is, so that the outcome of a batch is the worst outcome of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// Every sink has taken every event, or a transform dropped it on purpose.
    Delivered,
    /// A sink failed in a way that another attempt might mend.
    Errored,
    /// A sink gave up for good.
    Rejected,
}

/// How far each side has come. An index of 0 means: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Positions {
    /// Index of the newest line seen on the wire.
    pub read: RaftIndex,
    /// Index of the newest batch handed to the host.
    pub emitted: RaftIndex,
    /// Every batch up to this one is answered, delivered or counted as lost.
    pub acknowledged: RaftIndex,
}

/// What [`Ledger::resolve`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Bytes of text that are no longer kept.
    pub freed_bytes: usize,
    /// Whether `acknowledged` moved.
    pub moved: bool,
}

#[derive(Debug)]
struct Entry {
    id: BatchId,
    index: RaftIndex,
    text_bytes: usize,
    events: usize,
    delivery: Option<Delivery>,
}

/// Batches in the order in which they were read, each with the answer it got.
///
/// `acknowledged` moves over the contiguous answered prefix only: a batch that is answered early waits for those before it.
#[derive(Debug, Default)]
pub struct Ledger {
    positions: Positions,
    /// Read and not yet acknowledged, oldest first.
    outstanding: VecDeque<Entry>,
    outstanding_bytes: usize,
    last_id: u64,
    rejected_events: u64,
}

impl Ledger {
    /// Notes a line of which nothing is handed on (duplicates, or no event left).
    pub fn note_read(&mut self, index: RaftIndex) {
        self.positions.read = self.positions.read.max(index);
    }

    /// Takes a batch in and gives it its identity.
    pub fn admit(&mut self, index: RaftIndex, text_bytes: usize, events: usize) -> BatchId {
        self.last_id += 1;
        let id = BatchId(self.last_id);
        self.note_read(index);
        self.outstanding_bytes += text_bytes;
        self.outstanding.push_back(Entry {
            id,
            index,
            text_bytes,
            events,
            delivery: None,
        });
        id
    }

    /// Notes that the host has taken the batch.
    pub fn emitted(&mut self, index: RaftIndex) {
        self.positions.emitted = self.positions.emitted.max(index);
    }

    /// Notes the answer for a batch. An identity that is unknown, or answered already, changes nothing.
    pub fn resolve(&mut self, id: BatchId, delivery: Delivery) -> Resolved {
        let Ok(place) = self.outstanding.binary_search_by_key(&id, |entry| entry.id) else {
            return Resolved::default();
        };
        let entry = &mut self.outstanding[place];
        if entry.delivery.is_some() {
            return Resolved::default();
        }
        entry.delivery = Some(delivery);
        if delivery != Delivery::Delivered {
            self.rejected_events += entry.events as u64;
        }

        let mut resolved = Resolved::default();
        while self
            .outstanding
            .front()
            .is_some_and(|entry| entry.delivery.is_some())
        {
            let Some(entry) = self.outstanding.pop_front() else {
                break;
            };
            self.outstanding_bytes -= entry.text_bytes;
            resolved.freed_bytes += entry.text_bytes;
            resolved.moved = true;
            // Lines of a server that replays its log may be read late; the position itself never goes back (NE-2).
            self.positions.acknowledged = self.positions.acknowledged.max(entry.index);
        }
        resolved
    }

    /// Forgets the newest `count` batches, which nobody has taken. Their events are read again after a restart.
    pub fn forget_newest(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(entry) = self.outstanding.pop_back() {
                self.outstanding_bytes -= entry.text_bytes;
            }
        }
    }

    /// The three positions.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// Bytes of text kept for batches without an answer.
    #[must_use]
    pub fn outstanding_bytes(&self) -> usize {
        self.outstanding_bytes
    }

    /// Batches without an answer, or behind one without.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Batches without an answer, those behind one without and answered themselves not counted.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let unanswered = |entry: &&Entry| entry.delivery.is_none();
        self.outstanding.iter().filter(unanswered).count()
    }

    /// Events that a sink did not take, since the start.
    #[must_use]
    pub fn rejected_events(&self) -> u64 {
        self.rejected_events
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn acknowledged_moves_over_the_contiguous_prefix_only() {
        let mut ledger = Ledger::default();
        let ids: Vec<BatchId> = [5, 5, 7]
            .map(|index| ledger.admit(RaftIndex(index), 10, 1))
            .to_vec();
        assert_eq!(ledger.positions().read, RaftIndex(7));
        assert_eq!(
            ledger.resolve(ids[1], Delivery::Delivered),
            Resolved::default()
        );
        assert_eq!(ledger.positions().acknowledged, RaftIndex(0));
        assert_eq!(ledger.outstanding_bytes(), 30);
        let resolved = ledger.resolve(ids[0], Delivery::Delivered);
        assert_eq!(
            resolved,
            Resolved {
                freed_bytes: 20,
                moved: true
            }
        );
        assert_eq!(ledger.positions().acknowledged, RaftIndex(5));
        assert_eq!(ledger.outstanding(), 1);
    }

    #[test]
    fn what_a_sink_refused_is_counted_and_moves_on() {
        let mut ledger = Ledger::default();
        let id = ledger.admit(RaftIndex(5), 10, 3);
        assert!(ledger.resolve(id, Delivery::Rejected).moved);
        assert_eq!(ledger.rejected_events(), 3);
        // A second answer, or one for a batch that never was, changes nothing.
        assert_eq!(ledger.resolve(id, Delivery::Rejected), Resolved::default());
        assert_eq!(
            ledger.resolve(BatchId(99), Delivery::Rejected),
            Resolved::default()
        );
        assert_eq!(ledger.rejected_events(), 3);
    }

    proptest! {
        /// NE-2 and the order of the positions, for batches answered in any order.
        #[test]
        fn positions_keep_their_order(
            indexes in proptest::collection::vec(1u64..50, 1..40),
            answers in proptest::collection::vec(0usize..40, 0..80),
        ) {
            let mut indexes = indexes;
            indexes.sort_unstable();
            let mut ledger = Ledger::default();
            let ids: Vec<BatchId> = indexes.iter().map(|&index| ledger.admit(RaftIndex(index), 1, 1)).collect();
            let mut answered = vec![false; ids.len()];
            let mut before = RaftIndex(0);
            for answer in answers {
                let place = answer % ids.len();
                ledger.emitted(RaftIndex(indexes[place]));
                ledger.resolve(ids[place], Delivery::Delivered);
                answered[place] = true;
                let prefix = answered.iter().take_while(|&&yes| yes).count();
                let positions = ledger.positions();
                let expected = prefix.checked_sub(1).map_or(0, |last| indexes[last]);
                prop_assert_eq!(positions.acknowledged, RaftIndex(expected));
                prop_assert!(before <= positions.acknowledged);
                prop_assert!(positions.acknowledged <= positions.read);
                prop_assert_eq!(ledger.outstanding(), ids.len() - prefix);
                before = positions.acknowledged;
            }
        }
    }
}
