//! A channel between two components, bounded in bytes rather than in events.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::event::LogEvent;

/// The sending half. A clone is another sender; the receiver ends when all are gone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    queue: mpsc::UnboundedSender<(Vec<LogEvent>, u32)>,
    room: Arc<Semaphore>,
    capacity: u32,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Receiver {
    queue: mpsc::UnboundedReceiver<(Vec<LogEvent>, u32)>,
    room: Arc<Semaphore>,
}

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// Makes a channel that holds events of `capacity` bytes together, as their `weight` counts them.
pub(crate) fn channel(capacity: usize) -> (Sender, Receiver) {
    let capacity = u32::try_from(capacity.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
    let room = Arc::new(Semaphore::new(capacity as usize));
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
    /// [`Closed`] when the receiver is gone; the events are dropped.
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
        match self.room.acquire_many(permits).await {
            Ok(taken) => taken.forget(),
            Err(_) => return Err(Closed),
        }
        self.queue.send((events, permits)).map_err(|_| Closed)
    }
}

impl Receiver {
    /// The next events; `None` when all senders are gone and nothing is left. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Option<Vec<LogEvent>> {
        let (events, permits) = self.queue.recv().await?;
        self.room.add_permits(permits as usize);
        Some(events)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Wakes senders that wait for room nobody will make.
        self.room.close();
    }
}
