//! When did it happen? Nomad's envelopes do not say; payloads say it of some things, and not always the truth.
//!
//! 12 % of recorded events have no time of their own, and an allocation that is planned or stopped keeps the `ModifyTime` of
//! its last client update, minutes or days old. Events come in the order in which they happened, so the stream itself dates
//! them: an own time that is far behind what the stream has shown already is not believed.
//!
//! Pure: the clock comes in as a number.

use std::borrow::Cow;
use std::marker::PhantomData;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::{Text, deserializer};
use crate::envelope::RawEvent;

/// An own time further behind the newest one is not believed.
pub const MAX_BEHIND_NEWEST: i64 = 10 * SECOND;
/// A carried time further behind the clock is not believed of an event that came as it happened.
pub const MAX_BEHIND_CLOCK: i64 = 10 * SECOND;
/// A time further ahead of our clock is ignored.
pub const MAX_AHEAD_OF_CLOCK: i64 = 5 * 60 * SECOND;

const SECOND: i64 = 1_000_000_000;

/// How the time of an event is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimeSource {
    /// The payload's own time.
    Payload,
    /// The newest time that the stream had shown by then, since the payload has none, or an old one.
    Carried,
    /// Our clock when the line came.
    Receipt,
}

impl TimeSource {
    /// The text of the field `nomad.timestamp_source`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Carried => "carried",
            Self::Receipt => "receipt",
        }
    }
}

/// A moment, and how it is known. Fixed once, when the line is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// Nanoseconds since 1970, UTC.
    pub nanos: i64,
    /// How it is known.
    pub source: TimeSource,
}

/// The moment at which a line was received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Our clock, nanoseconds since 1970.
    pub at: i64,
    /// Whether it came as it happened: see [`Liveness`](crate::stream::Liveness).
    pub live: bool,
}

/// Dates events by what the stream has shown so far.
#[derive(Clone, Debug, Default)]
pub struct Dating {
    newest: Option<i64>,
}

impl Dating {
    /// Goes on where the newest time was this one.
    #[must_use]
    pub fn resuming(newest: Option<i64>) -> Self {
        Self { newest }
    }

    /// The largest time set by a server in all lines so far.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Gives each event of a line its time. Lines are to come in the order of the stream, each once.
    #[must_use]
    pub fn date(&mut self, events: &[RawEvent], received: Received) -> Vec<EventTime> {
        let own: Vec<Option<OwnTime>> = events
            .iter()
            .map(|event| {
                own_time(event).filter(|own| since(received.at, own.nanos) <= MAX_AHEAD_OF_CLOCK)
            })
            .collect();
        let in_line = own
            .iter()
            .flatten()
            .filter(|own| own.by_server)
            .map(|own| own.nanos)
            .max();
        let carried = self.newest.max(in_line);

        let times = own
            .into_iter()
            .map(|own| match (own, self.newest) {
                (Some(own), newest)
                    if newest.is_none_or(|n| since(own.nanos, n) <= MAX_BEHIND_NEWEST) =>
                {
                    EventTime {
                        nanos: own.nanos,
                        source: TimeSource::Payload,
                    }
                }
                _ => carried_or_receipt(carried, received),
            })
            .collect();
        self.newest = carried;
        times
    }
}

/// From one moment to another. Saturates: moments come from payloads, and from clocks that nobody has set.
fn since(from: i64, to: i64) -> i64 {
    to.saturating_sub(from)
}

fn carried_or_receipt(carried: Option<i64>, received: Received) -> EventTime {
    match carried {
        Some(nanos) if !(received.live && since(nanos, received.at) > MAX_BEHIND_CLOCK) => {
            EventTime {
                nanos,
                source: TimeSource::Carried,
            }
        }
        _ => EventTime {
            nanos: received.at,
            source: TimeSource::Receipt,
        },
    }
}

/// A time that stands in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnTime {
    nanos: i64,
    /// Set by a Nomad server. The times of a node's events may come from the client's clock.
    by_server: bool,
}

