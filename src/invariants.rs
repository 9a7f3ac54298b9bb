//! What the source promises, as predicates: NE-1 to NE-8 of the design, as far as this version keeps them.
//!
//! The same claims are looked at in three places. In production, where a look costs nothing, by a `Watch`: a claim that does
//! not hold is counted, logged, and a panic in debug builds. In property tests, over what was recorded of random servers and
//! hosts: a [`History`]. And in the README's table of guarantees. NE-5 and what is saved come with the saved position.
//!
//! Pure: no clock, no I/O.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::event::{BatchId, RaftIndex};
use crate::position::{Delivery, MAX_REDELIVERIES, Position, Positions};

/// How much later than its deadline a stop may end: what a busy machine needs to notice that the time is up.
pub const STOP_SLACK: Duration = Duration::from_secs(2);

/// A claim about the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// NE-1: nothing in the subscribed range is lost without a `Gap` or a counted rejection.
    NothingLost,
    /// NE-2: `acknowledged` never moves back.
    AcknowledgedStays,
    /// NE-3: acknowledged <= emitted <= read.
    PositionsInOrder,
    /// NE-4: events leave in index order, and in wire order within an index. A batch that errored comes again between them.
    InOrder,
    /// NE-6: no event comes twice while the process lives, but with its whole batch after that errored, and then
    /// [`MAX_REDELIVERIES`] times at most.
    EachOnce,
    /// NE-7: memory is bounded by the configured limits.
    MemoryBounded,
    /// NE-8: a stop ends within its deadline.
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
        let holds = match self {
            Self::NothingLost => history.nothing_lost(),
            Self::AcknowledgedStays => history.acknowledged_stays(),
            Self::PositionsInOrder => history.positions_in_order(),
            Self::InOrder => history.in_order(),
            Self::EachOnce => history.each_once(),
            Self::MemoryBounded => history.memory_bounded(),
            Self::StopsInTime => history.stops_in_time(),
        };
        holds.map_err(|what| Violation {
            invariant: self,
            what,
        })
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

/// What a cluster wrote, and what could be seen of a source that followed it.
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
    /// Whether the source is to give it: it is subscribed to, not before the start, and was there when we came.
    pub wanted: bool,
    /// How often the cluster had been rebuilt before.
    pub cluster: usize,
}

