//! The end of a run: what is under way is delivered, and a sink that never answers holds nothing up.

use std::time::Duration;

use nomad_events::testing::loki::{FakeLoki, Fault, Gate};
use nomad_events::testing::nomad::FakeNomad;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::host::{PATIENCE, Place, job, jobs_at, until_jobs};

/// `stop_timeout_secs` of the shipped configuration, and what Vector needs after it.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// How much later a busy machine may be.
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_is_under_way_is_delivered_after_the_signal() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    let gate = Gate::new();
    loki.afterwards(Some(Fault::Hold(gate.clone())));
    let place = Place::new();
    let config = place.changed("", "batch.timeout_secs = 0.1\nrequest.concurrency = 4");
    let mut run = place.start(&config, &nomad, &loki);
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    for index in [5, 6] {
        nomad.append_batch(&job(index, "web")).unwrap();
    }
    nomad.wait_until_sent(6, PATIENCE).await.unwrap();
    loki.wait_for_pushes(2, PATIENCE).await.unwrap();
    run.signal(Signal::TERM);
    run.until_log("Vector is stopping").await;
    assert!(jobs_at(&loki).is_empty());
    gate.open();
    assert!(run.ended().await.success(), "{}", run.log());
    assert_eq!(jobs_at(&loki), [5, 6]);
    assert!(
        !run.log().contains("before sinks have answered"),
        "{}",
        run.log()
    );
}

#[tokio::test]
async fn the_source_does_not_wait_longer_than_it_may_for_a_loki_that_never_answers() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    loki.afterwards(Some(Fault::Hold(Gate::new())));
    let place = Place::new();
    let config = place.changed("", "batch.timeout_secs = 0.1\nrequest.concurrency = 4");
    let mut run = place.start(&config, &nomad, &loki);
    // The notices are the first push.
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    loki.wait_for_pushes(2, PATIENCE).await.unwrap();
    let asked = Instant::now();
    run.signal(Signal::TERM);
    run.until_log("Stopped before sinks have answered for all batches")
        .await;
    let took = asked.elapsed();
    assert!(
        took >= STOP_TIMEOUT - Duration::from_millis(500),
        "{took:?}"
    );
    assert!(took < STOP_TIMEOUT + SLACK, "{took:?}");
    // The sink itself goes on until Vector's own limit; a second signal ends that.
    run.signal(Signal::QUIT);
    run.ended().await;
    assert!(jobs_at(&loki).is_empty());
}

#[tokio::test]
async fn a_second_run_brings_what_a_loki_did_not_take() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    let place = Place::new();
    let first = FakeLoki::start().await.unwrap();
    first.afterwards(Some(Fault::status(503, "not now")));
    let mut run = place.start("config/vector.toml", &nomad, &first);
    first.wait_for_pushes(1, PATIENCE).await.unwrap();
    run.signal(Signal::QUIT);
    run.ended().await;
    assert!(jobs_at(&first).is_empty());

    let second = FakeLoki::start().await.unwrap();
    let _run = place.start("config/vector.toml", &nomad, &second);
    until_jobs(&second, 1).await;
    assert_eq!(jobs_at(&second), [5]);
}
