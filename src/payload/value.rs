//! An event as a tree: the log event that users see.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use twox_hash::XxHash3_128;
use vrl::value::value::ObjectMap;
use vrl::value::{KeyString, Value};

use super::redact::{Place, may_need_redaction};
use super::tree::{self, Treatment};
use super::wanted::Wanted;
use crate::changes::{Changes, JobChanges};
use crate::event::Event;

/// Vector's field for the kind of source, and ours in it.
pub const SOURCE_TYPE: &str = "nomad_events";

/// The parts of a log event.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Nomad's own fields: `Topic`, `Type`, `Key`, `Namespace`, `FilterKeys`, `Index`, `Payload`.
    pub fields: ObjectMap,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// What stands under `nomad`: `event_id`, `origin`, `timestamp_source`, and `region`, `payload_error`, `changes` and
    /// `changes_error` where there is one.
    pub nomad: ObjectMap,
}

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
        self.log_event_with(event, &Wanted::All)
    }

    /// The same, with only the wanted parts of the payload. All else is the same, the event's ID too.
    #[must_use]
    pub fn log_event_with(&self, event: &Event, wanted: &Wanted) -> Value {
        let Parts {
            fields: mut log_event,
            timestamp,
            nomad,
        } = self.parts_with(event, wanted);
        log_event.insert(key("nomad"), Value::Object(nomad));
        log_event.insert(key("source_type"), constant(SOURCE_TYPE));
        log_event.insert(key("timestamp"), Value::Timestamp(timestamp));
        Value::Object(log_event)
    }

    /// The parts of the log event, for a host whose users decide where some of them go.
    #[must_use]
    pub fn parts(&self, event: &Event) -> Parts {
        self.parts_with(event, &Wanted::All)
    }

    fn parts_with(&self, event: &Event, wanted: &Wanted) -> Parts {
        let treatment = if self.redact && may_need_redaction(&event.payload) {
            Treatment::Show(Place::Root)
        } else {
            Treatment::Clear
        };
        let (payload, payload_hash, payload_error) =
            match tree::read(&event.payload, treatment, wanted) {
                Ok(tree) => (tree.value, tree.hash, None),
                Err(error) => {
                    let problem = format!(
                        "payload of {} bytes not readable at byte {}",
                        event.payload.len(),
                        error.column()
                    );
                    (Value::Null, 0, Some(problem))
                }
            };

        let mut nomad = vec![
            (key("event_id"), text(&event_id(event, payload_hash))),
            (key("origin"), constant(event.origin.as_str())),
        ];
        match event.changes.as_deref() {
            Some(Changes::Known(changes)) => nomad.push((key("changes"), changed(changes))),
            Some(Changes::Unknown(why)) => nomad.push((key("changes_error"), text(why))),
            None => {}
        }
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
        Parts {
            fields: ObjectMap::from_iter([
                (key("FilterKeys"), filter_keys),
                (key("Index"), integer(event.index.0)),
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
            ]),
            timestamp: DateTime::from_timestamp_nanos(event.time.nanos),
            nomad: ObjectMap::from_iter(nomad),
        }
    }
}

/// What stands under `nomad.changes`.
fn changed(changes: &JobChanges) -> Value {
    let fields = changes.fields.iter().map(|field| {
        let mut object = ObjectMap::from_iter([
            (key("name"), text(&field.name)),
            (key("new"), text(&field.new)),
            (key("old"), text(&field.old)),
            (key("type"), constant(field.kind.as_str())),
        ]);
        for (name, value) in [("task_group", &field.task_group), ("task", &field.task)] {
            if let Some(value) = value {
                object.insert(key(name), text(value));
            }
        }
        Value::Object(object)
    });
    let mut object = ObjectMap::from_iter([
        (key("fields"), Value::Array(fields.collect())),
        (key("previous_version"), integer(changes.previous_version)),
        (key("version"), integer(changes.version)),
    ]);
    if changes.fields_left_out > 0 {
        let left_out = u64::try_from(changes.fields_left_out).unwrap_or(u64::MAX);
        object.insert(key("fields_left_out"), integer(left_out));
    }
    Value::Object(object)
}

fn key(name: &str) -> KeyString {
    KeyString::from(name)
}

/// The number as an integer, or as its digits where it does not fit one, which Nomad's never do.
fn integer(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| text(&number.to_string()), Value::Integer)
}

fn constant(text: &'static str) -> Value {
    Value::Bytes(Bytes::from_static(text.as_bytes()))
}

fn text(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

/// 32 hexadecimal digits over index, topic, type, namespace, key and the hash of the payload as shipped. The same event has
/// the same ID however often, and from whichever server, it is read.
fn event_id(event: &Event, payload: u128) -> String {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&event.index.0.to_le_bytes());
    for part in [
        &event.topic,
        &event.event_type,
        &event.namespace,
        &event.key,
    ] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(&payload.to_le_bytes());
    format!("{:032x}", XxHash3_128::oneshot(&bytes))
}

#[cfg(test)]
mod tests;
