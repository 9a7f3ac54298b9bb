//! What the runs of a script's source save, and what that says.

use super::World;
use crate::checkpoint::{GapCause, OpenGap, Outcome, State, format};
use crate::envelope::{self, Line};
use crate::event::RaftIndex;
use crate::invariants::{Covered, Range, Saved, Seen};
use crate::position::Taken;
use crate::position::proof::{Proof, Proofs};
use crate::stream::machine::histories::rule::Rule;
use crate::stream::machine::histories::world::cluster::LogLine;

impl World {
    /// One write at a time.
    pub(in crate::stream::machine::histories::world) fn save(&mut self) {
        self.land();
        self.begin_save();
        self.land();
    }

    pub(in crate::stream::machine::histories::world) fn begin_save(&mut self) {
        let moved = self.outbox.positions().acknowledged.index > RaftIndex(0);
        if self.runs.up && (self.runs.begun || moved) && self.runs.writing.is_none() {
            self.look();
            let state = self.snapshot();
            self.runs.writing = format::encode(&state).ok();
        }
    }

    pub(super) fn land(&mut self) {
        let Some(bytes) = self.runs.writing.take() else {
            return;
        };
        let state = format::decode(&bytes).expect("what was encoded");
        if self.runs.up {
            let position = state.position;
            let failures = 0;
            self.outbox
                .note_saved(&Outcome::Saved { position, failures });
        }
        let saved = self.saved(&state);
        self.history.seen.push(Seen::Saved(saved));
        self.runs.file = Some(bytes);
    }

    fn snapshot(&mut self) -> State {
        let mut state = self
            .outbox
            .snapshot(self.runs.key, &self.runs.subscription());
        let read = self.outbox.positions().read;
        match self.without {
            Some(Rule::OnlyAnsweredIsSaved) => {
                state.position = read;
                state.taken = Taken::Nothing;
            }
            Some(Rule::ProofsOfTheAnswered) if read.index != state.position.index => {
                let mut proofs = Proofs::default();
                for (_, proof) in self.proofs_at(read.index) {
                    proofs.add(proof);
                }
                state.taken = Taken::Proofs(proofs);
            }
            Some(Rule::SuspectedIsKept) => {
                let suspected = [GapCause::Unproven, GapCause::Evicted];
                state.gaps.retain(|gap| !suspected.contains(&gap.cause));
            }
            _ => {}
        }
        state
    }

    /// What was emitted, and is not in the state that a run begins with, is not known to it.
    pub(super) fn forget_unsaved(&mut self, state: Option<&State>) {
        let saved = state.map(|state| self.saved(state));
        let before = saved.as_ref().map(|saved| saved.position.index.0);
        for line in &mut self.cluster.log {
            line.emitted &= match &saved {
                Some(saved) if Some(line.index) == before => saved.taken.has(line.events[0]),
                _ => Some(line.index) < before,
            };
        }
    }

    /// What a state says, by the names of events.
    fn saved(&mut self, state: &State) -> Saved {
        let taken = match &state.taken {
            Taken::All => Covered::All,
            Taken::Nothing => Covered::Events(Vec::new()),
            Taken::Proofs(proofs) => {
                let mut known = self.proofs_at(state.position.index);
                known.retain(|(_, proof)| proofs.contains(*proof));
                if self.without.is_none() {
                    assert_eq!(known.len(), proofs.len(), "a proof of nothing");
                }
                Covered::Events(known.into_iter().map(|(event, _)| event).collect())
            }
        };
        let range = |gap: &OpenGap| Range {
            from: gap.from,
            to: gap.to,
        };
        let gaps = state.gaps.iter();
        // Before its end is known, everything that is claimed lies behind it.
        let gaps = gaps.filter(|gap| gap.cause != GapCause::IndexReset || gap.to.is_some());
        Saved {
            position: state.position,
            taken,
            gaps: gaps.map(range).collect(),
        }
    }

    /// The events that were ever written at an index, with their proofs.
    fn proofs_at(&mut self, index: RaftIndex) -> Vec<(u64, Proof)> {
        let lines = self.cluster.log.iter();
        let lines: Vec<LogLine> = lines
            .filter(|line| line.index == index.0)
            .cloned()
            .collect();
        let mut proofs = Vec::new();
        for line in lines {
            let text = self.text(&line);
            if let Ok(Line::Batch(batch)) = envelope::parse(&text.into()) {
                let events = line.events.iter().zip(&batch.events);
                proofs.extend(
                    events.map(|(name, event)| (*name, Proof::of(self.runs.key, index.0, event))),
                );
            }
        }
        proofs
    }
}
