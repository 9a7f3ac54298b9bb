use super::super::expect::expected;
use super::super::stand_in;
use super::super::wire::Line;
use super::*;

const SAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/nomad-1.11.3-sample.ndjson"
);

/// Recorded events of the topics that the recommended configuration asks for, and their times.
fn case() -> (Vec<Expected>, Vec<Entry>) {
    let text = std::fs::read(SAMPLE).unwrap();
    let lines: Vec<Line> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Line {
            text: line.to_vec(),
            received: 1_795_343_700_000_000_000,
        })
        .collect();
    let mut expected: Vec<Expected> = expected(&lines)
        .into_iter()
        .filter(|expected| Shape::of(&expected.event.topic).is_some())
        .collect();
    // The same job is sometimes reported twice at one index, with another status.
    let job = expected
        .iter()
        .find(|expected| expected.event.topic == "Job");
    let mut twin = job.unwrap().clone();
    twin.event.payload["Job"]["Status"] = "pending".into();
    expected.push(twin);
    let entries = stand_in::entries(&expected);
    assert!(entries.len() > 100, "{} entries", entries.len());
    (expected, entries)
}

/// What is found when the entries are spoiled.
fn spoiled(spoil: impl FnOnce(&mut Vec<Entry>)) -> Vec<Finding> {
    let (expected, mut entries) = case();
    spoil(&mut entries);
    judge(&expected, &entries)
}

/// Changes a field of a line.
fn set(entry: &mut Entry, field: &str, value: Value) {
    let mut line: Value = serde_json::from_str(&entry.line).unwrap();
    line[field] = value;
    entry.line = line.to_string();
}

fn position(entries: &[Entry], topic: &str) -> usize {
    let found = entries
        .iter()
        .position(|entry| entry.labels["topic"] == topic);
    found.unwrap()
}

#[test]
fn what_is_right_is_right_in_any_order() {
    assert_eq!(spoiled(|_| {}), []);
    assert_eq!(spoiled(|entries| entries.reverse()), []);
}

#[test]
fn sample_has_the_hard_cases() {
    let (expected, entries) = case();
    // Dropped by the configuration.
    assert!(expected.iter().any(|expected| !expected.is_shipped()));
    // Without a namespace.
    assert!(entries.iter().any(|entry| entry.labels["namespace"] == "-"));
    // One object twice at one index.
    let mut identities: Vec<_> = expected.iter().map(Identity::of).collect();
    identities.sort();
    assert!(identities.windows(2).any(|pair| pair[0] == pair[1]));
}

#[test]
fn missing_entry_is_found() {
    let findings = spoiled(|entries| {
        entries.remove(7);
    });
    assert!(
        matches!(findings[..], [Finding::Missing(_)]),
        "{findings:?}"
    );
}

#[test]
fn doubled_entry_is_found() {
    let findings = spoiled(|entries| {
        let mut copy = entries[7].clone();
        set(&mut copy, "event_id", "another".into());
        entries.push(copy);
    });
    assert!(
        matches!(findings[..], [Finding::Unexpected(_)]),
        "{findings:?}"
    );
}

#[test]
fn doubled_event_id_is_found() {
    let findings = spoiled(|entries| {
        let first: Value = serde_json::from_str(&entries[0].line).unwrap();
        set(&mut entries[7], "event_id", first["event_id"].clone());
    });
    assert!(
        matches!(findings[..], [Finding::EventId(_)]),
        "{findings:?}"
    );
}

#[test]
fn time_that_is_one_nanosecond_off_is_found() {
    let findings = spoiled(|entries| entries[7].nanos += 1);
    assert!(
        matches!(findings[..], [Finding::Time { .. }]),
        "{findings:?}"
    );
}

#[test]
fn receipt_may_be_five_seconds_apart_and_no_more() {
    let (mut expected, entries) = case();
    let expected_7 = expected
        .iter()
        .position(|expected| {
            expected.is_shipped() && expected.when == When::Payload(entries[7].nanos)
        })
        .unwrap();
    expected.drain(..expected_7);
    expected.truncate(1);
    let at = entries[7].nanos;
    expected[0].when = When::Receipt(at);
    let mut only = stand_in::entries(&expected);
    only[0].nanos = at + RECEIPT_APART;
    assert_eq!(judge(&expected, &only), []);
    only[0].nanos += 1;
    assert_eq!(judge(&expected, &only).len(), 1);
    expected[0].when = When::CarriedOrReceipt {
        carried: only[0].nanos,
        receipt: at,
    };
    assert_eq!(judge(&expected, &only), []);
}

