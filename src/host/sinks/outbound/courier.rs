//! Sends a batch until it is decided what became of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use rand::rngs::StdRng;
use tracing::debug;

use super::client::{Answer, Failure, Transport};
use super::rate::Pace;
use super::retry::{Backoff, RetryLimits, RetryRule, Verdict};
use super::settle::Finalizers;
use super::telemetry::{Cause, Telemetry};
use super::{Batch, Health, RequestLimits};
use crate::position::Delivery;

/// What every request of a sink shares.
pub(super) struct Courier<T> {
    transport: T,
    timeout: Duration,
    retry: RetryLimits,
    rule: RetryRule,
    pace: Option<Pace>,
    telemetry: Telemetry,
}

impl<T: Transport> Courier<T> {
    pub(super) fn new(transport: T, limits: &RequestLimits, telemetry: Telemetry) -> Self {
        Self {
            transport,
            timeout: limits.timeout,
            retry: limits.retry,
            rule: limits.rule.clone(),
            pace: limits.rate.map(Pace::new),
            telemetry,
        }
    }

    /// Delivers a batch, and tells its events' finalizers what became of them. Dropped in the middle, they hear that they were
    /// not delivered.
    pub(super) async fn deliver<B: Batch>(
        self: Arc<Self>,
        key: B::Key,
        batch: B,
        finalizers: Finalizers,
        mut random: StdRng,
    ) {
        let events = finalizers.len();
        let request = match batch.into_request(key) {
            Ok(request) => request,
            Err(error) => {
                self.telemetry.rejected(events, Cause::Request, &error);
                finalizers.settle(Delivery::Rejected);
                return;
            }
        };
        let bytes = request.body().len();
        debug!(events, bytes, "sending a batch");
        if let Some(pace) = &self.pace {
            pace.wait().await;
        }
        let mut backoff = Backoff::new(self.retry);
        loop {
            let attempt = self.attempt(request.clone(), self.timeout).await;
            let wait = match self.rule.judge(&attempt) {
                Verdict::Delivered => {
                    self.telemetry.delivered(events);
                    finalizers.settle(Delivery::Delivered);
                    return;
                }
                Verdict::Final => None,
                Verdict::Retry => backoff.next(&mut random),
            };
            let cause = Cause::of(&attempt);
            let Some(wait) = wait else {
                self.telemetry.rejected(events, cause, &reason(&attempt));
                finalizers.settle(self.rule.given_up(&attempt));
                return;
            };
            let asked = attempt.as_ref().ok().and_then(|answer| answer.retry_after);
            let wait = wait.max(asked.unwrap_or_default());
            self.telemetry.retrying(&reason(&attempt), wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks once how the server is.
    pub(super) async fn check(self: Arc<Self>, health: Health) {
        let mut outcome = Err(Failure::Timeout);
        for request in health.requests {
            outcome = self.attempt(request, health.timeout).await;
            // Gateways in front of Loki often route the API alone, so another place is asked.
            if !matches!(&outcome, Ok(answer) if answer.status == StatusCode::NOT_FOUND) {
                break;
            }
        }
        self.telemetry.healthcheck(&outcome);
    }

    async fn attempt(&self, request: Request<Bytes>, timeout: Duration) -> Result<Answer, Failure> {
        tokio::time::timeout(timeout, self.transport.send(request))
            .await
            .unwrap_or(Err(Failure::Timeout))
    }
}

fn reason(attempt: &Result<Answer, Failure>) -> String {
    match attempt {
        Ok(answer) => answer.to_string(),
        Err(failure) => failure.to_string(),
    }
}
