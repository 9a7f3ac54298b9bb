//! Facts about the stream itself, which are events too: never only a log line.
//!
//! A notice becomes an [`Event`] of topic `NomadEvents`, so that a pipeline can store it, count it, and alert on it or on its
//! absence. It never holds a byte of a line.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;

use crate::checkpoint::{GapCause, OpenGap};
use crate::event::{Event, Origin, RaftIndex};
use crate::payload::time::{EventTime, TimeSource};
use crate::position::Epoch;

/// The topic of all notices.
pub const NOTICE_TOPIC: &str = "NomadEvents";

/// A fact about the stream, with the moment at which it became known.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Nanoseconds since 1970.
    pub at: i64,
    /// The upper bound of the indexes concerned.
    pub index: RaftIndex,
    /// What is to be said.
    pub kind: NoticeKind,
}

/// What a notice says. The variant's name is the event's `Type`, its fields are `Payload.<Type>`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub enum NoticeKind {
    /// The source has started.
    Started(Started),
    /// A server has accepted the subscription: the first line came.
    Connected(Connected),
    /// The stream has ended, or could not be opened.
    Disconnected(Disconnected),
    /// How the source is, once a minute, so that its absence can be alerted on.
    Status(Status),
    /// Events may be missing.
    Gap(Gap),
    /// The cluster's indexes began anew: it is another one, or an older state of it.
    IndexReset(IndexReset),
    /// A line was not taken.
    LineDiscarded(LineDiscarded),
    /// Sinks did not take events, which are lost.
    Rejected(Rejected),
}

/// Fields of `Started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Started {
    /// The version of this library.
    pub version: String,
    /// Addresses, in the order in which they are tried, without user information.
    pub endpoints: Vec<String>,
    /// The subscribed topics.
    pub topics: Vec<String>,
    /// The subscribed namespace, `*` for all.
    pub namespace: String,
    /// Where the stream was asked to begin: `earliest`, `latest` or an index.
    pub start_at: String,
    /// What is known about the events before: `none` without a saved position; `saved` with one: then what follows it comes, or a
    /// `Gap` or an `IndexReset` says that it may not.
    pub continuity: &'static str,
    /// The saved position.
    pub resumed_from: Option<RaftIndex>,
    /// How often indexes began anew before.
    pub epoch: Epoch,
    /// Gaps that were not filled when the last run ended. Each is told [again](Gap::again).
    pub open_gaps: usize,
    /// Whether the position is saved.
    pub saves_position: bool,
    /// What of the subscription is different from that of the saved position, in words.
    pub subscription_changed: Option<String>,
}

/// Fields of `Connected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connected {
    /// The address that answered.
    pub endpoint: String,
    /// The index that was asked for.
    pub resumed_at: RaftIndex,
}

/// Fields of `Disconnected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disconnected {
    /// The address that was connected or tried.
    pub endpoint: String,
    /// A word from a closed set, fit for a label: see [`ErrorKind::as_str`](crate::error::ErrorKind::as_str).
    pub cause: &'static str,
    /// The cause in words, and what to do about it.
    pub message: String,
}

/// Fields of `Status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Whether a stream is open and healthy.
    pub connected: bool,
    /// Index of the newest line seen on the wire.
    pub read: RaftIndex,
    /// Index of the newest batch handed to the host.
    pub emitted: RaftIndex,
    /// Everything before this index is answered for, and of the index itself what was handed out first.
    pub acknowledged: RaftIndex,
    /// Events handed to the host since the start.
    pub events: u64,
    /// Events dropped as repeated since the start.
    pub duplicates: u64,
    /// Lines not taken since the start.
    pub discarded_lines: u64,
    /// Events that a sink did not take since the start.
    pub rejected_events: u64,
    /// Bytes of text in memory, without an answer yet.
    pub queued_bytes: u64,
    /// Connections that ended or could not be opened since the start.
    pub disconnects: u64,
    /// Seconds since the last line, heartbeats included; `null` before the first.
    pub seconds_since_last_line: Option<f64>,
}

