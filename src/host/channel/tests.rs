//! Who waits, what is dropped, and what becomes of events without a receiver.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::event::BatchId;
use crate::host::event::{Answer, Finalizer};
use crate::host::metrics::registry::{Registry, Value};

#[derive(Clone, Debug, Default)]
struct Answers(Arc<Mutex<Vec<Delivery>>>);

impl Answer for Answers {
    fn resolve(&self, _: BatchId, delivery: Delivery) {
        self.0.lock().unwrap().push(delivery);
    }
}

impl Answers {
    fn events(&self, weight: usize) -> Vec<LogEvent> {
        vec![LogEvent {
            value: vrl::value::Value::Null,
            metadata: vrl::value::Value::Null,
            finalizer: Finalizer::new(self.clone(), BatchId(1)),
            weight,
        }]
    }

    fn get(&self) -> Vec<Delivery> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn room_is_counted_in_bytes_and_one_that_is_too_heavy_goes_alone() {
    let answers = Answers::default();
    let (sender, mut receiver) = channel(Capacity::of_bytes(100));
    sender.send(answers.events(60)).await.unwrap();
    sender.send(answers.events(40)).await.unwrap();
    let wait = Duration::from_secs(1);
    let full = tokio::time::timeout(wait, sender.send(answers.events(1))).await;
    assert!(full.is_err());
    receiver.recv().await.unwrap();
    // 60 are free, and the whole room is needed.
    let heavy = tokio::time::timeout(wait, sender.send(answers.events(1000))).await;
    assert!(heavy.is_err());
    receiver.recv().await.unwrap();
    sender.send(answers.events(1000)).await.unwrap();
    receiver.recv().await.unwrap();
    drop(sender);
    assert!(receiver.recv().await.is_none());
}

#[tokio::test]
async fn what_a_receiver_leaves_behind_is_rejected() {
    let answers = Answers::default();
    let (sender, receiver) = channel(Capacity::of_bytes(100));
    sender.send(answers.events(100)).await.unwrap();
    let blocked = tokio::spawn({
        let (sender, events) = (sender.clone(), answers.events(1));
        async move { sender.send(events).await }
    });
    tokio::task::yield_now().await;
    drop(receiver);
    assert_eq!(blocked.await.unwrap(), Err(Closed));
    assert_eq!(sender.send(answers.events(1)).await, Err(Closed));
    assert_eq!(answers.get(), vec![Delivery::Rejected; 3]);
}

#[tokio::test]
async fn what_a_panicking_receiver_leaves_behind_is_errored() {
    let answers = Answers::default();
    let (sender, receiver) = channel(Capacity::of_bytes(100));
    sender.send(answers.events(1)).await.unwrap();
    let panicked = std::thread::spawn(move || {
        let _receiver = receiver;
        panic!("a test wanted this");
    });
    assert!(panicked.join().is_err());
    assert_eq!(sender.send(answers.events(1)).await, Err(Closed));
    assert_eq!(answers.get(), vec![Delivery::Errored; 2]);
}

fn numbered(numbers: std::ops::Range<i64>, weight: usize) -> Vec<LogEvent> {
    numbers
        .map(|number| LogEvent {
            value: vrl::value::Value::Integer(number),
            metadata: vrl::value::Value::Null,
            finalizer: Finalizer::none(),
            weight,
        })
        .collect()
}

async fn received(receiver: &mut Receiver) -> Vec<i64> {
    let events = receiver.recv().await.unwrap();
    let numbers = events.iter().map(|event| event.value.as_integer().unwrap());
    numbers.collect()
}

#[tokio::test(start_paused = true)]
async fn room_is_counted_in_events_too_and_long_lots_come_in_parts() {
    let capacity = Capacity {
        events: 3,
        bytes: 1000,
    };
    let (sender, mut receiver) = channel(capacity);
    let sending = tokio::spawn(async move { sender.send(numbered(0..8, 1)).await });
    for expected in [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(receiver.queue.len(), 1, "no more than fits is ever there");
        assert_eq!(received(&mut receiver).await, expected);
    }
    assert_eq!(sending.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_lot_heavier_than_the_channel_comes_in_parts_that_fit() {
    let (sender, mut receiver) = channel(Capacity::of_bytes(100));
    let mut events = numbered(0..5, 40);
    events.extend(numbered(5..6, 1000));
    events.extend(numbered(6..8, 0));
    let sending = tokio::spawn(async move { sender.send(events).await });
    for expected in [vec![0, 1], vec![2, 3], vec![4], vec![5], vec![6, 7]] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(receiver.queue.len(), 1, "no more than fits is ever there");
        assert_eq!(received(&mut receiver).await, expected);
    }
    assert_eq!(sending.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn gauges_say_what_waits_whatever_becomes_of_it() {
    let registry = Registry::default();
    let scope = registry.component("sink", "out", "blackhole");
    let waits = || {
        let mut found = registry.samples();
        found.retain(|sample| sample.name.starts_with("buffer_size_"));
        let values: Vec<Value> = found.into_iter().map(|sample| sample.value).collect();
        values
    };
    let gauges = |bytes: f64, events: f64| [Value::Gauge(bytes), Value::Gauge(events)];
    let (sender, mut receiver) = scope.within(|| channel(Capacity::of_bytes(100)));
    assert_eq!(waits(), gauges(0.0, 0.0));
    sender.send(numbered(0..2, 10)).await.unwrap();
    sender.send(numbered(2..3, 30)).await.unwrap();
    assert_eq!(waits(), gauges(50.0, 3.0));
    receiver.recv().await.unwrap();
    assert_eq!(waits(), gauges(30.0, 1.0));
    drop(receiver);
    assert_eq!(waits(), gauges(0.0, 0.0));
    assert_eq!(sender.send(numbered(3..4, 1)).await, Err(Closed));
    assert_eq!(waits(), gauges(0.0, 0.0));

    let (sender, mut receiver) = scope.within(|| channel(Capacity::of_bytes(100)));
    sender.send(numbered(0..1, 1000)).await.unwrap();
    assert_eq!(waits(), gauges(1000.0, 1.0));
    receiver.recv().await.unwrap();
    assert_eq!(waits(), gauges(0.0, 0.0));
}

fn dropping(capacity: Capacity) -> (Sender, Receiver, Arc<ComponentMetrics>) {
    let (sender, receiver) = channel(capacity);
    let metrics = Arc::new(ComponentMetrics::new("sink", "alerts", "http"));
    (sender.dropping(Arc::clone(&metrics)), receiver, metrics)
}

#[tokio::test]
async fn without_room_the_newest_events_are_dropped_counted_and_stand_for_delivered() {
    let capacity = Capacity {
        events: 3,
        bytes: 1000,
    };
    let (sender, mut receiver, metrics) = dropping(capacity);
    sender.send(numbered(0..2, 1)).await.unwrap();
    sender.send(numbered(2..5, 1)).await.unwrap();
    assert_eq!(metrics.discarded(), 2);
    let answers = Answers::default();
    sender.send(answers.events(1)).await.unwrap();
    assert_eq!(answers.get(), [Delivery::Delivered]);
    assert_eq!(metrics.discarded(), 3);
    assert_eq!(received(&mut receiver).await, [0, 1]);
    // There is room again; what was dropped does not come back.
    sender.send(numbered(5..6, 1)).await.unwrap();
    assert_eq!(received(&mut receiver).await, [2]);
    assert_eq!(received(&mut receiver).await, [5]);
    assert_eq!((metrics.discarded(), metrics.lost()), (3, 0));
}

#[tokio::test]
async fn dropping_knows_bytes_and_the_event_that_is_too_heavy_too() {
    let (sender, mut receiver, metrics) = dropping(Capacity::of_bytes(100));
    sender.send(numbered(0..1, 1000)).await.unwrap();
    sender.send(numbered(1..2, 1)).await.unwrap();
    assert_eq!(received(&mut receiver).await, [0]);
    sender.send(numbered(2..4, 60)).await.unwrap();
    assert_eq!(received(&mut receiver).await, [2]);
    assert_eq!(metrics.discarded(), 2);
}

#[tokio::test]
async fn what_is_sent_to_a_receiver_that_is_gone_is_rejected_not_dropped() {
    let answers = Answers::default();
    let (sender, receiver, metrics) = dropping(Capacity::of_bytes(100));
    drop(receiver);
    assert_eq!(sender.send(answers.events(1)).await, Err(Closed));
    assert_eq!(answers.get(), [Delivery::Rejected]);
    assert_eq!(metrics.discarded(), 0);
}

proptest::proptest! {
    /// Whatever is sent and taken in whatever order, what is there is what a list with both bounds would hold.
    #[test]
    fn a_dropping_channel_is_a_bounded_list(
        events in 1_usize..6,
        bytes in 1_usize..40,
        // A lot with these weights, or taking one lot.
        steps in proptest::collection::vec(
            proptest::option::weighted(0.7, proptest::collection::vec(0_usize..30, 0..5)),
            0..40,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (sender, mut receiver, metrics) = dropping(Capacity { events, bytes });
            let mut model: std::collections::VecDeque<Vec<(i64, usize)>> = Default::default();
            let (mut next, mut dropped) = (0, 0);
            for step in steps {
                let Some(weights) = step else {
                    if let Some(expected) = model.pop_front() {
                        let expected: Vec<i64> = expected.iter().map(|(n, _)| *n).collect();
                        assert_eq!(received(&mut receiver).await, expected);
                    }
                    continue;
                };
                let mut lot = Vec::new();
                let mut sent = Vec::new();
                for weight in weights {
                    sent.extend(numbered(next..next + 1, weight));
                    let counts = weight.clamp(1, bytes);
                    let there = model.iter().flatten().chain(&lot);
                    let held: usize = there.clone().map(|(_, weight)| weight).sum();
                    if there.count() < events && held + counts <= bytes {
                        lot.push((next, counts));
                    } else {
                        dropped += 1;
                    }
                    next += 1;
                }
                sender.send(sent).await.unwrap();
                if !lot.is_empty() {
                    model.push_back(lot);
                }
                assert_eq!(metrics.discarded(), dropped);
            }
        });
    }
}
