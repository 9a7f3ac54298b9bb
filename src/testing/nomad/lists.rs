//! The ordinary endpoints: lists with the headers that tell a table's index, and whatever a test puts beside them.

use std::collections::{BTreeMap, VecDeque};

use super::line::Line;
use super::request::SeenRequest;
use super::version::Answer;
use super::{DEFAULT_NAMESPACE, Leader};

/// The lists of Nomad's API that answer `[]` when nothing else was said, with the topics whose events move their index.
///
/// Volumes and plugins are lists of their own per `type`. That of jobs tells the index of their summaries, too, which count
/// allocations (`nomad/job_endpoint.go`).
const LISTS: &[(&str, &[&str])] = &[
    ("/v1/jobs", &["Job", "Allocation"]),
    ("/v1/allocations", &["Allocation"]),
    ("/v1/evaluations", &["Evaluation"]),
    ("/v1/deployments", &["Deployment"]),
    ("/v1/nodes", &["Node"]),
    ("/v1/node/pools", &["NodePool"]),
    ("/v1/services", &["Service"]),
    ("/v1/volumes", &[]),
    ("/v1/volumes?type=csi", &["CSIVolume"]),
    ("/v1/volumes?type=host", &["HostVolume"]),
    ("/v1/plugins", &[]),
    ("/v1/operator/scheduler/configuration", &[]),
    ("/v1/plugins?type=csi", &["CSIPlugin"]),
    ("/v1/vars", &["Variable"]),
    ("/v1/acl/tokens", &["ACLToken"]),
    ("/v1/acl/policies", &["ACLPolicy"]),
    ("/v1/acl/roles", &["ACLRole"]),
    ("/v1/acl/auth-methods", &["ACLAuthMethod"]),
    ("/v1/acl/binding-rules", &["ACLBindingRule"]),
];

const NAMESPACES: &str = "/v1/namespaces";

/// What is the matter with a list, until it is [mended](super::FakeNomad::mend_lists).
///
/// For one that the token may not read there is [`deny`](super::FakeNomad::deny), for one that lags
/// [`set_list_index`](super::FakeNomad::set_list_index).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListFault {
    /// It answers with this status and text.
    Error(u16, String),
    /// The request is taken, and nothing comes.
    Hang,
}

/// The tables of a cluster at one moment, as `nomad operator snapshot save` keeps them.
#[derive(Clone, Debug)]
pub struct ClusterSnapshot(Tables);

/// What the lines have written.
#[derive(Clone, Debug)]
struct Tables {
    /// Newest index by list.
    moved: BTreeMap<&'static str, u64>,
    namespaces: BTreeMap<String, u64>,
}

/// What is known beside the stream.
#[derive(Debug)]
pub(super) struct Lists {
    /// As the leader has them: that is what a request without `stale` gets.
    tables: Tables,
    /// As this server has them.
    own: Tables,
    /// By list; `None` is every list that has none of its own.
    faults: BTreeMap<Option<String>, ListFault>,
    /// Index by list, as a test wants it.
    indexes: BTreeMap<String, u64>,
    /// Body by path, as a test wants it.
    bodies: BTreeMap<String, String>,
    /// Answers that are given once.
    once: VecDeque<(String, Answer)>,
    pub(super) leader: Leader,
}

impl Tables {
    fn new() -> Self {
        Self {
            moved: BTreeMap::new(),
            // Nomad makes the namespace `default` with its first write.
            namespaces: BTreeMap::from([(DEFAULT_NAMESPACE.to_owned(), 1)]),
        }
    }

    fn note(&mut self, line: &Line) {
        for event in line.events.iter().flatten() {
            for (list, topics) in LISTS {
                if topics.contains(&event.topic.as_str()) {
                    let newest = self.moved.entry(list).or_default();
                    *newest = line.index.max(*newest);
                }
            }
            if !event.namespace.is_empty() {
                self.add_namespace(&event.namespace, line.index);
            }
        }
    }

    fn add_namespace(&mut self, name: &str, create_index: u64) {
        self.namespaces
            .entry(name.to_owned())
            .or_insert(create_index);
    }

    fn namespace_rows(&self, sees: &dyn Fn(&str) -> bool) -> String {
        let rows: Vec<String> = self
            .namespaces
            .iter()
            .filter(|(name, _)| sees(name))
            .map(|(name, index)| {
                // Nomad allows letters, digits and dashes in a name, so it needs no escapes.
                format!(
                    r#"{{"Capabilities":null,"CreateIndex":{index},"Description":"","Meta":null,"ModifyIndex":{index},"Name":"{name}","Quota":""}}"#
                )
            })
            .collect();
        format!("[{}]", rows.join(","))
    }
}

impl Lists {
    pub(super) fn new() -> Self {
        Self {
            tables: Tables::new(),
            own: Tables::new(),
            faults: BTreeMap::new(),
            indexes: BTreeMap::new(),
            bodies: BTreeMap::new(),
            once: VecDeque::new(),
            leader: Leader::default(),
        }
    }

