use bytes::Bytes;
use bytestring::ByteString;

use super::*;
use crate::event::{Origin, RaftIndex};
use crate::payload::time::{EventTime, TimeSource};

/// The ID of a node, and the beginning of it that people see.
const NODE: &str = "4263fab4-1d5e-0e9b-6a3c-95cb2d02d7a4";
const SHORT: &str = "4263fab4";
const OTHER: &str = "c3eaf592-0000-0000-0000-000000000000";

fn event(topic: &'static str, key: &str, payload: &str) -> Event {
    Event {
        topic: ByteString::from_static(topic),
        event_type: ByteString::from_static("PlanResult"),
        key: ByteString::from(key),
        namespace: ByteString::from_static("default"),
        filter_keys: None,
        index: RaftIndex(7),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        time: EventTime {
            nanos: 1_000,
            source: TimeSource::Payload,
        },
        origin: Origin::Stream,
        changes: None,
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn jobs(ids: &[&str]) -> Filter {
    Filter::new(&[], &texts(ids), &[], None)
}

fn nodes(names: &[&str]) -> Filter {
    Filter::new(&[], &[], &texts(names), None)
}

fn allocation(node: &str, name: &str, job: &str) -> Event {
    let payload = format!(
        r#"{{"Allocation":{{"ID":"a","NodeID":"{node}","NodeName":"{name}","JobID":"{job}"}}}}"#
    );
    event("Allocation", "a", &payload)
}

#[test]
fn a_job_is_found_in_everything_that_belongs_to_it_and_to_its_children() {
    let of = |topic, kind: &str, job: &str| {
        event(
            topic,
            "key",
            &format!(r#"{{"{kind}":{{"JobID":"{job}"}}}}"#),
        )
    };
    for (what, event, expected) in [
        (
            "the job",
            event("Job", "web", r#"{"Job":{"ID":"web","ParentID":""}}"#),
            true,
        ),
        (
            "a stopped job",
            event("Job", "web", r#"{"Job":{"ID":"web"},"Deleted":false}"#),
            true,
        ),
        ("its allocation", allocation(NODE, "n", "web"), true),
        (
            "its evaluation",
            of("Evaluation", "Evaluation", "web"),
            true,
        ),
        (
            "its deployment",
            of("Deployment", "Deployment", "web"),
            true,
        ),
        ("its service", of("Service", "Service", "web"), true),
        (
            "a dispatched child",
            event("Job", "web/dispatch-17-ab", "{}"),
            true,
        ),
        (
            "a periodic child's evaluation",
            of("Evaluation", "Evaluation", "web/periodic-17"),
            true,
        ),
        (
            "a child that was named otherwise",
            event("Job", "odd", r#"{"Job":{"ID":"odd","ParentID":"web"}}"#),
            true,
        ),
        (
            "another job",
            event("Job", "web2", r#"{"Job":{"ID":"web2"}}"#),
            false,
        ),
        (
            "a job with a slash",
            event("Job", "web/blue", r#"{"Job":{"ID":"web/blue"}}"#),
            false,
        ),
        (
            "an allocation of another",
            allocation(NODE, "web", "api"),
            false,
        ),
        // `web` is a service of `api`: Nomad's own filter by key would send it.
        (
            "a service of that name",
            event(
                "Service",
                "web",
                r#"{"Service":{"ServiceName":"web","JobID":"api"}}"#,
            ),
            false,
        ),
        (
            "a node of that name",
            event("Node", NODE, r#"{"Node":{"ID":"x","Name":"web"}}"#),
            false,
        ),
        (
            "a payload that is none",
            event("Allocation", "web", "{\"Allocation\":"),
            false,
        ),
        (
            "a payload of another shape",
            event("Allocation", "web", r#"{"Allocation":{"JobID":1}}"#),
            false,
        ),
    ] {
        assert_eq!(jobs(&["web"]).wants(&event), expected, "{what}");
        assert_eq!(jobs(&["x", "web"]).wants(&event), expected, "{what}");
        assert!(Filter::default().wants(&event), "{what}");
    }
}

#[test]
fn a_node_is_found_by_id_by_its_beginning_and_by_name() {
    let of_node = [
        event(
            "Node",
            NODE,
            &format!(r#"{{"Node":{{"ID":"{NODE}","Name":"client-1"}}}}"#),
        ),
        allocation(NODE, "client-1", "web"),
        event(
            "Service",
            "s",
            &format!(r#"{{"Service":{{"NodeID":"{NODE}"}}}}"#),
        ),
        event(
            "Evaluation",
            "e",
            &format!(r#"{{"Evaluation":{{"NodeID":"{NODE}"}}}}"#),
        ),
    ];
    let of_others = [
        event(
            "Node",
            OTHER,
            &format!(r#"{{"Node":{{"ID":"{OTHER}","Name":"client-10"}}}}"#),
        ),
        allocation(OTHER, "client-10", "web"),
        event(
            "Service",
            "s",
            &format!(r#"{{"Service":{{"NodeID":"{OTHER}"}}}}"#),
        ),
        event("Evaluation", "e", r#"{"Evaluation":{"JobID":"client-1"}}"#),
        event("Job", "client-1", r#"{"Job":{"ID":"client-1"}}"#),
        event("Evaluation", "e", r#"{"Evaluation":{"NodeID":""}}"#),
    ];
    for wanted in [NODE, SHORT, "4263", "client-1"] {
        let mut filter = nodes(&[wanted]);
        for event in &of_node {
            assert!(filter.wants(event), "{wanted}: {event:?}");
        }
        for event in &of_others {
            assert!(!filter.wants(event), "{wanted}: {event:?}");
        }
    }
    // So short a text is no beginning of an ID: a name may be "4".
    assert!(!nodes(&["426"]).wants(&of_node[0]));
}

#[test]
fn what_has_only_the_id_is_found_by_name_once_the_name_is_known() {
    let service = event(
        "Service",
        "s",
        &format!(r#"{{"Service":{{"NodeID":"{NODE}"}}}}"#),
    );
    let mut filter = Filter::new(
        &texts(&["ServiceRegistration", "PlanResult"]),
        &texts(&["web"]),
        &texts(&["client-1"]),
        None,
    );
    let of_web = event(
        "Service",
        "s",
        &format!(r#"{{"Service":{{"NodeID":"{NODE}","JobID":"web"}}}}"#),
    );
    assert!(!filter.wants(&of_web), "nothing has told the name");
    // Told by an event that is not shown, since it is of another job.
    assert!(!filter.wants(&allocation(NODE, "client-1", "api")));
    assert!(filter.wants(&of_web));
    assert!(!filter.wants(&service), "of no job");
    // The node has got another name.
    assert!(!filter.wants(&allocation(NODE, "client-2", "web")));
    assert!(!filter.wants(&of_web));
}

#[test]
fn names_do_not_fill_the_memory() {
    let mut filter = nodes(&["same"]);
    for number in 0..MAX_NAMED + 10 {
        assert!(filter.wants(&allocation(&format!("{number:08}-0000"), "same", "web")));
    }
    assert_eq!(filter.named.len(), MAX_NAMED);
}

#[test]
fn types_and_times_are_of_the_envelope() {
    let filter = |types: &[&str], since| Filter::new(&texts(types), &[], &[], since);
    let event = event("Job", "web", "{}");
    for (types, since, expected) in [
        (&[][..], None, true),
        (&["PlanResult"], None, true),
        (&["JobRegistered", "PlanResult"], None, true),
        (&["planresult"], None, false),
        (&["Plan"], None, false),
        (&[], Some(1_000), true),
        (&[], Some(1_001), false),
        (&["PlanResult"], Some(1_001), false),
    ] {
        assert_eq!(
            filter(types, since).wants(&event),
            expected,
            "{types:?}, {since:?}"
        );
    }
}

#[test]
fn only_topics_that_can_match_are_subscribed_to() {
    let topics = |jobs: &[&str], nodes: &[&str]| {
        topics_that_can_match(&Filter::new(&[], &texts(jobs), &texts(nodes), None))
    };
    assert_eq!(topics(&[], &[]), None);
    for (jobs, nodes, without) in [
        (&["web"][..], &[][..], &["Node"][..]),
        (&[], &["client-1"], &["Job", "Deployment"]),
        (&["web"], &["client-1"], &["Job", "Deployment"]),
        (&["web"], &[NODE], &["Job", "Deployment", "Node"]),
    ] {
        let mut all: Vec<&str> = crate::options::DEFAULT_TOPICS.to_vec();
        all.retain(|topic| !without.contains(topic));
        let mut found = topics(jobs, nodes).unwrap();
        all.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, all, "{jobs:?} {nodes:?}");
    }
}
