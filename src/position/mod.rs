//! The three positions of a stream, never mixed, and the ledger of what was read and not yet answered for.
//!
//! - *read*: seen on the wire. A reconnect resumes from here.
//! - *emitted*: handed to the host.
//! - *acknowledged*: durable downstream, together with everything before it. A restart resumes from here.
//!
//! Pure: no clock, no I/O. Times are told, as the time since any one moment.

mod place;
pub mod proof;
mod taken;
mod tip;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::backoff::doubled;
use crate::event::{Batch, BatchId, Event, RaftIndex};
pub use place::{Epoch, Position};
use proof::ProofKey;
pub use taken::Taken;
pub(crate) use taken::{from_hex, to_hex};
pub(crate) use tip::Answered;
use tip::Tip;

/// How many times a batch is handed out again at most. Errored once more, it counts as rejected.
pub const MAX_REDELIVERIES: u32 = 3;

/// The pause before a batch is handed out again for the first time; each later one is twice as long. A sink has tried by itself
/// before it said that it failed, so this is not the first wait.
pub const REDELIVERY_PAUSE: Duration = Duration::from_secs(1);

/// No pause before a redelivery is longer.
pub const REDELIVERY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What became of a batch downstream.
///
/// Ordered by how bad it is, so that the outcome of a batch is the worst outcome of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// Every sink has taken every event, or a transform dropped it on purpose.
    Delivered,
    /// A sink failed in a way that another attempt might mend: the batch is handed out again, after a pause.
    Errored,
    /// A sink gave up for good.
    Rejected,
}

/// How far each side has come. An index of 0 means: nothing yet.
///
/// All begin where a saved position, or `start_at`, makes the source begin; what is before is not its business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Positions {
    /// The newest line seen on the wire.
    pub read: Position,
    /// The newest batch handed to the host.
    pub emitted: Position,
    /// Every batch before this place is answered, delivered or counted as lost, and so is what was handed out of its own index
    /// before what is still waiting.
    pub acknowledged: Position,
}

/// What [`Ledger::resolve`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What comes of the batch.
    pub outcome: Outcome,
    /// Bytes that are no longer kept.
    pub freed_bytes: usize,
    /// Whether `acknowledged` moved.
    pub moved: bool,
}

/// What comes of a batch after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing: nobody has a batch of this identity (any more).
    #[default]
    Unknown,
    /// It is done.
    Delivered,
    /// It stays, and is handed out again after this pause.
    Again(Duration),
    /// It is given up, and its events are counted as lost.
    Lost(Loss),
}

/// Events that no sink will get any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Their index.
    pub index: RaftIndex,
    /// How many.
    pub events: u64,
    /// Whether a sink gave up for good, or failed each time.
    pub delivery: Delivery,
}

#[derive(Debug)]
struct Entry {
    at: Position,
    kept_bytes: usize,
    /// The newest time set by a server, up to this batch.
    newest: Option<i64>,
    /// How many times it was handed out again.
    redelivery: u32,
    answered: bool,
    /// No batch, but the place where indexes begin anew.
    begins_epoch: bool,
    /// Kept until it is acknowledged: they may be what shows that a stream goes on here.
    events: Vec<Event>,
}

/// Batches in the order in which they were read, each with its events until it is answered for.
///
/// A batch is queued, handed out, pausing before it is handed out again, due for that, or answered. `acknowledged` moves over
/// the contiguous answered prefix only: a batch that is answered early waits for those before it, and one that errored holds
/// everything behind it until it is answered otherwise.
///
/// Each handing out has an identity of its own, so an answer that comes late, for one that was answered already, is unknown.
#[derive(Debug, Default)]
pub struct Ledger {
    positions: Positions,
    /// Read and not yet acknowledged, oldest first. Entries are numbered in this order, without holes.
    outstanding: VecDeque<Entry>,
    /// The number of the oldest entry.
    first: u64,
    /// How many of the newest entries were never handed out.
    queued: usize,
    handed_out: HashMap<BatchId, u64>,
    /// Errored ones, with the moment at which each is to be handed out again.
    pausing: BTreeSet<(Duration, u64)>,
    /// Errored ones whose pause is over.
    due: BTreeSet<u64>,
    stopped: bool,
    outstanding_bytes: usize,
    last_id: u64,
    rejected_events: u64,
    /// What a state is saved from.
    tip: Tip,
}