/// Reads the time of an event, if its payload has one. Looks at the text and builds nothing.
///
/// `ModifyTime` is in nanoseconds and set by the server with the write (`nomad/structs/structs.go`); a Job has none, but a
/// registered one has its `SubmitTime`; a Node has `StatusUpdatedAt` in seconds and its events' RFC 3339 times.
fn own_time(event: &RawEvent) -> Option<OwnTime> {
    let payload = &event.payload;
    let nanos = match &*event.topic {
        topic @ ("Allocation" | "Evaluation" | "Deployment") => {
            number(payload, topic, Field::ModifyTime)
        }
        "HostVolume" | "CSIVolume" => number(payload, "Volume", Field::ModifyTime),
        "Variable" => number(payload, "Metadata", Field::ModifyTime),
        "Job" if &*event.event_type == "JobRegistered" => number(payload, "Job", Field::SubmitTime),
        "Node" => return scan::<NodeTimes<'_>>(payload, "Node")?.newest(),
        _ => None,
    };
    // Not Go's zero time, nor the absence in servers too old to set it.
    nanos.filter(|&nanos| nanos > 0).map(|nanos| OwnTime {
        nanos,
        by_server: true,
    })
}

/// The number at `object.field` of a payload.
///
/// A name with its quotes cannot stand inside a JSON string, where quotes are escaped. So where it stands in the text just
/// once, with a number behind it that can be a time, that is the field; a search for it is ten times as quick as reading the
/// object. Anything else is read properly: a task group may have any name.
fn number(payload: &Bytes, object: &str, field: Field) -> Option<i64> {
    let mut places = memchr::memmem::find_iter(payload, field.quoted());
    if let (Some(place), None) = (places.next(), places.next()) {
        let text = &payload[place + field.quoted().len()..];
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&text[..digits]).ok()?.parse().ok();
        if number.is_some_and(|number: i64| number >= EARLIEST_TIME) {
            return number;
        }
    }
    let stamps = scan::<Stamps>(payload, object)?;
    match field {
        Field::ModifyTime => stamps.modify_time,
        Field::SubmitTime => stamps.submit_time,
    }
}

/// Nomad is younger: a smaller number of nanoseconds is none of its times (1 January 2015).
const EARLIEST_TIME: i64 = 1_420_070_400 * SECOND;

#[derive(Clone, Copy)]
enum Field {
    ModifyTime,
    SubmitTime,
}

impl Field {
    fn quoted(self) -> &'static [u8] {
        match self {
            Self::ModifyTime => b"\"ModifyTime\":",
            Self::SubmitTime => b"\"SubmitTime\":",
        }
    }
}

#[derive(Deserialize)]
struct Stamps {
    #[serde(rename = "ModifyTime")]
    modify_time: Option<i64>,
    #[serde(rename = "SubmitTime")]
    submit_time: Option<i64>,
}

#[derive(Deserialize)]
struct NodeTimes<'a> {
    #[serde(rename = "StatusUpdatedAt")]
    status_updated_at: Option<i64>,
    #[serde(rename = "Events", borrow)]
    events: Option<Vec<NodeEvent<'a>>>,
}

#[derive(Deserialize)]
struct NodeEvent<'a> {
    #[serde(rename = "Timestamp", borrow)]
    timestamp: Option<Cow<'a, str>>,
}

impl NodeTimes<'_> {
    fn newest(self) -> Option<OwnTime> {
        let status = self
            .status_updated_at
            .filter(|&seconds| seconds > 0)
            .and_then(|seconds| seconds.checked_mul(SECOND));
        let event = self
            .events
            .into_iter()
            .flatten()
            .filter_map(|event| {
                let timestamp: Timestamp = event.timestamp?.parse().ok()?;
                i64::try_from(timestamp.as_nanosecond()).ok()
            })
            .filter(|&nanos| nanos > 0)
            .max();
        status.max(event).map(|nanos| OwnTime {
            nanos,
            by_server: false,
        })
    }
}

/// Reads one object of a payload, `{"<key>": {...}, ...}`, as far as `T` wants it. `None` where it has another shape: then
/// the event has no time of its own, which is no reason to lose it.
fn scan<'de, T: Deserialize<'de>>(payload: &'de Bytes, key: &str) -> Option<T> {
    struct Outer<'k, T>(&'k str, PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Outer<'_, T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a payload")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Option<T>, A::Error> {
            let mut found = None;
            while let Some(Text(key)) = map.next_key()? {
                if key == self.0 {
                    found = map.next_value()?;
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let mut deserializer = deserializer(payload);
    serde::Deserializer::deserialize_map(&mut deserializer, Outer(key, PhantomData)).ok()?
}

#[cfg(test)]
mod tests;
