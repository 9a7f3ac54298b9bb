//! Stops, and what a source that begins afterwards brings.

use std::path::Path;

use nomad_events::checkpoint::Folder;

use super::*;

/// `stop_timeout_secs` where a test waits for it.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How much later a busy machine may be.
const SLACK: Duration = Duration::from_secs(5);

/// The index that is saved in this folder.
fn saved(data: &Path) -> Option<u64> {
    let state = Folder::of(data, "nomad").unwrap().read().unwrap();
    state.map(|state| state.position.index.0)
}

fn stops_soon() -> String {
    format!("stop_timeout_secs = {}", STOP_TIMEOUT.as_secs())
}

/// One that remembers far more than the buffer of an output has room for.
async fn busy() -> FakeNomad {
    let nomad = FakeNomad::builder().buffer_size(10_000);
    nomad.start().await.unwrap()
}

/// The source has read as much as it will when the server cannot send any more.
async fn stuck(nomad: &FakeNomad) {
    let mut before = None;
    let stuck = eventually(PATIENCE, || {
        let sent = nomad.streams().last().map(|stream| stream.batches_sent());
        std::mem::replace(&mut before, sent) == sent && sent > Some(1_000)
    });
    stuck.await.unwrap();
}

async fn hung_up(nomad: &FakeNomad) {
    let hung_up = eventually(PATIENCE, || nomad.open_streams() == 0);
    hung_up.await.unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_answers_and_no_longer_than_it_may() {
    let nomad = fake().await;
    append(&nomad, 5, [event("Job", "JobRegistered", "web")]);
    let config = config(&nomad, &stops_soon());

    // Nobody answers.
    let (out, mut events) = SourceSender::new_test();
    let running = Running::start(&config, out).await;
    let held = next_of_nomad(&mut events).await;
    let took = running.stop().await;
    // A part of it is kept for saving.
    assert!(
        took >= STOP_TIMEOUT / 2 && took < STOP_TIMEOUT + SLACK,
        "{took:?}"
    );
    drop(held);

    // Somebody answers after the request.
    let (out, mut events) = SourceSender::new_test();
    let running = Running::start(&config, out).await;
    let held = next_of_nomad(&mut events).await;
    let task = tokio::spawn(running.stop());
    hung_up(&nomad).await;
    drop(held);
    let took = task.await.unwrap();
    assert!(took < STOP_TIMEOUT + SLACK, "{took:?}");
    // Its outputs are closed, so that sinks deliver what they hold.
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn a_sending_that_is_blocked_does_not_hold_up_a_stop() {
    let nomad = busy().await;
    // Far more than the buffer of an output has room for.
    for index in 5..5_000 {
        append(&nomad, index, [event("Job", "JobRegistered", "web")]);
    }
    let config = config(&nomad, &stops_soon());
    let (out, events) = SourceSender::new_test();
    let running = Running::start(&config, out).await;
    stuck(&nomad).await;
    let took = running.stop().await;
    assert!(took < STOP_TIMEOUT + SLACK, "{took:?}");
    drop(events);
}

/// The first events of Nomad of a source that begins with what is in this folder, as their indexes.
async fn next_run(data: &Path, nomad: &FakeNomad, wanted: usize) -> Vec<String> {
    let (out, mut events) = SourceSender::new_test_finalize(EventStatus::Delivered);
    let running = Running::start(&config_in(data, nomad, ""), out).await;
    let mut indexes = Vec::new();
    while indexes.len() < wanted {
        indexes.push(field(&next_of_nomad(&mut events).await, "Index"));
    }
    running.stop().await;
    indexes
}

#[tokio::test]
async fn a_source_begins_where_the_last_one_has_stopped() {
    let nomad = fake().await;
    let data = tempfile::tempdir().unwrap();
    for index in [5, 6] {
        append(&nomad, index, [event("Job", "JobRegistered", "web")]);
    }
    assert_eq!(next_run(data.path(), &nomad, 2).await, ["5", "6"]);
    assert_eq!(saved(data.path()), Some(6));
    append(&nomad, 7, [event("Job", "JobRegistered", "web")]);
    assert_eq!(next_run(data.path(), &nomad, 1).await, ["7"]);
    assert_eq!(saved(data.path()), Some(7));
}

#[tokio::test]
async fn what_is_answered_during_a_stop_is_saved_and_what_is_not_comes_again() {
    let nomad = fake().await;
    let data = tempfile::tempdir().unwrap();
    for index in [5, 6] {
        append(&nomad, index, [event("Job", "JobRegistered", "web")]);
    }
    let (out, mut events) = SourceSender::new_test();
    let running = Running::start(&config_in(data.path(), &nomad, &stops_soon()), out).await;
    let first = next_of_nomad(&mut events).await;
    let second = next_of_nomad(&mut events).await;
    let task = tokio::spawn(running.stop());
    hung_up(&nomad).await;
    drop(first);
    let took = task.await.unwrap();
    assert!(took < STOP_TIMEOUT + SLACK, "{took:?}");
    // Too late.
    drop(second);
    assert_eq!(next_run(data.path(), &nomad, 1).await, ["6"]);
}

/// Events that could not be sent are dropped, which counts as delivered where somebody listens.
#[tokio::test]
async fn what_could_not_be_sent_comes_again() {
    let nomad = fake().await;
    let data = tempfile::tempdir().unwrap();
    let (out, mut events) = SourceSender::new_test_finalize(EventStatus::Delivered);
    let running = Running::start(
        &config_in(data.path(), &nomad, "stop_timeout_secs = 1"),
        out,
    )
    .await;
    append(&nomad, 5, [event("Job", "JobRegistered", "web")]);
    next_of_nomad(&mut events).await;
    drop(events);
    append(&nomad, 6, [event("Job", "JobRegistered", "web")]);
    let ended = timeout(PATIENCE, running.task).await;
    assert_eq!(ended.expect("still running").unwrap(), Ok(()));
    assert_eq!(next_run(data.path(), &nomad, 1).await, ["6"]);
}

#[tokio::test]
async fn what_was_answered_is_saved_also_where_a_sending_is_blocked() {
    let nomad = busy().await;
    let data = tempfile::tempdir().unwrap();
    let (out, mut events) = SourceSender::new_test();
    let running = Running::start(&config_in(data.path(), &nomad, &stops_soon()), out).await;
    append(&nomad, 5, [event("Job", "JobRegistered", "web")]);
    let answered = next_of_nomad(&mut events).await;
    // Far more than the buffer of an output has room for.
    for index in 6..5_000 {
        append(&nomad, index, [event("Job", "JobRegistered", "web")]);
    }
    stuck(&nomad).await;
    drop(answered);
    running.stop().await;
    // What was in the way to the outputs is gone, and was not answered for.
    drop(events);
    assert_eq!(next_run(data.path(), &nomad, 1).await, ["6"]);
}

#[tokio::test]
async fn a_topology_that_is_gone_ends_the_source() {
    let nomad = fake().await;
    let (out, events) = SourceSender::new_test();
    let running = Running::start(&config(&nomad, ""), out).await;
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    drop(events);
    append(&nomad, 5, [event("Job", "JobRegistered", "web")]);
    let ended = timeout(PATIENCE, running.task)
        .await
        .expect("still running");
    assert_eq!(ended.unwrap(), Ok(()));
    hung_up(&nomad).await;
}
