//! `demo`: everything works with nothing installed, and what is printed is what was pushed.

use std::collections::{BTreeMap, BTreeSet};

use nomad_events::testing::loki::{FakeLoki, FakeLokiOptions};
use serde_json::Value;

use super::secrets::Planted;
use super::{PATIENCE, RECORDED_SECRET, code_within, finished, first_line, nomad_events};
use crate::servers::{Process, folder, now_nanos};

/// Events of the recording that the recommended configuration ships.
const EVENTS: usize = 2423;

/// The recording lasts 3 minutes; the rest is for slow machines.
const OLDEST_NANOS: i64 = 4 * 60 * 1_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn demo_prints_every_event_of_a_cluster_and_pushes_the_same_to_a_loki_of_ones_own() {
    let mut planted = Planted::default();
    let password = planted.secret("Loki's password");
    planted.add_basic("Loki's password", "me", &password);
    let options = FakeLokiOptions::default().with_basic_auth("me", &password);
    let loki = FakeLoki::start_with(options).await.unwrap();
    let url = |user: &str| loki.url().replace("://", &format!("://{user}@"));
    let started = now_nanos();
    let mut command = nomad_events(&["demo", "--loki", &url(&format!("me:{password}"))]);
    command
        .env("NOMAD_TOKEN", planted.secret("the token"))
        .env("NOMAD_EVENTS_LOG", "trace");
    let (code, output, errors) = finished(&mut command).await;
    assert_eq!(code, 0, "{errors}");
    planted.assert_absent("the output", &output);
    planted.assert_absent("the log", &errors);
    assert!(errors.contains("TRACE"));

    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let topic = line["topic"].as_str().unwrap();
        *totals.entry(topic.to_owned()).or_default() += 1;
        if topic != "NomadEvents" {
            assert!(ids.insert(line["event_id"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(ids.len(), EVENTS);
    for text in [&output, &errors] {
        assert!(!text.contains(RECORDED_SECRET));
        assert!(!text.contains('\x1b'));
        assert!(!text.contains("panicked"));
    }

    for (topic, total) in &totals {
        let row = errors
            .lines()
            .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>())
            .find(|row| row.get(1) == Some(&topic.as_str()));
        assert_eq!(row, Some(vec![&*total.to_string(), topic]), "{errors}");
    }
    let lines = format!("became {} lines", output.lines().count());
    assert!(errors.contains(&lines), "{errors}");
    assert!(errors.contains("2559 events"), "{errors}");
    assert!(errors.contains(&url("[REDACTED]")), "{errors}");

    // Once each, with the same lines, sorted by time in the output, and as if it happened just now.
    let mut entries = loki.entries();
    entries.sort_by_key(|entry| entry.timestamp_nanos);
    let pushed: BTreeSet<&str> = entries.iter().map(|entry| &*entry.line).collect();
    assert_eq!(pushed, output.lines().collect());
    assert_eq!(entries.len(), output.lines().count());
    let times: BTreeMap<&str, i64> = entries
        .iter()
        .map(|entry| (&*entry.line, entry.timestamp_nanos))
        .collect();
    assert!(output.lines().map(|line| times[line]).is_sorted());
    let oldest = entries.first().unwrap().timestamp_nanos;
    let newest = entries.last().unwrap().timestamp_nanos;
    assert!(oldest > started - OLDEST_NANOS && newest <= now_nanos());
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_of_the_demo_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut process = Process::start_with_output(
        "nomad-events",
        folder("cli"),
        &mut nomad_events(&["demo"]),
        writer,
    );
    serde_json::from_str::<Value>(&first_line(reader).await).unwrap();
    let code = code_within(PATIENCE, &mut process).await;
    let errors = process.log();
    assert_eq!(code, 0, "{errors}");
    assert!(
        !errors.contains("panicked") && !errors.contains("pipe"),
        "{errors}"
    );
}
