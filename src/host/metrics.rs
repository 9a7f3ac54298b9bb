//! What the host counts about its components, and the log lines that go with it.
//!
//! Names and labels are Vector's, with a prefix of our own. No label and no line holds a byte of an event.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;

use super::throttle::{Occasion, Throttle};
use super::transforms::program::Failure;

/// Failures of a component: a program that failed on an event, an event that a sink could not take.
pub(crate) const ERRORS: &str = "nomad_events_component_errors_total";
/// Events that went no further; label `intentional` tells a filter from a failure.
pub(crate) const DISCARDED: &str = "nomad_events_component_discarded_events_total";
/// Events that a sink has delivered.
pub(crate) const SENT: &str = "nomad_events_component_sent_events_total";

/// Counters of one component.
#[derive(Debug)]
pub(crate) struct ComponentMetrics {
    kind: &'static str,
    id: String,
    component_type: &'static str,
    errors: Count,
    discarded: Count,
    lost: Count,
    sent: Count,
    failed: Throttle,
    full: Throttle,
}

/// A counter that can be read back, which those of the facade cannot.
#[derive(Debug)]
struct Count {
    total: AtomicU64,
    exported: Counter,
}

impl Count {
    fn new(exported: Counter) -> Self {
        Self {
            total: AtomicU64::new(0),
            exported,
        }
    }

    fn add(&self, count: u64) {
        self.total.fetch_add(count, Ordering::Relaxed);
        self.exported.increment(count);
    }

    #[cfg(test)]
    fn get(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

impl ComponentMetrics {
    /// Registers the counters of a component; `kind` is `transform` or `sink`.
    pub(crate) fn new(kind: &'static str, id: &str, component_type: &'static str) -> Self {
        let discarded = |intentional: &'static str| {
            metrics::counter!(
                DISCARDED,
                "component_kind" => kind,
                "component_id" => id.to_owned(),
                "component_type" => component_type,
                "intentional" => intentional,
            )
        };
        Self {
            kind,
            id: id.to_owned(),
            component_type,
            errors: Count::new(metrics::counter!(
                ERRORS,
                "component_kind" => kind,
                "component_id" => id.to_owned(),
                "component_type" => component_type,
            )),
            discarded: Count::new(discarded("true")),
            lost: Count::new(discarded("false")),
            sent: Count::new(metrics::counter!(
                SENT,
                "component_kind" => kind,
                "component_id" => id.to_owned(),
                "component_type" => component_type,
            )),
            failed: Throttle::default(),
            full: Throttle::default(),
        }
    }

    /// Failures so far.
    #[cfg(test)]
    pub(crate) fn errors(&self) -> u64 {
        self.errors.get()
    }

    /// Events dropped on purpose so far.
    #[cfg(test)]
    pub(crate) fn discarded(&self) -> u64 {
        self.discarded.get()
    }

    /// Events dropped because of a failure so far.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// Events delivered so far.
    #[cfg(test)]
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Counts delivered events.
    pub(crate) fn add_sent(&self, events: usize) {
        self.sent.add(events as u64);
    }

    /// Counts an event that was dropped on purpose: a filter, an `abort`.
    pub(crate) fn add_discarded(&self) {
        self.discarded.add(1);
    }

    /// Counts a program that failed on an event, and logs where in the program.
    ///
    /// The message of the failure is not logged: it can quote values of the event.
    pub(crate) fn program_failed(&self, failure: &Failure, dropped: bool) {
        self.errors.add(1);
        if dropped {
            self.lost.add(1);
        }
        let Some(failures) = self.may_log() else {
            return;
        };
        tracing::error!(
            component_kind = self.kind,
            component_id = %self.id,
            component_type = self.component_type,
            function = failure.function.as_deref(),
            line = failure.line,
            column = failure.column,
            event_dropped = dropped,
            failures,
            "program failed on an event"
        );
    }

    /// Counts events that a sink could not write, and says why.
    pub(crate) fn write_failed(&self, events: usize, error: &dyn std::fmt::Display) {
        self.errors.add(1);
        self.lost.add(events as u64);
        if let Some(failures) = self.may_log() {
            tracing::error!(
                component_kind = self.kind,
                component_id = %self.id,
                component_type = self.component_type,
                %error,
                failures,
                "writing failed"
            );
        }
    }

    /// Counts events that nobody wants any more, without a word.
    pub(crate) fn add_lost(&self, events: usize) {
        self.lost.add(events as u64);
    }

    /// Counts events for which the buffer of a sink had no room, as `when_full = "drop_newest"` wants it.
    pub(crate) fn buffer_full(&self, events: usize) {
        self.discarded.add(events as u64);
        if let Some(held_back) = self.full.pass((), events as u64) {
            tracing::warn!(
                component_kind = self.kind,
                component_id = %self.id,
                component_type = self.component_type,
                events = held_back.events + events as u64,
                "the buffer is full, the newest events were dropped"
            );
        }
    }

    /// A kind of failure of this component with a counter of its own.
    pub(crate) fn occasion(&self, error_type: &'static str) -> Occasion {
        Occasion::new(self.errors_of(error_type))
    }

    /// The counter of one kind of failure.
    pub(crate) fn errors_of(&self, error_type: &'static str) -> Counter {
        metrics::counter!(
            ERRORS,
            "component_kind" => self.kind,
            "component_id" => self.id.clone(),
            "component_type" => self.component_type,
            "error_type" => error_type,
        )
    }

    /// The component's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether a failure is to be logged now, and how many it stands for.
    fn may_log(&self) -> Option<u64> {
        let held_back = self.failed.pass((), 0)?;
        Some(1 + held_back.times)
    }
}
