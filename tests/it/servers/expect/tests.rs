use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use super::*;

/// The recorded stream, each line with the moment at which the recorder got it.
fn recording() -> Vec<Line> {
    let fixture = |name: &str| {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/fixtures", name]
            .iter()
            .collect();
        fs::read(path).unwrap()
    };
    let mut text = Vec::new();
    let packed = fixture("nomad-1.11.3-events.ndjson.gz");
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_end(&mut text)
        .unwrap();
    let times = String::from_utf8(fixture("nomad-1.11.3-events.times")).unwrap();
    let lines: Vec<Line> = text
        .strip_suffix(b"\n")
        .unwrap()
        .split(|byte| *byte == b'\n')
        .zip(times.lines())
        .map(|(line, time)| {
            let (received, length) = time.split_once(' ').unwrap();
            assert_eq!(length.parse(), Ok(line.len()), "times fit the lines");
            let (seconds, millis) = received.split_once('.').unwrap();
            let millis: i64 = format!("{seconds}{millis:0<3}").parse().unwrap();
            Line {
                text: line.to_vec(),
                received: millis * 1_000_000,
            }
        })
        .collect();
    assert_eq!(lines.len(), 1042);
    lines
}

/// The figures of the design, which were found with other code.
#[test]
fn recording_gives_the_documented_times() {
    let lines = recording();
    let mut counts = BTreeMap::new();
    let mut behind = Vec::new();
    let mut dating = Dating::default();
    for line in &lines {
        for expected in dating.date(line.received, parse(&line.text)) {
            let (source, nanos) = match expected.when {
                When::Payload(nanos) => ("payload", nanos),
                When::Carried(nanos) => ("carried", nanos),
                When::Receipt(nanos) => ("receipt", nanos),
                When::CarriedOrReceipt { carried, .. } => ("either", carried),
            };
            *counts.entry(source).or_insert(0) += 1;
            behind.push(line.received - nanos);
        }
    }
    let expected = [("carried", 653), ("payload", 1939), ("receipt", 15)];
    assert_eq!(counts, BTreeMap::from(expected));
    behind.sort_unstable();
    let median = behind[behind.len() / 2];
    assert!((SECOND / 25..SECOND / 16).contains(&median), "{median} ns");
    let most = *behind.last().unwrap();
    assert!((117 * SECOND / 10 - most).abs() < SECOND / 20, "{most} ns");
}

fn evaluation(modified: i64) -> WireEvent {
    WireEvent {
        topic: "Evaluation".to_owned(),
        event_type: "EvaluationUpdated".to_owned(),
        key: "e".to_owned(),
        namespace: "default".to_owned(),
        index: 1,
        payload: serde_json::json!({"Evaluation": {"ModifyTime": modified}}),
    }
}

/// An event without any time of its own.
fn timeless() -> WireEvent {
    WireEvent {
        topic: "Service".to_owned(),
        payload: serde_json::json!({"Service": {}}),
        ..evaluation(0)
    }
}

fn node(event_at: &str, status_at: i64) -> WireEvent {
    WireEvent {
        topic: "Node".to_owned(),
        namespace: String::new(),
        payload: serde_json::json!({
            "Node": {"StatusUpdatedAt": status_at, "Events": [{"Timestamp": event_at}]}
        }),
        ..evaluation(0)
    }
}

/// Dates lines; each is its time of receipt in seconds and its events.
fn dates<const N: usize>(lines: [(i64, Vec<WireEvent>); N]) -> Vec<When> {
    let mut dating = Dating::default();
    lines
        .into_iter()
        .flat_map(|(received, events)| dating.date(received * SECOND, events))
        .map(|expected| expected.when)
        .collect()
}

#[test]
fn own_time_holds_up_to_ten_seconds_behind_the_newest() {
    let at = |seconds| evaluation(seconds * SECOND);
    let found = dates([
        (100, vec![at(90)]),
        (100, vec![at(80)]),
        (100, vec![at(79)]),
    ]);
    assert_eq!(
        found,
        [90, 80, 90]
            .map(|s| s * SECOND)
            .into_iter()
            .enumerate()
            .map(|(i, nanos)| {
                if i == 2 {
                    When::Carried(nanos)
                } else {
                    When::Payload(nanos)
                }
            })
            .collect::<Vec<_>>()
    );
}

