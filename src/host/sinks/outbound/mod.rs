//! What the sinks that push over HTTP share: batches, requests and their retries, connections, and the options for all that.
//!
//! An event is packed when it is taken in, so that what waits is finished text and not trees of values. Events of one
//! destination are collected in a batch; a batch is sent in a task of its own, at most a fixed number at the same time. While all
//! are under way and the next batch is full, nothing is read: memory is bounded by the batches, whatever the server does.

mod address;
mod client;
mod connector;
mod courier;
mod options;
mod rate;
mod retry;
mod running;
mod settle;
mod telemetry;

use std::fmt::{Debug, Display};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rand::rngs::StdRng;

use super::Sink;
use crate::host::channel::Receiver;
use crate::host::event::LogEvent;

pub(super) use address::{AddressError, split_credentials};
pub(super) use client::{HttpTransport, Transport, UriSecrecy};
pub(super) use options::{
    AuthConfig, BatchConfig, Healthcheck, OptionError, RequestConfig, Word, credentials,
};
pub(super) use rate::RateLimit;
pub(super) use retry::{RetryLimits, RetryRule};
pub(super) use settle::Unsettled;
pub(super) use telemetry::{Cause, Telemetry};

#[cfg(test)]
pub(super) use client::{Answer, Failure};
#[cfg(test)]
pub(super) mod harness;

/// What makes requests of events: the part that differs from sink to sink.
pub(super) trait Format: Send + 'static {
    /// What all events of a request have in common. Never shown: it can hold a secret.
    type Key: Eq + Send;
    /// An event that is ready to be put into a batch.
    type Record: Send;
    /// Events of one request.
    type Batch: Batch<Record = Self::Record>;

    /// Packs an event. `None` when it cannot be sent; its finalizer knows, and it is counted.
    fn pack(&mut self, event: LogEvent) -> Option<Packed<Self::Key, Self::Record>>;

    /// An empty batch.
    fn open(&self) -> Self::Batch;
}

/// A packed event.
pub(super) struct Packed<K, R> {
    /// Where it goes.
    pub(super) key: K,
    /// What goes there.
    pub(super) record: R,
    /// Who is told.
    pub(super) finalizer: Unsettled,
}

/// Records of one request.
pub(super) trait Batch: Send + 'static {
    /// See [`Format::Record`].
    type Record;
    /// See [`Format::Key`].
    type Key;
    /// Why no request came out of a batch.
    type Error: Display;

    /// What a record adds, in bytes before compression.
    fn growth(&self, record: &Self::Record) -> usize;

    /// Adds a record.
    fn push(&mut self, record: Self::Record);

    /// The request, with its body. The batch is used up, so that nothing but the body is kept while it is retried.
    ///
    /// # Errors
    ///
    /// When there can be none; the events are rejected then.
    fn into_request(self, key: Self::Key) -> Result<Request<Bytes>, Self::Error>;
}

/// When a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchLimits {
    /// Bytes of a request before compression. A single event above it is sent alone.
    pub(super) max_bytes: usize,
    /// Events of a request.
    pub(super) max_events: usize,
    /// Since its first event.
    pub(super) timeout: Duration,
}

/// How requests are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestLimits {
    /// Requests under way at the same time, retries and their waits included.
    pub(super) concurrency: usize,
    /// For one attempt, from the start to the end of the answer.
    pub(super) timeout: Duration,
    /// How often and when a failed one is sent again.
    pub(super) retry: RetryLimits,
    /// Which failures are.
    pub(super) rule: RetryRule,
    /// How many may begin in a time; `None` is no limit.
    pub(super) rate: Option<RateLimit>,
}

/// How the server's health is asked for at the start. Each request is made only if the one before it was answered with 404.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// The requests; none for no check.
    pub(super) requests: Vec<Request<Bytes>>,
    /// For each.
    pub(super) timeout: Duration,
}

/// A sink, ready to run.
pub(super) struct Outbound<F, T> {
    /// Makes requests of events.
    pub(super) format: F,
    /// When a batch is sent.
    pub(super) batch: BatchLimits,
    /// How.
    pub(super) request: RequestLimits,
    /// Asked at the start.
    pub(super) health: Health,
    /// The way to the server.
    pub(super) transport: T,
    /// Counts and logs.
    pub(super) telemetry: Telemetry,
    /// For the waits between retries.
    pub(super) random: StdRng,
}

impl<F, T> Sink for Outbound<F, T>
where
    F: Format,
    F::Batch: Batch<Key = F::Key>,
    F::Key: 'static,
    T: Transport,
{
    fn run(self: Box<Self>, input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { running::Running::start(*self).follow(input).await })
    }
}

impl<F, T> Debug for Outbound<F, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("batch", &self.batch)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
