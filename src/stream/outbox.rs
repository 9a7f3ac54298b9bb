//! What was read and waits for the host, and what the host has answered: shared by the driver, the stream and the
//! acknowledgers. Locked for moments only, never across a wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytestring::ByteString;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Item;
use super::losses::Losses;
use super::notice::{Notice, NoticeKind, Status};
use super::pending::Pending;
use crate::checkpoint::{KnownNamespaces, OpenGaps, Subscription};
use crate::event::{BatchId, Event, RaftIndex};
use crate::invariants::{Invariant, Watch, memory_bounded};
use crate::options::TopicFilter;
use crate::position::{Delivery, Ledger, Outcome, Position, Positions, Resolved};
use crate::telemetry::{CountBytes, Telemetry};

/// Shared between the driver, the stream and the acknowledgers.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<Inner>,
    /// Told whenever an answer came in.
    answered: Notify,
    /// Told whenever an answer came in that makes something to do at a later moment.
    failed: Notify,
    /// Told when the driver may stream.
    activated: Notify,
    /// The moment from which times are counted.
    origin: Instant,
    /// How many bytes may be without an answer.
    queue_bytes: usize,
    pub(super) telemetry: Telemetry,
}

#[derive(Debug, Default)]
struct Inner {
    /// What was read and is not answered for: its bytes are what is bounded.
    ledger: Ledger,
    notices: Pending,
    losses: Losses,
    reader: Option<Waker>,
    /// The driver is gone.
    ended: bool,
    /// Answers are not waited for any more.
    sealed: bool,
    counts: Counts,
    watch: Watch,
    /// What is saved beside the position.
    gaps: OpenGaps,
    /// Where the one of them begins that is not announced.
    suspected: Option<RaftIndex>,
    namespaces: KnownNamespaces,
    subscription: Option<Subscription>,
    /// What was subscribed to up to this position, which may be of something that is not any more.
    topics_of: Option<(Position, Arc<[TopicFilter]>)>,
    saving: Option<Saving>,
    /// Where it begins is known: before that there is nothing to save.
    begun: bool,
    /// Nobody reads the stream any more, or it ends: nothing is saved from now on.
    detached: bool,
    /// The driver may stream: it is no standby.
    active: bool,
}

/// Bytes that a line and its events keep in memory until they are answered for, given the filter keys of each event.
///
/// What events take beside their text counts twice: once with the host, once here for a redelivery. It is two thirds of a short
/// line.
pub(super) fn kept_bytes<'a>(
    line_bytes: usize,
    filter_keys: impl Iterator<Item = &'a Option<Vec<ByteString>>>,
) -> usize {
    let beside = filter_keys.map(|keys| Event::bytes_beside_text(keys.as_deref()));
    line_bytes + 2 * beside.sum::<usize>()
}

#[derive(Debug, Default)]
struct Counts {
    connected: bool,
    last_line: Option<Instant>,
    events: u64,
    duplicates: u64,
    discarded_lines: u64,
    disconnects: u64,
}

