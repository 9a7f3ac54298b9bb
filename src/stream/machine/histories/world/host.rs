//! The host of a script: it takes, answers late, in any order, twice or not at all, and writes down what it sees.

use std::task::{Context, Poll, Waker};

use super::World;
use crate::event::{Batch, BatchId, Event, RaftIndex};
use crate::invariants::Seen;
use crate::position::{Delivery, MAX_REDELIVERIES};
use crate::stream::Item;
use crate::stream::machine::histories::rule::Rule;
use crate::stream::notice::{Notice, NoticeKind};

/// A batch that the host has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) id: BatchId,
    /// The identity that the outbox gave it, which is the same, unless a rule is missing.
    pub(super) real: BatchId,
    pub(super) index: RaftIndex,
    /// Its place among those that were handed out.
    pub(super) place: usize,
    pub(super) redelivery: u32,
}

impl World {
    pub(super) fn poll(&mut self) -> Option<Item> {
        match self
            .outbox
            .poll_item(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    /// Takes an item, if there is one.
    pub(super) fn take(&mut self) -> bool {
        match self.poll() {
            None => return false,
            Some(Item::Batch(batch)) => self.took(batch),
            Some(Item::Notice(Notice {
                kind: NoticeKind::Gap(gap),
                ..
            })) => {
                self.gap_waits = false;
                self.history.seen.push(Seen::Gap {
                    from: gap.from,
                    to: gap.to,
                });
            }
            Some(Item::Notice(Notice {
                kind: NoticeKind::Rejected(rejected),
                ..
            })) => self.told_lost += rejected.events,
            Some(_) => {}
        }
        self.look();
        true
    }

    fn took(&mut self, batch: Batch) {
        self.last_id = batch.id;
        self.errored -= usize::from(batch.redelivery > 0);
        let lacks = |rule| self.machine.lacks(rule);
        let same = |first: &Batch| (first.index, &first.events) == (batch.index, &batch.events);
        let place = match batch.redelivery {
            0 => self.handed_out.len(),
            // The same in everything: event, order and time.
            _ => self.handed_out.iter().rposition(same).expect("another"),
        };
        if batch.redelivery > 0 && lacks(Rule::ErroredComesAgain) {
            return;
        }
        if batch.redelivery > 0 && lacks(Rule::OnlyErroredComesAgain) {
            self.show(BatchId(u64::MAX - batch.id.0), 0);
        }
        let taken = Taken {
            id: batch.id,
            real: batch.id,
            index: batch.index,
            place,
            redelivery: batch.redelivery,
        };
        if batch.redelivery == 0 {
            self.handed_out.push(batch);
        }
        self.show(taken.id, place);
        self.taken.push(taken);
    }

    /// Writes down that a batch came, by its place.
    fn show(&mut self, id: BatchId, place: usize) {
        let batch = &self.handed_out[place];
        self.history.seen.push(Seen::Emitted {
            batch: id,
            index: batch.index,
            events: batch.events.iter().map(name).collect(),
            connection: self.came_through[place],
        });
    }

    pub(super) fn answer(&mut self, which: usize, delivery: Delivery) {
        if self.taken.is_empty() {
            return;
        }
        let batch = self.taken.remove(which % self.taken.len());
        let errored = delivery == Delivery::Errored;
        self.history.seen.push(Seen::Resolved(batch.id, delivery));
        if errored && batch.redelivery >= MAX_REDELIVERIES && self.lacks(Rule::ThreeTimesAtMost) {
            let id = BatchId(u64::MAX - batch.id.0);
            self.show(id, batch.place);
            self.taken.push(Taken {
                id,
                redelivery: 0,
                ..batch
            });
            return;
        }
        let told = if errored && self.lacks(Rule::ErroredIsHeld) {
            Delivery::Rejected
        } else {
            delivery
        };
        self.outbox.resolve(self.clock, batch.real, told);
        let again = told == Delivery::Errored && batch.redelivery < MAX_REDELIVERIES;
        self.errored += usize::from(again);
        self.answered = self.answered.max(batch.index);
        self.answered_ids.push((batch.real, batch.place));
        self.attend();
        self.pump();
    }

    /// Answers once more, which changes nothing.
    pub(super) fn answer_again(&mut self, which: usize, delivery: Delivery) {
        if self.answered_ids.is_empty() {
            return;
        }
        let (mut id, place) = self.answered_ids[which % self.answered_ids.len()];
        if self.lacks(Rule::FreshIdentity)
            && let Some(now) = self.taken.iter().find(|taken| taken.place == place)
        {
            id = now.real;
        }
        self.outbox.resolve(self.clock, id, delivery);
        self.attend();
    }

    /// A sink that does not get over a batch.
    pub(super) fn fail_again(&mut self, which: usize, times: usize) {
        if self.taken.is_empty() {
            return;
        }
        let which = which % self.taken.len();
        let place = self.taken[which].place;
        self.answer(which, Delivery::Errored);
        for _ in 1..times {
            self.wait();
            while self.take() && self.taken.last().is_none_or(|taken| taken.place != place) {}
            match self.taken.last() {
                Some(taken) if taken.place == place => {
                    self.answer(self.taken.len() - 1, Delivery::Errored);
                }
                _ => return,
            }
        }
    }

    /// Does what is due for the outbox, and looks when there is something next.
    pub(super) fn attend(&mut self) {
        self.due = self.outbox.attend(self.clock, 0);
        self.look();
    }

    /// Lets time pass until something is due. Says whether there is something.
    pub(super) fn wait(&mut self) -> bool {
        let Some(due) = self.due else { return false };
        self.clock = self.clock.max(due);
        self.attend();
        true
    }

    fn lacks(&self, rule: Rule) -> bool {
        self.machine.lacks(rule)
    }

    /// Writes down what can be asked for at any time.
    pub(super) fn look(&mut self) {
        let status = self.outbox.status(tokio::time::Instant::now());
        let mut positions = self.outbox.positions();
        if self.machine.lacks(Rule::ContiguousPrefix) {
            positions.acknowledged.index = self.answered;
        }
        let now = [
            Seen::Positions(positions),
            Seen::CountedLost(status.rejected_events),
            Seen::Memory {
                bytes: usize::try_from(status.queued_bytes).unwrap_or(usize::MAX),
                largest: self.largest,
                limit: self.queue_bytes,
            },
        ];
        if self.looked.as_ref() != Some(&now) {
            self.history.seen.extend(now.clone());
            self.looked = Some(now);
        }
    }
}

/// The name of an event, as its payload has it.
fn name(event: &Event) -> u64 {
    const KEY: &str = "\"Name\":";
    let text = String::from_utf8_lossy(&event.payload);
    let digits = text.split(KEY).nth(1).unwrap_or_default();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(u64::MAX)
}
