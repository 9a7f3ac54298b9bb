//! Which topics to subscribe to, and the combinations that Nomad would misread.

use std::fmt;

use super::OptionError;

/// What a token with `read-job` in every namespace and `node:read` may read. `*` would need a management token.
pub const DEFAULT_TOPICS: [&str; 6] = [
    "Job",
    "Allocation",
    "Evaluation",
    "Deployment",
    "Node",
    "Service",
];

/// The topics of Nomad 2.0 (`nomad/structs/event.go`). Others can be subscribed to: a later Nomad may have them.
pub(crate) const KNOWN_TOPICS: [&str; 17] = [
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
    "Operator",
    "Service",
    "Variable",
];

/// Topics whose events have no filter keys but their own key, so that two keys never match the same event
/// (`eventFromChange` in `nomad/state/events.go`).
const ONE_KEY: [&str; 8] = [
    "Job",
    "Node",
    "NodePool",
    "Variable",
    "ACLToken",
    "ACLPolicy",
    "ACLAuthMethod",
    "CSIPlugin",
];

/// One topic, or one key of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter {
    /// The topic, `*` for all.
    pub topic: String,
    /// The key or one of the filter keys, compared exactly; `None` for all.
    pub key: Option<String>,
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}:{key}", self.topic),
            None => f.write_str(&self.topic),
        }
    }
}

impl TopicFilter {
    /// The topic in snake case, as it names an output: `ACLToken` gives `acl_token`, `CSIVolume` gives `csi_volume`.
    #[must_use]
    pub fn output_name(&self) -> String {
        output_name(&self.topic)
    }
}

/// The output for notices, of a source with `multiple_outputs`.
pub const NOTICES_OUTPUT: &str = "notices";
/// The output for what no other output takes.
pub const UNMATCHED_OUTPUT: &str = "_unmatched";