#[test]
fn timeless_event_carries_the_largest_time_of_its_own_line_whatever_the_order() {
    let found = dates([(100, vec![timeless(), evaluation(99 * SECOND)])]);
    assert_eq!(
        found,
        [When::Carried(99 * SECOND), When::Payload(99 * SECOND)]
    );
}

#[test]
fn timeless_event_before_any_time_is_dated_by_receipt() {
    assert_eq!(
        dates([(100, vec![timeless()])]),
        [When::Receipt(100 * SECOND)]
    );
}

#[test]
fn receipt_counts_on_a_live_stream_only_and_moves_nothing() {
    let catching_up = dates([
        (100, vec![evaluation(10 * SECOND)]),
        (100, vec![timeless()]),
    ]);
    assert_eq!(catching_up[1], When::Carried(10 * SECOND));
    let live = dates([
        (100, vec![evaluation(100 * SECOND)]),
        (130, vec![timeless()]),
        // A heartbeat.
        (135, vec![]),
        (150, vec![evaluation(101 * SECOND), timeless()]),
    ]);
    assert_eq!(
        live,
        [
            When::Payload(100 * SECOND),
            When::Receipt(130 * SECOND),
            When::Payload(101 * SECOND),
            When::Receipt(150 * SECOND),
        ]
    );
}

#[test]
fn carried_or_receipt_is_open_close_to_the_limit() {
    let found = dates([
        (100, vec![evaluation(100 * SECOND)]),
        (109, vec![timeless()]),
        (112, vec![timeless()]),
    ]);
    let open = When::CarriedOrReceipt {
        carried: 100 * SECOND,
        receipt: 109 * SECOND,
    };
    assert_eq!(found[1..], [open, When::Receipt(112 * SECOND)]);
}

#[test]
fn node_time_is_the_later_of_event_and_status_and_carries_nothing() {
    let found = dates([
        (100, vec![node("1970-01-01T01:01:30.5+01:00", 80)]),
        (100, vec![node("1970-01-01T00:01:30.5Z", 95)]),
        (100, vec![timeless()]),
    ]);
    assert_eq!(
        found,
        [
            When::Payload(90 * SECOND + SECOND / 2),
            When::Payload(95 * SECOND),
            When::Receipt(100 * SECOND),
        ]
    );
}

#[test]
fn time_far_ahead_of_the_clock_is_ignored() {
    let found = dates([
        (100, vec![evaluation(401 * SECOND)]),
        (100, vec![evaluation(400 * SECOND)]),
    ]);
    assert_eq!(
        found,
        [When::Receipt(100 * SECOND), When::Payload(400 * SECOND)]
    );
}

#[test]
fn job_has_a_time_only_when_it_is_registered() {
    let job = |event_type: &str| WireEvent {
        topic: "Job".to_owned(),
        event_type: event_type.to_owned(),
        payload: serde_json::json!({"Job": {"SubmitTime": 90 * SECOND}}),
        ..evaluation(0)
    };
    let found = dates([
        (100, vec![job("JobDeregistered")]),
        (100, vec![job("JobRegistered")]),
    ]);
    assert_eq!(
        found,
        [When::Receipt(100 * SECOND), When::Payload(90 * SECOND)]
    );
}

#[test]
fn integers_above_two_to_the_53_stay_exact() {
    let line = br#"{"Index":9,"Events":[{"Topic":"Evaluation","Type":"EvaluationUpdated","Key":"e","Namespace":"default","FilterKeys":null,"Index":9,"Payload":{"Evaluation":{"ModifyTime":1795343465120000001}}}]}"#;
    let line = Line {
        text: line.to_vec(),
        received: 1_795_343_466_000_000_000,
    };
    assert_eq!(
        expected(&[line])[0].when,
        When::Payload(1_795_343_465_120_000_001)
    );
}
