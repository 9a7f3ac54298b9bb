//! Compares what Loki holds with what it must hold. Pure: needs no server.

pub(crate) mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::expect::{Expected, When};
use super::loki::Entry;
use shape::{LABELS, NOTICES, Shape, TEXTS};

/// How far the program's moment of receipt may be from ours.
const RECEIPT_APART: i64 = 5_000_000_000;

/// Tells events apart, but for the few that Nomad reports twice at one index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    topic: String,
    event_type: String,
    index: u64,
    key: Vec<String>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// An event that Loki does not hold.
    Missing(String),
    /// An entry for which there is no event, or no other one.
    Unexpected(String),
    /// An entry with a wrong timestamp.
    Time { expected: String, nanos: i64 },
    /// An entry whose labels are not those of its event.
    Labels { expected: String, entry: String },
    /// An entry whose line has another value than the payload.
    Value { expected: String, field: String },
    /// An entry that cannot be understood.
    Entry { problem: String, entry: String },
    /// Two entries with the same id.
    EventId(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(event) => write!(f, "missing: {event}"),
            Self::Unexpected(entry) => write!(f, "unexpected: {entry}"),
            Self::Time { expected, nanos } => write!(f, "time {nanos}: {expected}"),
            Self::Labels { expected, entry } => write!(f, "labels of {entry}: {expected}"),
            Self::Value { expected, field } => write!(f, "value of {field}: {expected}"),
            Self::Entry { problem, entry } => write!(f, "{problem}: {entry}"),
            Self::EventId(id) => write!(f, "event_id {id} is there twice"),
        }
    }
}

/// An entry with what its line says.
struct Found<'a> {
    entry: &'a Entry,
    line: Value,
    identity: Identity,
    event_id: String,
}

/// Everything that is wrong with `entries` when exactly the shipped ones of `expected` are to be there.
pub(crate) fn judge(expected: &[Expected], entries: &[Entry]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found_by_identity: BTreeMap<Identity, Vec<Found<'_>>> = BTreeMap::new();
    let mut event_ids = BTreeSet::new();
    for entry in entries.iter().filter(|entry| !is_notice(entry)) {
        match Found::read(entry) {
            Err(problem) => findings.push(Finding::Entry {
                problem,
                entry: show(entry),
            }),
            Ok(found) => {
                if !event_ids.insert(found.event_id.clone()) {
                    findings.push(Finding::EventId(found.event_id.clone()));
                }
                let same = found_by_identity.entry(found.identity.clone());
                same.or_default().push(found);
            }
        }
    }
    let mut expected_by_identity: BTreeMap<Identity, Vec<&Expected>> = BTreeMap::new();
    for expected in expected.iter().filter(|expected| expected.is_shipped()) {
        let same = expected_by_identity.entry(Identity::of(expected));
        same.or_default().push(expected);
    }
    for (identity, expected) in expected_by_identity {
        let found = found_by_identity.remove(&identity).unwrap_or_default();
        findings.extend(compare(expected, found));
    }
    let unexpected = found_by_identity.into_values().flatten();
    findings.extend(unexpected.map(|found| Finding::Unexpected(show(found.entry))));
    findings
}

/// Whether an entry is the program's own word about the stream.
pub(crate) fn is_notice(entry: &Entry) -> bool {
    entry
        .labels
        .get("topic")
        .is_some_and(|topic| topic == NOTICES)
}

/// The index of an entry's event, where its line has one.
pub(crate) fn index(entry: &Entry) -> Option<u64> {
    let line: Value = serde_json::from_str(&entry.line).ok()?;
    line["index"].as_u64()
}

/// Compares the events and entries of one identity: one of each, nearly always.
fn compare(expected: Vec<&Expected>, mut found: Vec<Found<'_>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unmatched = Vec::new();
    for expected in expected {
        match found
            .iter()
            .position(|found| found.faults(expected).is_empty())
        {
            Some(position) => drop(found.swap_remove(position)),
            None => unmatched.push(expected),
        }
    }
    for expected in unmatched {
        match found.pop() {
            Some(found) => findings.extend(found.faults(expected)),
            None => findings.push(Finding::Missing(expected.to_string())),
        }
    }
    findings.extend(
        found
            .iter()
            .map(|found| Finding::Unexpected(show(found.entry))),
    );
    findings
}

impl Identity {
    fn of(expected: &Expected) -> Self {
        let event = &expected.event;
        let shape = Shape::of(&event.topic).expect("a topic that was asked for");
        Self {
            topic: event.topic.clone(),
            event_type: event.event_type.clone(),
            index: event.index,
            key: shape.key_on_wire(event),
        }
    }
}

impl<'a> Found<'a> {
    /// Reads an entry; says what is wrong with it whatever its event.
    fn read(entry: &'a Entry) -> Result<Self, String> {
        if !entry.labels.keys().eq(LABELS) {
            return Err(format!("not the labels {LABELS:?}"));
        }
        let line: Value =
            serde_json::from_str(&entry.line).map_err(|error| format!("no JSON line: {error}"))?;
        let text = |field: &str| {
            line[field]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| format!("no text {field} in the line"))
        };
        for label in LABELS {
            if text(label)? != entry.labels[label] {
                return Err(format!("{label} is not the same in the line"));
            }
        }
        for field in TEXTS {
            text(field)?;
        }
        // The entry has its timestamp; one in the line would make two copies of one event differ.
        if line.get("timestamp").is_some() {
            return Err("the line has a time".to_owned());
        }
        let topic = text("topic")?;
        let shape = Shape::of(&topic).ok_or_else(|| format!("topic {topic} was not asked for"))?;
        if shape::metadata(shape, &line) != shape::sent_metadata(entry) {
            return Err("structured metadata is not that of the line".to_owned());
        }
        Ok(Self {
            identity: Identity {
                key: shape.key_in_line(&line),
                event_type: text("type")?,
                index: line["index"]
                    .as_u64()
                    .ok_or("no integer index in the line")?,
                topic,
            },
            event_id: text("event_id")?,
            entry,
            line,
        })
    }

    /// What is wrong when this is the entry of that event.
    fn faults(&self, expected: &Expected) -> Vec<Finding> {
        let mut faults = Vec::new();
        if !is_when(self.entry.nanos, expected.when) {
            faults.push(Finding::Time {
                expected: expected.to_string(),
                nanos: self.entry.nanos,
            });
        }
        if self.line["namespace"] != expected.namespace_label()
            || self.line["service_name"] != shape::SERVICE_NAME
        {
            faults.push(Finding::Labels {
                expected: expected.to_string(),
                entry: show(self.entry),
            });
        }
        let shape = Shape::of(&expected.event.topic);
        for (field, path) in shape.into_iter().flat_map(|shape| shape.copied) {
            let (line, wire) = (&self.line[field], shape::on_wire(&expected.event, path));
            if !shape::same(line, wire) {
                faults.push(Finding::Value {
                    expected: expected.to_string(),
                    field: format!("{field}: {line} for {wire}"),
                });
            }
        }
        faults
    }
}

fn is_when(nanos: i64, when: When) -> bool {
    let received = |at: i64| (nanos - at).abs() <= RECEIPT_APART;
    match when {
        When::Payload(at) | When::Carried(at) => nanos == at,
        When::Receipt(at) => received(at),
        When::CarriedOrReceipt { carried, receipt } => nanos == carried || received(receipt),
    }
}

fn show(entry: &Entry) -> String {
    format!(
        "{:?} {:?} {} {}",
        entry.labels, entry.metadata, entry.nanos, entry.line
    )
}

#[cfg(test)]
mod tests;
