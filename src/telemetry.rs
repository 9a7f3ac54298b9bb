//! Every log line and metric of the engine, by name: what happens is said in one place, so that the two cannot drift apart.
//!
//! Metrics go through the `metrics` facade, which Vector uses too. Handles are kept, because Vector forgets what has not been
//! written to for five minutes.

use metrics::{Counter, Gauge, counter, gauge};
use tracing::{error, info, warn};

use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::position::Positions;
use crate::stream::notice::Gap;

/// 1 while a stream is open and healthy, 0 otherwise.
pub const CONNECTED: &str = "nomad_events_connected";
/// The positions, by the label `position`: `read`, `emitted`, `acknowledged`.
pub const INDEX: &str = "nomad_events_index";
/// Events handed to the host.
pub const EVENTS: &str = "nomad_events_events_total";
/// Events that had been taken already and came again.
pub const DUPLICATES: &str = "nomad_events_duplicates_total";
/// Lines that were not taken, by the label `reason`: `too_long`, `too_many_events`, `not_json`.
pub const DISCARDED_LINES: &str = "nomad_events_discarded_lines_total";
/// Streams that ended or did not come about, by the label `cause`.
pub const DISCONNECTS: &str = "nomad_events_disconnects_total";
/// Announced gaps, by the label `cause`.
pub const GAPS: &str = "nomad_events_gaps_total";
/// Events that a sink did not take.
pub const REJECTED_EVENTS: &str = "nomad_events_rejected_events_total";
/// Bytes of text in memory without an answer.
pub const QUEUED_BYTES: &str = "nomad_events_queued_bytes";

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

/// The handles of one source.
pub(crate) struct Telemetry {
    connected: Gauge,
    read: Gauge,
    emitted: Gauge,
    acknowledged: Gauge,
    events: Counter,
    duplicates: Counter,
    too_long: Counter,
    too_many_events: Counter,
    not_json: Counter,
    disconnects: Vec<(ErrorKind, Counter)>,
    gaps_unproven: Counter,
    gaps_discarded: Counter,
    gaps_namespace: Counter,
    rejected: Counter,
    queued_bytes: Gauge,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Registers everything at once, so that what never happens shows as zero.
    pub(crate) fn register() -> Self {
        Self {
            connected: gauge!(CONNECTED),
            read: gauge!(INDEX, "position" => "read"),
            emitted: gauge!(INDEX, "position" => "emitted"),
            acknowledged: gauge!(INDEX, "position" => "acknowledged"),
            events: counter!(EVENTS),
            duplicates: counter!(DUPLICATES),
            too_long: counter!(DISCARDED_LINES, "reason" => Discarded::TooLong.as_str()),
            too_many_events: counter!(DISCARDED_LINES, "reason" => Discarded::TooManyEvents.as_str()),
            not_json: counter!(DISCARDED_LINES, "reason" => Discarded::NotJson.as_str()),
            disconnects: ErrorKind::ALL
                .iter()
                .map(|kind| (*kind, counter!(DISCONNECTS, "cause" => kind.as_str())))
                .collect(),
            gaps_unproven: counter!(GAPS, "cause" => "unproven"),
            gaps_discarded: counter!(GAPS, "cause" => "line_discarded"),
            gaps_namespace: counter!(GAPS, "cause" => "namespace_added"),
            rejected: counter!(REJECTED_EVENTS),
            queued_bytes: gauge!(QUEUED_BYTES),
        }
    }

    pub(crate) fn connected(&self, endpoint: &str, resumed_at: RaftIndex) {
        self.connected.set(1.0);
        info!(endpoint, index = resumed_at.0, "following the event stream");
    }

    /// The stream is gone. Why may have to be asked first.
    pub(crate) fn lost(&self) {
        self.connected.set(0.0);
    }

    /// So many ends of one cause. `news` is false for the same cause again, which is counted and not repeated in the log.
    pub(crate) fn disconnected(&self, endpoint: &str, failure: &Error, times: u64, news: bool) {
        for (kind, counter) in &self.disconnects {
            if *kind == failure.kind() {
                counter.increment(times);
            }
        }
        if news {
            warn!(endpoint, cause = failure.kind().as_str(), error = %failure, "event stream not available, trying on");
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
        match gap.cause {
            "line_discarded" => self.gaps_discarded.increment(1),
            "namespace_added" => self.gaps_namespace.increment(1),
            _ => self.gaps_unproven.increment(1),
        }
        error!(
            from = gap.from.0,
            to = gap.to.map(|to| to.0),
            cause = gap.cause,
            namespace = gap.namespace,
            "events may be missing"
        );
    }

    pub(crate) fn line_discarded(&self, reason: Discarded, bytes: u64, index: Option<RaftIndex>) {
        match reason {
            Discarded::TooLong => self.too_long.increment(1),
            Discarded::TooManyEvents => self.too_many_events.increment(1),
            Discarded::NotJson => self.not_json.increment(1),
        }
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

    /// Said for each batch: somebody has to look why a sink gives up.
    pub(crate) fn rejected(&self, events: u64, index: RaftIndex) {
        self.rejected.increment(events);
        error!(
            events,
            index = index.0,
            "events were not taken downstream and are lost"
        );
    }

    // An index is far below 2^52, so a gauge shows it exactly.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn positions(&self, positions: Positions, queued_bytes: usize) {
        self.read.set(positions.read.0 as f64);
        self.emitted.set(positions.emitted.0 as f64);
        self.acknowledged.set(positions.acknowledged.0 as f64);
        self.queued_bytes.set(queued_bytes as f64);
    }
}
