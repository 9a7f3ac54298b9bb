//! How far the stream was taken, and what shows it when it is read again.
//!
//! Pure. Nomad resumes at an index inclusively, one index can be several lines, and a server that has forgotten an index
//! begins wherever it can without a word. So the index alone says little: only an event that was taken there, and comes again,
//! proves that nothing is missing. Where in doubt events are repeated, never dropped.

use std::fmt;

use bytes::Bytes;

use crate::envelope::{self, Envelope, Line, RawEvent};
use crate::event::RaftIndex;
use crate::position::{
    self,
    proof::{Proof, ProofKey, Proofs},
};

/// How far the stream was taken.
#[derive(Debug)]
pub(crate) enum Mark {
    /// Not at all, and all of it is wanted.
    Nothing,
    /// Not at all, and it is wanted from this index on.
    From(RaftIndex),
    /// Not at all, and it is wanted from now on: this is the newest index. Until a server has accepted a subscription, nothing of
    /// what it has forgotten is missed.
    Now(RaftIndex),
    /// Not at all, and it is wanted from behind this index.
    After(RaftIndex),
    /// Up to and including lines of this index.
    Taken(Taken),
}

/// The newest index of which lines were taken.
pub(crate) struct Taken {
    index: RaftIndex,
    /// Proofs of what was taken there through earlier connections. Only these can show that a stream is continued.
    known: Proofs,
    /// Proofs of what was taken there through this connection, but for the latest line.
    fresh: Proofs,
    /// The latest line. Its proofs are computed only if they are needed: when another line of the index follows, or when the
    /// connection ends.
    latest: Option<Bytes>,
}

/// Where a line stands towards the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Older: nothing of it is new.
    Below,
    /// Of the mark's own index.
    At {
        /// Something of it was taken through an earlier connection.
        proved: bool,
    },
    /// Newer: all of it is new.
    Above,
}

impl Mark {
    /// Where a saved position makes the stream begin.
    pub(crate) fn saved(index: RaftIndex, taken: &position::Taken) -> Self {
        match taken {
            position::Taken::Nothing => Self::From(index),
            position::Taken::All => Self::After(index),
            position::Taken::Proofs(proofs) => Self::Taken(Taken {
                index,
                known: proofs.clone(),
                fresh: Proofs::default(),
                latest: None,
            }),
        }
    }

    /// The index to ask for.
    pub(crate) fn index(&self) -> RaftIndex {
        match self {
            Self::Nothing => RaftIndex(0),
            Self::From(index) | Self::Now(index) | Self::After(index) => *index,
            Self::Taken(taken) => taken.index,
        }
    }

    /// Whether nothing of this index is wanted, or all of it was seen.
    pub(crate) fn is_ahead_of(&self, index: RaftIndex) -> bool {
        match self {
            Self::Nothing => false,
            Self::From(from) => index < *from,
            Self::Now(after) | Self::After(after) => index <= *after,
            Self::Taken(taken) => index < taken.index,
        }
    }

    /// Whether something that is wanted, and was not taken, can lie before a first line of this index.
    pub(crate) fn leaves_out(&self, index: RaftIndex) -> bool {
        match self {
            Self::Nothing | Self::Now(_) => false,
            Self::From(from) => index > *from,
            // The index that follows directly can have lost one of its lines.
            Self::After(after) => index > *after,
            Self::Taken(taken) => index > taken.index,
        }
    }

    /// Whether all that was taken of its index came through earlier connections.
    pub(crate) fn was_taken_before(&self) -> bool {
        matches!(self, Self::Taken(taken) if taken.latest.is_none() && taken.fresh.is_empty())
    }

    /// Takes a line: moves the mark, and gives what of the line is new.
    pub(crate) fn take(
        &mut self,
        batch: Envelope,
        text: Bytes,
        key: ProofKey,
    ) -> (Relation, Vec<RawEvent>) {
        let index = batch.index;
        if self.is_ahead_of(index) {
            return (Relation::Below, Vec::new());
        }
        if let Self::Taken(taken) = self
            && index == taken.index
        {
            let (proved, new) = taken.take_more(batch, text, key);
            return (Relation::At { proved }, new);
        }
        *self = Self::Taken(Taken {
            index,
            known: Proofs::default(),
            fresh: Proofs::default(),
            latest: Some(text),
        });
        (Relation::Above, batch.events)
    }

