//! Lines of the stream: building them as one or the other build of Nomad does, and cutting them into events for a filter.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A line could not be built or understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The line, or a payload put into it, is not what Nomad could have sent.
    #[error("not a batch of events")]
    NotABatch(#[source] serde_json::Error),
    /// The batch is longer already than the length asked for.
    #[error("the batch has {length} bytes, more than the {asked} asked for")]
    TooLong {
        /// Bytes without any padding.
        length: usize,
        /// Bytes asked for.
        asked: usize,
    },
}

/// In which order a build of Nomad writes the keys of its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyOrder {
    /// HashiCorp's releases: the order of declaration, the batch's `Index` first.
    #[default]
    Release,
    /// A plain `go build`: sorted, the batch's `Index` last.
    Sorted,
}

/// One event of a line to be built.
///
/// Unless told otherwise it is in the namespace `default`, has the filter keys `null` and an empty payload.
#[derive(Clone, Debug)]
pub struct EventText {
    topic: String,
    event_type: String,
    key: String,
    namespace: String,
    filter_keys: Option<Vec<String>>,
    payload: String,
}

impl EventText {
    /// An event of `topic` and `event_type` about the object `key`.
    #[must_use]
    pub fn new(topic: &str, event_type: &str, key: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            event_type: event_type.to_owned(),
            key: key.to_owned(),
            namespace: super::DEFAULT_NAMESPACE.to_owned(),
            filter_keys: None,
            payload: "{}".to_owned(),
        }
    }

    /// Puts it into another namespace; `""` for what has none, as nodes.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Gives it other keys that a topic filter matches.
    #[must_use]
    pub fn filter_keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.filter_keys = Some(keys.into_iter().map(str::to_owned).collect());
        self
    }

    /// Gives it a payload, JSON text; it is put into the line byte for byte.
    #[must_use]
    pub fn payload(mut self, json: impl Into<String>) -> Self {
        self.payload = json.into();
        self
    }
}

/// A line to be built: the events of one transaction.
///
/// # Examples
///
/// ```
/// use nomad_events::testing::nomad::{BatchText, EventText, KeyOrder};
///
/// let batch = BatchText::new(7).event(EventText::new("Job", "JobRegistered", "web"));
/// let line = batch.key_order(KeyOrder::Sorted).to_bytes()?;
/// assert!(line.starts_with(br#"{"Events":[{"FilterKeys":null,"Index":7,"Key":"web","Namespace":"default""#));
/// # Ok::<(), nomad_events::testing::nomad::LineError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchText {
    index: u64,
    order: KeyOrder,
    events: Vec<EventText>,
    length: Option<usize>,
}

impl BatchText {
    /// A line with this Raft index and no event yet.
    #[must_use]
    pub fn new(index: u64) -> Self {
        Self {
            index,
            order: KeyOrder::default(),
            events: Vec::new(),
            length: None,
        }
    }

    /// Adds an event.
    #[must_use]
    pub fn event(mut self, event: EventText) -> Self {
        self.events.push(event);
        self
    }

    /// Writes the keys in this order.
    #[must_use]
    pub fn key_order(mut self, order: KeyOrder) -> Self {
        self.order = order;
        self
    }

    /// Makes the line exactly this long (without its newline), by a payload `{"Padding":"xxx..."}` of its last event.
    #[must_use]
    pub fn padded_to(mut self, bytes: usize) -> Self {
        self.length = Some(bytes);
        self
    }

