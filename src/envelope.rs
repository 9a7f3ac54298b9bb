//! A line's envelope: everything but the payloads, which stay text.
//!
//! Pure. Depends on no order of keys: release builds of Nomad print the batch's index first, others last.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::event::{Event, Origin, RaftIndex};
use crate::frame::TooLong;
use crate::payload::time::EventTime;

/// The most events that a line may have.
///
/// An event takes a few hundred bytes beside its text, so a line of `{},{},...` would take a hundred times its length. Real
/// events have 500 bytes and more: a line of 16 MiB holds half as many as this. No index has more proofs either.
pub const MAX_EVENTS: usize = 65_536;

/// The most filter keys that an event may have. Nomad sends three at most.
pub const MAX_FILTER_KEYS: usize = 16;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `{}`: the server is there.
    Heartbeat,
    /// Events of one Raft index.
    Batch(Envelope),
}

/// A batch before it is dated and checked for repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The batch's index.
    pub index: RaftIndex,
    /// The events as received.
    pub events: Vec<RawEvent>,
}

/// An event whose time is not known yet. Fields as in [`Event`].
#[derive(Clone, PartialEq, Eq)]
pub struct RawEvent {
    pub(crate) topic: ByteString,
    pub(crate) event_type: ByteString,
    pub(crate) key: ByteString,
    pub(crate) namespace: ByteString,
    pub(crate) filter_keys: Option<Vec<ByteString>>,
    pub(crate) payload: Bytes,
}

impl RawEvent {
    /// The event, now that its index and time are known.
    pub(crate) fn dated(self, index: RaftIndex, time: EventTime) -> Event {
        Event {
            topic: self.topic,
            event_type: self.event_type,
            key: self.key,
            namespace: self.namespace,
            filter_keys: self.filter_keys,
            index,
            payload: self.payload,
            time,
            origin: Origin::Stream,
            changes: None,
        }
    }
}

impl std::fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawEvent")
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Why a line is not taken. The message says where, never what.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// It is no batch of Nomad's.
    #[error("not a line of Nomad's event stream (at byte {column} of {bytes})")]
    NotABatch {
        /// Where that showed.
        column: usize,
        /// The length of the line.
        bytes: usize,
    },
    /// It has more than [`MAX_EVENTS`] events, or an event with more than [`MAX_FILTER_KEYS`] filter keys.
    #[error(
        "more than {MAX_EVENTS} events, or {MAX_FILTER_KEYS} filter keys of one, in {bytes} bytes"
    )]
    TooManyEvents {
        /// The index of the line, where it has a good one.
        index: Option<RaftIndex>,
        /// The length of the line.
        bytes: usize,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireBatch<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    events: Option<Bounded<WireEvent<'a>, MAX_EVENTS>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireEvent<'a> {
    #[serde(borrow, default)]
    topic: Cow<'a, str>,
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    filter_keys: Option<Bounded<Key<'a>, MAX_FILTER_KEYS>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// A string that is borrowed where it can be, also inside a list.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A list of at most so many items. What a longer one holds is passed over and not kept, so that the rest of the line, and
/// its index, can be read all the same.
enum Bounded<T, const MAX: usize> {
    List(Vec<T>),
    TooLong,
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while list.len() < MAX {
                    match items.next_element()? {
                        Some(item) => list.push(item),
                        None => return Ok(Bounded::List(list)),
                    }
                }
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Bounded::List(list));
                }
                drop(list);
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Bounded::TooLong)
            }
        }
        deserializer.deserialize_seq(Items(std::marker::PhantomData))
    }
}

