//! What the source promises, as predicates: NE-1 to NE-8 of the design, as far as this version keeps them.
//!
//! The same claims are looked at in three places. In production, where a look costs nothing, by a `Watch`: a claim that does
//! not hold is counted, logged, and a panic in debug builds. In property tests, over what was recorded of random servers and
//! hosts, across crashes and restarts: a [`History`]. And in the README's table of guarantees. NE-5 comes with the filling of
//! gaps.
//!
//! Pure: no clock, no I/O.

mod history;
mod judge;

use std::fmt;
use std::time::Duration;

pub use history::{Covered, History, Range, Saved, Seen, Written};

use crate::position::{Position, Positions};

/// How much later than its deadline a stop may end: what a busy machine needs to notice that the time is up.
pub const STOP_SLACK: Duration = Duration::from_secs(2);

/// A claim about the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// NE-1: nothing in the subscribed range is lost without a `Gap` or a counted rejection.
    NothingLost,
    /// NE-2: `acknowledged` never moves back, nor what is saved of it, but through an announced `IndexReset`.
    AcknowledgedStays,
    /// NE-3: saved <= acknowledged <= emitted <= read.
    PositionsInOrder,
    /// NE-4: events leave in index order, and in wire order within an index. A batch that errored comes again between them.
    InOrder,
    /// NE-6: no event comes twice while the process lives, but with its whole batch after that errored, and then
    /// [`MAX_REDELIVERIES`](crate::position::MAX_REDELIVERIES) times at most. After a restart comes what the saved state does
    /// not cover, and nothing else.
    EachOnce,
    /// NE-7: memory is bounded by the configured limits.
    MemoryBounded,
    /// NE-8: a stop ends within its deadline, with everything acknowledged saved.
    StopsInTime,
}

impl Invariant {
    /// Every claim.
    pub const ALL: [Self; 7] = [
        Self::NothingLost,
        Self::AcknowledgedStays,
        Self::PositionsInOrder,
        Self::InOrder,
        Self::EachOnce,
        Self::MemoryBounded,
        Self::StopsInTime,
    ];

    /// Its number in the design, fit for a label.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::NothingLost => "NE-1",
            Self::AcknowledgedStays => "NE-2",
            Self::PositionsInOrder => "NE-3",
            Self::InOrder => "NE-4",
            Self::EachOnce => "NE-6",
            Self::MemoryBounded => "NE-7",
            Self::StopsInTime => "NE-8",
        }
    }

    /// Whether it holds of a recorded history.
    ///
    /// # Errors
    ///
    /// The first place at which it does not.
    pub fn check(self, history: &History) -> Result<(), Violation> {
        history.violation(self).map_or(Ok(()), Err)
    }
}

/// A claim that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} does not hold: {what}", invariant.id())]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// Where.
    pub what: String,
}

/// NE-2, of two moments.
#[must_use]
pub fn acknowledged_stays(before: Positions, now: Positions) -> bool {
    before.acknowledged <= now.acknowledged
}

/// NE-3, of one moment.
#[must_use]
pub fn positions_in_order(now: Positions) -> bool {
    now.acknowledged <= now.emitted && now.emitted <= now.read
}

/// NE-4, of the places of two batches that were handed out one after the other.
#[must_use]
pub fn in_order<P: PartialOrd>(before: P, next: P) -> bool {
    before <= next
}

/// NE-7, of one moment: `bytes` are in memory without an answer, of which the item taken in last has `newest`. An item that
/// is larger than the limit is admitted alone.
#[must_use]
pub fn memory_bounded(bytes: usize, newest: usize, limit: usize) -> bool {
    bytes <= limit.max(newest)
}

/// NE-8: how long a stop took, and how long it was given.
#[must_use]
pub fn stops_in_time(took: Duration, deadline: Duration) -> bool {
    took <= deadline.saturating_add(STOP_SLACK)
}

/// Looks at the claims that cost nothing, while the source runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    positions: Positions,
    handed_out: Position,
    saved: Position,
}

impl Watch {
    /// The positions have changed.
    pub(crate) fn positions(&mut self, now: Positions) -> Result<(), Invariant> {
        let before = std::mem::replace(&mut self.positions, now);
        if !acknowledged_stays(before, now) {
            return Err(Invariant::AcknowledgedStays);
        }
        if !positions_in_order(now) {
            return Err(Invariant::PositionsInOrder);
        }
        Ok(())
    }

    /// A batch is handed out for the first time.
    pub(crate) fn handed_out(&mut self, at: Position) -> Result<(), Invariant> {
        let before = std::mem::replace(&mut self.handed_out, at);
        if in_order(before, at) {
            Ok(())
        } else {
            Err(Invariant::InOrder)
        }
    }

    /// A position is saved, and everything before that other place is answered for.
    pub(crate) fn saved(&mut self, at: Position, answered: Position) -> Result<(), Invariant> {
        let before = std::mem::replace(&mut self.saved, at);
        if at > answered {
            return Err(Invariant::PositionsInOrder);
        }
        if at < before {
            return Err(Invariant::AcknowledgedStays);
        }
        Ok(())
    }

    /// A batch is handed out again. Its index is one that was handed out before; the order of the others goes on as if it had
    /// not come.
    pub(crate) fn handed_out_again(self, at: Position) -> Result<(), Invariant> {
        if in_order(at, self.handed_out) {
            Ok(())
        } else {
            Err(Invariant::InOrder)
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests;
