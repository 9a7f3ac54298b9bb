//! What a stream request asks for, and which events of a line it gets: Nomad's rules, traps included.
//!
//! After `parseEventTopics` in Nomad's `command/agent/event_endpoint.go` and `filter` in `nomad/stream/subscription.go`.

use std::collections::BTreeMap;
use std::num::IntErrorKind;

use bytes::Bytes;

use super::DEFAULT_NAMESPACE;
use super::line::{Line, LineEvent};

/// Stands for every topic, every key and every namespace.
const ANY: &str = "*";

/// A request of the stream that Nomad accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The index asked for; 0 for the head of the buffer.
    pub(super) index: u64,
    topics: BTreeMap<String, Vec<String>>,
    namespaces: Vec<String>,
}

impl Subscription {
    /// Reads the query of a request.
    ///
    /// `namespace=*` is written out at once into the namespaces `known`, as Nomad does since 1.9.6: one that is made later
    /// stays unseen until the client subscribes anew.
    ///
    /// # Errors
    ///
    /// The text that Nomad answers with status 400. (A negative index is among them here; a real server writes a 400 and then streams.)
    pub(super) fn from_query<'a>(
        query: &[(String, String)],
        known: impl Iterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let first = |name: &str| {
            query
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, v)| v.as_str())
        };
        let index = parse_index(first("index").unwrap_or_default())?;

        let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, topic) in query.iter().filter(|(key, _)| key == "topic") {
            let (topic, key) = match topic.split_once(':') {
                None => (topic.as_str(), ANY),
                Some((topic, key)) if !key.contains(':') => (topic, key),
                Some(_) => {
                    return Err(format!(
                        "Invalid topic query: error parsing topics: Invalid key value pair for topic, topic: {topic}"
                    ));
                }
            };
            topics
                .entry(topic.to_owned())
                .or_default()
                .push(key.to_owned());
        }
        if topics.is_empty() {
            topics.insert(ANY.to_owned(), vec![ANY.to_owned()]);
        }

        let namespaces = match first("namespace") {
            None | Some("") => vec![DEFAULT_NAMESPACE.to_owned()],
            Some(ANY) => known.map(str::to_owned).collect(),
            Some(one) => vec![one.to_owned()],
        };
        Ok(Self {
            index,
            topics,
            namespaces,
        })
    }

    /// The topics that are asked for, `*` for all.
    pub(super) fn topics(&self) -> Vec<&str> {
        self.topics.keys().map(String::as_str).collect()
    }

    /// The namespaces that are asked for, written out.
    pub(super) fn namespaces(&self) -> Vec<&str> {
        self.namespaces.iter().map(String::as_str).collect()
    }

    /// The line as this subscription gets it; `None` when nothing of it is left.
    pub(super) fn select(&self, line: &Line) -> Option<Bytes> {
        let Some(events) = &line.events else {
            return Some(line.text.clone());
        };
        let counts: Vec<usize> = events.iter().map(|event| self.count(event)).collect();
        if counts.iter().all(|&count| count == 0) {
            return None;
        }
        if counts.iter().all(|&count| count == 1) {
            return Some(line.text.clone());
        }
        let selected = events
            .iter()
            .zip(counts)
            .flat_map(|(event, count)| std::iter::repeat_n(event, count));
        Some(line.with_events(selected))
    }

    /// How often the event is delivered: once for every requested key that it matches.
    fn count(&self, event: &LineEvent) -> usize {
        if !event.namespace.is_empty() && !self.namespaces.contains(&event.namespace) {
            return 0;
        }
        let keys_of = |topic: &str| self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let (any_topic, topic) = (keys_of(ANY), keys_of(&event.topic));
        if any_topic == [ANY] {
            return 1;
        }
        // A star is a wildcard only where it is the single key; beside others it is a key like them.
        let keys = || any_topic.iter().chain(topic);
        if keys().count() == 1 && keys().all(|key| key == ANY) {
            return 1;
        }
        keys()
            .filter(|&key| event.key == *key || event.filter_keys.contains(key))
            .count()
    }
}

