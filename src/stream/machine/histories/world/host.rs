//! The host of a script: it takes, answers late, in any order, twice or not at all, and writes down what it sees.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::World;
use crate::checkpoint::GapCause;
use crate::event::{Batch, BatchId, Event, RaftIndex};
use crate::invariants::{Range, Seen};
use crate::position::{Delivery, MAX_REDELIVERIES, Position};
use crate::stream::Item;
use crate::stream::machine::histories::rule::Rule;
use crate::stream::notice::{Notice, NoticeKind};

/// A batch that the host has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) id: BatchId,
    /// The identity that the outbox gave it, which is the same, unless a rule is missing.
    pub(super) real: BatchId,
    pub(super) at: Position,
    /// Its place among those that were handed out.
    pub(super) place: usize,
    pub(super) redelivery: u32,
}

/// What the host of a run has, and what it was told.
#[derive(Default)]
pub(super) struct Host {
    /// The connections that batches came through, in the order in which they did.
    came_through: Vec<usize>,
    /// The batches that were handed out, in that order too.
    handed_out: Vec<Batch>,
    largest: usize,
    pub(super) gap_waits: bool,
    /// Taken and not answered.
    pub(super) taken: Vec<Taken>,
    /// Identities that were answered for, and the place of each one's batch.
    answered_ids: Vec<(BatchId, usize)>,
    pub(super) last_id: u64,
    /// When there is something to do for the outbox.
    due: Option<Duration>,
    pub(super) told_lost: u64,
    /// How many batches have errored and are to come again.
    pub(super) errored: usize,
    /// The newest place that was answered for.
    answered: Position,
    /// The index of the last batch that was answered for when indexes had begun anew since.
    answered_before_reset: Option<RaftIndex>,
    /// What was written down last.
    looked: Option<[Seen; 3]>,
}

impl Host {
    /// A batch that keeps so many bytes waits for the host. It came through this connection.
    pub(super) fn note_pushed(&mut self, kept_bytes: usize, connection: usize) {
        self.largest = self.largest.max(kept_bytes);
        self.came_through.push(connection);
    }

