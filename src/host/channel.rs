//! The buffer in front of a sink: a channel bounded in bytes and in events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, mpsc};

use super::buffer::Capacity;
use super::event::LogEvent;
use super::metrics::{BufferMetrics, ComponentMetrics};
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
    /// Of the events together, also of those beyond the room.
    weight: usize,
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
    metrics: BufferMetrics,
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

    /// Makes the room of a lot free again, and gives its events.
    fn take_out(&self, lot: Lot) -> Vec<LogEvent> {
        self.metrics.taken_out(lot.events.len(), lot.weight);
        self.events.add_permits(lot.permits.events as usize);
        self.bytes.add_permits(lot.permits.bytes as usize);
        lot.events
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

/// Makes a channel whose senders wait while there is no room, and registers its gauges in the scope in which this is called.
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
        metrics: BufferMetrics::register(),
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
            let rest = events.split_off(self.fitting(&events));
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
        let weight = weight(&events);
        self.room.metrics.put_in(events.len(), weight);
        let lot = Lot {
            events,
            permits,
            weight,
        };
        self.queue.send(lot).map_err(|unsent| {
            self.room.lose(&self.room.take_out(unsent.0));
            Closed
        })
    }

    /// How many of the first events fit into an empty channel together; at least one.
    fn fitting(&self, events: &[LogEvent]) -> usize {
        let bound = |most: u32| usize::try_from(most).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        let fitting = events
            .iter()
            .take(bound(self.capacity.events))
            .take_while(|event| {
                bytes = bytes.saturating_add(event.weight);
                bytes <= bound(self.capacity.bytes)
            });
        fitting.count().max(1)
    }

    fn permits(&self, events: &[LogEvent]) -> Permits {
        let weight = weight(events);
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
        let lot = self.queue.recv().await?;
        Some(self.room.take_out(lot))
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
            self.room.lose(&self.room.take_out(lot));
        }
    }
}

fn weight(events: &[LogEvent]) -> usize {
    events
        .iter()
        .fold(0, |sum, event| sum.saturating_add(event.weight))
}

#[cfg(test)]
mod tests;
