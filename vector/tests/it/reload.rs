//! A configuration that is read again while it runs.

use nomad_events::testing::eventually;
use nomad_events::testing::loki::FakeLoki;
use nomad_events::testing::nomad::FakeNomad;
use rustix::process::Signal;

use crate::host::{PATIENCE, Place, Running, job, jobs_at, saved, until_jobs, until_saved};

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
    until_saved(&place, 6).await;
}

#[tokio::test]
async fn a_source_that_has_changed_is_ended_and_goes_on_where_it_was() {
    let (nomad, loki, place, run) = running().await;
    // The new one must not begin where this says, and has to have the lock of the old one.
    place.changed(
        "start_at = \"latest\"\nstatus_interval_secs = 30",
        "batch.timeout_secs = 0.1",
    );
    for index in [6, 7] {
        nomad.append_batch(&job(index, "web")).unwrap();
    }
    run.signal(Signal::HUP);
    run.until_log("Vector has reloaded").await;
    let again = eventually(PATIENCE, || nomad.stream_requests().len() == 2);
    again.await.unwrap();
    nomad.append_batch(&job(8, "web")).unwrap();
    until_jobs(&loki, 4).await;
    assert_eq!(jobs_at(&loki), [5, 6, 7, 8]);
    assert_eq!(nomad.open_streams(), 1);
    until_saved(&place, 8).await;
}

#[tokio::test]
async fn a_source_with_another_data_dir_begins_anew() {
    let (nomad, loki, place, run) = running().await;
    std::fs::create_dir(place.path().join("other")).unwrap();
    place.changed("data_dir = \"other\"", "batch.timeout_secs = 0.1");
    run.signal(Signal::HUP);
    run.until_log("Vector has reloaded").await;
    until_jobs(&loki, 2).await;
    assert_eq!(jobs_at(&loki), [5, 5]);
    let at = |folder: &str| saved(&place.path().join(folder));
    let both = eventually(PATIENCE, || at("other") == Some(5) && at("data") == Some(5));
    both.await.unwrap();
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
