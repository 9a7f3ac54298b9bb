//! What the host counts about its components, and the log lines that go with it.
//!
//! Names and labels are Vector's, so that dashboards work with both. No label and no line holds a byte of an event. Components
//! are registered within the [`Scope`](registry::Scope) that names them.

pub(crate) mod registry;

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge};
use tokio::time::Instant;

use super::throttle::{Occasion, Throttle};
use super::transforms::program::Failure;
use crate::telemetry::{self, Metric};
use registry::Registry;

/// Failures of a component: a program that failed on an event, an event that a sink could not take.
#[cfg(test)]
pub(crate) const ERRORS: &str = telemetry::COMPONENT_ERRORS.name;
/// Events that went no further; label `intentional` tells a filter from a failure.
#[cfg(test)]
pub(crate) const DISCARDED: &str = DISCARDED_EVENTS.name;

/// Events that have come to a component.
const RECEIVED_EVENTS: Metric = telemetry::counter(
    "component_received_events_total",
    "events",
    &[],
    "Events that have come to a component; of a source, events that it has made",
);
/// Events that a component has handed on.
const SENT_EVENTS: Metric = telemetry::counter(
    "component_sent_events_total",
    "events",
    &["output"],
    "Events that a component has handed on by an output, or that a sink has delivered",
);
const DISCARDED_EVENTS: Metric = telemetry::counter(
    "component_discarded_events_total",
    "events",
    &["intentional"],
    "Events that went no further: on purpose, or because of a failure",
);
const BUFFER_SIZE_EVENTS: Metric = telemetry::gauge(
    "buffer_size_events",
    "events",
    &[],
    "Events that wait in the buffer of a sink",
);
const BUFFER_SIZE_BYTES: Metric = telemetry::gauge(
    "buffer_size_bytes",
    "bytes",
    &[],
    "What these take in memory: ten times their text, as `buffer.max_size` counts it",
);
const UPTIME: Metric = telemetry::gauge(
    "uptime_seconds",
    "seconds",
    &[],
    "Time since the start of the run",
);
const BUILD_INFO: Metric = telemetry::gauge(
    "build_info",
    "always 1",
    &["arch", "debug", "version"],
    "What is running",
);

/// The metrics of the host, those that Vector has too, in the order in which the documentation has them.
#[cfg(test)]
pub(crate) const METRICS: [Metric; 9] = [
    telemetry::COMPONENT_RECEIVED_BYTES,
    RECEIVED_EVENTS,
    SENT_EVENTS,
    DISCARDED_EVENTS,
    telemetry::COMPONENT_ERRORS,
    BUFFER_SIZE_EVENTS,
    BUFFER_SIZE_BYTES,
    UPTIME,
    BUILD_INFO,
];

/// The name that Vector gives to an output without one.
const DEFAULT_OUTPUT: &str = "_default";

/// Counts events that have come to the component in whose scope this is called.
pub(crate) fn received_events() -> Counter {
    RECEIVED_EVENTS.counter(&[])
}

/// Counts events that leave the component in whose scope this is called, by one of its outputs.
pub(crate) fn sent_events(output: Option<&str>) -> Counter {
    let output = output.unwrap_or(DEFAULT_OUTPUT);
    SENT_EVENTS.counter_of("output", output)
}

/// Counts events that the sink in whose scope this is called has delivered.
pub(crate) fn delivered_events() -> Counter {
    SENT_EVENTS.counter(&[])
}

/// The gauges of the buffer in front of a sink.
#[derive(Debug)]
pub(crate) struct BufferMetrics {
    events: Gauge,
    bytes: Gauge,
}

impl BufferMetrics {
    /// Registers them in the scope of the sink in which this is called.
    pub(crate) fn register() -> Self {
        Self {
            events: BUFFER_SIZE_EVENTS.gauge(&[]),
            bytes: BUFFER_SIZE_BYTES.gauge(&[]),
        }
    }

    /// Events have come into the buffer.
    pub(crate) fn put_in(&self, events: usize, bytes: usize) {
        self.events.increment(events as f64);
        self.bytes.increment(bytes as f64);
    }

    /// Events have left the buffer, to the sink or for good.
    pub(crate) fn taken_out(&self, events: usize, bytes: usize) {
        self.events.decrement(events as f64);
        self.bytes.decrement(bytes as f64);
    }
}

/// The gauges of the process.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    started: Instant,
    uptime: Gauge,
}

impl ProcessMetrics {
    /// Registers them. The run begins now.
    pub(crate) fn register(registry: &Registry) -> Self {
        registry.process().within(|| {
            let debug = if cfg!(debug_assertions) {
                "true"
            } else {
                "false"
            };
            let labels = [
                ("arch", std::env::consts::ARCH),
                ("debug", debug),
                ("version", env!("CARGO_PKG_VERSION")),
            ];
            BUILD_INFO.gauge(&labels).set(1.0);
            Self {
                started: Instant::now(),
                uptime: UPTIME.gauge(&[]),
            }
        })
    }

    /// Brings them up to date.
    pub(crate) fn refresh(&self) {
        self.uptime
            .set(self.started.elapsed().as_secs_f64().floor());
    }
}

/// Counters of one component.
#[derive(Debug)]
pub(crate) struct ComponentMetrics {
    kind: &'static str,
    id: String,
    component_type: &'static str,
    errors: Count,
    discarded: Count,
    lost: Count,
    sent: Option<Count>,
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
    /// Registers the counters of the component in whose scope this is called; `kind` is `transform` or `sink`.
    pub(crate) fn new(kind: &'static str, id: &str, component_type: &'static str) -> Self {
        // Vector's words.
        let (error_type, stage) = match (kind, component_type) {
            ("sink", _) => ("writer_failed", "sending"),
            (_, "remap") => ("conversion_failed", "processing"),
            _ => ("script_failed", "processing"),
        };
        let errors = [("error_type", error_type), ("stage", stage)];
        let discarded =
            |intentional| Count::new(DISCARDED_EVENTS.counter(&[("intentional", intentional)]));
        Self {
            kind,
            id: id.to_owned(),
            component_type,
            errors: Count::new(telemetry::COMPONENT_ERRORS.counter(&errors)),
            discarded: discarded("true"),
            lost: discarded("false"),
            // What leaves a transform is counted by output, where the outputs are known.
            sent: (kind == "sink").then(|| Count::new(delivered_events())),
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
        self.sent.as_ref().map_or(0, Count::get)
    }

    /// Counts events that a sink has delivered.
    pub(crate) fn add_sent(&self, events: usize) {
        if let Some(sent) = &self.sent {
            sent.add(events as u64);
        }
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
        let stage = if error_type.starts_with("request") {
            "sending"
        } else {
            "processing"
        };
        telemetry::COMPONENT_ERRORS.counter(&[("error_type", error_type), ("stage", stage)])
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

#[cfg(test)]
mod tests;