impl Ledger {
    /// Keeps, from now on, what is needed to save how far everything is answered for.
    pub(crate) fn keep_proofs(&mut self, key: ProofKey) {
        self.tip.keep(key);
    }

    /// Begins at a place of which this much was taken before. Nothing was admitted yet.
    pub(crate) fn begin_at(&mut self, position: Position, taken: Taken, newest: Option<i64>) {
        self.positions = Positions {
            read: position,
            emitted: position,
            acknowledged: position,
        };
        self.tip.set(position, taken, newest);
    }

    /// The first line that can be had is of this index: before it there is nothing to answer for.
    pub(crate) fn starts_with(&mut self, index: RaftIndex) {
        self.tip.set(self.here(index), Taken::Nothing, None);
    }

    /// Indexes begin anew. What is still here is answered for in the epoch before, which ends when all of it is.
    /// `newest` is the newest time set by a server up to here.
    pub(crate) fn begin_epoch(&mut self, newest: Option<i64>) {
        let at = self.positions.read.after_reset();
        self.positions.read = at;
        self.queued += 1;
        self.outstanding.push_back(Entry {
            at,
            kept_bytes: 0,
            newest,
            redelivery: 0,
            answered: false,
            begins_epoch: true,
            events: Vec::new(),
        });
        // Nobody is asked for an answer.
        if self.queued == 1 {
            self.pass_epochs();
        }
    }

    /// Notes a line of which nothing is handed on (duplicates, or no event left).
    pub fn note_read(&mut self, index: RaftIndex) {
        let read = self.here(index);
        self.positions.read = self.positions.read.max(read);
    }

    /// A place in the epoch that is read.
    fn here(&self, index: RaftIndex) -> Position {
        let epoch = self.positions.read.epoch;
        Position { epoch, index }
    }

    /// Takes a batch in, which keeps so many bytes in memory until it is answered for. `newest` is the newest time set by a server
    /// up to here.
    pub fn admit(
        &mut self,
        index: RaftIndex,
        kept_bytes: usize,
        events: Vec<Event>,
        newest: Option<i64>,
    ) {
        self.note_read(index);
        self.outstanding_bytes += kept_bytes;
        self.queued += 1;
        self.outstanding.push_back(Entry {
            at: self.here(index),
            kept_bytes,
            newest,
            redelivery: 0,
            answered: false,
            begins_epoch: false,
            events,
        });
    }

    /// Goes over the beginnings of epochs that are next to be handed out: there is nothing to hand out.
    fn pass_epochs(&mut self) {
        while self.queued > 0 {
            let place = self.outstanding.len() - self.queued;
            match self.outstanding.get_mut(place) {
                Some(entry) if entry.begins_epoch => {
                    entry.answered = true;
                    self.positions.emitted = self.positions.emitted.max(entry.at);
                    self.queued -= 1;
                }
                _ => break,
            }
        }
        self.advance();
    }

    /// The next batch for the host, with an identity that no handing out had before: those that are due again first, the oldest
    /// before the others, then those that are queued.
    pub fn hand_out(&mut self) -> Option<Batch> {
        if self.stopped {
            return None;
        }
        let number = match self.due.pop_first() {
            Some(number) => number,
            None => {
                let queued = self.queued;
                self.queued = queued.checked_sub(1)?;
                self.first + (self.outstanding.len() - queued) as u64
            }
        };
        let place = self.place(number)?;
        let entry = self.outstanding.get(place)?;
        self.last_id += 1;
        let id = BatchId(self.last_id);
        self.handed_out.insert(id, number);
        self.positions.emitted = self.positions.emitted.max(entry.at);
        let batch = Batch {
            id,
            epoch: entry.at.epoch,
            index: entry.at.index,
            events: entry.events.clone(),
            text_bytes: entry.kept_bytes,
            redelivery: entry.redelivery,
        };
        self.pass_epochs();
        Some(batch)
    }

