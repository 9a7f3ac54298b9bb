//! Every log line and metric of a sink that pushes over HTTP. None of them holds a byte of an event, a URI or a header.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use metrics::Counter;
use tracing::{debug, error, info, warn};

use super::client::{Answer, Failure};
use crate::host::metrics::ComponentMetrics;
use crate::host::throttle::{Occasion, Throttle};

/// Reports what happens in one sink. A clone reports for the same one.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: ComponentMetrics,
    template_failed: Occasion,
    retrying: Occasion,
    request_failed: Counter,
    rejections: Throttle<Cause>,
}

/// Why events were given up. Each cause has a log line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    /// An event could not be encoded.
    Encoding,
    /// No request came out of a batch.
    Request,
    /// There was no answer.
    Transport,
    /// There was none in time.
    Timeout,
    /// The answer was no success.
    Status(u16),
}

impl Cause {
    /// The cause of a failed attempt.
    pub(super) fn of(attempt: &Result<Answer, Failure>) -> Self {
        match attempt {
            Ok(answer) => Self::Status(answer.status.as_u16()),
            Err(Failure::Timeout) => Self::Timeout,
            Err(Failure::Transport(_) | Failure::Impossible(_)) => Self::Transport,
        }
    }
}

impl Telemetry {
    pub(crate) fn new(component_id: &str, component_type: &'static str) -> Self {
        let metrics = ComponentMetrics::new("sink", component_id, component_type);
        Self(Arc::new(Inner {
            template_failed: metrics.occasion("template_failed"),
            retrying: metrics.occasion("request_retried"),
            request_failed: metrics.errors_of("request_failed"),
            rejections: Throttle::default(),
            metrics,
        }))
    }

    /// Where the sink counts.
    pub(crate) fn metrics(&self) -> &ComponentMetrics {
        &self.0.metrics
    }

    /// A template asks for fields that the event lacks. `logged` is told how often that was not logged since the last time.
    pub(crate) fn template_failed(&self, logged: impl FnOnce(u64)) {
        self.0.template_failed.note(logged);
    }

    /// Events have arrived.
    pub(super) fn delivered(&self, events: usize) {
        self.0.metrics.add_sent(events);
    }

    /// A request failed and will be sent again.
    pub(super) fn retrying(&self, error: &dyn Display, delay: Duration) {
        debug!(component_id = self.id(), %error, ?delay, "retrying");
        self.0.retrying.note(|held_back| {
            warn!(component_id = self.id(), %error, held_back, "request failed, retrying");
        });
    }

    /// Events will not be sent again: they are lost. Logged once for each cause in a while, with the number of those since.
    pub(crate) fn rejected(&self, events: usize, cause: Cause, error: &dyn Display) {
        self.0.request_failed.increment(1);
        self.0.metrics.add_lost(events);
        let events = events as u64;
        if let Some(held_back) = self.0.rejections.pass(cause, events) {
            error!(
                component_id = self.id(),
                events = held_back.events + events,
                requests = held_back.times + 1,
                %error,
                "events dropped: request failed for good"
            );
        }
    }

    /// What the check at the start has found.
    pub(super) fn healthcheck(&self, outcome: &Result<Answer, Failure>) {
        match outcome {
            Ok(answer) if answer.status == StatusCode::OK => {
                info!(component_id = self.id(), "healthcheck passed");
            }
            Ok(answer) => {
                warn!(component_id = self.id(), error = %answer, "healthcheck failed");
            }
            Err(error) => {
                warn!(component_id = self.id(), %error, "healthcheck failed");
            }
        }
    }

    /// The component's id.
    pub(crate) fn id(&self) -> &str {
        self.0.metrics.id()
    }
}
