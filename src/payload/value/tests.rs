use std::io::Read;

use bytestring::ByteString;

use super::*;
use crate::envelope::{self, Line};
use crate::event::{Origin, RaftIndex};
use crate::payload::time::{EventTime, TimeSource};

fn event(payload: &str) -> Event {
    Event {
        topic: ByteString::from_static("Job"),
        event_type: ByteString::from_static("JobRegistered"),
        key: ByteString::from_static("web"),
        namespace: ByteString::from_static("default"),
        filter_keys: None,
        index: RaftIndex(811),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        time: EventTime {
            nanos: 1_795_342_700_571_347_435,
            source: TimeSource::Payload,
        },
        origin: Origin::Stream,
        changes: None,
    }
}

fn shape(event: &Event) -> String {
    serde_json::to_string(&Shaper::new(true, None).log_event(event)).unwrap()
}

fn read(payload: &Bytes, wanted: &Wanted) -> tree::Tree {
    tree::read(payload, Treatment::Clear, wanted).unwrap()
}

fn id(event: &Event) -> String {
    event_id(event, read(&event.payload, &Wanted::All).hash)
}

/// Every event of the recording.
fn recorded() -> Vec<Event> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(
        &include_bytes!("../../../tests/fixtures/nomad-1.11.3-events.ndjson.gz")[..],
    )
    .read_to_end(&mut text)
    .unwrap();
    let time = event("null").time;
    let mut events = Vec::new();
    for line in text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        if let Line::Batch(batch) = envelope::parse(&Bytes::copy_from_slice(line)).unwrap() {
            events.extend(
                batch
                    .events
                    .into_iter()
                    .map(|raw| raw.dated(batch.index, time)),
            );
        }
    }
    events
}

