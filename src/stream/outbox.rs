//! What was read and waits for the host, and what the host has answered: shared by the driver, the stream and the
//! acknowledgers. Locked for moments only, never across a wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Item;
use super::notice::{Notice, Status};
use super::pending::Pending;
use crate::event::{Batch, BatchId, Event, RaftIndex};
use crate::invariants::{Invariant, Watch, memory_bounded};
use crate::position::{Delivery, Ledger, Positions};
use crate::telemetry::{CountBytes, Telemetry};

/// Shared between the driver, the stream and the acknowledgers.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Told whenever an answer came in.
    answered: Notify,
    /// How many bytes may be without an answer.
    queue_bytes: usize,
    pub(super) telemetry: Telemetry,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    /// Read, and not taken by the host yet. Their bytes count in the ledger, which is what bounds them.
    queue: VecDeque<Batch>,
    notices: Pending,
    reader: Option<Waker>,
    /// The driver is gone.
    ended: bool,
    /// Answers are not waited for any more.
    sealed: bool,
    counts: Counts,
    watch: Watch,
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
            queue_bytes,
            telemetry: Telemetry::register(count_bytes),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more fit into `queue_bytes`, or nothing is outstanding: what is larger than the limit is admitted alone.
    /// Says whether it had to wait. Cancel safe.
    pub(super) async fn room(&self, bytes: usize) -> bool {
        let mut waited = false;
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            // Registered before looking, so that an answer in between is not missed.
            answered.as_mut().enable();
            {
                let state = self.lock();
                let outstanding = state.ledger.outstanding_bytes();
                if outstanding == 0 || outstanding.saturating_add(bytes) <= self.queue_bytes {
                    return waited;
                }
            }
            waited = true;
            answered.await;
        }
    }

    /// Queues events for the host.
    pub(super) fn push_batch(&self, index: RaftIndex, events: Vec<Event>, line_bytes: usize) {
        // What the events take besides their text counts too: it is a third of a short line.
        let text_bytes = line_bytes + events.len() * size_of::<Event>();
        self.tell(|state| {
            state.notices.end_gaps(index);
            let id = state.ledger.admit(index, text_bytes, events.len());
            state.queue.push_back(Batch {
                id,
                index,
                events,
                text_bytes,
            });
            let bytes = state.ledger.outstanding_bytes();
            if !memory_bounded(bytes, text_bytes, self.queue_bytes) {
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
    fn tell(&self, change: impl FnOnce(&mut State)) {
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
    fn gauge(&self, state: &mut State) {
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
        if let Some(batch) = state.queue.pop_front() {
            state.ledger.emitted(batch.index);
            state.counts.events += batch.events.len() as u64;
            self.telemetry.emitted(batch.events.len() as u64);
            if let Err(violated) = state.watch.handed_out(batch.index) {
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

    pub(super) fn resolve(&self, id: BatchId, delivery: Delivery) {
        let (lost, index) = {
            let mut state = self.lock();
            // Nobody has what is queued, so nobody can answer for it (NE-3).
            let not_handed_out = state.queue.front().is_some_and(|next| next.id <= id);
            if state.sealed || not_handed_out {
                return;
            }
            let before = state.ledger.rejected_events();
            state.ledger.resolve(id, delivery);
            self.gauge(&mut state);
            let lost = state.ledger.rejected_events() - before;
            (lost, state.ledger.positions().emitted)
        };
        if lost > 0 {
            self.telemetry.rejected(lost, index);
        }
        self.answered.notify_waiters();
    }

    pub(super) fn positions(&self) -> Positions {
        self.lock().ledger.positions()
    }

    /// Drops what the host has not taken, then waits until everything that it has taken is answered. Cancel safe.
    pub(super) async fn drained(&self) {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            {
                let mut state = self.lock();
                let untaken = state.queue.len();
                state.ledger.forget_newest(untaken);
                state.queue.clear();
                if state.ledger.outstanding() == 0 {
                    return;
                }
            }
            answered.await;
        }
    }

    /// Takes no answers from now on: what a host says of batches that it gives up is no news of them, they come again after a
    /// restart. Gives the number of batches that the host has taken and not answered.
    pub(super) fn seal(&self) -> usize {
        let mut state = self.lock();
        state.sealed = true;
        state.unanswered()
    }

    pub(super) fn status(&self, now: Instant) -> Status {
        let state = self.lock();
        let positions = state.ledger.positions();
        Status {
            connected: state.counts.connected,
            read: positions.read,
            emitted: positions.emitted,
            acknowledged: positions.acknowledged,
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

impl State {
    /// Batches that the host has taken and not answered.
    fn unanswered(&self) -> usize {
        // What is queued has no answer either.
        self.ledger.unanswered() - self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;
    use crate::stream::notice::{Gap, NoticeKind};

    fn batch(outbox: &Outbox, index: u64) {
        outbox.push_batch(RaftIndex(index), Vec::new(), 10);
    }

    #[test]
    fn an_answer_to_what_was_not_taken_yet_upsets_no_count() {
        let outbox = Outbox::new(1 << 20, None);
        batch(&outbox, 5);
        batch(&outbox, 7);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            outbox.poll_item(&mut cx),
            Poll::Ready(Some(Item::Batch(batch))) if batch.id == BatchId(1)
        ));
        outbox.resolve(BatchId(2), Delivery::Delivered);
        outbox.resolve(BatchId(3), Delivery::Delivered);
        assert_eq!(outbox.lock().unanswered(), 1);
        outbox.resolve(BatchId(1), Delivery::Delivered);
        assert_eq!(outbox.lock().unanswered(), 0);
        assert_eq!(outbox.positions().acknowledged, RaftIndex(5));
    }

    #[test]
    fn a_batch_that_is_answered_behind_an_unanswered_one_is_not_counted_as_unanswered() {
        let outbox = Outbox::new(1 << 20, None);
        let mut cx = Context::from_waker(Waker::noop());
        for index in [5, 7, 9] {
            batch(&outbox, index);
        }
        while outbox.poll_item(&mut cx).is_ready() {}
        outbox.resolve(BatchId(2), Delivery::Delivered);
        assert_eq!(outbox.seal(), 2);
    }

    /// The gauges of one source, by name and label.
    #[derive(Debug, Default)]
    struct Gauges(Mutex<HashMap<String, Arc<AtomicU64>>>);

    impl Gauges {
        fn get(&self, name: &str) -> f64 {
            let gauges = self.0.lock().unwrap();
            f64::from_bits(gauges[name].load(Ordering::Relaxed))
        }
    }

    impl Recorder for Gauges {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            let label: String = key
                .labels()
                .map(|label| format!(" {}", label.value()))
                .collect();
            let gauge = Arc::<AtomicU64>::default();
            let name = format!("{}{label}", key.name());
            self.0.lock().unwrap().insert(name, Arc::clone(&gauge));
            Gauge::from_arc(gauge)
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn the_gauges_tell_of_a_host_that_answers_nothing() {
        let gauges = Gauges::default();
        let outbox = metrics::with_local_recorder(&gauges, || Outbox::new(1 << 20, None));
        batch(&outbox, 5);
        assert_eq!(gauges.get("nomad_events_index read"), 5.0);
        assert_eq!(gauges.get("nomad_events_queued_bytes"), 10.0);
        let _ = outbox.poll_item(&mut Context::from_waker(Waker::noop()));
        assert_eq!(gauges.get("nomad_events_index emitted"), 5.0);
        outbox.note_read(RaftIndex(9));
        assert_eq!(gauges.get("nomad_events_index read"), 9.0);
        assert_eq!(gauges.get("nomad_events_index acknowledged"), 0.0);
    }

    #[test]
    fn a_waker_may_ask_at_once() {
        struct Asks(Arc<Outbox>);
        impl Wake for Asks {
            fn wake(self: Arc<Self>) {
                let _ = self.0.poll_item(&mut Context::from_waker(Waker::noop()));
            }
        }
        let (done, waited) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let outbox = Outbox::new(1 << 20, None);
            let waker = Waker::from(Arc::new(Asks(Arc::clone(&outbox))));
            for push in [(|outbox| batch(outbox, 5)) as fn(&Outbox), |outbox| {
                outbox.end()
            }] {
                assert!(
                    outbox
                        .poll_item(&mut Context::from_waker(&waker))
                        .is_pending()
                );
                push(&outbox);
            }
            let _ = done.send(outbox.positions().emitted);
        });
        let emitted = waited.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(emitted, Ok(RaftIndex(5)), "locked while it wakes");
    }

    #[test]
    fn an_unparsable_line_between_queued_batches_is_not_announced_as_a_gap_before_them() {
        let outbox = Outbox::new(1 << 20, None);
        let discarded_behind = |index| {
            outbox.push_notice(Notice {
                at: 0,
                index: RaftIndex(index),
                kind: NoticeKind::Gap(Gap {
                    from: RaftIndex(index),
                    to: None,
                    cause: "line_discarded",
                    namespace: None,
                }),
            });
        };
        discarded_behind(0);
        batch(&outbox, 2);
        // Before the host has seen anything, the line after the next is bad too.
        discarded_behind(2);
        let mut gaps = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Item::Notice(notice))) = outbox.poll_item(&mut cx) {
            if let NoticeKind::Gap(gap) = notice.kind {
                gaps.push((gap.from.0, gap.to.map(|to| to.0)));
            }
        }
        assert_eq!(gaps, [(0, Some(2)), (2, None)]);
    }
}
