//! Stands in for the program: makes the entries that Loki is to hold, from what was on the wire.
//!
//! It proves that the judge accepts what is right, and gives the tests of the judge something to spoil.

use serde_json::json;

use super::expect::{Expected, When};
use super::judge::shape::{self, Shape};
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
    let shape = Shape::of(&event.topic).expect("a topic that was asked for");
    let labels = [
        ("namespace", expected.namespace_label()),
        ("service_name", shape::SERVICE_NAME),
        ("topic", &event.topic),
        ("type", &event.event_type),
    ];
    let mut line = json!({
        "index": event.index,
        "event_id": format!("{number:032x}"),
        "level": "info",
        "message": "a stand-in",
    });
    for (label, value) in labels {
        line[label] = json!(value);
    }
    for (field, path) in shape.key.iter().chain(shape.copied) {
        line[field] = shape::on_wire(event, path).clone();
    }
    Entry {
        labels: labels
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        metadata: shape::metadata(shape, &line),
        nanos: match expected.when {
            When::Payload(nanos) | When::Carried(nanos) | When::Receipt(nanos) => nanos,
            When::CarriedOrReceipt { carried, .. } => carried,
        },
        line: line.to_string(),
    }
}