/// Something that could be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// A batch was handed out, for the first time or again.
    Emitted {
        /// The identity of this handing out.
        batch: BatchId,
        /// Its index.
        index: RaftIndex,
        /// The names of its events.
        events: Vec<u64>,
        /// The number of the connection that it came through.
        connection: usize,
    },
    /// A batch was answered.
    Resolved(BatchId, Delivery),
    /// So many events are counted as not taken by a sink, since the start.
    CountedLost(u64),
    /// A gap was announced, with both ends in it.
    Gap {
        /// The last index known to be complete.
        from: RaftIndex,
        /// The first one seen afterwards; until one is handed out, when that is not known.
        to: Option<RaftIndex>,
    },
    /// The cluster was rebuilt: its indexes begin anew.
    Rebuilt,
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
        Invariant::ALL
            .iter()
            .try_for_each(|invariant| invariant.check(self))
    }

    /// What is wanted and lies before the last acknowledged position was answered for, or lies in a gap. What is at or behind
    /// it comes again after a restart. What was lost downstream is counted: rejected, or errored each time. What errored and is
    /// not lost holds the position, and comes again.
    fn nothing_lost(&self) -> Result<(), String> {
        let account = Account::of(self);
        let highest = |cluster: usize| {
            let older = self.written.iter().filter(|one| one.cluster < cluster);
            older.map(|one| one.index).max()
        };
        let covered = |one: &Written| {
            account.gaps.iter().any(|gap| {
                let within = gap.from <= one.index && gap.to.is_none_or(|to| one.index <= to);
                // Indexes of two clusters do not compare: up to where the older one had come, any word does.
                let behind_a_rebuild = gap.cluster > 0
                    && gap.cluster >= one.cluster
                    && (gap.cluster > one.cluster || Some(one.index) <= highest(one.cluster));
                within || behind_a_rebuild
            })
        };
        // As long as nobody could notice the rebuild, its events are noticed to be others after a restart.
        let claimed = |one: &Written| {
            one.cluster == 0 || account.settled || Some(one.index) > highest(one.cluster)
        };
        let lost = self.written.iter().find(|one| {
            one.wanted
                && one.index < account.acknowledged
                && claimed(one)
                && !account.answered.contains(&one.event)
                && !covered(one)
        });
        if let Some(lost) = lost {
            return Err(format!("lost without a word: {lost:?}"));
        }
        if let Some(at) = account.passed_over {
            return Err(format!("acknowledged passed over a batch of {at}"));
        }
        if let Some(at) = account.left_behind {
            return Err(format!("a batch of {at} errored and never came again"));
        }
        if account.lost != account.counted {
            return Err(format!(
                "{} events were not delivered, {} are counted",
                account.lost, account.counted
            ));
        }
        Ok(())
    }

    fn acknowledged_stays(&self) -> Result<(), String> {
        let positions: Vec<Positions> = self.positions().collect();
        match positions
            .windows(2)
            .find(|pair| !acknowledged_stays(pair[0], pair[1]))
        {
            Some(pair) => Err(format!("{pair:?}")),
            None => Ok(()),
        }
    }

    fn positions_in_order(&self) -> Result<(), String> {
        match self.positions().find(|&now| !positions_in_order(now)) {
            Some(now) => Err(format!("{now:?}")),
            None => Ok(()),
        }
    }

    /// In the order in which they were written. Through another connection an earlier line of an index may come later, when the
    /// first server had forgotten it.
    fn in_order(&self) -> Result<(), String> {
        let places: HashMap<u64, (usize, RaftIndex)> = self
            .written
            .iter()
            .enumerate()
            .map(|(place, one)| (one.event, (place, one.index)))
            .collect();
        let mut before: Option<(RaftIndex, usize, usize)> = None;
        for handed_out in Account::of(self).handed_out {
            let HandedOut {
                index,
                events,
                connection,
                redelivery,
            } = handed_out;
            for event in events {
                let Some(&(place, written_at)) = places.get(event) else {
                    return Err(format!("event {event} was never written"));
                };
                if written_at != index {
                    return Err(format!("event {event} of {written_at} came at {index}"));
                }
                // What comes again does so between the others, as it came first.
                if redelivery > 0 {
                    continue;
                }
                if let Some((last_index, last_connection, last_place)) = before
                    && (!in_order(last_index, index)
                        || last_index == index
                            && last_connection == connection
                            && place < last_place)
                {
                    return Err(format!("event {event} of {index} came after {last_index}"));
                }
                before = Some((index, connection, place));
            }
        }
        Ok(())
    }

    fn each_once(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        for handed_out in Account::of(self).handed_out {
            if handed_out.redelivery > 0 {
                continue;
            }
            if let Some(again) = handed_out.events.iter().find(|event| !seen.insert(**event)) {
                return Err(format!("event {again} came twice"));
            }
        }
        let mut ids = HashSet::new();
        let mut handed_out = self.seen.iter().filter_map(|seen| match seen {
            Seen::Emitted { batch, .. } => Some(*batch),
            _ => None,
        });
        match handed_out.find(|batch| !ids.insert(*batch)) {
            Some(again) => Err(format!("{again:?} stands for two handings out")),
            None => Ok(()),
        }
    }

    fn memory_bounded(&self) -> Result<(), String> {
        let beyond = self.seen.iter().find(|seen| {
            matches!(seen, Seen::Memory { bytes, largest, limit } if !memory_bounded(*bytes, *largest, *limit))
        });
        beyond.map_or(Ok(()), |beyond| Err(format!("{beyond:?}")))
    }

    fn stops_in_time(&self) -> Result<(), String> {
        let late = self.seen.iter().find(|seen| {
            matches!(seen, Seen::Stopped { took, deadline } if !stops_in_time(*took, *deadline))
        });
        late.map_or(Ok(()), |late| Err(format!("{late:?}")))
    }

    fn positions(&self) -> impl Iterator<Item = Positions> {
        self.seen.iter().filter_map(|seen| match seen {
            Seen::Positions(positions) => Some(*positions),
            _ => None,
        })
    }
}