impl Outbox {
    /// An empty one, for `queue_bytes` of text. Registers what is counted.
    pub(super) fn new(queue_bytes: usize, count_bytes: Option<CountBytes>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            answered: Notify::new(),
            failed: Notify::new(),
            activated: Notify::new(),
            origin: Instant::now(),
            queue_bytes,
            telemetry: Telemetry::register(count_bytes),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more fit into `queue_bytes`, or nothing is outstanding: what is larger than the limit is admitted alone.
    /// Says whether it had to wait. Cancel safe.
    pub(super) async fn room(&self, bytes: usize) -> bool {
        self.until(&self.answered, |state| {
            let outstanding = state.ledger.outstanding_bytes();
            outstanding == 0 || outstanding.saturating_add(bytes) <= self.queue_bytes
        })
        .await
    }

    /// Waits until `done`, which is asked again each time that `told` is. Says whether it had to wait. Cancel safe.
    async fn until(&self, told: &Notify, mut done: impl FnMut(&mut Inner) -> bool) -> bool {
        let mut waited = false;
        loop {
            let told = told.notified();
            tokio::pin!(told);
            // Registered before looking, so that what is told in between is not missed.
            told.as_mut().enable();
            if done(&mut self.lock()) {
                return waited;
            }
            waited = true;
            told.await;
        }
    }

    /// Queues events for the host. `newest` is the newest time set by a server up to here.
    pub(super) fn push_batch(
        &self,
        index: RaftIndex,
        events: Vec<Event>,
        line_bytes: usize,
        newest: Option<i64>,
    ) {
        let kept_bytes = kept_bytes(line_bytes, events.iter().map(|event| &event.filter_keys));
        self.tell(|state| {
            state.notices.end_gaps(index);
            state.gaps.end(index);
            state.ledger.admit(index, kept_bytes, events, newest);
            let bytes = state.ledger.outstanding_bytes();
            if !memory_bounded(bytes, kept_bytes, self.queue_bytes) {
                self.violated(Invariant::MemoryBounded);
            }
            self.gauge(state);
        });
    }

    pub(super) fn push_notice(&self, notice: Notice) {
        self.tell(|state| state.notices.push(notice));
    }

    pub(super) fn note_read(&self, index: RaftIndex) {
        let mut state = self.lock();
        state.ledger.note_read(index);
        self.gauge(&mut state);
    }

    pub(super) fn note_line(&self, now: Instant) {
        self.lock().counts.last_line = Some(now);
    }

    pub(super) fn note_connected(&self) {
        self.lock().counts.connected = true;
    }

    pub(super) fn note_disconnected(&self) {
        let mut state = self.lock();
        state.counts.connected = false;
        state.counts.disconnects += 1;
    }

    pub(super) fn note_duplicates(&self, count: u64) {
        self.lock().counts.duplicates += count;
        self.telemetry.duplicates(count);
    }

    pub(super) fn note_discarded(&self) {
        self.lock().counts.discarded_lines += 1;
    }

    /// Ends the stream: nothing will be pushed any more.
    pub(super) fn end(&self) {
        self.tell(|state| state.ended = true);
    }

    /// Changes the state, then wakes whoever waits for an item: without the lock, since a waker may do anything.
    fn tell(&self, change: impl FnOnce(&mut Inner)) {
        let reader = {
            let mut state = self.lock();
            change(&mut state);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// To be called after every change of the ledger.
    fn gauge(&self, state: &mut Inner) {
        let positions = state.ledger.positions();
        self.telemetry
            .positions(positions, state.ledger.outstanding_bytes());
        if let Err(violated) = state.watch.positions(positions) {
            self.violated(violated);
        }
    }

    fn violated(&self, invariant: Invariant) {
        self.telemetry.invariant_violated(invariant);
        debug_assert!(false, "{invariant} does not hold");
    }

    /// The next item, notices first.
    pub(super) fn poll_item(&self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut state = self.lock();
        if let Some(notice) = state.notices.pop() {
            return Poll::Ready(Some(Item::Notice(notice)));
        }
        if let Some(batch) = state.ledger.hand_out() {
            let handed_out = if batch.redelivery == 0 {
                state.counts.events += batch.events.len() as u64;
                self.telemetry.emitted(batch.events.len() as u64);
                state.watch.handed_out(batch.position())
            } else {
                self.telemetry.redelivered(&batch);
                state.watch.handed_out_again(batch.position())
            };
            if let Err(violated) = handed_out {
                self.violated(violated);
            }
            self.gauge(&mut state);
            return Poll::Ready(Some(Item::Batch(batch)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The driver may stream.
    pub(super) fn activate(&self) {
        self.lock().active = true;
        self.activated.notify_waiters();
    }

    /// Waits until the driver may stream. Cancel safe.
    pub(super) async fn active(&self) {
        self.until(&self.activated, |state| state.active).await;
    }

    /// The time on the clock of this outbox.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Notes the answer for a batch. What is to be done about one that was not delivered is done by [`attend`](Self::attend).
    pub(super) fn resolve(&self, now: Duration, id: BatchId, delivery: Delivery) {
        let outcome = {
            let mut state = self.lock();
            if state.sealed {
                return;
            }
            let Resolved { outcome, moved, .. } = state.ledger.resolve(now, id, delivery);
            if let Outcome::Lost(loss) = &outcome {
                state.losses.add(loss);
            }
            self.gauge(&mut state);
            if moved {
                state.changed();
            }
            outcome
        };
        match outcome {
            Outcome::Unknown => return,
            Outcome::Delivered => {}
            Outcome::Again(_) => self.failed.notify_one(),
            Outcome::Lost(loss) => {
                self.telemetry.rejected(&loss);
                self.failed.notify_one();
            }
        }
        self.answered.notify_waiters();
    }

    /// Does what is due at this moment: batches whose pause is over are handed out again, and losses are told, dated `at`
    /// (nanoseconds since 1970). Gives the moment at which there is something to do next, unless an answer makes it earlier.
    pub(super) fn attend(&self, now: Duration, at: i64) -> Option<Duration> {
        let mut next = None;
        self.tell(|state| {
            state.ledger.release(now);
            if let Some(rejected) = state.losses.tell(now) {
                state.notices.push(Notice {
                    at,
                    index: rejected.to,
                    kind: NoticeKind::Rejected(rejected),
                });
            }
            let moments = [state.ledger.next_release(), state.losses.due()];
            next = moments.into_iter().flatten().min();
        });
        next
    }

    /// Does what is due when it is due, for ever: the host may have nothing else to wake up for. `clock` gives nanoseconds
    /// since 1970.
    pub(super) async fn attend_always(&self, clock: impl Fn() -> i64) {
        loop {
            let failed = self.failed.notified();
            match self.attend(self.now(), clock()) {
                // It does not matter which of the two it was.
                Some(next) => drop(tokio::time::timeout_at(self.origin + next, failed).await),
                None => failed.await,
            }
        }
    }

    pub(super) fn positions(&self) -> Positions {
        self.lock().ledger.positions()
    }

    /// Hands nothing out any more, also nothing again, and waits until the host has answered for everything that it has. Cancel
    /// safe.
    pub(super) async fn drained(&self) {
        self.until(&self.answered, |state| {
            state.ledger.stop();
            state.ledger.with_host() == 0
        })
        .await;
    }

    /// Takes no answers from now on: what a host says of batches that it gives up is no news of them, they come again after a
    /// restart. Gives the number of batches that the host has taken and not answered for; that a sink has failed is no answer.
    pub(super) fn seal(&self) -> usize {
        let mut state = self.lock();
        state.sealed = true;
        state.ledger.unanswered()
    }

    pub(super) fn status(&self, now: Instant) -> Status {
        let state = self.lock();
        let positions = state.ledger.positions();
        Status {
            connected: state.counts.connected,
            read: positions.read.index,
            emitted: positions.emitted.index,
            acknowledged: positions.acknowledged.index,
            events: state.counts.events,
            duplicates: state.counts.duplicates,
            discarded_lines: state.counts.discarded_lines,
            rejected_events: state.ledger.rejected_events(),
            queued_bytes: state.ledger.outstanding_bytes() as u64,
            disconnects: state.counts.disconnects,
            seconds_since_last_line: state.counts.last_line.map(|at| (now - at).as_secs_f64()),
        }
    }
}

mod saving;
pub(super) use saving::Saving;

#[cfg(test)]
mod tests;
