//! The sink `loki`: pushes events to Loki as Vector 0.56.0 would.
//!
//! An event is encoded when it is taken in, so that what waits is finished lines and not trees of values. Finished entries are
//! collected in a batch; a batch is sent in a task of its own, at most a fixed number at the same time. While all are under way
//! and the next batch is full, nothing is read: memory is bounded by the batches, whatever Loki does.

mod batch;
mod client;
mod config;
mod delivery;
mod labels;
mod record;
mod request;
mod retry;
mod telemetry;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::vec;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::Sink;
use crate::host::channel::Receiver;
use crate::host::event::LogEvent;

use batch::{Batch, BatchLimits, Unsettled};
use client::Transport;
use delivery::Courier;
use record::{RecordBuilder, RecordOptions};
use telemetry::Telemetry;

pub(crate) use config::LokiConfig;

/// Everything that a running sink needs.
#[derive(Debug)]
struct LokiSink<T> {
    component_id: String,
    records: RecordOptions,
    limits: BatchLimits,
    /// Requests under way at the same time, retries and their waits included.
    concurrency: usize,
    retry: retry::RetryLimits,
    compression: request::Compression,
    healthcheck: bool,
    transport: T,
    random: StdRng,
}

impl<T: Transport> Sink for LokiSink<T> {
    fn run(self: Box<Self>, input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Started here, so that its metrics are there before the first event.
        let running = Running::start(*self);
        Box::pin(running.follow(input))
    }
}

/// A sink at work. Dropping it ends its tasks; events that were not delivered by then are noted as such.
#[derive(Debug)]
struct Running<T> {
    records: RecordBuilder,
    courier: Arc<Courier<T>>,
    limits: BatchLimits,
    concurrency: usize,
    random: StdRng,
    batch: Batch,
    /// When the batch is to be sent, full or not.
    deadline: Instant,
    in_flight: JoinSet<()>,
    /// Tasks that nobody waits for: the check at the start.
    aside: JoinSet<()>,
}

impl<T: Transport> Running<T> {
    fn start(sink: LokiSink<T>) -> Self {
        let telemetry = Telemetry::new(&sink.component_id);
        let courier = Arc::new(Courier {
            transport: sink.transport,
            compression: sink.compression,
            retry: sink.retry,
            telemetry: telemetry.clone(),
        });
        let mut aside = JoinSet::new();
        if sink.healthcheck {
            let courier = Arc::clone(&courier);
            let check = async move {
                let outcome = courier.transport.ready().await;
                courier
                    .telemetry
                    .healthcheck(outcome.map_err(|failure| failure.to_string()));
            };
            aside.spawn(check.in_current_span());
        }
        Self {
            records: RecordBuilder::new(sink.records, telemetry),
            courier,
            limits: sink.limits,
            concurrency: sink.concurrency,
            random: sink.random,
            batch: Batch::default(),
            deadline: Instant::now(),
            in_flight: JoinSet::new(),
            aside,
        }
    }

    /// Takes events until the channel ends, then waits for what is under way.
    async fn follow(mut self, mut input: Receiver) {
        loop {
            let has_room = self.in_flight.len() < self.concurrency;
            tokio::select! {
                Some(_) = self.in_flight.join_next() => {}
                () = tokio::time::sleep_until(self.deadline), if has_room && !self.batch.is_empty() => {
                    self.send();
                }
                events = input.recv() => match events {
                    Some(events) => self.take(Intake(events.into_iter())).await,
                    None => break,
                },
            }
        }
        if !self.batch.is_empty() {
            self.room().await;
            self.send();
        }
        while self.in_flight.join_next().await.is_some() {}
        self.aside.abort_all();
    }

    /// Encodes events into the batch, and sends it whenever it is full.
    async fn take(&mut self, mut events: Intake) {
        for event in events.0.by_ref() {
            let Some(record) = self.records.build(event) else {
                continue;
            };
            if !self.batch.fits(&record, &self.limits) {
                self.room().await;
                self.send();
            }
            if self.batch.is_empty() {
                self.deadline = Instant::now() + self.limits.timeout;
            }
            self.batch.push(record);
            if self.batch.is_full(&self.limits) {
                self.room().await;
                self.send();
            }
        }
    }

    /// Waits until another request may be sent.
    async fn room(&mut self) {
        while self.in_flight.len() >= self.concurrency {
            self.in_flight.join_next().await;
        }
    }

    fn send(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let random = StdRng::from_rng(&mut self.random);
        let delivery = Arc::clone(&self.courier).deliver(batch, random);
        self.in_flight.spawn(delivery.in_current_span());
    }
}

/// Events that were received and not yet encoded. Those that are left when the sink is stopped count as not delivered.
#[derive(Debug)]
struct Intake(vec::IntoIter<LogEvent>);

impl Drop for Intake {
    fn drop(&mut self) {
        for event in self.0.by_ref() {
            drop(Unsettled::new(event.finalizer));
        }
    }
}

#[cfg(test)]
mod tests;
