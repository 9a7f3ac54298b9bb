//! Batches that are handed out and answered, and the positions that follow them.

use std::collections::HashSet;

use super::super::{Invariant, acknowledged_stays, in_order, positions_in_order};
use super::{HandedOut, Judge};
use crate::event::{BatchId, RaftIndex};
use crate::invariants::history::Saved;
use crate::position::{Delivery, MAX_REDELIVERIES, Position, Positions};

impl<'h> Judge<'h> {
    pub(super) fn emitted(
        &mut self,
        id: BatchId,
        at: Position,
        events: &'h [u64],
        connection: usize,
    ) {
        let known = self.run.errored.remove(events);
        let batch = HandedOut {
            at,
            events,
            redelivery: known.map_or(0, |known| known.redelivery + 1),
        };
        if !self.run.ids.insert(id) {
            self.find(
                Invariant::EachOnce,
                format!("{id:?} stands for two handings out"),
            );
        }
        if at.epoch > self.run.announced {
            let what = format!("{at} came without a word of its epoch");
            self.find(Invariant::AcknowledgedStays, what);
        }
        self.run.with_host.insert(id, batch);
        self.check_order(batch, connection);
        // What comes again does so between the others, as it came first.
        if batch.redelivery == 0 {
            self.check_new(batch);
            self.run.handed_out.push(batch);
            self.close_gaps(at.index);
        }
    }

    /// In the order in which they were written. Through another connection an earlier line of an index may come later, when the
    /// first server had forgotten it.
    fn check_order(&mut self, batch: HandedOut<'h>, connection: usize) {
        let HandedOut { at, events, .. } = batch;
        let mut last = self.run.last;
        let mut wrong = None;
        for event in events {
            let Some(&place) = self.places.get(event) else {
                wrong = Some(format!("event {event} was never written"));
                break;
            };
            let written_at = self.written[place].index;
            if written_at != at.index {
                wrong = Some(format!("event {event} of {written_at} came at {at}"));
                break;
            }
            if batch.redelivery > 0 {
                continue;
            }
            if let Some((before, last_connection, last_place)) = last
                && (!in_order(before, at)
                    || before == at && last_connection == connection && place < last_place)
            {
                wrong = Some(format!("event {event} of {at} came after {before}"));
                break;
            }
            last = Some((at, connection, place));
        }
        self.run.last = last;
        if let Some(what) = wrong {
            self.find(Invariant::InOrder, what);
        }
    }

    /// What is not handed out again after an error comes once in a run, and not at all if the run began with a state that covers
    /// it.
    fn check_new(&mut self, batch: HandedOut<'h>) {
        let mut twice = None;
        for event in batch.events {
            let covered = |state: &Saved| {
                let earlier = self.earlier.get(event);
                state.covers(batch.at, *event)
                    || earlier.is_some_and(|earlier| state.covers(*earlier, *event))
            };
            if !self.run.events.insert(*event) {
                twice = Some(format!("event {event} came twice"));
            } else if self.run.read.is_some_and(covered) {
                twice = Some(format!(
                    "event {event} of {} came in spite of {:?}",
                    batch.at, self.run.read
                ));
            }
        }
        if let Some(what) = twice {
            self.find(Invariant::EachOnce, what);
        }
    }

    /// A gap whose end is not known ends with the next index that is handed out.
    fn close_gaps(&mut self, handed_out: RaftIndex) {
        for gap in &mut self.gaps {
            if gap.range.to.is_none() && gap.range.from < handed_out {
                gap.range.to = Some(handed_out);
            }
        }
    }

    /// The first answer to a handing out counts.
    pub(super) fn resolved(&mut self, id: BatchId, delivery: Delivery) {
        match self.run.with_host.remove(&id) {
            Some(batch) if delivery == Delivery::Errored && batch.redelivery < MAX_REDELIVERIES => {
                self.run.errored.insert(batch.events, batch);
            }
            Some(batch) => {
                self.answered.extend(batch.events);
                if delivery != Delivery::Delivered {
                    self.run.lost += batch.events.len() as u64;
                }
            }
            None => {}
        }
    }

    // --- NE-2, NE-3 and NE-8: positions ---

    pub(super) fn stands(&mut self, now: Positions) {
        let saved = self
            .saved
            .map_or(Position::default(), |saved| saved.position);
        let before = self.run.stand.replace(now);
        if before.is_some_and(|before| !acknowledged_stays(before, now)) {
            let what = format!("{before:?}, and then {now:?}");
            self.find(Invariant::AcknowledgedStays, what);
        }
        if saved > now.acknowledged.max(self.run.begins) || !positions_in_order(now) {
            let what = format!("saved {saved}, {now:?}");
            self.find(Invariant::PositionsInOrder, what);
        }
        let mut unanswered = self.run.with_host.values().chain(self.run.errored.values());
        if let Some(batch) = unanswered.find(|batch| batch.at < now.acknowledged) {
            let what = format!("acknowledged passed over a batch of {}", batch.at);
            self.find(Invariant::NothingLost, what);
        }
    }

    /// What was acknowledged comes never again after a stop.
    pub(super) fn all_is_saved(&mut self) {
        // Without a place for it nothing is saved at all.
        let (Some(stand), Some(_)) = (self.run.stand, self.saved) else {
            return;
        };
        let saved = self.saved.map(|saved| saved.position);
        if saved != Some(stand.acknowledged.max(self.run.begins)) {
            let what = format!("{stand:?}, and {saved:?} is saved");
            self.find(Invariant::StopsInTime, what);
        }
        let unanswered = self.run.with_host.values().chain(self.run.errored.values());
        let unanswered: HashSet<&[u64]> = unanswered.map(|batch| batch.events).collect();
        let handed_out = self.run.handed_out.iter();
        let prefix = handed_out.take_while(|batch| !unanswered.contains(batch.events));
        let forgotten = prefix
            .filter(|batch| Some(batch.at) == saved)
            .flat_map(|batch| batch.events)
            .find(|event| self.saved.is_some_and(|saved| !saved.taken.has(**event)));
        if let Some(event) = forgotten {
            let what = format!("event {event} is answered and not in {:?}", self.saved);
            self.find(Invariant::StopsInTime, what);
        }
    }
}
