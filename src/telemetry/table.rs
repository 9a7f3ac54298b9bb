//! The table of the metrics of a source.

use super::{Metric, counter, gauge};

pub(super) const CONNECTED: Metric = gauge(
    "nomad_events_connected",
    "0 or 1",
    &[],
    "1 while a stream is open and healthy",
);
pub(super) const INDEX: Metric = gauge(
    "nomad_events_index",
    "Raft index",
    &["position"],
    "How far reading, handing to the host, acknowledgement and saving have come",
);
pub(super) const SECONDS_SINCE_LAST_LINE: Metric = gauge(
    "nomad_events_seconds_since_last_line",
    "seconds",
    &[],
    "Time since the last line, heartbeats included; since the start before the first; grows while a full queue stops the reading",
);
pub(super) const CONNECTIONS: Metric = counter(
    "nomad_events_connections_total",
    "connections",
    &[],
    "Subscriptions that a server has accepted",
);
pub(super) const DISCONNECTS: Metric = counter(
    "nomad_events_disconnects_total",
    "connections",
    &["cause"],
    "Streams that ended or did not come about",
);
pub(super) const EVENTS: Metric = counter(
    "nomad_events_events_total",
    "events",
    &[],
    "Events handed to the host, each counted once",
);
pub(super) const REDELIVERED_EVENTS: Metric = counter(
    "nomad_events_redelivered_events_total",
    "events",
    &[],
    "Events handed to the host again, because a sink had failed with their batch; each time counts",
);
pub(super) const DUPLICATES: Metric = counter(
    "nomad_events_duplicates_total",
    "events",
    &[],
    "Events that had been taken already, came again and were dropped",
);
pub(super) const DISCARDED_LINES: Metric = counter(
    "nomad_events_discarded_lines_total",
    "lines",
    &["reason"],
    "Lines that were not taken",
);
pub(super) const GAPS: Metric = counter(
    "nomad_events_gaps_total",
    "gaps",
    &["cause"],
    "Announced gaps: events may be missing",
);
pub(super) const OPEN_GAPS: Metric = gauge(
    "nomad_events_open_gaps",
    "gaps",
    &[],
    "Gaps that are kept until they are filled, and places in doubt",
);
pub(super) const EPOCH: Metric = gauge(
    "nomad_events_epoch",
    "resets",
    &[],
    "How often the cluster's indexes began anew",
);
pub(super) const SAVES: Metric = counter(
    "nomad_events_saves_total",
    "saves",
    &[],
    "Times that the position was saved",
);
pub(super) const SAVE_FAILURES: Metric = counter(
    "nomad_events_save_failures_total",
    "saves",
    &["cause"],
    "Times that the position could not be saved: a restart would repeat events",
);
pub(super) const STANDBY: Metric = gauge(
    "nomad_events_standby",
    "0 or 1",
    &[],
    "1 while another process has the folder of the position, and this one waits",
);
pub(super) const REJECTED_EVENTS: Metric = counter(
    "nomad_events_rejected_events_total",
    "events",
    &[],
    "Events that a sink gave up for good, or failed with each time, which are lost",
);
pub(super) const JOB_CHANGES: Metric = counter(
    "nomad_events_job_changes_total",
    "versions",
    &["result"],
    "New versions of jobs whose changes were asked for (option `job_changes`)",
);
pub(super) const QUEUED_BYTES: Metric = gauge(
    "nomad_events_queued_bytes",
    "bytes",
    &[],
    "Text in memory that no sink has answered for",
);
pub(super) const QUEUE_LIMIT_BYTES: Metric = gauge(
    "nomad_events_queue_limit_bytes",
    "bytes",
    &[],
    "The option `queue_bytes`: reading stops when so much is queued",
);
pub(super) const INVARIANT_VIOLATIONS: Metric = counter(
    "nomad_events_invariant_violations_total",
    "violations",
    &["invariant"],
    "Promises that did not hold: a defect of ours, to be reported",
);

/// The metrics of a source, in the order in which the documentation has them.
pub const METRICS: [Metric; 20] = [
    CONNECTED,
    INDEX,
    SECONDS_SINCE_LAST_LINE,
    CONNECTIONS,
    DISCONNECTS,
    EVENTS,
    REDELIVERED_EVENTS,
    DUPLICATES,
    DISCARDED_LINES,
    GAPS,
    OPEN_GAPS,
    EPOCH,
    SAVES,
    SAVE_FAILURES,
    STANDBY,
    REJECTED_EVENTS,
    JOB_CHANGES,
    QUEUED_BYTES,
    QUEUE_LIMIT_BYTES,
    INVARIANT_VIOLATIONS,
];

/// Bytes that came in, under the name and with the label that Vector's own sources have: its dashboards show this one too.
pub const COMPONENT_RECEIVED_BYTES: Metric = counter(
    "component_received_bytes_total",
    "bytes",
    &["protocol"],
    "Bytes that a source has read",
);

/// Failures, under the name and with the labels that Vector's own components have.
pub const COMPONENT_ERRORS: Metric = counter(
    "component_errors_total",
    "errors",
    &["error_code", "error_type", "stage"],
    "Failures of a component",
);
