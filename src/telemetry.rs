//! Every log line and metric of the engine, by name: what happens is said in one place, so that the two cannot drift apart.
//!
//! Metrics go through the `metrics` facade, which Vector uses too. [`METRICS`] is the table from which they are registered, and
//! which the documentation is checked against. All of a source are registered at its start, so that what never happens shows as
//! zero, and their handles are kept, because Vector forgets what has not been written to for five minutes.
//!
//! No metric names its source. The recorder does that, from the scope in which [`EventStream::follow`](crate::EventStream::follow)
//! is called: Vector adds `component_id`, `component_kind` and `component_type` from the span of the source, the embedded host
//! from a recorder of its own. So two sources in one process stay apart, and no label comes twice.

mod metric;
mod saving;
mod table;

use std::sync::Arc;

use metrics::{Counter, Gauge};
use tracing::{debug, error, info, warn};

use crate::changes::Changes;
use crate::checkpoint::{GapCause, WriteError};
use crate::error::{Error, ErrorKind};
use crate::event::{Batch, RaftIndex};
use crate::invariants::Invariant;
use crate::position::{Delivery, Loss, MAX_REDELIVERIES, Positions};
use crate::stream::notice::{Gap, IndexReset};
use metric::Words;
pub use metric::{Metric, MetricKind};
pub(crate) use metric::{counter, gauge};
pub use table::{COMPONENT_ERRORS, COMPONENT_RECEIVED_BYTES, METRICS};
use table::{
    CONNECTED, CONNECTIONS, DISCARDED_LINES, DISCONNECTS, DUPLICATES, EPOCH, EVENTS, GAPS, INDEX,
    INVARIANT_VIOLATIONS, JOB_CHANGES, OPEN_GAPS, QUEUE_LIMIT_BYTES, QUEUED_BYTES,
    REDELIVERED_EVENTS, REJECTED_EVENTS, SAVE_FAILURES, SAVES, SECONDS_SINCE_LAST_LINE, STANDBY,
};

/// Why a line was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    TooLong,
    TooManyEvents,
    NotJson,
}

impl Discarded {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::TooManyEvents => "too_many_events",
            Self::NotJson => "not_json",
        }
    }
}

impl Discarded {
    const ALL: [Self; 3] = [Self::TooLong, Self::TooManyEvents, Self::NotJson];
}

/// The `error_code` of a folder that cannot be used at start.
const DATA_DIR: &str = "data_dir";

/// The values of the label `result` of [`JOB_CHANGES`].
const KNOWN: &str = "known";
const UNKNOWN: &str = "unknown";

