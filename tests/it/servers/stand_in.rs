//! Stands in for the program: makes the entries that Loki is to hold, from what was on the wire.
//!
//! It proves that the judge accepts what is right, and gives the tests of the judge something to spoil.

use std::collections::BTreeMap;

use serde_json::json;

use super::expect::{Expected, When};
use super::judge::KEY_FIELDS;
use super::loki::Entry;

/// An entry for every shipped event.
pub(crate) fn entries(expected: &[Expected]) -> Vec<Entry> {
    expected
        .iter()
        .filter(|expected| expected.is_shipped())
        .enumerate()
        .map(|(number, expected)| entry(number, expected))
        .collect()
}

fn entry(number: usize, expected: &Expected) -> Entry {
    let event = &expected.event;
    let labels = [
        ("namespace", expected.namespace_label()),
        ("topic", &event.topic),
        ("type", &event.event_type),
    ];
    let key_field = KEY_FIELDS
        .iter()
        .find(|(topic, _)| *topic == event.topic)
        .map_or("key", |(_, fields)| fields[0]);
    let object = event.payload[&event.topic].clone();
    let mut line = json!({
        "index": event.index,
        "event_id": format!("{number:032x}"),
        "create_index": object["CreateIndex"],
        "modify_index": object["ModifyIndex"],
    });
    for (label, value) in labels {
        line[label] = json!(value);
    }
    Entry {
        labels: labels
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        metadata: BTreeMap::from([(key_field.to_owned(), event.key.clone())]),
        nanos: match expected.when {
            When::Payload(nanos) | When::Carried(nanos) | When::Receipt(nanos) => nanos,
            When::CarriedOrReceipt { carried, .. } => carried,
        },
        line: line.to_string(),
    }
}
