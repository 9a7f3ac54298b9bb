//! What was recorded of a cluster and of the runs of a source that followed it, one after the other.

use std::time::Duration;

use super::judge::Judge;
use super::{Invariant, Violation};
use crate::event::{BatchId, RaftIndex};
use crate::position::{Delivery, Epoch, Position, Positions};

/// What a cluster wrote, and what could be seen of a source that followed it, also across restarts.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was written, in the order in which it was.
    pub written: Vec<Written>,
    /// What was seen, in the order in which it was.
    pub seen: Vec<Seen>,
}

/// An event of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The index of its line.
    pub index: RaftIndex,
    /// Its name, used once.
    pub event: u64,
    /// Its topic. A run subscribes to the first so many.
    pub topic: usize,
    /// Whether the source is to give it to whoever subscribes to its topic: it is not before the start.
    pub wanted: bool,
    /// How often the cluster had been rebuilt before.
    pub cluster: usize,
}

/// How much of the saved index itself is answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Covered {
    /// All of it.
    All,
    /// These events.
    Events(Vec<u64>),
}

/// A state that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Everything before it is answered for.
    pub position: Position,
    /// What of its own index is.
    pub taken: Covered,
    /// The gaps that are kept open, but for those of resets that have no end yet.
    pub gaps: Vec<Range>,
}

/// Indexes between which something may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The last index known to be complete.
    pub from: RaftIndex,
    /// The first one seen afterwards; until one is handed out, when that is not known.
    pub to: Option<RaftIndex>,
}

/// Something that could be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// A run begins, after the end of the one before, with the state that was saved last. It subscribes to the first so many
    /// topics. Before any, there is a run that subscribes to all.
    Started {
        /// How many.
        topics: usize,
    },
    /// A source that begins has come upon its first server, or its indexes have begun anew and the first line has come: what was
    /// written before this event is gone.
    Follows {
        /// The name of the first event that is there.
        since: u64,
    },
    /// The first line that the source can have is of this place, which is saved at once: before it there is nothing to answer for.
    Begins(Position),
    /// A batch was handed out, for the first time or again.
    Emitted {
        /// The identity of this handing out.
        batch: BatchId,
        /// Its epoch and index.
        at: Position,
        /// The names of its events.
        events: Vec<u64>,
        /// The number of the connection that it came through.
        connection: usize,
    },
    /// A batch was answered.
    Resolved(BatchId, Delivery),
    /// So many events are counted as not taken by a sink, since the start of the run.
    CountedLost(u64),
    /// A gap was announced that is not that of a reset.
    Gap(Range),
    /// It was found that something is missing there, and nothing was announced: a gap that is kept open has all of it.
    GapKnown(Range),
    /// The indexes begin anew for the source, which it has still to announce. Nothing is claimed of them before a line has come: it
    /// is in the gap of the reset.
    EpochBegan(Epoch),
    /// That was announced, as a reset and as a gap.
    Reset(Epoch),
    /// The cluster was rebuilt: its indexes begin anew.
    Rebuilt,
    /// The process is gone, with all that it had in memory. Of what it says of itself only what is saved counts from now on.
    Crashed,
    /// A state is on disk, instead of the one before.
    Saved(Saved),
    /// Everything that could come has come, and time enough has passed to suspect what is to be suspected.
    Settled,
    /// Where the source says that it stands.
    Positions(Positions),
    /// Bytes in memory without an answer.
    Memory {
        /// How many.
        bytes: usize,
        /// The largest item taken in so far.
        largest: usize,
        /// The configured limit.
        limit: usize,
    },
    /// A stop has ended.
    Stopped {
        /// How long it took.
        took: Duration,
        /// How long it was given.
        deadline: Duration,
    },
}

impl History {
    /// Whether everything holds.
    ///
    /// # Errors
    ///
    /// The first claim that does not.
    pub fn check(&self) -> Result<(), Violation> {
        let found = Judge::of(self);
        let first = Invariant::ALL
            .iter()
            .find_map(|invariant| found.iter().find(|found| found.invariant == *invariant));
        first.map_or(Ok(()), |first| Err(first.clone()))
    }

    /// The first place at which one claim does not hold.
    pub(super) fn violation(&self, invariant: Invariant) -> Option<Violation> {
        let found = Judge::of(self);
        found.into_iter().find(|found| found.invariant == invariant)
    }
}

impl Saved {
    /// Whether an event that was handed out at this place is answered for.
    pub(super) fn covers(&self, at: Position, event: u64) -> bool {
        at < self.position || at == self.position && self.taken.has(event)
    }
}

impl Covered {
    pub(crate) fn has(&self, event: u64) -> bool {
        match self {
            Self::All => true,
            Self::Events(events) => events.contains(&event),
        }
    }

    /// Whether all of the other is in it.
    pub(super) fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Events(_), Self::All) => false,
            (_, Self::Events(events)) => events.iter().all(|event| self.has(*event)),
        }
    }
}

impl Range {
    /// Whether all of the other is in it.
    pub(super) fn includes(self, other: Self) -> bool {
        let ends_later = match (self.to, other.to) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(to), Some(other)) => other <= to,
        };
        self.from <= other.from && ends_later
    }

    /// Whether an index lies in it, its ends included.
    pub(super) fn has(self, index: RaftIndex) -> bool {
        self.from <= index && self.to.is_none_or(|to| index <= to)
    }
}