/// The outputs for these topics, each once. `*` names no topic, so nothing stands for it.
pub(super) fn output_names<'t>(topics: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let of_topics = topics.filter(|topic| *topic != "*").map(output_name);
    for name in of_topics.chain([NOTICES_OUTPUT.to_owned(), UNMATCHED_OUTPUT.to_owned()]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A topic's name in snake case. A run of capitals is one word, up to the capital that begins the next.
#[must_use]
pub(crate) fn output_name(topic: &str) -> String {
    let chars: Vec<char> = topic.chars().collect();
    let mut name = String::with_capacity(topic.len() + 4);
    for (place, &c) in chars.iter().enumerate() {
        let after_small = place > 0 && !chars[place - 1].is_uppercase();
        let before_small = chars.get(place + 1).is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && place > 0 && (after_small || before_small) {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

/// Parses the option, and refuses what Nomad accepts and then reads differently from how it looks
/// (`filter()` in `nomad/stream/event_broker.go` and `nomad/stream/subscription.go`; confirmed on 1.11 and 2.0).
pub(super) fn parse(texts: Option<&[String]>) -> Result<Vec<TopicFilter>, OptionError> {
    let Some(texts) = texts else {
        return Ok(DEFAULT_TOPICS
            .iter()
            .map(|topic| TopicFilter {
                topic: (*topic).to_owned(),
                key: None,
            })
            .collect());
    };
    if texts.is_empty() {
        return Err(refuse(
            "the list is empty, which would need a management token and mean every topic; leave it out for the default \
             topics, or name them",
        ));
    }
    let mut filters: Vec<TopicFilter> = Vec::with_capacity(texts.len());
    for text in texts {
        let filter = parse_one(text)?;
        for other in filters.iter().filter(|other| other.topic == filter.topic) {
            refuse_pair(other, &filter)?;
        }
        filters.push(filter);
    }
    if filters.len() > 1
        && let Some(all) = filters.iter().find(|filter| filter.topic == "*")
    {
        return Err(refuse(format!(
            "{all:?} stands beside other topics, and an event that matches both would come twice; keep one of them",
            all = all.to_string()
        )));
    }
    Ok(filters)
}

fn parse_one(text: &str) -> Result<TopicFilter, OptionError> {
    let (topic, key) = match text.split_once(':') {
        None => (text, None),
        // `Job:*` is what Nomad itself makes of a bare `Job`.
        Some((topic, "*")) => (topic, None),
        Some((topic, key)) => (topic, Some(key)),
    };
    if topic.is_empty() || topic.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(refuse(format!(
            "{text:?} names no topic; write \"Topic\" or \"Topic:key\", such as \"Job\" or \"Job:web\""
        )));
    }
    if topic != "*" && topic.contains('*') {
        return Err(refuse(format!(
            "{text:?}: Nomad knows no patterns in topics; name them one by one"
        )));
    }
    // Topics are compared with case.
    if let Some(known) = KNOWN_TOPICS
        .iter()
        .filter(|known| **known != topic)
        .find(|known| {
            let singular = topic.strip_suffix('s').unwrap_or(topic);
            known.eq_ignore_ascii_case(topic)
                || (topic.starts_with(char::is_lowercase) && known.eq_ignore_ascii_case(singular))
        })
    {
        return Err(refuse(format!(
            "{text:?} matches nothing, since Nomad compares topics with case; did you mean {known:?}?"
        )));
    }
    // None of Nomad's begins with a small letter.
    if topic.starts_with(|c: char| c.is_lowercase()) {
        return Err(refuse(format!(
            "{text:?} matches nothing: topics begin with a capital letter, such as \"Job\""
        )));
    }
    match key {
        Some("") => Err(refuse(format!(
            "{text:?} has an empty key, which matches nothing; leave the colon out for all keys"
        ))),
        Some(key) if key.contains(':') => Err(refuse(format!(
            "{text:?}: Nomad refuses a key with a colon; subscribe to {topic:?} and filter afterwards"
        ))),
        Some(key) if key.contains('*') => Err(refuse(format!(
            "{text:?}: keys are compared exactly, Nomad knows no patterns; subscribe to {topic:?} and filter afterwards"
        ))),
        key => Ok(TopicFilter {
            topic: topic.to_owned(),
            key: key.map(str::to_owned),
        }),
    }
}

/// Two entries of one topic. Equal or overlapping ones make Nomad send events twice or not at all.
fn refuse_pair(first: &TopicFilter, second: &TopicFilter) -> Result<(), OptionError> {
    match (&first.key, &second.key) {
        (None, None) => Err(refuse(format!(
            "\"{first}\" is listed twice, and Nomad then sends nothing of it; list it once"
        ))),
        (Some(key), None) | (None, Some(key)) => Err(refuse(format!(
            "\"{topic}\" stands beside \"{topic}:{key}\", and Nomad then sends only the latter; keep one of them",
            topic = first.topic
        ))),
        (Some(a), Some(b)) if a == b => Err(refuse(format!(
            "\"{first}\" is listed twice, and Nomad then sends its events twice; list it once"
        ))),
        // An object can match one entry by its own key and another by its job's: only topics without filter keys cannot.
        (Some(_), Some(_)) if !ONE_KEY.contains(&first.topic.as_str()) => Err(refuse(format!(
            "\"{first}\" and \"{second}\" can match the same event (by its ID and by its job, say), which Nomad then \
                 sends twice; subscribe to \"{topic}\" and filter afterwards",
            topic = first.topic
        ))),
        (Some(_), Some(_)) => Ok(()),
    }
}

fn refuse(problem: impl Into<String>) -> OptionError {
    OptionError::new("topics", problem)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// An event, as far as topics look at it.
    #[derive(Clone, Debug)]
    struct Change {
        topic: &'static str,
        key: &'static str,
        filter_keys: Vec<&'static str>,
    }

    /// How often Nomad sends an event to such a subscription (`filter` in `nomad/stream/subscription.go`): keys are collected
    /// by topic; `*` is a wildcard only when it is the only key left.
    fn sent(asked: &[String], change: &Change) -> usize {
        let mut by_topic: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for text in asked {
            let (topic, key) = text.split_once(':').unwrap_or((text, "*"));
            by_topic.entry(topic).or_default().push(key);
        }
        let mut keys = Vec::new();
        for topic in ["*", change.topic] {
            keys.extend(by_topic.get(topic).into_iter().flatten().copied());
        }
        if keys == ["*"] {
            return 1;
        }
        let matches = |key: &&&str| change.key == **key || change.filter_keys.contains(*key);
        keys.iter().filter(matches).count()
    }

    /// Whether somebody who reads the list would expect the event.
    fn expected(filters: &[TopicFilter], change: &Change) -> bool {
        filters.iter().any(|filter| {
            let key = filter.key.as_deref();
            (filter.topic == "*" || filter.topic == change.topic)
                && key.is_none_or(|key| change.key == key || change.filter_keys.contains(&key))
        })
    }

    fn change() -> impl Strategy<Value = Change> {
        let key = || proptest::sample::select(vec!["a", "b", "c"]);
        let topic = proptest::sample::select(vec!["Job", "Node", "Allocation", "Evaluation"]);
        let filter_keys = proptest::collection::vec(key(), 0..3);
        (topic, key(), filter_keys).prop_map(|(topic, key, filter_keys)| Change {
            topic,
            key,
            // Some topics have no keys but their own.
            filter_keys: if ONE_KEY.contains(&topic) {
                Vec::new()
            } else {
                filter_keys
            },
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Of a list that is taken, Nomad sends what it seems to say, once. (An own key among the filter keys is one match.)
        #[test]
        fn what_is_taken_is_sent_once(
            texts in proptest::collection::vec("(Job|Node|Allocation|Evaluation|[*])(:([abc*]))?", 1..4),
            change in change(),
        ) {
            if let Ok(filters) = parse(Some(&texts)) {
                let asked: Vec<String> = filters.iter().map(ToString::to_string).collect();
                prop_assert_eq!(sent(&asked, &change), usize::from(expected(&filters, &change)));
                // What is asked for reads as itself.
                prop_assert_eq!(parse(Some(&asked)).unwrap(), filters);
            }
        }

        #[test]
        fn no_topic_panics(texts in proptest::collection::vec(any::<String>(), 0..4)) {
            if let Ok(filters) = parse(Some(&texts)) {
                for filter in filters {
                    prop_assert!(!filter.topic.is_empty() && filter.key.as_deref() != Some(""));
                    let _ = filter.output_name();
                }
            }
        }
    }
}
