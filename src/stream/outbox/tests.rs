//! What waits for the host, and what its answers do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Wake;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;
use crate::checkpoint::GapCause;
use crate::position::REDELIVERY_PAUSE;
use crate::stream::notice::Gap;

/// When nothing depends on the time.
const NOW: Duration = Duration::ZERO;

fn batch(outbox: &Outbox, index: u64) {
    outbox.push_batch(RaftIndex(index), Vec::new(), 10, None);
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
    outbox.resolve(NOW, BatchId(2), Delivery::Delivered);
    outbox.resolve(NOW, BatchId(3), Delivery::Delivered);
    assert_eq!(outbox.lock().ledger.unanswered(), 1);
    outbox.resolve(NOW, BatchId(1), Delivery::Delivered);
    assert_eq!(outbox.lock().ledger.unanswered(), 0);
    assert_eq!(outbox.positions().acknowledged.index, RaftIndex(5));
}

#[test]
fn a_batch_that_is_answered_behind_an_unanswered_one_is_not_counted_as_unanswered() {
    let outbox = Outbox::new(1 << 20, None);
    let mut cx = Context::from_waker(Waker::noop());
    for index in [5, 7, 9] {
        batch(&outbox, index);
    }
    while outbox.poll_item(&mut cx).is_ready() {}
    outbox.resolve(NOW, BatchId(2), Delivery::Delivered);
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
        let _ = done.send(outbox.positions().emitted.index);
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
                cause: GapCause::LineDiscarded,
                namespace: None,
                again: false,
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

fn ids(outbox: &Outbox) -> Vec<(u64, u32)> {
    let mut cx = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match outbox.poll_item(&mut cx) {
        Poll::Ready(Some(Item::Batch(batch))) => Some((batch.id.0, batch.redelivery)),
        _ => None,
    })
    .collect()
}

#[test]
fn a_batch_keeps_its_bytes_until_it_is_answered_otherwise_than_by_an_error() {
    let outbox = Outbox::new(1 << 20, None);
    batch(&outbox, 5);
    assert_eq!(ids(&outbox), [(1, 0)]);
    outbox.resolve(NOW, BatchId(1), Delivery::Errored);
    let queued = || outbox.status(Instant::now()).queued_bytes;
    assert_eq!(queued(), 10);
    let due = outbox.attend(NOW, 0);
    assert_eq!(due, Some(REDELIVERY_PAUSE));
    assert_eq!(ids(&outbox), []);
    assert_eq!(outbox.attend(REDELIVERY_PAUSE, 0), None);
    assert_eq!(ids(&outbox), [(2, 1)]);
    assert_eq!(queued(), 10);
    outbox.resolve(NOW, BatchId(2), Delivery::Delivered);
    assert_eq!(queued(), 0);
}

#[test]
fn what_events_take_beside_their_text_counts_with_the_host_and_here() {
    let keys = Some(vec![ByteString::new(); 3]);
    let event = Event::bytes_beside_text(None);
    assert_eq!(event, size_of::<Event>());
    let keyed = Event::bytes_beside_text(keys.as_deref());
    assert_eq!(keyed, event + 3 * size_of::<ByteString>());
    assert_eq!(
        kept_bytes(100, [&None, &keys].into_iter()),
        100 + 2 * (event + keyed)
    );
}

#[test]
fn an_answer_after_the_end_is_none_and_nothing_is_handed_out_again() {
    let outbox = Outbox::new(1 << 20, None);
    for index in [5, 7] {
        batch(&outbox, index);
    }
    assert_eq!(ids(&outbox), [(1, 0), (2, 0)]);
    outbox.resolve(NOW, BatchId(1), Delivery::Errored);
    let mut drained = Box::pin(outbox.drained());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(drained.as_mut().poll(&mut cx).is_pending());
    outbox.resolve(NOW, BatchId(2), Delivery::Errored);
    // A sink that has failed is nothing to wait for any more.
    assert!(drained.as_mut().poll(&mut cx).is_ready());
    outbox.attend(REDELIVERY_PAUSE * 2, 0);
    assert_eq!(ids(&outbox), []);
    assert_eq!(outbox.seal(), 2);
    for id in [1, 2, 3] {
        outbox.resolve(NOW, BatchId(id), Delivery::Delivered);
    }
    assert_eq!(outbox.seal(), 2);
    assert_eq!(outbox.positions().acknowledged.index, RaftIndex(0));
    assert_eq!(outbox.status(Instant::now()).rejected_events, 0);
}
