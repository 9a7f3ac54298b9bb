//! The buffer in front of a sink: a channel bounded in bytes and in events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, mpsc};

use super::buffer::Capacity;
use super::event::LogEvent;
use super::metrics::ComponentMetrics;
use crate::position::Delivery;

/// The sending half. A clone is another sender; the receiver ends when all are gone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    queue: mpsc::UnboundedSender<Lot>,
    room: Arc<Room>,
    capacity: Permits,
    /// Counts what is dropped when there is no room; `None` where senders wait instead.
    drops: Option<Arc<ComponentMetrics>>,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Receiver {
    queue: mpsc::UnboundedReceiver<Lot>,
    room: Arc<Room>,
}

/// Events on their way, and the room that they hold.
#[derive(Debug)]
struct Lot {
    events: Vec<LogEvent>,
    permits: Permits,
}

/// Room in both measures.
#[derive(Clone, Copy, Debug, Default)]
struct Permits {
    events: u32,
    bytes: u32,
}

/// The space that is left, and how the receiver ended.
#[derive(Debug)]
struct Room {
    events: Semaphore,
    bytes: Semaphore,
    panicked: AtomicBool,
}

/// Why there is no room.
enum NoRoom {
    Full,
    Closed,
}

impl Room {
    /// Waits for room, for events first: what holds that and waits for bytes gets them from what is in the queue.
    async fn wait(&self, permits: Permits) -> Result<(), NoRoom> {
        let events = self.events.acquire_many(permits.events).await;
        let events = events.map_err(|_| NoRoom::Closed)?;
        let bytes = self.bytes.acquire_many(permits.bytes).await;
        let bytes = bytes.map_err(|_| NoRoom::Closed)?;
        events.forget();
        bytes.forget();
        Ok(())
    }

    fn try_take(&self, permits: Permits) -> Result<(), NoRoom> {
        if self.events.is_closed() {
            return Err(NoRoom::Closed);
        }
        let events = self.events.try_acquire_many(permits.events);
        let bytes = self.bytes.try_acquire_many(permits.bytes);
        match (events, bytes) {
            (Ok(events), Ok(bytes)) => {
                events.forget();
                bytes.forget();
                Ok(())
            }
            _ => Err(NoRoom::Full),
        }
    }

    fn give_back(&self, permits: Permits) {
        self.events.add_permits(permits.events as usize);
        self.bytes.add_permits(permits.bytes as usize);
    }

    /// Notes what becomes of events that have no receiver any more. After a panic another attempt may succeed; a receiver that
    /// ended by itself has given up for good.
    fn lose<'e>(&self, events: impl IntoIterator<Item = &'e LogEvent>) {
        let delivery = if self.panicked.load(Ordering::Acquire) {
            Delivery::Errored
        } else {
            Delivery::Rejected
        };
        for event in events {
            event.finalizer.note(delivery);
        }
    }
}

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// Makes a channel whose senders wait while there is no room.
pub(crate) fn channel(capacity: Capacity) -> (Sender, Receiver) {
    let permits =
        |most: usize| u32::try_from(most.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
    let capacity = Permits {
        events: permits(capacity.events),
        bytes: permits(capacity.bytes),
    };
    let room = Arc::new(Room {
        events: Semaphore::new(capacity.events as usize),
        bytes: Semaphore::new(capacity.bytes as usize),
        panicked: AtomicBool::new(false),
    });
    // The queue itself has no bound of its own: every entry holds permits of `room`.
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        Sender {
            queue: sender,
            room: Arc::clone(&room),
            capacity,
            drops: None,
        },
        Receiver {
            queue: receiver,
            room,
        },
    )
}

impl Sender {
    /// The same channel, but what comes when there is no room is dropped, counted in `metrics`, and stands for delivered.
    pub(crate) fn dropping(mut self, metrics: Arc<ComponentMetrics>) -> Self {
        self.drops = Some(metrics);
        self
    }

    /// Hands events over, in order. Waits while there is no room, or drops what there is no room for, each event by itself.
    /// An event heavier than the whole channel is admitted when nothing else is there.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the receiver is gone; the events are noted as rejected (as errored if it panicked) and dropped.
    ///
    /// # Cancel safety
    ///
    /// The events are dropped with the future, so a caller that may not lose them must not cancel it.
    pub(crate) async fn send(&self, mut events: Vec<LogEvent>) -> Result<(), Closed> {
        if let Some(metrics) = &self.drops {
            return self.send_what_fits(events, metrics);
        }
        while !events.is_empty() {
            let most = usize::try_from(self.capacity.events).unwrap_or(usize::MAX);
            let rest = events.split_off(events.len().min(most));
            let permits = self.permits(&events);
            if self.room.wait(permits).await.is_err() {
                self.room.lose(events.iter().chain(&rest));
                return Err(Closed);
            }
            if let Err(closed) = self.hand_over(events, permits) {
                self.room.lose(&rest);
                return Err(closed);
            }
            events = rest;
        }
        Ok(())
    }

    fn send_what_fits(
        &self,
        events: Vec<LogEvent>,
        metrics: &ComponentMetrics,
    ) -> Result<(), Closed> {
        let mut fitting = Vec::with_capacity(events.len());
        let mut taken = Permits::default();
        let mut dropped = 0;
        let mut closed = false;
        for event in events {
            let permits = self.permits(std::slice::from_ref(&event));
            match self.room.try_take(permits) {
                Ok(()) => {
                    taken.events += permits.events;
                    taken.bytes += permits.bytes;
                    fitting.push(event);
                }
                // Dropped without a word, which counts as delivered.
                Err(NoRoom::Full) => dropped += 1,
                Err(NoRoom::Closed) => {
                    self.room.lose([&event]);
                    closed = true;
                }
            }
        }
        if dropped > 0 {
            metrics.buffer_full(dropped);
        }
        if !fitting.is_empty() {
            self.hand_over(fitting, taken)?;
        }
        if closed { Err(Closed) } else { Ok(()) }
    }

    fn hand_over(&self, events: Vec<LogEvent>, permits: Permits) -> Result<(), Closed> {
        self.queue.send(Lot { events, permits }).map_err(|unsent| {
            self.room.lose(&unsent.0.events);
            Closed
        })
    }

    fn permits(&self, events: &[LogEvent]) -> Permits {
        let weight = events
            .iter()
            .fold(0_usize, |sum, event| sum.saturating_add(event.weight));
        let within =
            |wanted: usize, most: u32| u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, most);
        Permits {
            events: within(events.len(), self.capacity.events),
            bytes: within(weight, self.capacity.bytes),
        }
    }
}

impl Receiver {
    /// The next events; `None` when all senders are gone and nothing is left. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Option<Vec<LogEvent>> {
        let Lot { events, permits } = self.queue.recv().await?;
        self.room.give_back(permits);
        Some(events)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.room
            .panicked
            .store(std::thread::panicking(), Ordering::Release);
        // Wakes senders that wait for room nobody will make.
        self.room.events.close();
        self.room.bytes.close();
        // What waits here was not delivered, and must not pass for it.
        self.queue.close();
        while let Ok(lot) = self.queue.try_recv() {
            self.room.lose(&lot.events);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use vrl::value::Value;

    use super::*;
    use crate::event::BatchId;
    use crate::host::event::{Answer, Finalizer};

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
                value: Value::Null,
                metadata: Value::Null,
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
                value: Value::Integer(number),
                metadata: Value::Null,
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
}