/// Reads the envelope of a line; strings and payloads become slices of it.
///
/// # Errors
///
/// [`EnvelopeError`] when the line is not JSON, or has not the shape of a batch.
pub fn parse(line: &Bytes) -> Result<Line, EnvelopeError> {
    if line.as_ref() == b"{}" {
        return Ok(Line::Heartbeat);
    }
    let bytes = line.len();
    // Checked once for the whole line, which is quicker than for each string in it.
    let text = std::str::from_utf8(line).map_err(|error| EnvelopeError::NotABatch {
        column: error.valid_up_to(),
        bytes,
    })?;
    let wire: WireBatch<'_> =
        serde_json::from_str(text).map_err(|error| EnvelopeError::NotABatch {
            column: error.column(),
            bytes,
        })?;
    // Without an index an event has no place in the order, and nothing could be resumed or proved from it.
    let index = wire
        .index
        .map(RaftIndex)
        .filter(|index| index.can_be_asked_for());
    let too_many = EnvelopeError::TooManyEvents { index, bytes };
    let events = match wire.events {
        Some(Bounded::TooLong) => return Err(too_many),
        None => return Ok(Line::Heartbeat),
        Some(Bounded::List(events)) if events.is_empty() => return Ok(Line::Heartbeat),
        Some(Bounded::List(events)) => events,
    };
    let index = index.ok_or(EnvelopeError::NotABatch {
        column: bytes,
        bytes,
    })?;
    let events: Option<Vec<RawEvent>> = events
        .into_iter()
        .map(|event| raw_event(line, event))
        .collect();
    let events = events.ok_or(too_many)?;
    Ok(Line::Batch(Envelope { index, events }))
}

