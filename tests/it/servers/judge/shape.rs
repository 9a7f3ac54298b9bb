//! What the recommended configuration makes of an event: the one place to change when its programs change.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::servers::expect::WireEvent;
use crate::servers::loki::Entry;

/// The labels of every entry, all of them also fields of its line.
pub(crate) const LABELS: [&str; 4] = ["namespace", "service_name", "topic", "type"];
/// The label `service_name`.
pub(crate) const SERVICE_NAME: &str = "nomad";
/// Topic of what the program says about the stream itself; not on the wire.
pub(crate) const NOTICES: &str = "NomadEvents";
/// What every line says, in words.
pub(crate) const TEXTS: [&str; 3] = ["event_id", "level", "message"];
/// Structured metadata that Loki adds.
pub(crate) const ADDED_BY_LOKI: &str = "detected_level";

/// A field of a line, and where its value stands in the payload.
pub(crate) type Copied = (&'static str, &'static str);

/// The lines of a topic.
pub(crate) struct Shape {
    pub(crate) topic: &'static str,
    /// Fields that tell whose event it is.
    pub(crate) key: &'static [Copied],
    /// Other fields that are copied.
    pub(crate) copied: &'static [Copied],
    /// Fields of which structured metadata has a copy.
    pub(crate) metadata: &'static [&'static str],
}

/// The topics of the recommended configuration.
pub(crate) const SHAPES: [Shape; 6] = [
    Shape {
        topic: "Allocation",
        key: &[("alloc_id", "/Allocation/ID")],
        copied: &[
            ("name", "/Allocation/Name"),
            ("job_id", "/Allocation/JobID"),
            ("task_group", "/Allocation/TaskGroup"),
            ("node_id", "/Allocation/NodeID"),
            ("eval_id", "/Allocation/EvalID"),
            ("deployment_id", "/Allocation/DeploymentID"),
            ("client_status", "/Allocation/ClientStatus"),
            ("desired_status", "/Allocation/DesiredStatus"),
        ],
        metadata: &[
            "alloc_id",
            "job_id",
            "node_id",
            "eval_id",
            "deployment_id",
            "level",
        ],
    },
    Shape {
        topic: "Deployment",
        key: &[("deployment_id", "/Deployment/ID")],
        copied: &[
            ("job_id", "/Deployment/JobID"),
            ("job_version", "/Deployment/JobVersion"),
            ("status", "/Deployment/Status"),
            ("status_description", "/Deployment/StatusDescription"),
        ],
        metadata: &["deployment_id", "job_id", "level"],
    },
    Shape {
        topic: "Evaluation",
        key: &[("eval_id", "/Evaluation/ID")],
        copied: &[
            ("job_id", "/Evaluation/JobID"),
            ("node_id", "/Evaluation/NodeID"),
            ("deployment_id", "/Evaluation/DeploymentID"),
            ("status", "/Evaluation/Status"),
            ("triggered_by", "/Evaluation/TriggeredBy"),
            ("priority", "/Evaluation/Priority"),
        ],
        metadata: &["eval_id", "job_id", "node_id", "deployment_id", "level"],
    },
    Shape {
        topic: "Job",
        key: &[("job_id", "/Job/ID")],
        copied: &[
            ("status", "/Job/Status"),
            ("version", "/Job/Version"),
            ("priority", "/Job/Priority"),
        ],
        metadata: &["job_id", "level"],
    },
    Shape {
        topic: "Node",
        key: &[("node_id", "/Node/ID")],
        copied: &[
            ("node_name", "/Node/Name"),
            ("status", "/Node/Status"),
            ("eligibility", "/Node/SchedulingEligibility"),
        ],
        metadata: &["node_id", "level"],
    },
    Shape {
        topic: "Service",
        key: &[
            ("alloc_id", "/Service/AllocID"),
            ("service", "/Service/ServiceName"),
        ],
        copied: &[
            ("job_id", "/Service/JobID"),
            ("node_id", "/Service/NodeID"),
            ("datacenter", "/Service/Datacenter"),
        ],
        metadata: &["alloc_id", "job_id", "node_id", "level"],
    },
];

impl Shape {
    /// The shape of a topic's lines; none for a topic that the recommended configuration does not ask for.
    pub(crate) fn of(topic: &str) -> Option<&'static Self> {
        SHAPES.iter().find(|shape| shape.topic == topic)
    }

    /// Whose event it is, from the wire.
    pub(crate) fn key_on_wire(&self, event: &WireEvent) -> Vec<String> {
        let values = self.key.iter().map(|(_, path)| on_wire(event, path));
        values.map(|value| value.to_string()).collect()
    }

    /// Whose event it is, from a line.
    pub(crate) fn key_in_line(&self, line: &Value) -> Vec<String> {
        let values = self.key.iter().map(|(field, _)| &line[field]);
        values.map(Value::to_string).collect()
    }
}

/// A value of a payload.
pub(crate) fn on_wire<'a>(event: &'a WireEvent, path: &str) -> &'a Value {
    event.payload.pointer(path).unwrap_or(&Value::Null)
}

/// Whether two values say the same. Nomad leaves out of some objects what is empty or zero, the programs what is empty.
pub(crate) fn same(line: &Value, wire: &Value) -> bool {
    let empty = |value: &Value| value.is_null() || value == "" || value == 0;
    line == wire || (empty(line) && empty(wire))
}

/// The structured metadata that goes with a line.
pub(crate) fn metadata(shape: &Shape, line: &Value) -> BTreeMap<String, String> {
    let present = shape.metadata.iter().filter_map(|field| {
        let value = line[field].as_str().filter(|value| !value.is_empty())?;
        Some(((*field).to_owned(), value.to_owned()))
    });
    present.collect()
}

/// The structured metadata that an entry was sent with.
pub(crate) fn sent_metadata(entry: &Entry) -> BTreeMap<String, String> {
    let mut sent = entry.metadata.clone();
    sent.remove(ADDED_BY_LOKI);
    sent
}