#[test]
fn the_fields_are_those_that_users_know() {
    let mut event = event(r#"{"Job":{"ID":"web","ModifyTime":1795342700571347435}}"#);
    event.filter_keys = Some(vec![ByteString::from_static("a"), ByteString::new()]);
    let id = id(&event);
    let expected = format!(
        r#"{{"FilterKeys":["a",""],"Index":811,"Key":"web","Namespace":"default","Payload":{{"Job":{{"ID":"web","ModifyTime":1795342700571347435}}}},"Topic":"Job","Type":"JobRegistered","nomad":{{"event_id":"{id}","origin":"stream","region":"eu","timestamp_source":"payload"}},"source_type":"nomad_events","timestamp":"2026-11-22T10:18:20.571347435Z"}}"#
    );
    let value = Shaper::new(true, Some("eu")).log_event(&event);
    assert_eq!(serde_json::to_string(&value).unwrap(), expected);
    assert!(matches!(
        value.get(vrl::path!("timestamp")),
        Some(Value::Timestamp(_))
    ));
    assert_eq!(shape(&event), expected.replace(r#""region":"eu","#, ""));
}

#[test]
fn the_order_of_keys_does_not_change_the_event() {
    let one = event(r#"{"Job":{"Meta":{"a":"1","b":"2"},"ID":"web"}}"#);
    let other = event(r#"{"Job":{"ID":"web","Meta":{"b":"2","a":"1"}}}"#);
    assert_eq!(shape(&one), shape(&other));
}

#[test]
fn anything_else_changes_the_id() {
    let base = event(r#"{"Job":{"ID":"web","Status":"dead"}}"#);
    let mut ids = vec![id(&base)];
    for payload in [
        r#"{"Job":{"ID":"web","Status":"pending"}}"#,
        r#"{"Job":{"ID":"web"},"Status":"dead"}"#,
        r#"{"Job":{"ID":"web","Status":null}}"#,
        r#"{"Job":{"ID":"webS","tatus":"dead"}}"#,
        r#"{"Job":["ID","web","Status","dead"]}"#,
        r#"{"Job":1}"#,
        r#"{"Job":1.0}"#,
        r#"{"Job":"1"}"#,
        r#"{"Job":true}"#,
    ] {
        ids.push(id(&event(payload)));
    }
    let mut changed = base.clone();
    changed.index = RaftIndex(812);
    ids.push(id(&changed));
    changed = base.clone();
    changed.namespace = ByteString::from_static("other");
    ids.push(id(&changed));
    changed = base.clone();
    changed.topic = ByteString::from_static("Jo");
    changed.event_type = ByteString::from_static("bJobRegistered");
    ids.push(id(&changed));
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

/// Restarts, upgrades and both hosts must agree on it: this text may never change.
#[test]
fn the_id_of_an_event_is_stable_across_versions() {
    let event = event(
        r#"{"Job":{"ID":"web","Version":3,"Stop":false,"Meta":null,"Ratio":0.5,"Datacenters":["dc1"]}}"#,
    );
    assert_eq!(id(&event), "72cffa0bdb70874b77607bdf6f34a755");
}

#[test]
fn ids_say_nothing_of_a_secret() {
    let one = event(r#"{"Job":{"Env":{"PW":"hunter2"}}}"#);
    let other = event(r#"{"Job":{"Env":{"PW":"hunter3"}}}"#);
    assert_eq!(shape(&one), shape(&other));
    let clear = Shaper::new(false, None);
    assert_ne!(clear.log_event(&one), clear.log_event(&other));
}

#[test]
fn numbers_stay_exact() {
    let text = shape(&event(
        r#"{"a":[9223372036854775807,-9223372036854775808,18446744073709551615,1e21,1.0,0]}"#,
    ));
    assert!(
        text.contains(r#""Payload":{"a":[9223372036854775807,-9223372036854775808,"18446744073709551615",1e+21,1.0,0]}"#),
        "{text}"
    );
}

#[test]
fn an_unreadable_payload_does_not_lose_the_event() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for payload in [deep.as_str(), r#"{"a":1e999}"#] {
        let text = shape(&event(payload));
        assert!(
            text.contains(r#""Payload":null"#) && text.contains(r#""payload_error":"payload of "#),
            "{text}"
        );
    }
}

#[test]
fn every_recorded_event_is_shaped_without_its_secrets_and_has_an_id_of_its_own() {
    let events = recorded();
    assert_eq!(events.len(), 2607);
    let clear = Shaper::new(false, None);
    let mut ids = std::collections::HashSet::new();
    let mut with_secret = 0;
    for event in &events {
        let text = shape(event);
        assert!(!text.contains("hunter2"), "{event:?}");
        assert!(!text.contains("payload_error"), "{event:?}");
        if serde_json::to_string(&clear.log_event(event))
            .unwrap()
            .contains("hunter2")
        {
            with_secret += 1;
        }
        // The tree is what vrl itself would have read.
        let theirs: Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(read(&event.payload, &Wanted::All).value, theirs);
        // What is not built counts all the same.
        let nothing = Shaper::new(true, None).log_event_with(event, &Wanted::Nothing);
        let id_path = vrl::path!("nomad", "event_id");
        let full = Shaper::new(true, None).log_event(event);
        assert_eq!(nothing.get(id_path), full.get(id_path));
        ids.insert(full.get(id_path).unwrap().to_string());
    }
    assert!(with_secret > 0, "the recording has secrets to find");
    assert_eq!(ids.len(), events.len());
}

#[test]
fn what_nobody_wants_is_not_built() {
    let mut wanted = Wanted::default();
    for path in ["Job.ID", "Job.Meta", "Job.Groups.Name", "Gone.x"] {
        wanted.add(path.split('.'));
    }
    let event = event(
        r#"{"Job":{"ID":"web","Env":{"PW":"hunter2"},"Meta":{"a":["b"]},"Groups":[{"Name":"g"}]},"Deleted":false}"#,
    );
    let part = Shaper::new(true, None).log_event_with(&event, &wanted);
    assert_eq!(
        serde_json::to_string(part.get(vrl::path!("Payload")).unwrap()).unwrap(),
        r#"{"Job":{"Groups":[],"ID":"web","Meta":{"a":["b"]}}}"#
    );
}
