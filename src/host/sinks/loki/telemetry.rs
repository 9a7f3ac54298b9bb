//! Every log line and metric of the sink.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use metrics::Counter;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::client::Answer;

/// Failures of any kind, by `error_type`.
pub(crate) const ERRORS_TOTAL: &str = crate::host::metrics::ERRORS;

/// Events that will never arrive.
pub(crate) const DISCARDED_EVENTS_TOTAL: &str = crate::host::metrics::DISCARDED;

/// A warning that can come with every event is logged once in this time, with the number of those held back.
const WARNING_EVERY: Duration = Duration::from_secs(10);

/// Reports what happens in one sink. A clone reports for the same one.
#[derive(Clone, Debug)]
pub(super) struct Telemetry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    component_id: String,
    template_failed: Occasion,
    expansion_failed: Occasion,
    overridden: Occasion,
    unlabeled: Occasion,
    time_out_of_range: Occasion,
    retrying: Occasion,
    request_failed: Counter,
    discarded: Counter,
    delivered: Counter,
}

/// One kind of warning: how often it was due, and when it was last logged.
#[derive(Debug)]
struct Occasion {
    errors: Counter,
    last: Mutex<Throttle>,
}

#[derive(Debug, Default)]
struct Throttle {
    logged: Option<Instant>,
    held_back: u64,
}

impl Telemetry {
    pub(super) fn new(component_id: &str) -> Self {
        let errors = |error_type: &'static str| {
            metrics::counter!(
                ERRORS_TOTAL,
                "component_id" => component_id.to_owned(),
                "component_kind" => "sink",
                "component_type" => "loki",
                "error_type" => error_type,
                "stage" => if error_type.starts_with("request") { "sending" } else { "processing" },
            )
        };
        let occasion = |error_type| Occasion {
            errors: errors(error_type),
            last: Mutex::default(),
        };
        Self(Arc::new(Inner {
            component_id: component_id.to_owned(),
            template_failed: occasion("template_failed"),
            expansion_failed: occasion("expansion_failed"),
            overridden: occasion("label_overridden"),
            unlabeled: occasion("unlabeled"),
            time_out_of_range: occasion("time_out_of_range"),
            retrying: occasion("request_retried"),
            request_failed: errors("request_failed"),
            discarded: metrics::counter!(
                DISCARDED_EVENTS_TOTAL,
                "component_id" => component_id.to_owned(),
                "component_kind" => "sink",
                "component_type" => "loki",
                "intentional" => "false",
            ),
            delivered: crate::host::metrics::delivered_events(),
        }))
    }

    /// A pair of templates asks for a field that the event lacks; the pair is left out.
    pub(super) fn template_failed(
        &self,
        option: &str,
        key: &str,
        value: &str,
        error: &dyn Display,
    ) {
        self.0.template_failed.note(|held_back| {
            warn!(component_id = self.id(), option, key, value, %error, held_back, "left out of the event: template cannot be rendered");
        });
    }

    /// The value of a pair whose name ends with `*` is no object; the pair is left out.
    pub(super) fn expansion_failed(&self, key: &str) {
        self.0.expansion_failed.note(|held_back| {
            warn!(
                component_id = self.id(),
                key, held_back, "left out of the event: value is no object that could be expanded"
            );
        });
    }

    /// A name given in full hides one that an expansion made.
    pub(super) fn overridden(&self, name: &str) {
        self.0.overridden.note(|held_back| {
            warn!(
                component_id = self.id(),
                name, held_back, "a name given in full overrides an expanded one"
            );
        });
    }

    /// No label was left, so `agent="vector"` stands in.
    pub(super) fn unlabeled(&self) {
        self.0.unlabeled.note(|held_back| {
            warn!(
                component_id = self.id(),
                held_back, "event had no labels, adding the default label `agent`"
            );
        });
    }

    /// An event's time does not fit in Loki's nanoseconds; the event is dropped.
    pub(super) fn time_out_of_range(&self) {
        self.0.discarded.increment(1);
        self.0.time_out_of_range.note(|held_back| {
            error!(
                component_id = self.id(),
                held_back, "event dropped: its time does not fit in 64-bit nanoseconds"
            );
        });
    }

    /// A request failed and will be sent again.
    pub(super) fn retrying(&self, error: &dyn Display, delay: Duration) {
        debug!(component_id = self.id(), %error, ?delay, "retrying");
        self.0.retrying.note(|held_back| {
            warn!(component_id = self.id(), %error, held_back, "request to Loki failed, retrying");
        });
    }

    /// Loki has taken these events.
    pub(super) fn delivered(&self, events: usize) {
        self.0.delivered.increment(events as u64);
    }

    /// A request will not be sent again: its events are lost to Loki.
    pub(super) fn rejected(&self, events: usize, error: &dyn Display) {
        self.0.request_failed.increment(1);
        self.0.discarded.increment(events as u64);
        error!(component_id = self.id(), events, %error, "events dropped: request to Loki failed for good");
    }

    /// What the check at the start has found.
    pub(super) fn healthcheck(&self, outcome: Result<Answer, String>) {
        match outcome {
            Ok(answer) if answer.status == http::StatusCode::OK => {
                info!(component_id = self.id(), "healthcheck passed");
            }
            Ok(answer) => {
                warn!(component_id = self.id(), error = %answer, "healthcheck failed");
            }
            Err(error) => {
                warn!(component_id = self.id(), error, "healthcheck failed");
            }
        }
    }

    fn id(&self) -> &str {
        &self.0.component_id
    }
}

impl Occasion {
    /// Counts, and logs unless it was logged a moment ago. The logger is told how many were not logged since.
    fn note(&self, log: impl FnOnce(u64)) {
        self.errors.increment(1);
        let held_back = {
            let Ok(mut throttle) = self.last.lock() else {
                return;
            };
            if throttle
                .logged
                .is_some_and(|logged| logged.elapsed() < WARNING_EVERY)
            {
                throttle.held_back += 1;
                return;
            }
            throttle.logged = Some(Instant::now());
            std::mem::take(&mut throttle.held_back)
        };
        log(held_back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn warning_is_logged_once_in_a_while_with_the_number_held_back() {
        let telemetry = Telemetry::new("loki");
        let mut logged = Vec::new();
        for _ in 0..25 {
            telemetry
                .0
                .unlabeled
                .note(|held_back| logged.push(held_back));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(logged, [0, 9, 9]);
    }
}
