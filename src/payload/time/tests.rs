use std::io::Read;
use std::time::Duration;

use super::*;
use crate::envelope::{self, Line};
use crate::stream::Liveness;

fn event(topic: &'static str, event_type: &'static str, payload: &str) -> RawEvent {
    RawEvent {
        topic: topic.into(),
        event_type: event_type.into(),
        key: "k".into(),
        namespace: "default".into(),
        filter_keys: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

fn evaluation(modified: i64) -> RawEvent {
    event(
        "Evaluation",
        "EvaluationUpdated",
        &format!(r#"{{"Evaluation":{{"ID":"e","ModifyTime":{modified}}}}}"#),
    )
}

fn timeless() -> RawEvent {
    event(
        "Service",
        "ServiceRegistration",
        r#"{"Service":{"ID":"s","ModifyIndex":7}}"#,
    )
}

fn date(dating: &mut Dating, events: &[RawEvent], at: i64, live: bool) -> Vec<(i64, TimeSource)> {
    dating
        .date(events, Received { at, live })
        .into_iter()
        .map(|time| (time.nanos, time.source))
        .collect()
}

use TimeSource::{Carried, Payload, Receipt};

const NOW: i64 = 1_795_343_465_120_000_001;

#[test]
fn own_times_are_read_exactly_and_only_where_they_stand() {
    let own = |topic, event_type, payload| own_time(&event(topic, event_type, payload));
    let server = |nanos| {
        Some(OwnTime {
            nanos,
            by_server: true,
        })
    };
    let client = |nanos| {
        Some(OwnTime {
            nanos,
            by_server: false,
        })
    };
    let cases = [
        // More than 2^53: a float would have rounded it.
        (
            own(
                "Allocation",
                "PlanResult",
                r#"{"Allocation":{"TaskStates":{"t":{"ModifyTime":1}},"ModifyTime":1795342700571347435}}"#,
            ),
            server(1_795_342_700_571_347_435),
        ),
        (
            own(
                "Deployment",
                "PlanResult",
                r#"{"Deployment":{"ModifyTime":5}}"#,
            ),
            server(5),
        ),
        (
            own(
                "HostVolume",
                "HostVolumeRegistered",
                r#"{"Volume":{"ModifyTime":5}}"#,
            ),
            server(5),
        ),
        (
            own(
                "Variable",
                "VariableUpdated",
                r#"{"Deleted":false,"Metadata":{"ModifyTime":5}}"#,
            ),
            server(5),
        ),
        (
            own(
                "Job",
                "JobRegistered",
                r#"{"Job":{"SubmitTime":5},"Deleted":false}"#,
            ),
            server(5),
        ),
        // The job's status changed: its submit time is not when.
        (
            own("Job", "PlanResult", r#"{"Job":{"SubmitTime":5}}"#),
            None,
        ),
        (
            own(
                "Node",
                "NodeRegistration",
                r#"{"Node":{"StatusUpdatedAt":7,"Events":[{"Timestamp":"1970-01-01T00:00:06Z"}]}}"#,
            ),
            client(7 * SECOND),
        ),
        (
            own(
                "Node",
                "NodeStreamEvent",
                r#"{"Node":{"StatusUpdatedAt":7,"Events":[{"Timestamp":"1969-12-31T20:00:08.5-04:00"},{"Timestamp":null}]}}"#,
            ),
            client(8_500_000_000),
        ),
        (
            own("Evaluation", "x", r#"{"Evaluation":{"ModifyTime":0}}"#),
            None,
        ),
        (own("Evaluation", "x", r#"{"Evaluation":{"ID":"e"}}"#), None),
        (own("Evaluation", "x", r#"{"Evaluation":null}"#), None),
        (
            own("Evaluation", "x", r#"{"Evaluation":{"ModifyTime":"soon"}}"#),
            None,
        ),
        (own("Evaluation", "x", "null"), None),
        (own("Service", "x", r#"{"Service":{"ModifyTime":5}}"#), None),
    ];
    for (place, (found, expected)) in cases.into_iter().enumerate() {
        assert_eq!(found, expected, "case {place}");
    }
}

#[test]
fn an_own_time_is_taken_unless_it_is_old() {
    let mut dating = Dating::default();
    assert_eq!(
        date(&mut dating, &[evaluation(NOW)], NOW, false),
        [(NOW, Payload)]
    );
    let behind = NOW - MAX_BEHIND_NEWEST;
    assert_eq!(
        date(&mut dating, &[evaluation(behind)], NOW, false),
        [(behind, Payload)]
    );
    assert_eq!(
        date(&mut dating, &[evaluation(behind - 1)], NOW, false),
        [(NOW, Carried)]
    );
}

#[test]
fn the_order_inside_a_line_does_not_matter() {
    let mut dating = Dating::default();
    let _ = date(&mut dating, &[evaluation(NOW - 60 * SECOND)], NOW, false);
    let mut other = dating.clone();
    let forth = date(&mut dating, &[timeless(), evaluation(NOW)], NOW, false);
    let mut back = date(&mut other, &[evaluation(NOW), timeless()], NOW, false);
    back.reverse();
    assert_eq!(forth, back);
    assert_eq!(forth, [(NOW, Carried), (NOW, Payload)]);
}

#[test]
fn receipt_is_for_live_lines_that_nothing_dates() {
    let mut dating = Dating::default();
    // Before any time is known.
    assert_eq!(
        date(&mut dating, &[timeless()], NOW, false),
        [(NOW, Receipt)]
    );
    assert_eq!(dating.newest(), None);
    let _ = date(&mut dating, &[evaluation(NOW)], NOW, false);
    let later = NOW + MAX_BEHIND_CLOCK;
    assert_eq!(
        date(&mut dating, &[timeless()], later, true),
        [(NOW, Carried)]
    );
    assert_eq!(
        date(&mut dating, &[timeless()], later + 1, true),
        [(later + 1, Receipt)]
    );
    // The time of receipt moves nothing.
    assert_eq!(dating.newest(), Some(NOW));
    // A catch-up may be hours old.
    assert_eq!(
        date(&mut dating, &[timeless()], later + 1, false),
        [(NOW, Carried)]
    );
}

#[test]
fn a_time_far_ahead_of_the_clock_is_ignored() {
    let mut dating = Dating::default();
    let ahead = NOW + MAX_AHEAD_OF_CLOCK;
    assert_eq!(
        date(&mut dating, &[evaluation(ahead + 1)], NOW, false),
        [(NOW, Receipt)]
    );
    assert_eq!(dating.newest(), None);
    assert_eq!(
        date(&mut dating, &[evaluation(ahead)], NOW, false),
        [(ahead, Payload)]
    );
}

#[test]
fn times_at_the_ends_of_their_range_are_no_trouble() {
    let node = |time: &str| {
        event(
            "Node",
            "NodeStreamEvent",
            &format!(r#"{{"Node":{{"Events":[{{"Timestamp":"{time}"}}]}}}}"#),
        )
    };
    for at in [i64::MIN, -1, 0, NOW, i64::MAX] {
        for live in [false, true] {
            let mut dating = Dating::default();
            let _ = date(&mut dating, &[evaluation(NOW)], at, live);
            let _ = date(&mut dating, &[evaluation(i64::MAX)], at, live);
            let _ = date(&mut dating, &[evaluation(1)], at, live);
            for time in [
                "1677-09-22T00:00:00Z",
                "1700-01-01T00:00:00Z",
                "2262-04-11T23:47:16Z",
            ] {
                let _ = date(&mut dating, &[node(time)], at, live);
            }
        }
    }
    // Before 1970 is no time at all, as with the servers' own times.
    let mut dating = Dating::default();
    assert_eq!(
        date(&mut dating, &[node("1700-01-01T00:00:00Z")], NOW, false),
        [(NOW, Receipt)]
    );
}

#[test]
fn node_times_do_not_move_the_newest() {
    let mut dating = Dating::default();
    let node = event(
        "Node",
        "NodeStreamEvent",
        r#"{"Node":{"StatusUpdatedAt":1795343465}}"#,
    );
    assert_eq!(
        date(&mut dating, &[node], NOW, false),
        [(1_795_343_465 * SECOND, Payload)]
    );
    assert_eq!(dating.newest(), None);
}

/// The recording of a real server, each line with the moment at which it was received.
#[test]
fn the_recording_is_dated_close_to_the_moment_of_receipt() {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(
        &include_bytes!("../../../tests/fixtures/nomad-1.11.3-events.ndjson.gz")[..],
    )
    .read_to_end(&mut text)
    .unwrap();
    let times = include_str!("../../../tests/fixtures/nomad-1.11.3-events.times");

    let mut dating = Dating::default();
    let mut liveness = Liveness::default();
    let mut counts = [0; 3];
    let mut behind: Vec<i64> = Vec::new();
    for (line, row) in text.split(|&byte| byte == b'\n').zip(times.lines()) {
        let (at, _) = row.split_once(' ').unwrap();
        let (seconds, millis) = at.split_once('.').unwrap();
        let millis = seconds.parse::<i64>().unwrap() * 1000 + millis.parse::<i64>().unwrap();
        let live = liveness.bytes(Duration::from_millis(millis.unsigned_abs()));
        let Line::Batch(batch) = (match envelope::parse(&Bytes::copy_from_slice(line)) {
            Ok(line) => line,
            Err(_) => break,
        }) else {
            continue;
        };
        let at = millis * 1_000_000;
        for time in dating.date(&batch.events, Received { at, live }) {
            counts[time.source as usize] += 1;
            behind.push((at - time.nanos).abs());
        }
    }
    assert_eq!(counts, [1939, 653, 15], "payload, carried, receipt");
    behind.sort_unstable();
    let quantile = |percent: usize| behind[(behind.len() - 1) * percent / 100] / 1_000_000;
    assert!(quantile(50) <= 60, "{} ms", quantile(50));
    assert!(quantile(99) <= 6700, "{} ms", quantile(99));
    assert!(quantile(100) <= 11_800, "{} ms", quantile(100));
}