/// What became of everything.
#[derive(Default)]
struct Account<'h> {
    handed_out: Vec<HandedOut<'h>>,
    answered: HashSet<u64>,
    gaps: Vec<Announced>,
    acknowledged: RaftIndex,
    /// A batch without an answer, when everything behind it was acknowledged.
    passed_over: Option<RaftIndex>,
    /// A batch that errored, when everything that could come had come.
    left_behind: Option<RaftIndex>,
    /// Events that were answered otherwise than by a delivery, for the last time.
    lost: u64,
    counted: u64,
    settled: bool,
}

/// A handing out of a batch.
#[derive(Clone, Copy)]
struct HandedOut<'h> {
    index: RaftIndex,
    events: &'h [u64],
    connection: usize,
    /// How many times it had errored. A batch that has not, or too often, and comes again, is taken for another one.
    redelivery: u32,
}

struct Announced {
    from: RaftIndex,
    to: Option<RaftIndex>,
    cluster: usize,
}

impl<'h> Account<'h> {
    fn of(history: &'h History) -> Self {
        let mut account = Self::default();
        let mut with_host: HashMap<BatchId, HandedOut<'h>> = HashMap::new();
        let mut errored: HashMap<&[u64], HandedOut<'h>> = HashMap::new();
        let mut cluster = 0;
        for seen in &history.seen {
            match seen {
                Seen::Emitted {
                    batch,
                    index,
                    events,
                    connection,
                } => {
                    let known = errored.remove(events.as_slice());
                    let handed_out = HandedOut {
                        index: *index,
                        events,
                        connection: *connection,
                        redelivery: known.map_or(0, |known| known.redelivery + 1),
                    };
                    with_host.insert(*batch, handed_out);
                    account.handed_out.push(handed_out);
                    account.close_gaps(*index);
                }
                // The first answer to a handing out counts.
                Seen::Resolved(batch, delivery) => match with_host.remove(batch) {
                    Some(batch)
                        if *delivery == Delivery::Errored
                            && batch.redelivery < MAX_REDELIVERIES =>
                    {
                        errored.insert(batch.events, batch);
                    }
                    Some(batch) => {
                        account.answered.extend(batch.events);
                        if *delivery != Delivery::Delivered {
                            account.lost += batch.events.len() as u64;
                        }
                    }
                    None => {}
                },
                Seen::CountedLost(counted) => account.counted = *counted,
                Seen::Gap { from, to } => account.gaps.push(Announced {
                    from: *from,
                    to: *to,
                    cluster,
                }),
                Seen::Rebuilt => cluster += 1,
                Seen::Settled => {
                    account.settled = true;
                    account.left_behind = errored.values().map(|batch| batch.index).min();
                }
                Seen::Positions(positions) => {
                    account.acknowledged = positions.acknowledged.index;
                    let mut unanswered = with_host.values().chain(errored.values());
                    let passed_over = unanswered.find(|batch| batch.index < account.acknowledged);
                    account.passed_over =
                        account.passed_over.or(passed_over.map(|batch| batch.index));
                }
                Seen::Memory { .. } | Seen::Stopped { .. } => {}
            }
        }
        account
    }

    /// A gap whose end is not known ends with the next index that is handed out.
    fn close_gaps(&mut self, handed_out: RaftIndex) {
        for gap in &mut self.gaps {
            if gap.to.is_none() && gap.from < handed_out {
                gap.to = Some(handed_out);
            }
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
