//! The table of all fields of all payloads, and the rules of redaction held to it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{raw, recording};
use crate::envelope::{self, Line};
use crate::event::RaftIndex;
use crate::payload::mask::{Kind, REDACTED, masked};
use crate::payload::time::{EventTime, TimeSource};
use crate::payload::value::Shaper;

const TABLE: &str = include_str!("../../tests/fixtures/fields.tsv");

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Masked,
    Redacted,
}

/// A step on the way from a payload to a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    AnyKey,
    Element,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) topic: String,
    pub(super) path: Vec<Step>,
    pub(super) json_type: String,
    pub(super) fate: Fate,
}

/// What may stand at a place.
#[derive(Clone, Debug, Default)]
struct Node {
    below: BTreeMap<Step, Node>,
    leaf: Option<(Fate, String)>,
}

/// The lines of the table.
pub(super) static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let mut topic = None;
    let mut fields = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with("//")) {
        if let Some(name) = line.strip_prefix("# ") {
            topic = Some(name);
            continue;
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let fate = match cells[2] {
            "kept" => Fate::Kept,
            "masked" => Fate::Masked,
            "redacted" => Fate::Redacted,
            other => panic!("{line}: {other:?} is no fate"),
        };
        assert!(
            fate == Fate::Kept || cells.len() == 4,
            "{line}: says nothing of the reason"
        );
        fields.push(Field {
            topic: topic.unwrap().to_owned(),
            path: steps(cells[0]),
            json_type: cells[1].to_owned(),
            fate,
        });
    }
    fields
});

static TOPICS: LazyLock<BTreeMap<&str, Node>> = LazyLock::new(|| {
    let mut topics = BTreeMap::<&str, Node>::new();
    for field in FIELDS.iter() {
        let mut node = topics.entry(&field.topic).or_default();
        for step in &field.path {
            node = node.below.entry(step.clone()).or_default();
        }
        let leaf = node.leaf.replace((field.fate, field.json_type.clone()));
        assert!(leaf.is_none(), "{:?} is listed twice", field.path);
    }
    topics
});

fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let name = part.trim_end_matches("[]");
        steps.push(match name {
            "*" => Step::AnyKey,
            name => Step::Field(name.to_owned()),
        });
        let elements = (part.len() - name.len()) / "[]".len();
        steps.extend(std::iter::repeat_n(Step::Element, elements));
    }
    steps
}

impl Node {
    /// The node of a key: listed by its name, or by that of any.
    fn key(&self, name: &str) -> Option<&Self> {
        self.below
            .get(&Step::Field(name.to_owned()))
            .or_else(|| self.below.get(&Step::AnyKey))
    }

    /// Compares a value with what is shown of it, and says what is wrong.
    fn compare(&self, before: &Value, after: &Value, path: &str, wrong: &mut Vec<String>) {
        if let Some((fate, json_type)) = &self.leaf
            && (json_type == "any" || !is_structure(before))
        {
            return compare_leaf(*fate, before, after, path, wrong);
        }
        if self.leaf.as_ref().is_some_and(|leaf| leaf.1 == "Job") {
            return TOPICS["Job"]
                .key("Job")
                .unwrap()
                .compare(before, after, path, wrong);
        }
        let hidden = json!(REDACTED);
        match before {
            // What is empty says nothing, and what Nomad has no value for is null.
            Value::Null => compare_leaf(Fate::Kept, before, after, path, wrong),
            Value::Object(entries) => {
                for (name, value) in entries {
                    let shown = match after {
                        Value::Object(shown) => shown.get(name).unwrap_or(&Value::Null),
                        other => other,
                    };
                    let path = format!("{path}.{name}");
                    match self.key(name) {
                        Some(node) => node.compare(value, shown, &path, wrong),
                        None if *after == hidden => {}
                        None => wrong.push(format!("{path} is not listed")),
                    }
                }
            }
            Value::Array(elements) => {
                let path = format!("{path}[]");
                let Some(node) = self.below.get(&Step::Element) else {
                    if !elements.is_empty() {
                        wrong.push(format!("{path} is not listed"));
                    }
                    return;
                };
                for (place, value) in elements.iter().enumerate() {
                    let shown = match after {
                        Value::Array(shown) => shown.get(place).unwrap_or(&Value::Null),
                        other => other,
                    };
                    node.compare(value, shown, &path, wrong);
                }
            }
            _ => wrong.push(format!("{path} is not listed as a value")),
        }
    }
}