/// Reads `index` as Go's `strconv.Atoi` does.
fn parse_index(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let index = text.parse::<i64>().map_err(|error| {
        let reason = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("Unable to parse index: strconv.Atoi: parsing {text:?}: {reason}")
    })?;
    u64::try_from(index).map_err(|_| "Invalid index".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::line::{BatchText, EventText};
    use super::*;

    fn subscription(query: &str) -> Result<Subscription, String> {
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        Subscription::from_query(&query, ["default", "ops"].into_iter())
    }

    /// Keys of the events that come, in order, of one line with one event of each kind.
    fn selected(query: &str) -> String {
        let line = BatchText::new(8)
            .event(EventText::new("Job", "JobRegistered", "p1"))
            .event(EventText::new("Job", "JobRegistered", "p2"))
            .event(EventText::new("Evaluation", "JobRegistered", "e1").filter_keys(["p1", ""]))
            .event(EventText::new("Node", "NodeDrain", "n1").namespace(""))
            .event(EventText::new("Service", "ServiceRegistration", "s1").namespace("ops"))
            .event(EventText::new("Variable", "VariableUpdated", "v1").namespace("late"));
        let line = Line::parse(line.to_bytes().unwrap()).unwrap();
        let Some(text) = subscription(query).unwrap().select(&line) else {
            return String::new();
        };
        let cut = Line::parse(text).unwrap();
        assert_eq!(cut.index, 8);
        let keys: Vec<String> = cut
            .events
            .unwrap()
            .into_iter()
            .map(|event| event.key)
            .collect();
        keys.join(" ")
    }

    #[test]
    fn filter_follows_nomad_with_its_traps() {
        let table = [
            ("", "p1 p2 e1 n1"),
            ("namespace=*", "p1 p2 e1 n1 s1"),
            ("namespace=", "p1 p2 e1 n1"),
            ("namespace=ops", "n1 s1"),
            ("namespace=ghost", "n1"),
            ("namespace=late", "n1 v1"),
            ("topic=Job", "p1 p2"),
            ("topic=Job:*", "p1 p2"),
            ("topic=Job:p1", "p1"),
            ("topic=Job&topic=Node", "p1 p2 n1"),
            ("topic=Job:p1&topic=Job:p2", "p1 p2"),
            ("topic=Node&namespace=ghost", "n1"),
            // A key matches filter keys too, the empty one included.
            ("topic=Evaluation:p1", "e1"),
            ("topic=Evaluation:", "e1"),
            ("topic=*:p1", "p1 e1"),
            // Twice for two keys, or for one key asked for twice.
            ("topic=Evaluation:p1&topic=Evaluation:e1", "e1 e1"),
            ("topic=Job:p1&topic=Job:p1", "p1 p1"),
            ("topic=*:p1&topic=Evaluation:e1", "p1 e1 e1"),
            // A star beside another key is no wildcard any more.
            ("topic=Job&topic=Job", ""),
            ("topic=Job:*&topic=Job:p1", "p1"),
            ("topic=*&topic=*", ""),
            // Every topic swallows the rest.
            ("topic=Job&topic=*", "p1 p2 e1 n1"),
            ("topic=*&topic=Job:p1", "p1 p2 e1 n1"),
            // Unknown, empty, another case, no patterns.
            ("topic=Nope", ""),
            ("topic=", ""),
            ("topic=job", ""),
            ("topic=Job:P1", ""),
            ("topic=Job:p*", ""),
        ];
        for (query, expected) in table {
            assert_eq!(selected(query), expected, "{query}");
        }
    }

    #[test]
    fn line_that_passes_whole_is_not_rewritten() {
        let text = Bytes::from_static(
            br#"{"Index" : 8, "Events":[{"Topic":"Job","Key":"","Namespace":"","FilterKeys":[]}]}"#,
        );
        let line = Line::parse(text.clone()).unwrap();
        assert_eq!(subscription("topic=Job").unwrap().select(&line), Some(text));
    }

    #[test]
    fn what_nomad_refuses_is_refused_in_its_words() {
        let table = [
            (
                "topic=a:b:c",
                "Invalid topic query: error parsing topics: Invalid key value pair for topic, topic: a:b:c",
            ),
            (
                "index=abc",
                "Unable to parse index: strconv.Atoi: parsing \"abc\": invalid syntax",
            ),
            (
                "index=1.5",
                "Unable to parse index: strconv.Atoi: parsing \"1.5\": invalid syntax",
            ),
            (
                "index=99999999999999999999",
                "Unable to parse index: strconv.Atoi: parsing \"99999999999999999999\": value out of range",
            ),
            ("index=-1", "Invalid index"),
        ];
        for (query, text) in table {
            assert_eq!(subscription(query), Err(text.to_owned()), "{query}");
        }
        assert_eq!(
            subscription("index=9223372036854775807").unwrap().index,
            i64::MAX as u64
        );
        assert_eq!(
            subscription("filter=(((&pretty=true&index=").unwrap().index,
            0
        );
    }
}
