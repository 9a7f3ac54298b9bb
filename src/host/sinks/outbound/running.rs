//! A sink at work: collects batches and starts requests.

use std::sync::Arc;
use std::vec;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::courier::Courier;
use super::settle::{Finalizers, Unsettled};
use super::{Batch, BatchLimits, Format, Outbound, Packed, Transport};
use crate::host::channel::Receiver;
use crate::host::event::LogEvent;

/// Batches that are open at the same time, one for each destination (a tenant, a rendered `uri`). A configuration that makes
/// more has smaller batches: the oldest is sent.
const MAX_OPEN_BATCHES: usize = 64;

/// All open batches together hold at most this many times `batch.max_bytes`. Beyond, the oldest is sent.
const MAX_OPEN_SIZES: usize = 4;

/// A sink at work. Dropping it ends its tasks; events that were not delivered by then are noted as such.
pub(super) struct Running<F: Format, T> {
    format: F,
    courier: Arc<Courier<T>>,
    limits: BatchLimits,
    concurrency: usize,
    random: StdRng,
    /// In the order in which they were opened, so the first one is due first.
    open: Vec<Open<F>>,
    open_bytes: usize,
    in_flight: JoinSet<()>,
    /// Tasks that nobody waits for: the check at the start.
    aside: JoinSet<()>,
}

/// A batch that takes more.
struct Open<F: Format> {
    key: F::Key,
    batch: F::Batch,
    bytes: usize,
    finalizers: Finalizers,
    /// When it is to be sent, full or not.
    deadline: Instant,
}

impl<F, T> Running<F, T>
where
    F: Format,
    F::Batch: Batch<Key = F::Key>,
    F::Key: 'static,
    T: Transport,
{
    pub(super) fn start(sink: Outbound<F, T>) -> Self {
        let courier = Arc::new(Courier::new(sink.transport, &sink.request, sink.telemetry));
        let mut aside = JoinSet::new();
        if !sink.health.requests.is_empty() {
            let check = Arc::clone(&courier).check(sink.health);
            aside.spawn(check.in_current_span());
        }
        Self {
            format: sink.format,
            courier,
            limits: sink.batch,
            concurrency: sink.request.concurrency,
            random: sink.random,
            open: Vec::new(),
            open_bytes: 0,
            in_flight: JoinSet::new(),
            aside,
        }
    }

    /// Takes events until the channel ends, then waits for what is under way.
    pub(super) async fn follow(mut self, mut input: Receiver) {
        loop {
            let has_room = self.in_flight.len() < self.concurrency;
            let due = self.open.first().map(|open| open.deadline);
            tokio::select! {
                Some(_) = self.in_flight.join_next() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if has_room && due.is_some() => {
                    self.send(0);
                }
                events = input.recv() => match events {
                    Some(events) => self.take(Intake(events.into_iter())).await,
                    None => break,
                },
            }
        }
        while !self.open.is_empty() {
            self.room().await;
            self.send(0);
        }
        while self.in_flight.join_next().await.is_some() {}
        self.aside.abort_all();
    }

    /// Packs events into batches, and sends those that are full.
    async fn take(&mut self, mut events: Intake) {
        for event in events.0.by_ref() {
            let Some(Packed {
                key,
                record,
                finalizer,
            }) = self.format.pack(event)
            else {
                continue;
            };
            let mut place = self.open.iter().position(|open| open.key == key);
            if let Some(full) = place
                && !self.fits(full, &record)
            {
                self.room().await;
                self.send(full);
                place = None;
            }
            let place = place.unwrap_or_else(|| {
                self.open.push(Open {
                    key,
                    batch: self.format.open(),
                    bytes: 0,
                    finalizers: Finalizers::default(),
                    deadline: Instant::now() + self.limits.timeout,
                });
                self.open.len() - 1
            });
            if self.push(place, record, finalizer) {
                self.room().await;
                self.send(place);
            }
            while self.open.len() > MAX_OPEN_BATCHES
                || self.open_bytes > self.limits.max_bytes.saturating_mul(MAX_OPEN_SIZES)
            {
                self.room().await;
                self.send(0);
            }
        }
    }

    fn fits(&self, place: usize, record: &F::Record) -> bool {
        self.open.get(place).is_some_and(|open| {
            open.bytes.saturating_add(open.batch.growth(record)) <= self.limits.max_bytes
        })
    }

    /// Adds a record to an open batch, and says whether that is full now.
    fn push(&mut self, place: usize, record: F::Record, finalizer: Unsettled) -> bool {
        let Some(open) = self.open.get_mut(place) else {
            return false;
        };
        // An event that adds nothing to the body still has a finalizer that waits.
        let growth = open.batch.growth(&record).max(1);
        open.bytes = open.bytes.saturating_add(growth);
        self.open_bytes = self.open_bytes.saturating_add(growth);
        open.batch.push(record);
        open.finalizers.push(finalizer);
        open.finalizers.len() >= self.limits.max_events || open.bytes >= self.limits.max_bytes
    }

    /// Waits until another request may be sent.
    async fn room(&mut self) {
        while self.in_flight.len() >= self.concurrency {
            self.in_flight.join_next().await;
        }
    }

    /// Sends an open batch.
    fn send(&mut self, place: usize) {
        if place >= self.open.len() {
            return;
        }
        let Open {
            key,
            batch,
            bytes,
            finalizers,
            ..
        } = self.open.remove(place);
        self.open_bytes = self.open_bytes.saturating_sub(bytes);
        let random = StdRng::from_rng(&mut self.random);
        let delivery = Arc::clone(&self.courier).deliver(key, batch, finalizers, random);
        self.in_flight.spawn(delivery.in_current_span());
    }
}

/// Events that were received and not yet packed. Those that are left when the sink is stopped count as not delivered.
struct Intake(vec::IntoIter<LogEvent>);

impl Drop for Intake {
    fn drop(&mut self) {
        for event in self.0.by_ref() {
            drop(Unsettled::new(event.finalizer));
        }
    }
}