/// The handles of one source.
pub(crate) struct Telemetry {
    connected: Gauge,
    read: Gauge,
    emitted: Gauge,
    acknowledged: Gauge,
    seconds_since_last_line: Gauge,
    connections: Counter,
    disconnects: Words,
    events: Counter,
    redelivered: Counter,
    duplicates: Counter,
    discarded_lines: Words,
    gaps: Words,
    open_gaps: Gauge,
    epoch: Gauge,
    saved: Gauge,
    saves: Counter,
    save_failures: Words,
    standby: Gauge,
    rejected: Counter,
    job_changes: Words,
    queued_bytes: Gauge,
    queue_limit_bytes: Gauge,
    violations: Words,
    received_bytes: ReceivedBytes,
    errors: Vec<(&'static str, Counter)>,
}

/// How a host counts bytes that have come: from the address of an endpoint, without user information, so many. Called for
/// every read of a socket, so it has to be quick.
pub type CountBytes = Arc<dyn Fn(&str, usize) + Send + Sync>;

enum ReceivedBytes {
    Ours(Counter),
    OfHost(CountBytes),
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Registers everything at once, so that what never happens shows as zero.
    ///
    /// With `count_bytes`, the host counts the bytes that come in, and there is no [`COMPONENT_RECEIVED_BYTES`] of ours.
    pub(crate) fn register(count_bytes: Option<CountBytes>) -> Self {
        let causes = || ErrorKind::ALL.iter().map(|kind| kind.as_str());
        let reasons = || Discarded::ALL.iter().map(|reason| reason.as_str());
        let error = |code: &'static str, error_type: &'static str| {
            let labels = [
                ("error_code", code),
                ("error_type", error_type),
                ("stage", "receiving"),
            ];
            (code, COMPONENT_ERRORS.counter(&labels))
        };
        let failures = ErrorKind::ALL
            .iter()
            .map(|kind| error(kind.as_str(), error_type(*kind)));
        Self {
            connected: CONNECTED.gauge(&[]),
            read: INDEX.gauge(&[("position", "read")]),
            emitted: INDEX.gauge(&[("position", "emitted")]),
            acknowledged: INDEX.gauge(&[("position", "acknowledged")]),
            seconds_since_last_line: SECONDS_SINCE_LAST_LINE.gauge(&[]),
            connections: CONNECTIONS.counter(&[]),
            disconnects: Words::register(&DISCONNECTS, "cause", causes()),
            events: EVENTS.counter(&[]),
            redelivered: REDELIVERED_EVENTS.counter(&[]),
            duplicates: DUPLICATES.counter(&[]),
            discarded_lines: Words::register(&DISCARDED_LINES, "reason", reasons()),
            gaps: Words::register(&GAPS, "cause", GapCause::ALL.map(GapCause::as_str)),
            open_gaps: OPEN_GAPS.gauge(&[]),
            epoch: EPOCH.gauge(&[]),
            saved: INDEX.gauge(&[("position", "saved")]),
            saves: SAVES.counter(&[]),
            save_failures: Words::register(&SAVE_FAILURES, "cause", WriteError::CAUSES),
            standby: STANDBY.gauge(&[]),
            rejected: REJECTED_EVENTS.counter(&[]),
            job_changes: Words::register(&JOB_CHANGES, "result", [KNOWN, UNKNOWN]),
            queued_bytes: QUEUED_BYTES.gauge(&[]),
            queue_limit_bytes: QUEUE_LIMIT_BYTES.gauge(&[]),
            violations: Words::register(
                &INVARIANT_VIOLATIONS,
                "invariant",
                Invariant::ALL.iter().map(|invariant| invariant.id()),
            ),
            received_bytes: count_bytes.map_or_else(
                || ReceivedBytes::Ours(COMPONENT_RECEIVED_BYTES.counter(&[("protocol", "http")])),
                ReceivedBytes::OfHost,
            ),
            errors: failures
                .chain(reasons().map(|reason| error(reason, "parser_failed")))
                .chain(std::iter::once(error(DATA_DIR, "configuration_failed")))
                .collect(),
        }
    }

    fn error(&self, code: &str, times: u64) {
        if let Some((_, counter)) = self.errors.iter().find(|(known, _)| *known == code) {
            counter.increment(times);
        }
    }

    // The limit of a queue is far below 2^52 bytes, so a gauge shows it exactly.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn queue_limit(&self, bytes: usize) {
        self.queue_limit_bytes.set(bytes as f64);
    }

    pub(crate) fn received(&self, endpoint: &str, bytes: usize) {
        match &self.received_bytes {
            ReceivedBytes::Ours(counter) => counter.increment(bytes as u64),
            ReceivedBytes::OfHost(count) => count(endpoint, bytes),
        }
    }

    pub(crate) fn silent_for(&self, seconds: f64) {
        self.seconds_since_last_line.set(seconds);
    }

    pub(crate) fn connected(&self, endpoint: &str, resumed_at: RaftIndex) {
        self.connected.set(1.0);
        self.connections.increment(1);
        info!(endpoint, index = resumed_at.0, "following the event stream");
    }

    /// The stream is gone. Why may have to be asked first.
    pub(crate) fn lost(&self) {
        self.connected.set(0.0);
    }

    /// So many ends of one cause. `news` is false for the same cause again, which is counted and not repeated in the log.
    pub(crate) fn disconnected(&self, endpoint: &str, failure: &Error, times: u64, news: bool) {
        let cause = failure.kind().as_str();
        self.disconnects.increment_by(cause, times);
        self.error(cause, times);
        if news {
            warn!(endpoint, cause, error = %failure, "event stream not available, trying on");
        }
    }

    pub(crate) fn namespaces_added(&self, names: &[String]) {
        info!(
            namespaces = names.len(),
            first = names.first(),
            "new namespaces, subscribing again"
        );
    }

    /// Said once per cause: the stream goes on without.
    pub(crate) fn namespaces_not_listed(&self, failure: &Error) {
        warn!(
            cause = failure.kind().as_str(),
            error = %failure,
            "namespaces cannot be listed: events of a new one come from the next connect on"
        );
    }

    /// Said once, until it exists.
    pub(crate) fn no_such_namespace(&self, namespace: &str) {
        warn!(
            namespace,
            "the namespace does not exist, or the token cannot see it: until it is made, only events without one come"
        );
    }

    /// Said once, until there is one: heartbeats come as before, and nothing else.
    pub(crate) fn no_leader(&self, endpoint: &str) {
        warn!(
            endpoint,
            "the servers have no leader: nothing is written, so no events come"
        );
    }