/// The event with slices of the line; `None` when it has too many filter keys.
fn raw_event(line: &Bytes, event: WireEvent<'_>) -> Option<RawEvent> {
    let filter_keys = match event.filter_keys {
        None => None,
        Some(Bounded::TooLong) => return None,
        Some(Bounded::List(keys)) => {
            Some(keys.into_iter().map(|Key(key)| slice(line, key)).collect())
        }
    };
    Some(RawEvent {
        topic: slice(line, event.topic),
        event_type: slice(line, event.r#type),
        key: slice(line, event.key),
        namespace: slice(line, event.namespace),
        filter_keys,
        payload: event.payload.map_or(Bytes::from_static(b"null"), |raw| {
            line.slice_ref(raw.get().as_bytes())
        }),
    })
}

/// A slice of the line where the text stands there unescaped, a copy otherwise.
fn slice(line: &Bytes, text: Cow<'_, str>) -> ByteString {
    match text {
        Cow::Borrowed(slice) => ByteString::try_from(line.slice_ref(slice.as_bytes()))
            .unwrap_or_else(|_| ByteString::from(slice)),
        Cow::Owned(owned) => ByteString::from(owned),
    }
}

/// The index of a line that was too long to keep, from one of its edges.
///
/// Every event of a batch repeats the batch's index, so any of them will do; one that the edge cuts short will not.
#[must_use]
pub fn index_of_discarded(line: &TooLong) -> Option<RaftIndex> {
    first_index(&line.head).or_else(|| first_index(&line.tail))
}

fn first_index(edge: &[u8]) -> Option<RaftIndex> {
    const KEY: &[u8] = b"\"Index\":";
    memchr::memmem::find_iter(edge, KEY).find_map(|place| {
        let digits = &edge[place + KEY.len()..];
        let length = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        // What follows the number must be in sight, or the number may go on.
        digits.get(length)?;
        std::str::from_utf8(&digits[..length])
            .ok()?
            .parse()
            .ok()
            .map(RaftIndex)
    })
}

#[cfg(test)]
mod random;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &'static str) -> Envelope {
        match parse(&Bytes::from_static(text.as_bytes())) {
            Ok(Line::Batch(envelope)) => envelope,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let release = batch(
            r#"{"Index":8,"Events":[{"Topic":"Node","Type":"NodeRegistration","Key":"n","Namespace":"","FilterKeys":null,"Index":8,"Payload":{"Node":{}}}]}"#,
        );
        let plain = batch(
            r#"{"Events":[{"FilterKeys":null,"Index":8,"Key":"n","Namespace":"","Payload":{"Node":{}},"Topic":"Node","Type":"NodeRegistration"}],"Index":8}"#,
        );
        assert_eq!(release, plain);
        assert_eq!(release.events[0].payload, r#"{"Node":{}}"#);
        assert_eq!(release.events[0].filter_keys, None);
    }

    #[test]
    fn text_is_a_slice_of_the_line_unless_it_is_escaped() {
        let line = Bytes::from_static(
            br#"{"Index":1,"Events":[{"Topic":"Job","Key":"a\u0062","FilterKeys":["x",""],"Payload":{"Job":{"ID":"ab"}}}]}"#,
        );
        let Ok(Line::Batch(envelope)) = parse(&line) else {
            panic!()
        };
        let event = &envelope.events[0];
        assert_eq!(event.key, "ab");
        let keys = event.filter_keys.as_ref().unwrap();
        assert_eq!((&*keys[0], &*keys[1]), ("x", ""));
        let range = line.as_ptr_range();
        assert!(range.contains(&event.topic.as_bytes().as_ptr()));
        assert!(range.contains(&event.payload.as_ptr()));
        assert!(!range.contains(&event.key.as_bytes().as_ptr()));
    }

    #[test]
    fn heartbeats_and_empty_batches_are_heartbeats() {
        for text in [
            "{}",
            "{ }",
            r#"{"Index":5,"Events":[]}"#,
            r#"{"Index":5,"Events":null}"#,
        ] {
            assert_eq!(
                parse(&Bytes::from_static(text.as_bytes())),
                Ok(Line::Heartbeat)
            );
        }
    }

    #[test]
    fn a_line_of_countless_events_is_left_before_they_are_built() {
        let line = |events: usize, head: &str, tail: &str| {
            let events = vec!["{}"; events].join(",");
            Bytes::from(format!(r#"{{{head}"Events":[{events}]{tail}}}"#))
        };
        for (head, tail) in [(r#""Index":7,"#, ""), ("", r#","Index":7"#)] {
            let Ok(Line::Batch(most)) = parse(&line(MAX_EVENTS, head, tail)) else {
                panic!("refused")
            };
            assert_eq!(most.events.len(), MAX_EVENTS);
            let long = line(MAX_EVENTS + 1, head, tail);
            assert_eq!(
                parse(&long),
                Err(EnvelopeError::TooManyEvents {
                    index: Some(RaftIndex(7)),
                    bytes: long.len()
                })
            );
        }
        let keys = |count: usize| {
            let keys = vec![r#""""#; count].join(",");
            Bytes::from(format!(
                r#"{{"Index":7,"Events":[{{"FilterKeys":[{keys}],"Topic":"Job"}}]}}"#
            ))
        };
        assert!(parse(&keys(MAX_FILTER_KEYS)).is_ok());
        assert!(matches!(
            parse(&keys(MAX_FILTER_KEYS + 1)),
            Err(EnvelopeError::TooManyEvents {
                index: Some(RaftIndex(7)),
                ..
            })
        ));
        // What follows too many events is still to be JSON.
        let broken = line(MAX_EVENTS + 1, "", ",").slice(..);
        assert!(matches!(
            parse(&broken),
            Err(EnvelopeError::NotABatch { .. })
        ));
    }

    #[test]
    fn a_bad_line_is_an_error_that_shows_nothing_of_it() {
        for text in [
            "hunter2",
            r#"{"Index":5,"Events":[{"Topic":"Job","Payload":{"hunter2":NaN}}]}"#,
            r#"{"Index":5,"Events":[{"Topic":"hunter2""#,
            r#"{"Index":-5,"Events":[{"Topic":"Job","Key":"hunter2"}]}"#,
            r#"{"Events":[{"Topic":"Job","Key":"hunter2"}]}"#,
            // Nomad would refuse to be asked for it, at every attempt to resume there.
            r#"{"Index":9223372036854775808,"Events":[{"Topic":"Job","Key":"hunter2"}]}"#,
            "{\"Index\":5,\"Events\":[{\"Topic\":\"\u{1}hunter2\"}]}",
        ] {
            let error = parse(&Bytes::from_static(text.as_bytes())).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        assert!(
            parse(&Bytes::from_static(
                b"{\"Index\":5,\"Events\":[{\"Topic\":\"\xff\"}]}"
            ))
            .is_err()
        );
    }

    #[test]
    fn the_index_of_a_discarded_line_is_read_from_its_edges() {
        let discarded = |head: &'static str, tail: &'static str| TooLong {
            bytes: 1 << 30,
            head: Bytes::from_static(head.as_bytes()),
            tail: Bytes::from_static(tail.as_bytes()),
        };
        for (head, tail, index) in [
            (r#"{"Index":811,"Events":[{"To"#, "...", Some(811)),
            (r#"{"Events":[{"Fi"#, r#"],"Index":812}"#, Some(812)),
            // A number that the edge cuts is not believed.
            (r#"{"Index":81"#, r#"}],"Index":813}"#, Some(813)),
            (r#"{"Index":81"#, "...", None),
            ("", "", None),
            (r#"{"Index":99999999999999999999999,"#, "", None),
        ] {
            assert_eq!(
                index_of_discarded(&discarded(head, tail)),
                index.map(RaftIndex),
                "{head} {tail}"
            );
        }
    }
}
