//! The lists behind the topics, each with its table's index in the header `X-Nomad-Index`.

use super::request::Query;
use crate::options::{DEFAULT_TOPICS, Settings};

/// A list to read.
pub(super) struct Target {
    /// For messages.
    pub(super) name: &'static str,
    /// Path and query.
    pub(super) uri: String,
}

/// The lists of the subscribed topics, each once. Topics that are unknown to us, and those that only a management token may
/// list, have none.
pub(super) fn targets(settings: &Settings) -> Vec<Target> {
    let mut names: Vec<&'static str> = Vec::new();
    for filter in &settings.topics {
        let topics: &[&str] = match filter.topic.as_str() {
            "*" => &DEFAULT_TOPICS,
            topic => &[topic],
        };
        for topic in topics {
            if let Some(name) = list(topic)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    names
        .into_iter()
        .map(|name| {
            let mut query = Query::new(name);
            // One row is enough to learn the index of the table.
            query.add("per_page", "1");
            query.add("namespace", &settings.namespace);
            if let Some(region) = &settings.region {
                query.add("region", region);
            }
            if name == "/v1/volumes" {
                query.add("type", "csi");
            }
            Target {
                name,
                uri: query.finish(),
            }
        })
        .collect()
}

fn list(topic: &str) -> Option<&'static str> {
    Some(match topic {
        "Job" => "/v1/jobs",
        "Allocation" => "/v1/allocations",
        "Evaluation" => "/v1/evaluations",
        "Deployment" => "/v1/deployments",
        "Node" => "/v1/nodes",
        "Service" => "/v1/services",
        "NodePool" => "/v1/node/pools",
        "CSIVolume" | "HostVolume" => "/v1/volumes",
        "Variable" => "/v1/vars",
        _ => return None,
    })
}
