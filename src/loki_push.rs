//! The messages of Loki's push API, and the compression they travel in.
//!
//! Written by hand after Loki's `pkg/push/push.proto`, so that no `protoc` is needed. Text fields are [`Bytes`] here: on the
//! wire strings and bytes are alike, and a line then stays a slice of the buffer that it was encoded into. Whoever writes one of
//! these messages sees to it that the bytes are UTF-8; Loki refuses a request in which they are not.

use bytes::Bytes;
use prost::Message;

/// Nanoseconds in a second.
const NANOS: i64 = 1_000_000_000;

/// The body of a push.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PushRequest {
    /// Each set of labels once.
    #[prost(message, repeated, tag = "1")]
    pub(crate) streams: Vec<Stream>,
}

/// Entries with the same labels.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stream {
    /// The labels as LogQL writes them: `{a="b", c="d"}`.
    #[prost(string, tag = "1")]
    pub(crate) labels: String,
    /// Oldest first.
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<Entry>,
}

/// One line.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    /// When it happened; Loki takes an absent one for 1970.
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
    /// The line, UTF-8.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) line: Bytes,
    /// Pairs that belong to the line alone.
    #[prost(message, repeated, tag = "3")]
    pub(crate) structured_metadata: Vec<Pair>,
}

/// A name and a value of structured metadata.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pair {
    /// UTF-8.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    /// UTF-8.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// Protobuf's own timestamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Message)]
pub(crate) struct Timestamp {
    /// Seconds since 1970, rounded down.
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    /// The rest, never negative.
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

impl Timestamp {
    /// From nanoseconds since 1970.
    #[cfg(feature = "host")]
    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Self {
            seconds: nanos.div_euclid(NANOS),
            nanos: i32::try_from(nanos.rem_euclid(NANOS)).unwrap_or(0),
        }
    }

    /// In nanoseconds since 1970; `None` when they do not fit.
    pub(crate) fn nanos(self) -> Option<i64> {
        self.seconds
            .checked_mul(NANOS)?
            .checked_add(i64::from(self.nanos))
    }
}

#[cfg(feature = "host")]
impl Entry {
    /// The entry's time in nanoseconds since 1970, 0 when it has none or one that does not fit.
    pub(crate) fn nanos(&self) -> i64 {
        self.timestamp
            .unwrap_or_default()
            .nanos()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_has_the_bytes_that_loki_expects() {
        let request = PushRequest {
            streams: vec![Stream {
                labels: r#"{a="b"}"#.to_owned(),
                entries: vec![Entry {
                    timestamp: Some(Timestamp::from_nanos(2_000_000_003)),
                    line: Bytes::from_static(b"hi"),
                    structured_metadata: vec![Pair {
                        name: Bytes::from_static(b"k"),
                        value: Bytes::from_static(b"v"),
                    }],
                }],
            }],
        };

        // Tag and length by hand, as push.proto numbers the fields.
        let pair = b"\x0a\x01k\x12\x01v";
        let mut entry = b"\x0a\x04\x08\x02\x10\x03\x12\x02hi\x1a\x06".to_vec();
        entry.extend_from_slice(pair);
        let mut stream = b"\x0a\x07{a=\"b\"}\x12".to_vec();
        stream.push(u8::try_from(entry.len()).unwrap());
        stream.extend_from_slice(&entry);
        let mut expected = vec![0x0a, u8::try_from(stream.len()).unwrap()];
        expected.extend_from_slice(&stream);

        assert_eq!(request.encode_to_vec(), expected);
    }

    #[test]
    fn timestamp_keeps_every_nanosecond() {
        for nanos in [
            0,
            1,
            -1,
            1_700_000_000_123_456_789,
            i64::MAX,
            i64::MIN + NANOS,
        ] {
            let timestamp = Timestamp::from_nanos(nanos);
            assert!((0..1_000_000_000).contains(&timestamp.nanos));
            assert_eq!(timestamp.nanos(), Some(nanos));
        }
    }

    #[test]
    fn timestamp_that_does_not_fit_is_no_time() {
        let timestamp = Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(timestamp.nanos(), None);
    }
}
