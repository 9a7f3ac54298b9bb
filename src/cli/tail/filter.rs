//! Which events somebody wants to see: what Nomad cannot choose by itself.
//!
//! Nomad compares topics and keys exactly. It could send `Job:web`, but not what belongs to the children of `web`, whose IDs
//! begin with that of their parent; and no key of an event is a node but in events of the node itself. So a job and a node are
//! looked for here, in the payload, of which only these few fields are read.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::event::Event;

/// The fewest characters of an ID that are taken for its beginning.
const SHORTEST_ID: usize = 4;
/// As many IDs are remembered for names of nodes. More nodes of one name than this would be a strange cluster.
const MAX_NAMED: usize = 1024;

/// What an event has to meet to be shown. Where several values stand, one is enough.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Types; empty for all.
    types: Vec<String>,
    /// IDs of jobs; empty for all events, also those without a job.
    jobs: Vec<String>,
    /// Nodes by ID, beginning of an ID, or name; empty for all events.
    nodes: Vec<String>,
    /// The oldest time (Unix, nanoseconds).
    since_nanos: Option<i64>,
    /// IDs of nodes that have one of the names. Only events of a node or an allocation tell them.
    named: BTreeSet<String>,
}

impl Filter {
    /// Wants events of these types, jobs and nodes; of all where there are none. `since_nanos` is the oldest time.
    pub(super) fn new(
        types: &[String],
        jobs: &[String],
        nodes: &[String],
        since_nanos: Option<i64>,
    ) -> Self {
        Self {
            types: types.to_vec(),
            jobs: jobs.to_vec(),
            nodes: nodes.to_vec(),
            since_nanos,
            named: BTreeSet::new(),
        }
    }

    /// Whether an event is to be shown. May learn from it what a later one needs.
    pub(super) fn wants(&mut self, event: &Event) -> bool {
        if self.jobs.is_empty() && self.nodes.is_empty() {
            return self.wants_envelope(event);
        }
        let object = Object::of(&event.payload);
        // Also an event that is not shown may tell which ID belongs to a name.
        let of_node = self.nodes.is_empty() || self.of_node(event, &object);
        of_node && self.wants_envelope(event) && self.of_job(event, &object)
    }

    fn wants_envelope(&self, event: &Event) -> bool {
        let wanted_type =
            self.types.is_empty() || self.types.iter().any(|name| **name == *event.event_type);
        wanted_type
            && self
                .since_nanos
                .is_none_or(|since| event.time.nanos >= since)
    }

    fn of_job(&self, event: &Event, object: &Object) -> bool {
        if self.jobs.is_empty() {
            return true;
        }
        let is = |id: &str| self.jobs.iter().any(|job| is_job_or_child(id, job));
        match &*event.topic {
            "Job" => is(&event.key) || object.parent_id.as_deref().is_some_and(is),
            _ => object.job_id.as_deref().is_some_and(is),
        }
    }

    fn of_node(&mut self, event: &Event, object: &Object) -> bool {
        let (id, name) = if *event.topic == *"Node" {
            (Some(&*event.key), object.name.as_deref())
        } else {
            (object.node_id.as_deref(), object.node_name.as_deref())
        };
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return false;
        };
        if let Some(name) = name {
            if !self.nodes.iter().any(|node| node == name) {
                // A node may have been renamed.
                self.named.remove(id);
            } else if self.named.len() < MAX_NAMED {
                self.named.insert(id.to_owned());
            }
        }
        self.named.contains(id)
            || self.nodes.iter().any(|node| {
                node == id
                    || name == Some(node)
                    || (node.len() >= SHORTEST_ID && id.starts_with(&**node))
            })
    }
}

/// Whether a job is another, or was dispatched from it or launched by it in its time (`DispatchLaunchSuffix` and
/// `PeriodicLaunchSuffix` in `nomad/structs/structs.go`).
fn is_job_or_child(id: &str, job: &str) -> bool {
    id.strip_prefix(job).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with("/dispatch-") || rest.starts_with("/periodic-")
    })
}

/// The topics of the default subscription that can match. Nodes have no job; jobs and deployments have no node.
pub(super) fn topics_that_can_match(filter: &Filter) -> Option<Vec<String>> {
    let topics: &[&str] = match (filter.jobs.is_empty(), filter.nodes.is_empty()) {
        (true, true) => return None,
        (false, true) => &["Job", "Allocation", "Evaluation", "Deployment", "Service"],
        (true, false) => &["Node", "Allocation", "Evaluation", "Service"],
        (false, false) if filter.nodes.iter().all(|node| looks_like_id(node)) => {
            &["Allocation", "Evaluation", "Service"]
        }
        // Nodes are not shown, but they tell the IDs that belong to a name.
        (false, false) => &["Node", "Allocation", "Evaluation", "Service"],
    };
    Some(topics.iter().map(|topic| (*topic).to_owned()).collect())
}

/// A whole ID, which no name can be needed for.
fn looks_like_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// The fields of a payload's object that tell what it belongs to. What is absent, null or of another type is nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Object {
    #[serde(rename = "JobID")]
    job_id: Option<String>,
    #[serde(rename = "ParentID")]
    parent_id: Option<String>,
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    node_name: Option<String>,
    name: Option<String>,
}

/// A payload: the object stands under a key of its own.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Payload {
    job: Option<Object>,
    allocation: Option<Object>,
    evaluation: Option<Object>,
    deployment: Option<Object>,
    node: Option<Object>,
    service: Option<Object>,
    volume: Option<Object>,
}

impl Object {
    fn of(payload: &[u8]) -> Self {
        let payload: Payload = serde_json::from_slice(payload).unwrap_or_default();
        payload
            .allocation
            .or(payload.evaluation)
            .or(payload.job)
            .or(payload.node)
            .or(payload.service)
            .or(payload.deployment)
            .or(payload.volume)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