fn is_structure(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn compare_leaf(fate: Fate, before: &Value, after: &Value, path: &str, wrong: &mut Vec<String>) {
    let right = match (fate, before) {
        (Fate::Redacted, before) if is_empty(before) => after == before,
        (Fate::Redacted, _) => *after == json!(REDACTED),
        (fate, Value::String(text)) => {
            let kinds: &[Kind] = match fate {
                Fate::Kept => &[Kind::Text],
                _ => &[Kind::Message, Kind::Address],
            };
            kinds
                .iter()
                .any(|kind| *after == json!(masked(text, *kind).unwrap_or_else(|| text.clone())))
        }
        _ => after == before,
    };
    if !right {
        wrong.push(format!("{path} ({fate:?}) is shown as {after}"));
    }
}

/// The payload as a user sees it by default.
pub(super) fn shown(topic: &str, payload: &str) -> String {
    let received = EventTime {
        nanos: 1,
        source: TimeSource::Receipt,
    };
    let event = super::event(raw(topic, payload.as_bytes()), RaftIndex(5), received);
    serde_json::to_string(&Shaper::new(true, None).log_event(&event)).unwrap()
}

fn shown_payload(topic: &str, payload: &str) -> Value {
    let mut event: Value = serde_json::from_str(&shown(topic, payload)).unwrap();
    event["Payload"].take()
}

/// Everything that the recorded cluster has sent: topic and payload.
pub(super) fn recorded_payloads() -> Vec<(String, String)> {
    let mut payloads = Vec::new();
    for line in recording() {
        let Ok(Line::Batch(batch)) = envelope::parse(&line) else {
            panic!("no batch");
        };
        for event in batch.events {
            let text = std::str::from_utf8(&event.payload).unwrap().to_owned();
            payloads.push((event.topic.to_string(), text));
        }
    }
    payloads
}

/// Puts a value at a path, and what leads there where it is missing. `key` names the entries of maps, `pick` chooses one of
/// several elements.
pub(super) fn plant(
    payload: &mut Value,
    path: &[Step],
    value: Value,
    key: &mut dyn FnMut() -> String,
    pick: &mut dyn FnMut(usize) -> usize,
) {
    let Some((step, rest)) = path.split_first() else {
        *payload = value;
        return;
    };
    let next = match step {
        Step::Element => {
            if !payload.is_array() {
                *payload = json!([]);
            }
            let elements = payload.as_array_mut().unwrap();
            if elements.is_empty() || rest.is_empty() {
                elements.push(Value::Null);
            }
            let place = match rest {
                [] => elements.len() - 1,
                _ => pick(elements.len()),
            };
            &mut elements[place]
        }
        Step::Field(_) | Step::AnyKey => {
            if !payload.is_object() {
                *payload = Value::Object(Map::new());
            }
            let name = match step {
                Step::Field(name) => name.clone(),
                _ => key(),
            };
            payload
                .as_object_mut()
                .unwrap()
                .entry(name)
                .or_insert(Value::Null)
        }
    };
    plant(next, rest, value, key, pick);
}

/// A payload with a value in every field that is listed for its topic. Texts are all different.
fn full_payload(topic: &str) -> Value {
    let mut payload = json!({});
    let fields = FIELDS.iter().filter(|field| field.topic == topic);
    for (number, field) in fields.enumerate() {
        let value = match field.json_type.as_str() {
            "text" => json!(format!("text {number} of {topic}")),
            "number" => json!(number),
            "boolean" => json!(true),
            "any" => json!({"deep": [{"er": format!("any {number} of {topic}")}]}),
            "Job" => full_payload("Job")["Job"].take(),
            other => panic!("{other} is no type"),
        };
        plant(
            &mut payload,
            &field.path,
            value,
            &mut || "name".to_owned(),
            &mut |_| 0,
        );
    }
    payload
}

/// Nothing is shown that nobody has thought about, and nothing is hidden by mistake.
#[test]
fn every_recorded_field_is_listed_and_treated_as_the_table_says() {
    let mut wrong = Vec::new();
    for (topic, payload) in recorded_payloads() {
        let Some(node) = TOPICS.get(topic.as_str()) else {
            wrong.push(format!("the topic {topic} is not listed"));
            continue;
        };
        let before: Value = serde_json::from_str(&payload).unwrap();
        node.compare(
            &before,
            &shown_payload(&topic, &payload),
            &topic,
            &mut wrong,
        );
    }
    wrong.sort();
    wrong.dedup();
    assert!(
        wrong.is_empty(),
        "add what is new to tests/fixtures/fields.tsv, as kept or as redacted, and to src/payload/redact.rs what is secret:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_listed_field_is_treated_as_the_table_says() {
    let mut wrong = Vec::new();
    for (topic, node) in TOPICS.iter() {
        let before = full_payload(topic);
        let text = before.to_string();
        node.compare(&before, &shown_payload(topic, &text), topic, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The comparison finds what is there to be found.
#[test]
fn a_table_that_is_wrong_is_noticed() {
    let node = &TOPICS["Job"];
    let job = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let mut wrong = Vec::new();
    for (before, after) in [
        (
            r#"{"Job":{"NewInNomad":"x"}}"#,
            r#"{"Job":{"NewInNomad":"x"}}"#,
        ),
        (r#"{"Job":{"ID":"x"}}"#, r#"{"Job":{"ID":"[REDACTED]"}}"#),
        (r#"{"Job":{"ID":"x"}}"#, r#"{"Job":"[REDACTED]"}"#),
        (r#"{"Job":{"ID":["x"]}}"#, r#"{"Job":{"ID":["x"]}}"#),
        (r#"{"Job":{"Payload":"x"}}"#, r#"{"Job":{"Payload":"x"}}"#),
        (
            r#"{"Job":{"TaskGroups":[{"Tasks":[{"Config":{"args":["x"]}}]}]}}"#,
            r#"{"Job":{"TaskGroups":[{"Tasks":[{"Config":{"args":["x"]}}]}]}}"#,
        ),
    ] {
        let found = wrong.len();
        node.compare(&job(before), &job(after), "", &mut wrong);
        assert!(wrong.len() > found, "{before} as {after}");
    }
}

/// A table that lists too little would look complete.
#[test]
fn the_table_lists_the_fields_that_matter() {
    let redacted = FIELDS
        .iter()
        .filter(|field| field.fate == Fate::Redacted)
        .count();
    assert!(redacted >= 69, "{redacted}");
    let topics: Vec<&str> = TOPICS.keys().copied().collect();
    assert_eq!(
        topics,
        [
            "ACLAuthMethod",
            "ACLBindingRule",
            "ACLPolicy",
            "ACLRole",
            "ACLToken",
            "Allocation",
            "CSIPlugin",
            "CSIVolume",
            "Deployment",
            "Evaluation",
            "HostVolume",
            "Job",
            "Node",
            "NodePool",
            "Service",
            "Variable"
        ]
    );
}
