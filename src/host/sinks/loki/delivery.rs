//! Sends a batch until it is decided what became of it.

use std::sync::Arc;

use rand::rngs::StdRng;
use tracing::debug;

use crate::position::Delivery;

use super::batch::Batch;
use super::client::Transport;
use super::request::Compression;
use super::retry::{Backoff, RetryLimits, Verdict, judge};
use super::telemetry::Telemetry;

/// What every request of a sink shares.
#[derive(Debug)]
pub(super) struct Courier<T> {
    pub(super) transport: T,
    pub(super) compression: Compression,
    pub(super) retry: RetryLimits,
    pub(super) telemetry: Telemetry,
}

impl<T: Transport> Courier<T> {
    /// Delivers a batch, and tells its events' finalizers what became of them. Dropped in the middle, they hear that they were
    /// not delivered.
    pub(super) async fn deliver(self: Arc<Self>, batch: Batch, mut random: StdRng) {
        let (streams, finalizers) = batch.finish();
        let events = finalizers.len();
        let body = match self.compression.body(streams) {
            Ok(body) => body,
            Err(error) => {
                self.telemetry.rejected(events, &error);
                finalizers.settle(Delivery::Rejected);
                return;
            }
        };
        debug!(events, bytes = body.len(), "pushing a batch");
        let mut backoff = Backoff::new(self.retry);
        loop {
            let attempt = self.transport.push(body.clone()).await;
            let wait = match judge(&attempt) {
                Verdict::Delivered => {
                    self.telemetry.delivered(events);
                    finalizers.settle(Delivery::Delivered);
                    return;
                }
                Verdict::Final => None,
                Verdict::Retry => backoff.next(&mut random),
            };
            let reason =
                attempt.map_or_else(|failure| failure.to_string(), |answer| answer.to_string());
            let Some(wait) = wait else {
                // Also when retries are exhausted: Vector's Loki sink rejects then, it does not say `Errored`.
                self.telemetry.rejected(events, &reason);
                finalizers.settle(Delivery::Rejected);
                return;
            };
            self.telemetry.retrying(&reason, wait);
            tokio::time::sleep(wait).await;
        }
    }
}
