//! When did it happen? Nomad's envelopes do not say; payloads say it of some things, and not always the truth.

use serde::Serialize;

/// How the time of an event is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
