use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::*;

/// 2030-03-17T17:46:40Z plus a fraction, so that it is no whole number of seconds away from the recording.
const NOW: i64 = 1_900_000_000_123_456_789;

#[test]
fn recording_has_the_counts_that_its_docs_say() {
    let recording = Recording::embedded();
    assert_eq!(
        recording.counts(),
        Counts {
            batches: 1035,
            heartbeats: 7,
            events: 2607
        }
    );
    assert_eq!(recording.batches().count(), 1035);
    assert_eq!(
        Recording::sample().counts(),
        Counts {
            batches: 68,
            heartbeats: 3,
            events: 148
        }
    );
}

#[test]
fn every_line_has_its_own_time_of_receipt() {
    for (recording, times) in [
        (Recording::embedded(), EVENTS_TIMES),
        (Recording::sample(), SAMPLE_TIMES),
    ] {
        let lengths: Vec<usize> = times
            .lines()
            .filter_map(|line| line.split(' ').nth(1)?.parse().ok())
            .collect();
        let lines: Vec<usize> = recording
            .lines()
            .iter()
            .map(|line| line.text.len())
            .collect();
        assert_eq!(lines, lengths);
        assert!(
            recording
                .lines()
                .is_sorted_by_key(|line| line.received_nanos)
        );
    }
    let first = Recording::embedded().lines()[0].clone();
    assert!(first.is_heartbeat());
    assert_eq!(first.received_nanos, 1_795_343_465_120_000_000);
}

#[test]
fn sample_is_a_part_of_the_recording() {
    let recording = Recording::embedded();
    let mut rest = recording.lines().iter();
    for line in Recording::sample().lines() {
        assert!(
            rest.any(|recorded| recorded == line),
            "not in the recording, or out of order"
        );
    }
}

#[test]
fn shift_ends_the_recording_within_the_second_before_now_and_can_be_undone() {
    let recording = Recording::embedded();
    let shifted = recording.shifted_to_end_at(NOW);
    let last = shifted.last_event_nanos().unwrap();
    assert!((NOW - NANOS_PER_SECOND + 1..=NOW).contains(&last));
    assert_eq!(shifted.counts(), recording.counts());

    let undone = shifted.shifted_to_end_at(recording.last_event_nanos().unwrap());
    assert_eq!(undone, recording);
}

#[test]
fn shift_of_nothing_is_nothing() {
    let empty = Recording { lines: Vec::new() };
    assert_eq!(empty.shifted_to_end_at(NOW), empty);
}

/// Every value that moved, and every value that looks like a time and did not, by place. A new line in this table needs a look.
#[test]
fn table_of_times_that_move_and_of_values_that_stay() {
    let recording = Recording::embedded();
    let shifted = recording.shifted_to_end_at(NOW);
    let nanos = shifted.last_event_nanos().unwrap() - recording.last_event_nanos().unwrap();
    let mut table = Table {
        nanos,
        ..Table::default()
    };
    for (before, after) in recording.batches().zip(shifted.batches()) {
        assert_eq!(before.len(), after.len());
        let before: Value = serde_json::from_slice(&before).unwrap();
        let after: Value = serde_json::from_slice(&after).unwrap();
        let events = before["Events"].as_array().unwrap();
        assert_eq!(before["Index"], after["Index"]);
        for (before, after) in events.iter().zip(after["Events"].as_array().unwrap()) {
            table.compare(before["Topic"].as_str().unwrap(), before, after);
        }
    }
    insta::assert_snapshot!(table.text());
}

#[derive(Default)]
struct Table {
    /// By how much every time has to have moved.
    nanos: i64,
    rows: BTreeMap<(&'static str, String, &'static str), usize>,
}

impl Table {
    fn compare(&mut self, path: &str, before: &Value, after: &Value) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                assert!(before.keys().eq(after.keys()), "keys differ at {path}");
                for (key, value) in before {
                    // Names of tasks, groups, plugins and nodes stand for themselves only.
                    let open_map = [".TaskStates", ".TaskGroups", ".Nodes", ".CSINodePlugins"]
                        .iter()
                        .any(|end| path.ends_with(end));
                    let key_shown = if open_map { "*" } else { key };
                    self.compare(&format!("{path}.{key_shown}"), value, &after[key]);
                }
            }
            (Value::Array(before), Value::Array(after)) => {
                for (before, after) in before.iter().zip(after) {
                    self.compare(&format!("{path}[]"), before, after);
                }
            }
            _ if before != after => {
                let (form, moved) = moved(before, after);
                assert_eq!(moved, self.nanos, "at {path}: {before} became {after}");
                self.count("moved", path, form);
            }
            _ => {
                if let Some(form) = looks_like_a_time(before) {
                    self.count("stays", path, form);
                }
            }
        }
    }

    fn count(&mut self, what: &'static str, path: &str, form: &'static str) {
        *self.rows.entry((what, path.to_owned(), form)).or_default() += 1;
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for ((what, path, form), count) in &self.rows {
            writeln!(text, "{what} {count:>5} {form:<11} {path}").unwrap();
        }
        text
    }
}

/// The form of a value that moved, and by how many nanoseconds it did.
fn moved(before: &Value, after: &Value) -> (&'static str, i64) {
    if let (Some(before), Some(after)) = (before.as_str(), after.as_str()) {
        assert_eq!(before[19..], after[19..], "fraction and offset stay");
        let before: Timestamp = before.parse().unwrap();
        let after: Timestamp = after.parse().unwrap();
        let moved = after.duration_since(before).as_nanos();
        return ("rfc3339", i64::try_from(moved).unwrap());
    }
    let moved = after.as_i64().unwrap() - before.as_i64().unwrap();
    match before.to_string().len() {
        19 => ("nanoseconds", moved),
        _ => ("seconds", moved * NANOS_PER_SECOND),
    }
}

/// Integers of ten digits and more, and text with the beginning of an RFC 3339 time or ten digits in a row.
fn looks_like_a_time(value: &Value) -> Option<&'static str> {
    match value {
        Value::Number(number)
            if number
                .as_i64()
                .is_some_and(|n| n.unsigned_abs() >= 1_000_000_000) =>
        {
            Some("integer")
        }
        Value::String(text) => {
            let bytes = text.as_bytes();
            let dated = bytes.windows(11).any(|w| {
                let digits = [0, 1, 2, 3, 5, 6, 8, 9];
                digits.iter().all(|&at| w[at].is_ascii_digit())
                    && (w[4], w[7], w[10]) == (b'-', b'-', b'T')
            });
            let long = bytes.windows(10).any(|w| w.iter().all(u8::is_ascii_digit));
            match (dated, long) {
                (true, _) => Some("date"),
                (false, true) => Some("digits"),
                (false, false) => None,
            }
        }
        _ => None,
    }
}
