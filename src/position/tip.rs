//! The newest index that is answered for, and what of it is: what a state is saved from. Pure.

use super::proof::{Proof, ProofKey, Proofs};
use super::{Position, Taken};
use crate::event::Event;

/// Text of one index that waits for its proofs (bytes). Proofs are computed when a state is saved, which most indexes never see;
/// more text than this is proved at once, so that an index of many lines does not stay in memory.
const MAX_UNPROVED_BYTES: usize = 1024 * 1024;

/// How far everything is answered for.
#[derive(Debug, Default)]
pub(super) struct Tip {
    answered: Answered,
    unproved_bytes: usize,
    /// `None`: nothing is saved, so nothing is kept.
    key: Option<ProofKey>,
}

/// What is answered for, as a state needs it.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// Everything before it is.
    pub(crate) position: Position,
    /// The newest time set by a server up to there.
    pub(crate) newest: Option<i64>,
    /// What of its own index is, but for these:
    taken: Taken,
    events: Vec<Event>,
}

impl Default for Answered {
    fn default() -> Self {
        Self {
            position: Position::default(),
            newest: None,
            taken: Taken::Nothing,
            events: Vec::new(),
        }
    }
}

impl Answered {
    /// What of its own index is answered for. Takes as long as parsing it.
    pub(crate) fn taken(self, key: ProofKey) -> Taken {
        if self.events.is_empty() {
            return self.taken;
        }
        let mut proofs = match self.taken {
            Taken::Proofs(proofs) => proofs,
            Taken::Nothing | Taken::All => Proofs::default(),
        };
        for event in &self.events {
            proofs.add(Proof::of_event(key, event));
        }
        Taken::Proofs(proofs)
    }
}

impl Tip {
    /// Keeps what a state needs, from now on.
    pub(super) fn keep(&mut self, key: ProofKey) {
        self.key = Some(key);
    }

    /// Everything before this place is answered for, and this of it.
    pub(super) fn set(&mut self, position: Position, taken: Taken, newest: Option<i64>) {
        self.answered = Answered {
            position,
            newest,
            taken,
            events: Vec::new(),
        };
        self.unproved_bytes = 0;
    }

    /// A batch is answered for, and everything before it.
    pub(super) fn advance(
        &mut self,
        position: Position,
        events: Vec<Event>,
        kept_bytes: usize,
        newest: Option<i64>,
    ) {
        if position < self.answered.position {
            return;
        }
        if position > self.answered.position {
            self.set(position, Taken::Nothing, newest);
        }
        self.answered.newest = self.answered.newest.max(newest);
        let Some(key) = self.key else { return };
        self.answered.events.extend(events);
        self.unproved_bytes += kept_bytes;
        if self.unproved_bytes > MAX_UNPROVED_BYTES && self.answered.events.len() > 1 {
            let answered = std::mem::take(&mut self.answered);
            let (position, newest) = (answered.position, answered.newest);
            self.set(position, answered.taken(key), newest);
        }
    }

    pub(super) fn answered(&self) -> &Answered {
        &self.answered
    }
}
