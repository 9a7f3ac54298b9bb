//! An event as a tree: the log event that users see.

use std::fmt;
use std::fmt::Write as _;

use bytes::Bytes;
use chrono::DateTime;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use twox_hash::XxHash3_128;
use vrl::value::value::ObjectMap;
use vrl::value::{KeyString, Value};

use super::redact::{may_need_redaction, redact};
use crate::event::Event;

/// Vector's field for the kind of source, and ours in it.
pub const SOURCE_TYPE: &str = "nomad_events";

/// Makes log events of events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shaper {
    redact: bool,
    region: Option<Bytes>,
}

impl Shaper {
    /// Makes a shaper; `redact` replaces secrets by `[REDACTED]`, `region` fills the field `nomad.region`.
    #[must_use]
    pub fn new(redact: bool, region: Option<&str>) -> Self {
        Self {
            redact,
            region: region.map(|region| Bytes::copy_from_slice(region.as_bytes())),
        }
    }

    /// The log event: Nomad's own fields `Topic`, `Type`, `Key`, `Namespace`, `FilterKeys`, `Index`, `Payload`, and ours:
    /// `timestamp`, `nomad.timestamp_source`, `nomad.event_id`, `nomad.origin`, `nomad.region`, `source_type`.
    ///
    /// Texts are slices of the line, so the line stays in memory as long as one of them. A payload that cannot be read as a
    /// tree (nested deeper than 128 levels, a number beyond every range) becomes `null`, and `nomad.payload_error` says so:
    /// the event itself is not lost.
    #[must_use]
    pub fn log_event(&self, event: &Event) -> Value {
        let (payload, payload_error) = match parse(&event.payload) {
            Ok(mut payload) => {
                if self.redact && may_need_redaction(&event.payload) {
                    redact(&mut payload);
                }
                (payload, None)
            }
            Err(error) => {
                let problem = format!(
                    "payload of {} bytes not readable at byte {}",
                    event.payload.len(),
                    error.column()
                );
                (Value::Null, Some(problem))
            }
        };

        let mut nomad = vec![
            (key("event_id"), text(&event_id(event, &payload))),
            (key("origin"), constant(event.origin.as_str())),
        ];
        if let Some(problem) = payload_error {
            nomad.push((key("payload_error"), text(&problem)));
        }
        if let Some(region) = &self.region {
            nomad.push((key("region"), Value::Bytes(region.clone())));
        }
        nomad.push((
            key("timestamp_source"),
            constant(event.time.source.as_str()),
        ));

        let filter_keys = event.filter_keys.as_ref().map_or(Value::Null, |keys| {
            Value::Array(
                keys.iter()
                    .map(|key| Value::Bytes(key.as_bytes().clone()))
                    .collect(),
            )
        });
        Value::Object(ObjectMap::from_iter([
            (key("FilterKeys"), filter_keys),
            (key("Index"), exact(event.index.0)),
            (key("Key"), Value::Bytes(event.key.as_bytes().clone())),
            (
                key("Namespace"),
                Value::Bytes(event.namespace.as_bytes().clone()),
            ),
            (key("Payload"), payload),
            (key("Topic"), Value::Bytes(event.topic.as_bytes().clone())),
            (
                key("Type"),
                Value::Bytes(event.event_type.as_bytes().clone()),
            ),
            (key("nomad"), Value::Object(ObjectMap::from_iter(nomad))),
            (key("source_type"), constant(SOURCE_TYPE)),
            (
                key("timestamp"),
                Value::Timestamp(DateTime::from_timestamp_nanos(event.time.nanos)),
            ),
        ]))
    }
}

fn key(name: &str) -> KeyString {
    KeyString::from(name)
}

fn constant(text: &'static str) -> Value {
    Value::Bytes(Bytes::from_static(text.as_bytes()))
}

fn text(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

/// An unsigned number as an integer, or as its digits where it does not fit one: a float would round it.
fn exact(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| text(&number.to_string()), Value::Integer)
}

/// 32 hexadecimal digits over index, topic, type, namespace, key and the payload as shipped. Maps are hashed in the order of
/// their keys, so that the same event has the same ID however often, and from whichever server, it is read.
fn event_id(event: &Event, payload: &Value) -> String {
    let mut canonical = Vec::with_capacity(event.payload.len() + 256);
    canonical.extend_from_slice(&event.index.0.to_le_bytes());
    for part in [
        &event.topic,
        &event.event_type,
        &event.namespace,
        &event.key,
    ] {
        write_text(&mut canonical, part.as_bytes());
    }
    write_value(&mut canonical, payload);
    let mut id = String::with_capacity(32);
    // Writing into a String cannot fail.
    let _ = write!(id, "{:032x}", XxHash3_128::oneshot(&canonical));
    id
}

/// Writes a value so that different values give different bytes: a tag for the type, then lengths before what they count.
fn write_value(into: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => into.push(0),
        Value::Boolean(yes) => into.extend_from_slice(&[1, u8::from(*yes)]),
        Value::Integer(number) => {
            into.push(2);
            into.extend_from_slice(&number.to_le_bytes());
        }
        Value::Float(number) => {
            into.push(3);
            into.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::Bytes(text) => {
            into.push(4);
            write_text(into, text);
        }
        Value::Array(array) => {
            into.push(5);
            into.extend_from_slice(&(array.len() as u64).to_le_bytes());
            for value in array {
                write_value(into, value);
            }
        }
        Value::Object(object) => {
            into.push(6);
            into.extend_from_slice(&(object.len() as u64).to_le_bytes());
            for (key, value) in object {
                write_text(into, key.as_bytes());
                write_value(into, value);
            }
        }
        // JSON has neither; their text keeps the function total.
        Value::Timestamp(_) | Value::Regex(_) => {
            into.push(7);
            write_text(into, value.to_string_lossy().as_bytes());
        }
    }
}

fn write_text(into: &mut Vec<u8>, text: &[u8]) {
    into.extend_from_slice(&(text.len() as u64).to_le_bytes());
    into.extend_from_slice(text);
}

/// Reads JSON text as a tree whose texts are slices of it.
fn parse(json: &Bytes) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Tree { json }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Tree<'a> {
    json: &'a Bytes,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Boolean(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(exact(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from_f64_or_zero(number))
    }

    fn visit_borrowed_str<E>(self, slice: &'de str) -> Result<Value, E> {
        Ok(Value::Bytes(self.json.slice_ref(slice.as_bytes())))
    }

    fn visit_str<E>(self, unescaped: &str) -> Result<Value, E> {
        Ok(text(unescaped))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        // A tree built from all entries at once is denser, and sooner done, than one grown entry by entry.
        let mut entries: Vec<(KeyString, Value)> = Vec::new();
        while let Some(entry) = map.next_key::<KeyString>()? {
            entries.push((entry, map.next_value_seed(self)?));
        }
        Ok(Value::Object(ObjectMap::from_iter(entries)))
    }
}

#[cfg(test)]
mod tests;
