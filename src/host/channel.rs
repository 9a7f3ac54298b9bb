//! A channel between two components, bounded in bytes rather than in events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, mpsc};

use super::event::LogEvent;
use crate::position::Delivery;

/// The sending half. A clone is another sender; the receiver ends when all are gone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    queue: mpsc::UnboundedSender<(Vec<LogEvent>, u32)>,
    room: Arc<Room>,
    capacity: u32,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Receiver {
    queue: mpsc::UnboundedReceiver<(Vec<LogEvent>, u32)>,
    room: Arc<Room>,
}

/// The space that is left, in bytes, and how the receiver ended.
#[derive(Debug)]
struct Room {
    bytes: Semaphore,
    panicked: AtomicBool,
}

impl Room {
    /// Notes what becomes of events that have no receiver any more. After a panic another attempt may succeed; a receiver that
    /// ended by itself has given up for good.
    fn lose(&self, events: &[LogEvent]) {
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

/// Makes a channel that holds events of `capacity` bytes together, as their `weight` counts them.
pub(crate) fn channel(capacity: usize) -> (Sender, Receiver) {
    let capacity = u32::try_from(capacity.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
    let room = Arc::new(Room {
        bytes: Semaphore::new(capacity as usize),
        panicked: AtomicBool::new(false),
    });
    // The queue itself has no bound of its own: every entry holds permits of `room`.
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        Sender {
            queue: sender,
            room: Arc::clone(&room),
            capacity,
        },
        Receiver {
            queue: receiver,
            room,
        },
    )
}

impl Sender {
    /// Hands events over, in order; waits while there is no room. Events heavier than the whole channel are admitted alone.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the receiver is gone; the events are noted as rejected (as errored if it panicked) and dropped.
    ///
    /// # Cancel safety
    ///
    /// The events are dropped with the future, so a caller that may not lose them must not cancel it.
    pub(crate) async fn send(&self, events: Vec<LogEvent>) -> Result<(), Closed> {
        if events.is_empty() {
            return Ok(());
        }
        let weight: usize = events.iter().map(|event| event.weight).sum();
        let permits = u32::try_from(weight)
            .unwrap_or(u32::MAX)
            .clamp(1, self.capacity);
        match self.room.bytes.acquire_many(permits).await {
            Ok(taken) => taken.forget(),
            Err(_) => {
                self.room.lose(&events);
                return Err(Closed);
            }
        }
        self.queue.send((events, permits)).map_err(|unsent| {
            self.room.lose(&unsent.0.0);
            Closed
        })
    }
}

impl Receiver {
    /// The next events; `None` when all senders are gone and nothing is left. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Option<Vec<LogEvent>> {
        let (events, permits) = self.queue.recv().await?;
        self.room.bytes.add_permits(permits as usize);
        Some(events)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.room
            .panicked
            .store(std::thread::panicking(), Ordering::Release);
        // Wakes senders that wait for room nobody will make.
        self.room.bytes.close();
        // What waits here was not delivered, and must not pass for it.
        self.queue.close();
        while let Ok((events, _)) = self.queue.try_recv() {
            self.room.lose(&events);
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
        let (sender, mut receiver) = channel(100);
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
        let (sender, receiver) = channel(100);
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
        let (sender, receiver) = channel(100);
        sender.send(answers.events(1)).await.unwrap();
        let panicked = std::thread::spawn(move || {
            let _receiver = receiver;
            panic!("a test wanted this");
        });
        assert!(panicked.join().is_err());
        assert_eq!(sender.send(answers.events(1)).await, Err(Closed));
        assert_eq!(answers.get(), vec![Delivery::Errored; 2]);
    }
}
