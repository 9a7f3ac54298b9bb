//! What Nomad sends: a line with one [`Batch`] of [`Event`]s, all of one Raft index.
//!
//! The payload of an event stays JSON text, a slice of the line it came in. Building a tree of it costs six times as much as
//! everything this module does, so that is left to whoever needs the tree.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::payload::time::EventTime;
use crate::position::{Epoch, Position};

/// A Raft index of Nomad: the position of a change in the cluster's history.
///
/// Indexes rise within a region and have holes (many writes make no event). One index can span several lines.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RaftIndex(pub u64);

impl RaftIndex {
    /// Whether Nomad takes it in a request: it parses a signed 64-bit number, and refuses the rest.
    pub(crate) fn can_be_asked_for(self) -> bool {
        i64::try_from(self.0).is_ok()
    }
}

impl fmt::Display for RaftIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one handing out of a batch, until it is answered. Never used twice within a process: a batch that is handed out
/// again has another one, so that a late answer for the first cannot be taken for that of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// How an event came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// From the event stream.
    Stream,
}

impl Origin {
    /// The text of the field `nomad.origin`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
        }
    }
}

/// The events of one line that were new to us, in the order in which Nomad sent them.
///
/// What was a duplicate is no longer in it; a batch is never empty.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Name this in [`Acknowledger::resolve`](crate::Acknowledger::resolve).
    pub id: BatchId,
    /// Which history of the cluster the index belongs to: it rises when indexes begin anew.
    pub epoch: Epoch,
    /// The Raft index of every event in the batch.
    pub index: RaftIndex,
    /// The events, at least one.
    pub events: Vec<Event>,
    /// Bytes that this batch keeps in memory until it is answered, its share of `queue_bytes`: the text of its line, and what its
    /// events take beside it, here and where they are kept for a redelivery.
    pub text_bytes: usize,
    /// How many times it was handed out before, and answered with [`Errored`](crate::Delivery::Errored): 0 for the first time.
    /// Events, times and payloads are the same each time.
    pub redelivery: u32,
}

impl Batch {
    /// Where it stands in the history of the cluster.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            index: self.index,
        }
    }
}

/// One event, as Nomad sent it, with the time at which it happened.
///
/// Strings are slices of the line where the line has them unescaped. `Debug` shows the length of the payload, never its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// What changed: `Job`, `Allocation`, ... Not a closed set: newer servers know more topics.
    pub topic: ByteString,
    /// The Raft message that changed it, which says little about the object: a new allocation is a `PlanResult`.
    pub event_type: ByteString,
    /// The object's ID (empty for a deleted host volume).
    pub key: ByteString,
    /// Empty for what has no namespace: nodes, node pools, ACL objects, CSI plugins.
    pub namespace: ByteString,
    /// Other keys that a topic filter matches; `None` where Nomad sends `null`.
    pub filter_keys: Option<Vec<ByteString>>,
    /// The Raft index, equal to the batch's.
    pub index: RaftIndex,
    /// The payload, JSON text as received. May hold secrets: it is not to be logged.
    pub payload: Bytes,
    /// When it happened, and how that is known.
    pub time: EventTime,
    /// How it came to us.
    pub origin: Origin,
    /// What the version of a job has changed, on the first event that shows it, if [`job_changes`](crate::Options::job_changes) is
    /// set.
    pub changes: Option<Arc<Changes>>,
}

impl Event {
    /// Bytes that an event takes beside the text of its line, with filter keys like these.
    pub(crate) fn bytes_beside_text(filter_keys: Option<&[ByteString]>) -> usize {
        size_of::<Self>() + filter_keys.map_or(0, size_of_val)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("index", &self.index)
            .field("topic", &self.topic)
            .field("event_type", &self.event_type)
            .field("key", &self.key)
            .field("namespace", &self.namespace)
            .field("payload_bytes", &self.payload.len())
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}
