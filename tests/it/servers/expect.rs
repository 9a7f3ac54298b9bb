//! What must be in Loki, computed from the bytes on the wire with code of its own.
//!
//! The rule for times is written from its description in the documentation, not from the engine: that both agree is what
//! the tests want to know.

use std::fmt;

use serde_json::Value;

use super::wire::Line;

/// The label of what has no namespace: Loki knows no empty labels.
pub(crate) const NO_NAMESPACE: &str = "-";

/// What the recommended configuration drops: a node is reported again with every update of its allocations.
const FILTERED: [(&str, &str); 1] = [("Node", "AllocationUpdated")];

const SECOND: i64 = 1_000_000_000;
/// An own time further behind the newest time than this is stale.
const STALE_AFTER: i64 = 10 * SECOND;
/// A carried time further behind the clock than this gives way to the moment of receipt, on a live stream.
const CARRIED_AT_MOST: i64 = 10 * SECOND;
/// A time further ahead of the clock than this is somebody's wrong clock.
const AHEAD_AT_MOST: i64 = 300 * SECOND;
/// A pause of the stream after which what the server had kept is read, and lines come as they happen.
const CAUGHT_UP_AFTER: i64 = SECOND;
/// Two readers may see a line this far apart, and so be on different sides of [`CARRIED_AT_MOST`].
const READERS_APART: i64 = SECOND;

/// An event as it stood on the wire.
#[derive(Clone, Debug)]
pub(crate) struct WireEvent {
    pub(crate) topic: String,
    pub(crate) event_type: String,
    pub(crate) key: String,
    pub(crate) namespace: String,
    pub(crate) index: u64,
    pub(crate) payload: Value,
}

/// When an event must be said to have happened, nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At the payload's own time.
    Payload(i64),
    /// At the newest time of the stream.
    Carried(i64),
    /// When the line was read. That was here; another reader has a moment of its own.
    Receipt(i64),
    /// One of the two: it is so close to the limit that another reader may decide otherwise.
    CarriedOrReceipt { carried: i64, receipt: i64 },
}

/// An event and its time.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) event: WireEvent,
    pub(crate) when: When,
}

impl Expected {
    /// The label `namespace`.
    pub(crate) fn namespace_label(&self) -> &str {
        match self.event.namespace.as_str() {
            "" => NO_NAMESPACE,
            name => name,
        }
    }

    /// Whether the recommended configuration sends the event to Loki.
    pub(crate) fn is_shipped(&self) -> bool {
        !FILTERED.contains(&(&self.event.topic, &self.event.event_type))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WireEvent {
            topic,
            event_type,
            key,
            index,
            ..
        } = &self.event;
        write!(f, "{topic}/{event_type} {key} at {index}, {:?}", self.when)
    }
}

/// Every event of a stream that was read from its beginning, with its time.
pub(crate) fn expected(lines: &[Line]) -> Vec<Expected> {
    let mut dating = Dating::default();
    lines
        .iter()
        .flat_map(|line| dating.date(line.received, parse(&line.text)))
        .collect()
}

/// The events of a line; none in a heartbeat.
fn parse(line: &[u8]) -> Vec<WireEvent> {
    let line: Value = serde_json::from_slice(line).expect("a line of Nomad is JSON");
    let text = |event: &Value, field: &str| {
        let text = event[field].as_str();
        text.unwrap_or_else(|| panic!("no {field} in {event}"))
            .to_owned()
    };
    let events = line["Events"].as_array().into_iter().flatten();
    events
        .map(|event| WireEvent {
            topic: text(event, "Topic"),
            event_type: text(event, "Type"),
            key: text(event, "Key"),
            namespace: text(event, "Namespace"),
            index: event["Index"].as_u64().expect("an event has an index"),
            payload: event["Payload"].clone(),
        })
        .collect()
}

/// What has to be remembered from line to line.
#[derive(Default)]
struct Dating {
    /// The largest time set by a server so far.
    newest: Option<i64>,
    /// When the line before was read.
    before: Option<i64>,
    /// Whether lines come as they happen.
    live: bool,
}

impl Dating {
    fn date(&mut self, received: i64, events: Vec<WireEvent>) -> Vec<Expected> {
        let pause = received - self.before.replace(received).unwrap_or(received);
        self.live |= pause >= CAUGHT_UP_AFTER;
        let own_times: Vec<Option<OwnTime>> = events
            .iter()
            .map(|event| OwnTime::of(event).filter(|own| own.nanos() <= received + AHEAD_AT_MOST))
            .collect();
        // The order of events inside a line does not matter, so all of them are looked at first.
        let in_line = own_times.iter().flatten().filter_map(|own| own.of_server());
        let carried = in_line.chain(self.newest).max();
        let dated = events.into_iter().zip(own_times).map(|(event, own)| {
            let fresh = own.map(OwnTime::nanos).filter(|own| {
                self.newest
                    .is_none_or(|newest| *own >= newest - STALE_AFTER)
            });
            let when = match (fresh, carried) {
                (Some(own), _) => When::Payload(own),
                (None, None) => When::Receipt(received),
                (None, Some(carried)) if self.live => carried_or_receipt(carried, received),
                (None, Some(carried)) => When::Carried(carried),
            };
            Expected { event, when }
        });
        let dated = dated.collect();
        self.newest = carried;
        dated
    }
}

/// On a live stream.
fn carried_or_receipt(carried: i64, receipt: i64) -> When {
    let over = receipt - carried - CARRIED_AT_MOST;
    if over.abs() <= READERS_APART {
        When::CarriedOrReceipt { carried, receipt }
    } else if over > 0 {
        When::Receipt(receipt)
    } else {
        When::Carried(carried)
    }
}

/// A time that a payload has of its own.
#[derive(Clone, Copy)]
enum OwnTime {
    /// Set by a server: rises with the index.
    Server(i64),
    /// Set by a client, with the client's clock.
    Client(i64),
}

impl OwnTime {
    fn of(event: &WireEvent) -> Option<Self> {
        let payload = &event.payload;
        let field = match (event.topic.as_str(), event.event_type.as_str()) {
            ("Allocation" | "Evaluation" | "Deployment", _) => &payload[&event.topic]["ModifyTime"],
            ("CSIVolume" | "HostVolume", _) => &payload["Volume"]["ModifyTime"],
            ("Variable", _) => &payload["Metadata"]["ModifyTime"],
            // A job keeps the time of its registration in all later events, so it dates that one only.
            ("Job", "JobRegistered") => &payload["Job"]["SubmitTime"],
            ("Node", _) => return node_time(&payload["Node"]).map(Self::Client),
            _ => return None,
        };
        field.as_i64().filter(|nanos| *nanos > 0).map(Self::Server)
    }

    fn nanos(self) -> i64 {
        let (Self::Server(nanos) | Self::Client(nanos)) = self;
        nanos
    }

    fn of_server(self) -> Option<i64> {
        match self {
            Self::Server(nanos) => Some(nanos),
            Self::Client(_) => None,
        }
    }
}

/// The newest node event or change of status, whichever is later.
fn node_time(node: &Value) -> Option<i64> {
    let events = node["Events"].as_array().into_iter().flatten();
    let of_events = events.filter_map(|event| {
        let time: jiff::Timestamp = event["Timestamp"].as_str()?.parse().ok()?;
        i64::try_from(time.as_nanosecond()).ok()
    });
    let of_status = node["StatusUpdatedAt"]
        .as_i64()
        .filter(|seconds| *seconds > 0)
        .and_then(|seconds| seconds.checked_mul(SECOND));
    of_events.chain(of_status).max()
}

#[cfg(test)]
mod tests;