    /// Notes the answer for a batch that was handed out. An identity that is unknown, or answered already, changes nothing.
    pub fn resolve(&mut self, now: Duration, id: BatchId, delivery: Delivery) -> Resolved {
        let Some(number) = self.handed_out.remove(&id) else {
            return Resolved::default();
        };
        let place = self.place(number);
        let Some(entry) = place.and_then(|place| self.outstanding.get_mut(place)) else {
            return Resolved::default();
        };
        // After a stop there is no next time in this process, but there may be one after a restart.
        if delivery == Delivery::Errored && (entry.redelivery < MAX_REDELIVERIES || self.stopped) {
            entry.redelivery += 1;
            let pause = redelivery_pause(entry.redelivery);
            self.pausing.insert((now + pause, number));
            return Resolved {
                outcome: Outcome::Again(pause),
                ..Resolved::default()
            };
        }
        let index = entry.at.index;
        let events = entry.events.len() as u64;
        entry.answered = true;
        let outcome = match delivery {
            Delivery::Delivered => Outcome::Delivered,
            Delivery::Errored | Delivery::Rejected => {
                self.rejected_events += events;
                Outcome::Lost(Loss {
                    index,
                    events,
                    delivery,
                })
            }
        };
        let (freed_bytes, moved) = self.advance();
        Resolved {
            outcome,
            freed_bytes,
            moved,
        }
    }

    /// Moves `acknowledged` over what is answered. Says how many bytes became free, and whether it moved.
    fn advance(&mut self) -> (usize, bool) {
        let mut freed_bytes = 0;
        let mut moved = false;
        while let Some(entry) = self.outstanding.pop_front_if(|entry| entry.answered) {
            self.first += 1;
            self.outstanding_bytes -= entry.kept_bytes;
            freed_bytes += entry.kept_bytes;
            moved = true;
            // Lines of a server that replays its log may be read late; the position itself never goes back (NE-2).
            self.positions.acknowledged = self.positions.acknowledged.max(entry.at);
            self.tip
                .advance(entry.at, entry.events, entry.kept_bytes, entry.newest);
        }
        (freed_bytes, moved)
    }

    /// Makes due what has paused long enough. Says whether something was.
    pub fn release(&mut self, now: Duration) -> bool {
        let mut released = false;
        while let Some(&(until, number)) = self.pausing.first()
            && until <= now
        {
            self.pausing.pop_first();
            self.due.insert(number);
            released = true;
        }
        released
    }

    /// When the next pause is over.
    #[must_use]
    pub fn next_release(&self) -> Option<Duration> {
        self.pausing.first().map(|(until, _)| *until)
    }

    /// Hands nothing out any more, and forgets what was never handed out: it is read again after a restart.
    pub fn stop(&mut self) {
        self.stopped = true;
        for _ in 0..std::mem::take(&mut self.queued) {
            if let Some(entry) = self.outstanding.pop_back() {
                self.outstanding_bytes -= entry.kept_bytes;
            }
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// The three positions.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// What a state is saved from: how far everything is answered for.
    pub(crate) fn answered(&self) -> Answered {
        self.tip.answered().clone()
    }

    /// Everything before this place is answered for.
    pub(crate) fn answered_up_to(&self) -> Position {
        self.tip.answered().position
    }

    /// Bytes kept for batches that are not acknowledged.
    #[must_use]
    pub fn outstanding_bytes(&self) -> usize {
        self.outstanding_bytes
    }

    /// Batches that the host has at this moment: handed out, and not answered.
    #[must_use]
    pub fn with_host(&self) -> usize {
        self.handed_out.len()
    }

    /// Batches that were handed out and are not done: without an answer, or errored and not answered otherwise since.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.handed_out.len() + self.pausing.len() + self.due.len()
    }

    /// Events that a sink did not take, since the start.
    #[must_use]
    pub fn rejected_events(&self) -> u64 {
        self.rejected_events
    }
}

/// The pause before a batch is handed out again for the `redelivery`th time.
fn redelivery_pause(redelivery: u32) -> Duration {
    doubled(REDELIVERY_PAUSE, redelivery, REDELIVERY_PAUSE_MAX)
}

#[cfg(test)]
mod tests;