/// Fields of `Gap`: something between `from` and `to`, both included, may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The last index known to be complete, but for later lines of the same index.
    pub from: RaftIndex,
    /// The first index seen afterwards; `null` while none has been: then it is that of the next batch above `from`.
    pub to: Option<RaftIndex>,
    /// Why, a word from a closed set.
    pub cause: GapCause,
    /// The namespace that it is confined to; `null` for all.
    pub namespace: Option<String>,
    /// Whether an earlier run has told it, and nothing has filled it since. Left out where it is news.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

impl Gap {
    /// One of all namespaces.
    pub(super) fn of_all(from: RaftIndex, to: Option<RaftIndex>, cause: GapCause) -> Self {
        Self {
            from,
            to,
            cause,
            namespace: None,
            again: false,
        }
    }
}

impl From<&OpenGap> for Gap {
    /// One that was saved, so an earlier run has told it.
    fn from(kept: &OpenGap) -> Self {
        Self {
            from: kept.from,
            to: kept.to,
            cause: kept.cause,
            namespace: kept.namespace.clone(),
            again: true,
        }
    }
}

/// Fields of `IndexReset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexReset {
    /// How often indexes have begun anew, this time included.
    pub epoch: Epoch,
    /// The index up to which the stream had been read.
    pub from: RaftIndex,
    /// The newest index of the subscribed topics' tables now; `null` where it was not asked for.
    pub to: Option<RaftIndex>,
    /// Open gaps of the indexes before, which cannot be filled any more.
    pub gaps_given_up: usize,
}

/// Fields of `LineDiscarded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineDiscarded {
    /// Length of the line.
    pub bytes: u64,
    /// Its index, where that could be read.
    pub index: Option<RaftIndex>,
    /// Why, a word from a closed set: `too_long`, `too_many_events` or `not_json`.
    pub reason: &'static str,
}

/// Fields of `Rejected`: sinks did not take these events, and they will not be tried again.
///
/// The first loss is told at once, and what is lost within a minute after it together: at most one notice a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// How many events, since the notice before.
    pub events: u64,
    /// How many of them a sink has refused for good.
    pub rejected: u64,
    /// How many of them a sink has failed with, each of the times that they were handed out.
    pub errored: u64,
    /// The lowest index of them.
    pub from: RaftIndex,
    /// The highest index of them.
    pub to: RaftIndex,
}

impl Rejected {
    /// One of all the events of both.
    #[must_use]
    pub(super) fn merged(self, other: &Self) -> Self {
        Self {
            events: self.events + other.events,
            rejected: self.rejected + other.rejected,
            errored: self.errored + other.errored,
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }
}

impl NoticeKind {
    /// The event's `Type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "Started",
            Self::Connected(_) => "Connected",
            Self::Disconnected(_) => "Disconnected",
            Self::Status(_) => "Status",
            Self::Gap(_) => "Gap",
            Self::IndexReset(_) => "IndexReset",
            Self::LineDiscarded(_) => "LineDiscarded",
            Self::Rejected(_) => "Rejected",
        }
    }
}

impl Notice {
    /// The notice as an event: topic `NomadEvents`, the component id as its key, the fields under `Payload.<Type>`.
    #[must_use]
    pub fn to_event(&self, component_id: &str) -> Event {
        // Externally tagged enums serialize as {"<Variant>": {...}}, which is the shape of Nomad's own payloads. The fields
        // are plain numbers and texts, for which serialization cannot fail.
        let payload = serde_json::to_vec(&self.kind).unwrap_or_else(|_| b"{}".to_vec());
        Event {
            topic: ByteString::from_static(NOTICE_TOPIC),
            event_type: ByteString::from_static(self.kind.name()),
            key: ByteString::from(component_id),
            namespace: ByteString::new(),
            filter_keys: None,
            index: self.index,
            payload: Bytes::from(payload),
            time: EventTime {
                nanos: self.at,
                source: TimeSource::Receipt,
            },
            origin: Origin::Stream,
            changes: None,
        }
    }
}
