//! `data_dir`: a restart goes on where the last run has stopped, and who only looks changes nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nomad_events::testing::loki::FakeLoki;
use nomad_events::testing::nomad::FakeNomad;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::host::{PATIENCE, Place, job, jobs_at, saved, until_jobs, until_saved};

/// What a stop may take: `stop_timeout_secs` of the shipped configuration, and what Vector adds for threads that hang.
const STOP: Duration = Duration::from_secs(5);
/// How much later a busy machine may be.
const SLACK: Duration = Duration::from_secs(10);

/// Everything below a folder.
fn below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path.display().to_string());
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_run_has_stopped_or_was_killed() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    let place = Place::new();
    for index in [5, 6] {
        nomad.append_batch(&job(index, "web")).unwrap();
    }
    let config = place.changed("", "batch.timeout_secs = 0.1");
    let mut wanted = 2;
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM] {
        let mut run = place.start(&config, &nomad, &loki);
        until_jobs(&loki, wanted).await;
        let newest = jobs_at(&loki).into_iter().max().unwrap();
        if signal == Signal::KILL {
            // What was answered in the last second would come again.
            until_saved(&place, newest).await;
        }
        run.signal(signal);
        run.ended().await;
        assert_eq!(saved(&place.path().join("data")), Some(newest));
        nomad.append_batch(&job(newest + 1, "web")).unwrap();
        wanted += 1;
    }
    assert_eq!(jobs_at(&loki), [5, 6, 7, 8]);
    let asked: Vec<_> = nomad
        .stream_requests()
        .iter()
        .map(|request| request.query_value("index").map(str::to_owned))
        .collect();
    assert_eq!(asked[1..], [Some("6".to_owned()), Some("7".to_owned())]);
}

#[tokio::test]
async fn validate_creates_nothing_and_changes_nothing() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    for own in ["", "data_dir = \"data\""] {
        let place = Place::new();
        let config = place.changed(own, "healthcheck.enabled = false");
        let data = place.path().join("data");
        let (code, output, log) = place.finished(&["validate", &config]);
        assert_eq!(code, 0, "{output}{log}");
        assert!(below(&data).is_empty());

        let mut run = place.start(&config, &nomad, &loki);
        until_saved(&place, 5).await;
        run.signal(Signal::TERM);
        run.ended().await;
        let before = below(&data);
        let (code, output, log) = place.finished(&["validate", &config]);
        assert_eq!(code, 0, "{output}{log}");
        assert_eq!(below(&data), before);
    }
}

#[tokio::test]
async fn what_was_saved_and_cannot_be_read_ends_the_start_with_78() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    let place = Place::new();
    let config = place.changed("", "");
    fs::create_dir(place.path().join("data/nomad")).unwrap();
    let position = place.path().join("data/nomad/position.json");
    fs::write(&position, "cut").unwrap();
    let mut run = place.start(&config, &nomad, &loki);
    assert_eq!(run.ended().await.code(), Some(78), "{}", run.log());
    assert!(run.log().contains("saved position"), "{}", run.log());
    assert_eq!(fs::read_to_string(&position).unwrap(), "cut");
    assert!(nomad.requests().is_empty());
}

/// As a disk that hangs: something occupies a thread for ever. Vector by itself would wait for it.
#[tokio::test]
async fn a_thread_that_hangs_does_not_hold_up_the_end() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    let place = Place::new();
    let made = Command::new("mkfifo")
        .arg(place.path().join("token"))
        .status();
    assert!(made.unwrap().success());
    let config = place.changed("token_file = \"token\"\nconnect_timeout_secs = 1", "");
    let mut run = place.start(&config, &nomad, &loki);
    run.until_log("token").await;
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    let asked = Instant::now();
    run.signal(Signal::TERM);
    assert!(run.ended().await.success(), "{}", run.log());
    assert!(asked.elapsed() < STOP + SLACK, "{:?}", asked.elapsed());
}
