//! The three positions of a stream, never mixed, and the ledger of what was handed out and not yet answered.
//!
//! - *read*: seen on the wire. A reconnect resumes from here.
//! - *emitted*: handed to the host.
//! - *acknowledged*: durable downstream, together with everything before it. A restart resumes from here.
//!
//! Pure: no clock, no I/O.

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

    /// Events that a sink did not take, since the start.
    #[must_use]
    pub fn rejected_events(&self) -> u64 {
        self.rejected_events
    }
}
