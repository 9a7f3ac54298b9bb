//! A configuration that is read again while it runs.

use nomad_events::testing::eventually;
use nomad_events::testing::loki::FakeLoki;
use nomad_events::testing::nomad::FakeNomad;
use rustix::process::Signal;

use crate::host::{PATIENCE, Place, Running, job, jobs_at, until_jobs};

/// A run that has delivered a job.
async fn running() -> (FakeNomad, FakeLoki, Place, Running) {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    let place = Place::new();
    let config = place.changed("", "batch.timeout_secs = 0.1");
    let run = place.start(&config, &nomad, &loki);
    nomad.append_batch(&job(5, "web")).unwrap();
    until_jobs(&loki, 1).await;
    (nomad, loki, place, run)
}

#[tokio::test]
async fn a_source_that_is_as_before_is_not_touched() {
    let (nomad, loki, place, run) = running().await;
    place.changed("", "batch.timeout_secs = 0.2");
    run.signal(Signal::HUP);
    run.until_log("Vector has reloaded").await;
    nomad.append_batch(&job(6, "web")).unwrap();
    until_jobs(&loki, 2).await;
    assert_eq!(jobs_at(&loki), [5, 6]);
    assert_eq!(nomad.stream_requests().len(), 1);
}

#[tokio::test]
async fn a_source_that_has_changed_is_ended_and_begins_again() {
    let (nomad, loki, place, run) = running().await;
    place.changed(
        "start_at = 6\nregion = \"global\"",
        "batch.timeout_secs = 0.1",
    );
    run.signal(Signal::HUP);
    run.until_log("Vector has reloaded").await;
    let again = eventually(PATIENCE, || nomad.stream_requests().len() == 2);
    again.await.unwrap();
    nomad.append_batch(&job(6, "web")).unwrap();
    until_jobs(&loki, 2).await;
    assert_eq!(jobs_at(&loki), [5, 6]);
    assert_eq!(nomad.open_streams(), 1);
}

#[tokio::test]
async fn a_change_that_cannot_be_used_leaves_everything_as_it_was() {
    let (nomad, loki, place, run) = running().await;
    place.changed("no_such_option = true", "batch.timeout_secs = 0.1");
    run.signal(Signal::HUP);
    run.until_log("no_such_option").await;
    nomad.append_batch(&job(6, "web")).unwrap();
    until_jobs(&loki, 2).await;
    assert_eq!(jobs_at(&loki), [5, 6]);
    assert_eq!(nomad.stream_requests().len(), 1);
}