    pub(crate) fn gap(&self, gap: &Gap) {
        self.gaps.increment(gap.cause.as_str());
        error!(
            from = gap.from.0,
            to = gap.to.map(|to| to.0),
            cause = gap.cause.as_str(),
            namespace = gap.namespace,
            "events may be missing"
        );
    }

    pub(crate) fn line_discarded(&self, reason: Discarded, bytes: u64, index: Option<RaftIndex>) {
        self.discarded_lines.increment(reason.as_str());
        self.error(reason.as_str(), 1);
        let remedy = match reason {
            Discarded::TooLong => "raise `max_line_bytes`",
            Discarded::TooManyEvents | Discarded::NotJson => "report it with the version of Nomad",
        };
        error!(
            reason = reason.as_str(),
            bytes,
            index = index.map(|index| index.0),
            remedy,
            "line discarded"
        );
    }

    pub(crate) fn only_older_lines(&self, below: RaftIndex) {
        error!(
            index = below.0,
            "the server sends only events older than the ones taken: it lags, or it is another or a rebuilt cluster"
        );
    }

    pub(crate) fn duplicates(&self, count: u64) {
        self.duplicates.increment(count);
    }

    pub(crate) fn emitted(&self, events: u64) {
        self.events.increment(events);
    }

    pub(crate) fn redelivered(&self, batch: &Batch) {
        let events = batch.events.len();
        self.redelivered.increment(events as u64);
        // The sink has said why, and a sink that is down makes this of every batch.
        debug!(
            events,
            index = batch.index.0,
            redelivery = batch.redelivery,
            "a sink has failed, handing events out again"
        );
    }

    /// Said for each batch: somebody has to look why a sink gives up.
    pub(crate) fn rejected(&self, loss: &Loss) {
        self.rejected.increment(loss.events);
        let redeliveries = match loss.delivery {
            Delivery::Errored => MAX_REDELIVERIES,
            Delivery::Delivered | Delivery::Rejected => 0,
        };
        error!(
            events = loss.events,
            index = loss.index.0,
            redeliveries,
            "events were not taken downstream and are lost"
        );
    }

    /// Never to be seen. A panic in debug builds is up to the caller, who knows whether a busy machine may be the cause.
    pub(crate) fn invariant_violated(&self, violated: Invariant) {
        self.violations.increment(violated.id());
        error!(
            invariant = violated.id(),
            remedy = "report it with the log of the last minutes",
            "a promise of this program does not hold"
        );
    }

    // An index is far below 2^52, so a gauge shows it exactly.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn positions(&self, positions: Positions, queued_bytes: usize) {
        self.read.set(positions.read.index.0 as f64);
        self.emitted.set(positions.emitted.index.0 as f64);
        self.acknowledged.set(positions.acknowledged.index.0 as f64);
        self.epoch.set(positions.read.epoch.0 as f64);
        self.queued_bytes.set(queued_bytes as f64);
    }

    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn open_gaps(&self, gaps: usize) {
        self.open_gaps.set(gaps as f64);
    }

    pub(crate) fn index_reset(&self, reset: &IndexReset) {
        error!(
            from = reset.from.0,
            to = reset.to.map(|to| to.0),
            epoch = reset.epoch.0,
            "the cluster's indexes began anew: it is another or a rebuilt one, reading it from the earliest on"
        );
    }

    /// A new version goes on, with what it has changed or without.
    pub(crate) fn job_changes(&self, changes: &Changes) {
        self.job_changes.increment(match changes {
            Changes::Known(_) => KNOWN,
            Changes::Unknown(_) => UNKNOWN,
        });
    }

    /// Said once per cause: the events go on without.
    pub(crate) fn versions_not_read(&self, failure: &Error) {
        warn!(
            cause = failure.kind().as_str(),
            error = %failure,
            "what the new version of a job has changed cannot be read"
        );
    }

    /// Said once per cause: the question is asked again.
    pub(crate) fn tables_not_read(&self, failure: &Error) {
        warn!(
            cause = failure.kind().as_str(),
            error = %failure,
            "whether events are missing cannot be asked, trying on"
        );
    }
}

/// The word that Vector has for failures of this kind.
fn error_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Connect | ErrorKind::Closed | ErrorKind::Broken => "connection_failed",
        ErrorKind::ConnectTimeout | ErrorKind::Idle => "timed_out",
        ErrorKind::TokenFile => "configuration_failed",
        _ => "request_failed",
    }
}
