//! The lists behind the topics, each with its table's index in the header `X-Nomad-Index`.

use std::collections::HashSet;

use super::request::Query;
use crate::event::RaftIndex;
use crate::options::{DEFAULT_TOPICS, KNOWN_TOPICS, Settings, TopicFilter};

/// A list to read.
pub(super) struct Target {
    /// For messages.
    pub(super) name: &'static str,
    /// Path and query.
    pub(super) uri: String,
    /// Whether a server may be without it, or the token without the right: then the others stand for it.
    pub(super) optional: bool,
}

/// What the tables of some topics say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// The newest write to any of them.
    pub(crate) newest: RaftIndex,
    /// Whether every one could be read, and every topic has one.
    pub(crate) complete: bool,
}

/// The lists of the subscribed topics, each once. For `*` that is every one. A topic that is unknown to us, or has none, is
/// counted with those of the default topics: most writes touch one of them.
pub(super) fn targets(settings: &Settings) -> Vec<Target> {
    requests(settings, lists(&settings.topics))
}

/// The lists of these topics, each once, and whether every topic has one. An event comes about when its table is written, in one
/// transaction with the table's index (`nomad/state/state_store.go`); so what a table does not show has not happened.
pub(super) fn written_with(settings: &Settings, topics: &[TopicFilter]) -> (Vec<Target>, bool) {
    let complete = topics.iter().all(|filter| list(&filter.topic).is_some());
    (requests(settings, lists(topics)), complete)
}

/// Lists, each with whether it is optional.
fn lists(topics: &[TopicFilter]) -> Vec<(List, bool)> {
    let mut lists: Vec<(List, bool)> = Vec::new();
    for filter in topics {
        match (list(&filter.topic), filter.topic.as_str()) {
            // Without ACLs there are no tables of theirs, and no such events.
            (Some(list), topic) => lists.push((list, topic.starts_with("ACL"))),
            // Not every version has every list.
            (None, "*") => lists.extend(optional_lists(&KNOWN_TOPICS)),
            (None, _) => lists.extend(optional_lists(&DEFAULT_TOPICS)),
        }
    }
    // Something has to tell where the region is, or `latest` would be the earliest.
    if lists.iter().all(|(_, optional)| *optional) {
        lists.extend(optional_lists(&DEFAULT_TOPICS));
    }
    lists
}

fn requests(settings: &Settings, lists: Vec<(List, bool)>) -> Vec<Target> {
    let mut seen = HashSet::new();
    lists
        .into_iter()
        .filter(|(list, _)| seen.insert(*list))
        .map(|(List { name, kind }, optional)| {
            let mut query = Query::new(name);
            // One row is enough to learn the index of the table.
            query.add("per_page", "1");
            query.add("namespace", &settings.namespace);
            if let Some(region) = &settings.region {
                query.add("region", region);
            }
            if let Some(kind) = kind {
                query.add("type", kind);
            }
            Target {
                name,
                uri: query.finish(),
                optional,
            }
        })
        .collect()
}

fn optional_lists(topics: &[&str]) -> impl Iterator<Item = (List, bool)> {
    topics.iter().filter_map(|topic| Some((list(topic)?, true)))
}

/// A list's path, and its parameter `type`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct List {
    name: &'static str,
    kind: Option<&'static str>,
}

fn list(topic: &str) -> Option<List> {
    let (name, kind) = match topic {
        "Job" => ("/v1/jobs", None),
        "Allocation" => ("/v1/allocations", None),
        "Evaluation" => ("/v1/evaluations", None),
        "Deployment" => ("/v1/deployments", None),
        "Node" => ("/v1/nodes", None),
        "Service" => ("/v1/services", None),
        "NodePool" => ("/v1/node/pools", None),
        "CSIVolume" => ("/v1/volumes", Some("csi")),
        "HostVolume" => ("/v1/volumes", Some("host")),
        "CSIPlugin" => ("/v1/plugins", Some("csi")),
        "Variable" => ("/v1/vars", None),
        "ACLToken" => ("/v1/acl/tokens", None),
        "ACLPolicy" => ("/v1/acl/policies", None),
        "ACLRole" => ("/v1/acl/roles", None),
        "ACLAuthMethod" => ("/v1/acl/auth-methods", None),
        "ACLBindingRule" => ("/v1/acl/binding-rules", None),
        _ => return None,
    };
    Some(List { name, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn uris(topics: &[&str]) -> Vec<String> {
        let options = Options {
            topics: Some(topics.iter().map(|&topic| topic.to_owned()).collect()),
            namespace: Some("team".to_owned()),
            ..Options::default()
        };
        let settings = options.settings(|_| None).unwrap();
        targets(&settings)
            .into_iter()
            .map(|target| target.uri)
            .collect()
    }

    #[test]
    fn what_has_no_table_can_be_missing_without_a_trace() {
        let settings = Options::default().settings(|_| None).unwrap();
        let asked = |names: &[&str]| {
            let topic = |name: &&str| TopicFilter {
                topic: (*name).to_owned(),
                key: None,
            };
            let topics: Vec<TopicFilter> = names.iter().map(topic).collect();
            let (targets, complete) = written_with(&settings, &topics);
            let names: Vec<&str> = targets.iter().map(|target| target.name).collect();
            (names, complete)
        };
        assert_eq!(
            asked(&["Node", "Job"]),
            (vec!["/v1/nodes", "/v1/jobs"], true)
        );
        assert_eq!(asked(&["Job", "Operator"]).0.len(), 6);
        assert!(!asked(&["Job", "Operator"]).1);
        assert!(!asked(&["*"]).1);
    }

    #[test]
    fn each_kind_of_volume_has_its_own_table() {
        assert_eq!(
            uris(&["HostVolume", "CSIVolume"]),
            [
                "/v1/volumes?per_page=1&namespace=team&type=host",
                "/v1/volumes?per_page=1&namespace=team&type=csi",
            ]
        );
    }

    #[test]
    fn every_topic_has_a_table_to_begin_after() {
        for (topic, path) in [
            ("ACLToken", "/v1/acl/tokens?"),
            ("ACLPolicy", "/v1/acl/policies?"),
            ("ACLRole", "/v1/acl/roles?"),
            ("ACLAuthMethod", "/v1/acl/auth-methods?"),
            ("ACLBindingRule", "/v1/acl/binding-rules?"),
            ("CSIPlugin", "/v1/plugins?"),
        ] {
            let uris = uris(&[topic]);
            assert!(uris[0].starts_with(path), "{uris:?}");
            // Without ACLs the list of an ACL topic cannot be read; then the others tell.
            let others = if topic.starts_with("ACL") { 6 } else { 0 };
            assert_eq!(uris.len(), 1 + others, "{topic}");
        }
        // Without any list, `latest` would be index 0, which is the earliest.
        assert_eq!(uris(&["Operator"]).len(), 6);
    }

    #[test]
    fn all_topics_begin_after_the_newest_of_all_tables() {
        let uris = uris(&["*"]);
        assert_eq!(uris.len(), 16);
        for path in [
            "/v1/jobs?",
            "/v1/node/pools?",
            "/v1/vars?",
            "/v1/acl/tokens?",
        ] {
            assert!(uris.iter().any(|uri| uri.starts_with(path)), "{uris:?}");
        }
    }
}
