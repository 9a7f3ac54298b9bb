//! What was subscribed to when a state was saved, and what a user has changed since. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::options::{Settings, TopicFilter};

/// What is subscribed to. Saved in clear, so that a message can say what has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The configured region; `None` for the agent's own.
    pub region: Option<String>,
    /// The topics.
    #[serde(with = "topics")]
    pub topics: Vec<TopicFilter>,
    /// The namespace, `*` for all.
    pub namespace: String,
}

/// Something was one thing and is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<T> {
    /// What it was.
    pub from: T,
    /// What it is.
    pub to: T,
}

/// How a subscription differs from the one before. `Display` says it in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionChange {
    /// Another region is named, or none any more, or one where none was. It may be the same cluster all the same.
    pub region: Option<Changed<Option<String>>>,
    /// Another namespace.
    pub namespace: Option<Changed<String>>,
    /// Subscribed to, and not covered before.
    pub topics_added: Vec<TopicFilter>,
    /// Covered before, and not any more.
    pub topics_removed: Vec<TopicFilter>,
}

impl Subscription {
    /// That of a source with these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            region: settings.region.clone(),
            topics: settings.topics.clone(),
            namespace: settings.namespace.clone(),
        }
    }

    /// What is different now. The order of topics does not matter; `Job:web` after `Job` is less, and adds nothing.
    #[must_use]
    pub fn change_to(&self, now: &Self) -> SubscriptionChange {
        SubscriptionChange {
            region: changed(&self.region, &now.region),
            namespace: changed(&self.namespace, &now.namespace),
            topics_added: uncovered(&now.topics, &self.topics),
            topics_removed: uncovered(&self.topics, &now.topics),
        }
    }
}

impl SubscriptionChange {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether events are wanted now that were not before: they have gone by up to the saved position. The region is left out:
    /// another cluster is another history.
    #[must_use]
    pub fn adds(&self) -> bool {
        let namespace = self
            .namespace
            .as_ref()
            .is_some_and(|namespace| namespace.from != "*");
        namespace || !self.topics_added.is_empty()
    }
}

impl fmt::Display for SubscriptionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = |region: &Option<String>| match region {
            Some(name) => format!("{name:?}"),
            None => "the agent's own".to_owned(),
        };
        let mut said = Vec::new();
        if let Some(Changed { from, to }) = &self.region {
            said.push(format!("region was {}, is {}", region(from), region(to)));
        }
        if let Some(Changed { from, to }) = &self.namespace {
            said.push(format!("namespace was {from:?}, is {to:?}"));
        }
        for (topics, what) in [
            (&self.topics_added, "topics added"),
            (&self.topics_removed, "topics removed"),
        ] {
            if !topics.is_empty() {
                let names: Vec<String> = topics.iter().map(ToString::to_string).collect();
                said.push(format!("{what}: {}", names.join(", ")));
            }
        }
        if said.is_empty() {
            said.push("nothing has changed".to_owned());
        }
        f.write_str(&said.join("; "))
    }
}

fn changed<T: Clone + PartialEq>(from: &T, to: &T) -> Option<Changed<T>> {
    (from != to).then(|| Changed {
        from: from.clone(),
        to: to.clone(),
    })
}

/// The filters of which the others do not take all.
fn uncovered(filters: &[TopicFilter], others: &[TopicFilter]) -> Vec<TopicFilter> {
    let covers = |other: &TopicFilter, filter: &TopicFilter| {
        (other.topic == "*" || other.topic == filter.topic)
            && (other.key.is_none() || other.key == filter.key)
    };
    filters
        .iter()
        .filter(|filter| !others.iter().any(|other| covers(other, filter)))
        .cloned()
        .collect()
}

/// Topics as users write them, `Topic` or `Topic:key`.
pub(super) mod topics {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::options::TopicFilter;

    pub(crate) fn serialize<S: Serializer>(
        topics: &[TopicFilter],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(topics.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<TopicFilter>, D::Error> {
        let texts: Vec<String> = Deserialize::deserialize(deserializer)?;
        // No topic has a colon. They were checked when they were options.
        let filter = |text: String| match text.split_once(':') {
            Some((topic, key)) => TopicFilter {
                topic: topic.to_owned(),
                key: Some(key.to_owned()),
            },
            None => TopicFilter {
                topic: text,
                key: None,
            },
        };
        Ok(texts.into_iter().map(filter).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn subscription(region: Option<&str>, namespace: &str, topics: &[&str]) -> Subscription {
        let options = Options {
            region: region.map(str::to_owned),
            namespace: Some(namespace.to_owned()),
            topics: Some(topics.iter().map(|&topic| topic.to_owned()).collect()),
            ..Options::default()
        };
        Subscription::of(&options.settings(|_| None).unwrap())
    }

    #[test]
    fn what_has_changed_is_said_and_what_was_added_is_told_apart() {
        let before = subscription(None, "*", &["Job", "Allocation:abc", "Node"]);
        let cases: [(Subscription, &str, bool); 9] = [
            (before.clone(), "nothing has changed", false),
            (
                subscription(None, "*", &["Node", "Allocation:abc", "Job"]),
                "nothing has changed",
                false,
            ),
            (
                subscription(None, "*", &["Job", "Allocation", "Node"]),
                "topics added: Allocation",
                true,
            ),
            (
                subscription(None, "*", &["Job:web", "Allocation:abc", "Node"]),
                "topics removed: Job",
                false,
            ),
            (
                subscription(None, "*", &["Job", "Allocation:xyz", "Node", "Service"]),
                "topics added: Allocation:xyz, Service; topics removed: Allocation:abc",
                true,
            ),
            (subscription(None, "*", &["*"]), "topics added: *", true),
            (
                subscription(None, "prod", &["Job", "Allocation:abc", "Node"]),
                r#"namespace was "*", is "prod""#,
                false,
            ),
            (
                subscription(Some("eu"), "*", &["Job", "Allocation:abc", "Node"]),
                r#"region was the agent's own, is "eu""#,
                false,
            ),
            (
                subscription(Some("eu"), "prod", &["Job"]),
                r#"region was the agent's own, is "eu"; namespace was "*", is "prod"; topics removed: Allocation:abc, Node"#,
                false,
            ),
        ];
        for (now, said, adds) in cases {
            let change = before.change_to(&now);
            assert_eq!(change.to_string(), said);
            assert_eq!(change.adds(), adds, "{said}");
            assert_eq!(change.is_none(), said == "nothing has changed");
        }
    }

    #[test]
    fn another_namespace_is_new_unless_all_were_covered() {
        let job = |namespace| subscription(None, namespace, &["Job"]);
        assert!(job("a").change_to(&job("b")).adds());
        assert!(job("a").change_to(&job("*")).adds());
        assert!(!job("*").change_to(&job("a")).adds());
    }

    #[test]
    fn every_topic_covers_each() {
        let all = subscription(None, "*", &["*"]);
        let job = subscription(None, "*", &["Job:web"]);
        assert!(!all.change_to(&job).adds());
        assert_eq!(job.change_to(&all).to_string(), "topics added: *");
    }
}