    /// Whether there is a batch that it has not been given.
    pub(super) fn waits_for_batches(&self) -> bool {
        self.handed_out.len() < self.came_through.len()
    }
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
        if !self.runs.up {
            return false;
        }
        match self.poll() {
            None => return false,
            Some(Item::Batch(batch)) => self.took(batch),
            Some(Item::Notice(Notice {
                kind: NoticeKind::Gap(gap),
                ..
            })) => {
                let range = Range {
                    from: gap.from,
                    to: gap.to,
                };
                self.host.gap_waits = false;
                // What a reset says is told apart, unless it was merged with something else.
                if gap.cause != GapCause::IndexReset || self.runs.reset != Some(range) {
                    self.history.seen.push(Seen::Gap(range));
                }
            }
            Some(Item::Notice(Notice {
                kind: NoticeKind::IndexReset(reset),
                ..
            })) => self.history.seen.push(Seen::Reset(reset.epoch)),
            Some(Item::Notice(Notice {
                kind: NoticeKind::Rejected(rejected),
                ..
            })) => self.host.told_lost += rejected.events,
            Some(_) => {}
        }
        self.look();
        true
    }

    fn took(&mut self, batch: Batch) {
        self.host.last_id = batch.id.0;
        self.host.errored -= usize::from(batch.redelivery > 0);
        let lacks = |rule| self.machine.lacks(rule);
        let same =
            |first: &Batch| (first.position(), &first.events) == (batch.position(), &batch.events);
        let place = match batch.redelivery {
            0 => self.host.handed_out.len(),
            // The same in everything: event, order and time.
            _ => self
                .host
                .handed_out
                .iter()
                .rposition(same)
                .expect("another"),
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
            at: batch.position(),
            place,
            redelivery: batch.redelivery,
        };
        if batch.redelivery == 0 {
            self.host.handed_out.push(batch);
        }
        self.show(taken.id, place);
        self.host.taken.push(taken);
    }

    /// Writes down that a batch came, by its place.
    fn show(&mut self, id: BatchId, place: usize) {
        let batch = &self.host.handed_out[place];
        self.history.seen.push(Seen::Emitted {
            batch: id,
            at: batch.position(),
            events: batch.events.iter().map(name).collect(),
            connection: self.host.came_through[place],
        });
    }

    pub(super) fn answer(&mut self, which: usize, delivery: Delivery) {
        if self.host.taken.is_empty() {
            return;
        }
        let batch = self.host.taken.remove(which % self.host.taken.len());
        let errored = delivery == Delivery::Errored;
        self.history.seen.push(Seen::Resolved(batch.id, delivery));
        if errored && batch.redelivery >= MAX_REDELIVERIES && self.lacks(Rule::ThreeTimesAtMost) {
            let id = BatchId(u64::MAX - batch.id.0);
            self.show(id, batch.place);
            self.host.taken.push(Taken {
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
        self.host.errored += usize::from(again);
        self.host.answered = self.host.answered.max(batch.at);
        self.host.answered_ids.push((batch.real, batch.place));
        if batch.at.epoch < self.outbox.positions().read.epoch {
            self.host.answered_before_reset = Some(batch.at.index);
        }
        self.attend();
        self.pump();
    }

    /// Answers once more, which changes nothing.
    pub(super) fn answer_again(&mut self, which: usize, delivery: Delivery) {
        if self.host.answered_ids.is_empty() {
            return;
        }
        let (mut id, place) = self.host.answered_ids[which % self.host.answered_ids.len()];
        if self.lacks(Rule::FreshIdentity)
            && let Some(now) = self.host.taken.iter().find(|taken| taken.place == place)
        {
            id = now.real;
        }
        self.outbox.resolve(self.clock, id, delivery);
        self.attend();
    }

    /// A sink that does not get over a batch.
    pub(super) fn fail_again(&mut self, which: usize, times: usize) {
        if self.host.taken.is_empty() {
            return;
        }
        let which = which % self.host.taken.len();
        let place = self.host.taken[which].place;
        self.answer(which, Delivery::Errored);
        for _ in 1..times {
            self.wait();
            while self.take()
                && self
                    .host
                    .taken
                    .last()
                    .is_none_or(|taken| taken.place != place)
            {}
            match self.host.taken.last() {
                Some(taken) if taken.place == place => {
                    self.answer(self.host.taken.len() - 1, Delivery::Errored);
                }
                _ => return,
            }
        }
    }

    /// Takes and answers all there is, and all that comes again.
    pub(super) fn drain(&mut self) {
        loop {
            while self.take() || !self.host.taken.is_empty() {
                self.answer(0, Delivery::Delivered);
            }
            if !self.wait() {
                return;
            }
        }
    }

    /// Does what is due for the outbox, and looks when there is something next.
    pub(super) fn attend(&mut self) {
        self.host.due = self.outbox.attend(self.clock, 0);
        self.look();
    }

    /// Lets time pass until something is due. Says whether there is something.
    pub(super) fn wait(&mut self) -> bool {
        let Some(due) = self.host.due else {
            return false;
        };
        self.clock = self.clock.max(due);
        self.attend();
        true
    }

    fn lacks(&self, rule: Rule) -> bool {
        self.machine.lacks(rule)
    }

    /// Writes down what can be asked for at any time.
    pub(super) fn look(&mut self) {
        if !self.runs.up {
            return;
        }
        let status = self.outbox.status(tokio::time::Instant::now());
        let mut positions = self.outbox.positions();
        if self.machine.lacks(Rule::ContiguousPrefix) {
            positions.acknowledged = self.host.answered;
        }
        if self.machine.lacks(Rule::OldEpochMovesNothing)
            && let Some(index) = self.host.answered_before_reset
        {
            let epoch = positions.read.epoch;
            positions.acknowledged = Position { epoch, index };
        }
        let now = [
            Seen::Positions(positions),
            Seen::CountedLost(status.rejected_events),
            Seen::Memory {
                bytes: usize::try_from(status.queued_bytes).unwrap_or(usize::MAX),
                largest: self.host.largest,
                limit: self.queue_bytes,
            },
        ];
        if self.host.looked.as_ref() != Some(&now) {
            self.history.seen.extend(now.clone());
            self.host.looked = Some(now);
        }
    }
}

/// The name of an event, as its payload has it.
pub(super) fn name(event: &Event) -> u64 {
    const KEY: &str = "\"Name\":";
    let text = String::from_utf8_lossy(&event.payload);
    let digits = text.split(KEY).nth(1).unwrap_or_default();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(u64::MAX)
}