    /// The text of the line, without its newline.
    ///
    /// # Errors
    ///
    /// A payload is not JSON, or the line is longer than it was to be padded to (or has no event to pad).
    pub fn to_bytes(&self) -> Result<Bytes, LineError> {
        let Some(asked) = self.length else {
            return self.build();
        };
        let mut padded = self.clone();
        let pad = |batch: &mut Self, bytes: usize| {
            if let Some(event) = batch.events.last_mut() {
                event.payload = format!(r#"{{"Padding":"{}"}}"#, "x".repeat(bytes));
            }
        };
        pad(&mut padded, 0);
        let length = padded.build()?.len();
        let missing = asked
            .checked_sub(length)
            .filter(|_| !self.events.is_empty())
            .ok_or(LineError::TooLong { length, asked })?;
        pad(&mut padded, missing);
        padded.build()
    }

    fn build(&self) -> Result<Bytes, LineError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Release<'a> {
            topic: &'a str,
            r#type: &'a str,
            key: &'a str,
            namespace: &'a str,
            filter_keys: Option<&'a [String]>,
            index: u64,
            payload: &'a RawValue,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Sorted<'a> {
            filter_keys: Option<&'a [String]>,
            index: u64,
            key: &'a str,
            namespace: &'a str,
            payload: &'a RawValue,
            topic: &'a str,
            r#type: &'a str,
        }
        let events = self.events.iter().map(|event| {
            let payload: &RawValue = serde_json::from_str(&event.payload)?;
            let (topic, event_type) = (&event.topic, &event.event_type);
            let (key, namespace) = (&event.key, &event.namespace);
            let filter_keys = event.filter_keys.as_deref();
            match self.order {
                KeyOrder::Release => serde_json::to_vec(&Release {
                    topic,
                    r#type: event_type,
                    key,
                    namespace,
                    filter_keys,
                    index: self.index,
                    payload,
                }),
                KeyOrder::Sorted => serde_json::to_vec(&Sorted {
                    filter_keys,
                    index: self.index,
                    key,
                    namespace,
                    payload,
                    topic,
                    r#type: event_type,
                }),
            }
        });
        let events: Vec<Vec<u8>> = events
            .collect::<Result<_, _>>()
            .map_err(LineError::NotABatch)?;
        Ok(join(self.index, self.order, &events))
    }
}

/// A line as the fake server keeps it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The batch's `Index`.
    pub(super) index: u64,
    /// The whole line, without its newline.
    pub(super) text: Bytes,
    /// Its events; `None` for a line that goes to every subscriber as it is.
    pub(super) events: Option<Vec<LineEvent>>,
    order: KeyOrder,
}

/// What a filter has to know of an event, and its text.
#[derive(Clone, Debug)]
pub(super) struct LineEvent {
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) namespace: String,
    pub(super) filter_keys: Vec<String>,
    text: Bytes,
}

impl Line {
    /// Cuts a line into its events.
    ///
    /// # Errors
    ///
    /// The line is not a batch.
    pub(super) fn parse(text: Bytes) -> Result<Self, LineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Batch<'a> {
            index: u64,
            #[serde(borrow)]
            events: Vec<&'a RawValue>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Envelope<'a> {
            #[serde(borrow)]
            topic: Cow<'a, str>,
            #[serde(borrow)]
            key: Cow<'a, str>,
            #[serde(borrow)]
            namespace: Cow<'a, str>,
            filter_keys: Option<Vec<String>>,
        }
        let batch: Batch<'_> = serde_json::from_slice(&text).map_err(LineError::NotABatch)?;
        let events = batch.events.iter().map(|raw| {
            let envelope: Envelope<'_> = serde_json::from_str(raw.get())?;
            Ok(LineEvent {
                topic: envelope.topic.into_owned(),
                key: envelope.key.into_owned(),
                namespace: envelope.namespace.into_owned(),
                filter_keys: envelope.filter_keys.unwrap_or_default(),
                text: text.slice_ref(raw.get().as_bytes()),
            })
        });
        let events = events
            .collect::<Result<_, serde_json::Error>>()
            .map_err(LineError::NotABatch)?;
        let order = if text.starts_with(br#"{"Index""#) {
            KeyOrder::Release
        } else {
            KeyOrder::Sorted
        };
        Ok(Self {
            index: batch.index,
            events: Some(events),
            order,
            text: text.clone(),
        })
    }

    /// A line that nobody looks into: it goes to every subscriber.
    pub(super) fn opaque(index: u64, text: Bytes) -> Self {
        Self {
            index,
            text,
            events: None,
            order: KeyOrder::default(),
        }
    }

    /// The line with only these of its events, each as often as it is named, in the line's own key order.
    pub(super) fn with_events<'a>(&'a self, events: impl Iterator<Item = &'a LineEvent>) -> Bytes {
        let events: Vec<&[u8]> = events.map(|event| event.text.as_ref()).collect();
        join(self.index, self.order, &events)
    }
}