    /// Notes that the connection is gone: what came through it is what the next one must show again.
    pub(crate) fn disconnected(&mut self, key: ProofKey) {
        if let Self::Taken(taken) = self {
            taken.prove_latest(key);
            taken.known.extend(std::mem::take(&mut taken.fresh));
        }
    }
}

impl Taken {
    /// Another line of the index, or the same once more.
    fn take_more(&mut self, batch: Envelope, text: Bytes, key: ProofKey) -> (bool, Vec<RawEvent>) {
        let before = batch.events.len();
        let new: Vec<RawEvent> = if self.known.is_empty() {
            batch.events
        } else {
            let index = batch.index.0;
            batch
                .events
                .into_iter()
                .filter(|event| !self.known.contains(Proof::of(key, index, event)))
                .collect()
        };
        self.prove_latest(key);
        self.latest = Some(text);
        (new.len() < before, new)
    }

    fn prove_latest(&mut self, key: ProofKey) {
        // It was parsed before, when it was taken.
        if let Some(text) = self.latest.take()
            && let Ok(Line::Batch(batch)) = envelope::parse(&text)
        {
            for event in &batch.events {
                self.fresh.add(Proof::of(key, batch.index.0, event));
            }
        }
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the latest line, which is not to be shown.
        f.debug_struct("Taken")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: fn() -> ProofKey = || ProofKey::new(42);

    /// A line of evaluations; each payload tells them apart.
    fn line(index: u64, payloads: &[&str]) -> (Envelope, Bytes) {
        let events: Vec<String> = payloads
            .iter()
            .map(|payload| format!(r#"{{"Topic":"Job","Type":"T","Key":"web","Payload":{{"Job":{{"Status":"{payload}"}}}}}}"#))
            .collect();
        let text = Bytes::from(format!(
            r#"{{"Index":{index},"Events":[{}]}}"#,
            events.join(",")
        ));
        match envelope::parse(&text) {
            Ok(Line::Batch(batch)) => (batch, text),
            other => panic!("{other:?}"),
        }
    }

    fn take(mark: &mut Mark, index: u64, payloads: &[&str]) -> (Relation, usize) {
        let (batch, text) = line(index, payloads);
        let (relation, new) = mark.take(batch, text, KEY());
        (relation, new.len())
    }

    #[test]
    fn within_a_connection_everything_of_an_index_is_new() {
        let mut mark = Mark::Nothing;
        assert_eq!(take(&mut mark, 5, &["dead"]), (Relation::Above, 1));
        // The same job, once more at the same index: twice in five recorded cases, and both count.
        assert_eq!(
            take(&mut mark, 5, &["pending"]),
            (Relation::At { proved: false }, 1)
        );
        assert_eq!(take(&mut mark, 7, &["a", "b"]), (Relation::Above, 2));
        assert_eq!(take(&mut mark, 6, &["c"]), (Relation::Below, 0));
        assert_eq!(mark.index(), RaftIndex(7));
    }

    #[test]
    fn after_a_reconnect_only_what_was_taken_is_dropped() {
        let mut mark = Mark::Nothing;
        take(&mut mark, 5, &["dead"]);
        take(&mut mark, 5, &["pending"]);
        mark.disconnected(KEY());
        assert!(matches!(mark, Mark::Taken(_)));
        assert_eq!(
            take(&mut mark, 5, &["pending", "new"]),
            (Relation::At { proved: true }, 1)
        );
        assert_eq!(
            take(&mut mark, 5, &["dead"]),
            (Relation::At { proved: true }, 0)
        );
        assert_eq!(
            take(&mut mark, 5, &["other"]),
            (Relation::At { proved: false }, 1)
        );
        mark.disconnected(KEY());
        assert_eq!(
            take(&mut mark, 5, &["other", "new", "dead", "pending"]),
            (Relation::At { proved: true }, 0)
        );
    }

    #[test]
    fn a_start_mark_takes_the_side_it_was_set_on() {
        let mut mark = Mark::From(RaftIndex(5));
        assert_eq!(take(&mut mark, 4, &["a"]), (Relation::Below, 0));
        assert_eq!(take(&mut mark, 5, &["a"]), (Relation::Above, 1));
        let mut mark = Mark::After(RaftIndex(5));
        assert_eq!(take(&mut mark, 5, &["a"]), (Relation::Below, 0));
        assert_eq!(take(&mut mark, 6, &["a"]), (Relation::Above, 1));
    }
}