#[test]
fn label_that_is_not_the_events_is_found() {
    let findings = spoiled(|entries| {
        let job = position(entries, "Job");
        entries[job]
            .labels
            .insert("namespace".to_owned(), "other".to_owned());
        set(&mut entries[job], "namespace", "other".into());
    });
    assert!(
        matches!(findings[..], [Finding::Labels { .. }]),
        "{findings:?}"
    );
}

#[test]
fn wrong_type_makes_one_missing_and_one_unexpected() {
    let findings = spoiled(|entries| {
        let job = position(entries, "Job");
        entries[job]
            .labels
            .insert("type".to_owned(), "Other".to_owned());
        set(&mut entries[job], "type", "Other".into());
    });
    assert!(
        matches!(findings[..], [Finding::Missing(_), Finding::Unexpected(_)]),
        "{findings:?}"
    );
}

#[test]
fn entry_that_contradicts_itself_is_found() {
    let spoils: [fn(&mut Entry); 12] = [
        |entry| set(entry, "topic", "Other".into()),
        |entry| set(entry, "index", "12".into()),
        |entry| set(entry, "index", 12.0.into()),
        |entry| set(entry, "event_id", "".into()),
        |entry| entry.line = "no JSON".to_owned(),
        |entry| set(entry, "message", Value::Null),
        |entry| set(entry, "timestamp", "2026-11-22T10:31:08Z".into()),
        |entry| entry.metadata.clear(),
        |entry| drop(entry.metadata.remove("level")),
        |entry| drop(entry.metadata.insert("other".to_owned(), "o".to_owned())),
        |entry| drop(entry.labels.remove("type")),
        |entry| drop(entry.labels.insert("host".to_owned(), "h".to_owned())),
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let findings = spoiled(|entries| spoil(&mut entries[7]));
        let kinds = findings
            .iter()
            .filter(|f| matches!(f, Finding::Entry { .. }));
        assert_eq!(kinds.count(), 1, "spoil {number}: {findings:?}");
    }
}

#[test]
fn value_that_is_not_the_payloads_is_found() {
    for (topic, field) in [
        ("Evaluation", "priority"),
        ("Job", "version"),
        ("Allocation", "client_status"),
    ] {
        let findings = spoiled(|entries| {
            let position = position(entries, topic);
            set(&mut entries[position], field, 7.5.into());
        });
        assert!(
            matches!(findings[..], [Finding::Value { .. }]),
            "{field}: {findings:?}"
        );
    }
}

#[test]
fn missing_value_is_found_unless_it_is_empty() {
    let findings = spoiled(|entries| {
        let job = position(entries, "Job");
        set(&mut entries[job], "status", Value::Null);
    });
    assert!(
        matches!(findings[..], [Finding::Value { .. }]),
        "{findings:?}"
    );
    let findings = spoiled(|entries| {
        for entry in entries {
            let mut line: Value = serde_json::from_str(&entry.line).unwrap();
            line.as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null() && value != "");
            entry.line = line.to_string();
        }
    });
    assert_eq!(findings, []);
}

#[test]
fn notices_are_not_judged() {
    let findings = spoiled(|entries| {
        let mut notice = entries[7].clone();
        notice.labels.insert("topic".to_owned(), NOTICES.to_owned());
        entries.push(notice);
    });
    assert_eq!(findings, []);
}

#[test]
fn event_that_the_configuration_drops_must_not_be_there() {
    let (expected, mut entries) = case();
    let dropped = expected
        .iter()
        .position(|expected| !expected.is_shipped())
        .unwrap();
    let mut as_shipped = expected[dropped].clone();
    as_shipped.event.event_type = "NodeDrain".to_owned();
    let mut entry = stand_in::entries(&[as_shipped]).remove(0);
    entry
        .labels
        .insert("type".to_owned(), "AllocationUpdated".to_owned());
    set(&mut entry, "type", "AllocationUpdated".into());
    set(&mut entry, "event_id", "another".into());
    entries.push(entry);
    let findings = judge(&expected, &entries);
    assert!(
        matches!(findings[..], [Finding::Unexpected(_)]),
        "{findings:?}"
    );
}