fn join(index: u64, order: KeyOrder, events: &[impl AsRef<[u8]>]) -> Bytes {
    let bytes: usize = events.iter().map(|event| event.as_ref().len() + 1).sum();
    // Room for both keys, the brackets and a u64.
    let mut line = Vec::with_capacity(bytes + 48);
    if order == KeyOrder::Release {
        line.extend_from_slice(format!(r#"{{"Index":{index},"Events":["#).as_bytes());
    } else {
        line.extend_from_slice(br#"{"Events":["#);
    }
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        line.extend_from_slice(event.as_ref());
    }
    if order == KeyOrder::Release {
        line.extend_from_slice(b"]}");
    } else {
        line.extend_from_slice(format!(r#"],"Index":{index}}}"#).as_bytes());
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::recording::Recording;

    fn batch() -> BatchText {
        BatchText::new(8)
            .event(EventText::new("Node", "NodeDrain", "n1").namespace(""))
            .event(
                EventText::new("Allocation", "PlanResult", "a\"1")
                    .filter_keys(["web", ""])
                    .payload(r#"{"Allocation": {"ModifyTime":1795343466358977475}}"#),
            )
    }

    #[test]
    fn both_builds_of_nomad_are_imitated_to_the_byte() {
        let release = r#"{"Index":8,"Events":[{"Topic":"Node","Type":"NodeDrain","Key":"n1","Namespace":"","FilterKeys":null,"Index":8,"Payload":{}},{"Topic":"Allocation","Type":"PlanResult","Key":"a\"1","Namespace":"default","FilterKeys":["web",""],"Index":8,"Payload":{"Allocation": {"ModifyTime":1795343466358977475}}}]}"#;
        let sorted = r#"{"Events":[{"FilterKeys":null,"Index":8,"Key":"n1","Namespace":"","Payload":{},"Topic":"Node","Type":"NodeDrain"},{"FilterKeys":["web",""],"Index":8,"Key":"a\"1","Namespace":"default","Payload":{"Allocation": {"ModifyTime":1795343466358977475}},"Topic":"Allocation","Type":"PlanResult"}],"Index":8}"#;
        assert_eq!(batch().to_bytes().unwrap(), release);
        let line = batch().key_order(KeyOrder::Sorted).to_bytes().unwrap();
        assert_eq!(line, sorted);
    }

    #[test]
    fn a_line_with_all_its_events_is_the_same_line_in_either_order() {
        for order in [KeyOrder::Release, KeyOrder::Sorted] {
            let text = batch().key_order(order).to_bytes().unwrap();
            let line = Line::parse(text.clone()).unwrap();
            let events = line.events.as_ref().unwrap();
            assert_eq!(events[1].key, "a\"1");
            assert_eq!(events[1].filter_keys, ["web", ""]);
            assert_eq!(line.with_events(events.iter()), text);
        }
        for text in Recording::sample().batches() {
            let line = Line::parse(text.clone()).unwrap();
            assert_eq!(line.with_events(line.events.iter().flatten()), text);
        }
    }

    #[test]
    fn padding_makes_a_line_exactly_as_long_as_asked() {
        for order in [KeyOrder::Release, KeyOrder::Sorted] {
            let line = batch().key_order(order).padded_to(100_000).to_bytes();
            let line = line.unwrap();
            assert_eq!(line.len(), 100_000);
            assert_eq!(Line::parse(line).unwrap().index, 8);
        }
        let too_long = batch().padded_to(20).to_bytes().unwrap_err();
        assert!(matches!(too_long, LineError::TooLong { asked: 20, .. }));
        let nothing_to_pad = BatchText::new(1).padded_to(1000).to_bytes().unwrap_err();
        assert!(matches!(nothing_to_pad, LineError::TooLong { .. }));
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let event = EventText::new("Job", "JobRegistered", "web").payload("{");
        let built = BatchText::new(1).event(event).to_bytes();
        assert!(matches!(built, Err(LineError::NotABatch(_))));
        for text in [
            "",
            "{}",
            r#"{"Index":1,"Events":[{}]}"#,
            r#"{"Index":-1,"Events":[]}"#,
        ] {
            assert!(
                Line::parse(Bytes::from_static(text.as_bytes())).is_err(),
                "{text}"
            );
        }
    }
}
