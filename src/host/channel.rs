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