    /// A line was written: its tables moved, and its namespaces exist.
    pub(super) fn note(&mut self, line: &Line) {
        self.tables.note(line);
        self.own.note(line);
    }

    /// A line was written, and this server has not got it yet.
    pub(super) fn note_elsewhere(&mut self, line: &Line) {
        self.tables.note(line);
    }

    /// Another cluster: nothing of what the lines told is true any more.
    pub(super) fn forget_lines(&mut self) {
        self.restore(&ClusterSnapshot(Tables::new()));
    }

    pub(super) fn snapshot(&self) -> ClusterSnapshot {
        ClusterSnapshot(self.tables.clone())
    }

    pub(super) fn restore(&mut self, snapshot: &ClusterSnapshot) {
        self.tables.clone_from(&snapshot.0);
        self.own.clone_from(&snapshot.0);
    }

    pub(super) fn add_namespace(&mut self, name: &str, create_index: u64) {
        self.tables.add_namespace(name, create_index);
        self.own.add_namespace(name, create_index);
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.own.namespaces.keys().map(String::as_str)
    }

    pub(super) fn set_fault(&mut self, list: Option<&str>, fault: ListFault) {
        self.faults.insert(list.map(str::to_owned), fault);
    }

    pub(super) fn mend(&mut self) {
        self.faults.clear();
    }

    /// What is the matter with the list that is asked for.
    pub(super) fn fault(&self, request: &SeenRequest) -> Option<&ListFault> {
        let path = path_of(request);
        if LISTS.iter().all(|(list, _)| *list != path) && path != NAMESPACES {
            return None;
        }
        let of_all = || self.faults.get(&None).filter(|_| path != NAMESPACES);
        self.faults.get(&Some(path.clone())).or_else(of_all)
    }

    pub(super) fn set_index(&mut self, list: &str, index: u64) {
        self.indexes.insert(list.to_owned(), index);
    }

    pub(super) fn set_body(&mut self, path: &str, json: String) {
        self.bodies.insert(path.to_owned(), json);
    }

    pub(super) fn answer_once(&mut self, path: &str, answer: Answer) {
        self.once.push_back((path.to_owned(), answer));
    }

    /// The answer that a test wants the next request of this path to get.
    pub(super) fn take_once(&mut self, path: &str) -> Option<Answer> {
        let at = self.once.iter().position(|(wanted, _)| wanted == path)?;
        self.once.remove(at).map(|(_, answer)| answer)
    }

    /// The answer to a permitted request.
    pub(super) fn answer(&self, request: &SeenRequest, sees: &dyn Fn(&str) -> bool) -> Answer {
        if request.query_value("stale").is_none() && !self.leader.known {
            return Answer::error(500, "No cluster leader");
        }
        let tables = match request.query_value("stale") {
            Some(_) => &self.own,
            None => &self.tables,
        };
        let path = path_of(request);
        let moved = LISTS
            .iter()
            .find(|(list, _)| *list == path)
            .map(|(list, _)| tables.moved.get(list).copied().unwrap_or_default());
        let (default_body, moved) = match (path.as_str(), moved) {
            (NAMESPACES, _) => (
                Some(tables.namespace_rows(sees)),
                tables.namespaces.values().max().copied(),
            ),
            ("/v1/status/leader", _) => (Some("\"127.0.0.1:4647\"".to_owned()), None),
            (_, Some(moved)) => (Some("[]".to_owned()), Some(moved)),
            (_, None) => (None, None),
        };
        let Some(body) = self.bodies.get(&path).cloned().or(default_body) else {
            return Answer::error(404, "Invalid URL or object not found");
        };
        let index = self
            .indexes
            .get(&path)
            .copied()
            .or(moved)
            .unwrap_or_default();
        self.meta(Answer::json(body).header("X-Nomad-Index", index.to_string()))
    }

    /// An answer from a server's state: only with `stale` while there is no leader.
    pub(super) fn with_meta(&self, request: &SeenRequest, answer: Answer) -> Answer {
        if request.query_value("stale").is_none() && !self.leader.known {
            return Answer::error(500, "No cluster leader");
        }
        self.meta(answer.header("X-Nomad-Index", "0"))
    }

    fn meta(&self, answer: Answer) -> Answer {
        answer
            .header("X-Nomad-Knownleader", self.leader.known.to_string())
            .header(
                "X-Nomad-Lastcontact",
                self.leader.last_contact.as_millis().to_string(),
            )
    }
}

/// The list that is asked for.
fn path_of(request: &SeenRequest) -> String {
    match request.query_value("type") {
        Some(kind) if ["/v1/volumes", "/v1/plugins"].contains(&request.path.as_str()) => {
            format!("{}?type={kind}", request.path)
        }
        _ => request.path.clone(),
    }
}
