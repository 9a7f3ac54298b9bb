//! A restart over real sockets: what was answered does not come again, what was not does, and what cannot be shown is said.
//!
//! What takes minutes is tested with a paused clock, beside the engine.

use std::collections::HashMap;
use std::path::Path;

use nomad_events::checkpoint::{Folder, State};
use nomad_events::position::Taken;
use nomad_events::testing::nomad::{
    BatchText, EventText, FakeNomad, Fault, Point, Script, Version,
};
use nomad_events::testing::recording::Recording;
use nomad_events::{Delivery, Event, RaftIndex};
use serde_json::Value;
use tempfile::TempDir;

use super::follower::Follower;
use super::{expected_of_sample, fake_with, job};

fn saved(data: &Path) -> Option<State> {
    Folder::of(data, "nomad").unwrap().read().unwrap()
}

fn start(data: &TempDir, fake: &FakeNomad, options: &str) -> Follower {
    Follower::saving(data.path(), &[fake.url()], options)
}

/// Waits until this index is in the file.
async fn until_saved(follower: &mut Follower, data: &TempDir, index: u64) {
    let reached = |_: &Follower| {
        saved(data.path()).is_some_and(|state| state.position.index == RaftIndex(index))
    };
    follower.until(reached).await;
}

/// The fields of the last notice of this type.
fn fields(follower: &Follower, kind: &str) -> Value {
    follower.fields(kind).pop().unwrap()
}

/// What tells events apart. Maps come in random order, and an event can be there twice.
fn identity(event: &Event) -> String {
    let payload: Value = serde_json::from_slice(&event.payload).unwrap();
    format!(
        "{} {} {} {} {payload}",
        event.index, event.topic, event.event_type, event.key
    )
}

#[tokio::test]
async fn the_recording_is_taken_once_over_many_stops_and_every_version() {
    let sample = Recording::sample();
    let expected = expected_of_sample(&sample);
    for version in Version::ALL {
        let data = TempDir::new().unwrap();
        let fake = FakeNomad::builder()
            .version(version)
            .buffer_size(1000)
            .lines(sample.batches())
            .start()
            .await
            .unwrap();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut total = 0;
        let mut stop_at = 5;
        while total < expected {
            // A connection that breaks within a line, too.
            fake.script(Script::new().fault(Point::InsideLine(15), Fault::Close));
            let mut follower = start(&data, &fake, "{}");
            let wanted = stop_at.min(expected - total);
            follower
                .until(|follower| follower.events().len() >= wanted)
                .await;
            assert_eq!(
                follower.gaps(),
                Vec::<&nomad_events::stream::notice::Gap>::new()
            );
            for event in follower.events() {
                *seen.entry(identity(event)).or_default() += 1;
            }
            total += follower.events().len();
            assert_eq!(follower.close(super::PATIENCE).await, 0);
            stop_at = stop_at * 2 + 3;
        }
        assert_eq!(total, expected, "{version:?}");
        // As often as the recording has it.
        let mut whole = Follower::of(&fake, "{}");
        whole.until_events(expected).await;
        for event in whole.events() {
            *seen.get_mut(&identity(event)).unwrap() -= 1;
        }
        assert!(seen.values().all(|&left| left == 0), "{version:?}");
    }
}

#[tokio::test]
async fn a_crash_between_two_lines_of_an_index_brings_the_second_only() {
    let data = TempDir::new().unwrap();
    let fake = fake_with([5]).await;
    for status in ["dead", "pending"] {
        fake.append_batch(&job(7, status)).unwrap();
    }
    let mut follower = start(&data, &fake, "{}");
    follower.hold_answers();
    follower.until_batches(3).await;
    follower.answer_oldest(Delivery::Delivered);
    follower.answer_oldest(Delivery::Delivered);
    until_saved(&mut follower, &data, 7).await;
    drop(follower);

    let mut follower = start(&data, &fake, "{}");
    follower.until_events(1).await;
    fake.append_batch(&job(8, "after")).unwrap();
    follower.until_events(2).await;
    let events: Vec<String> = follower.events().iter().map(identity).collect();
    assert!(
        events[0].contains("pending") && events[1].contains("after"),
        "{events:?}"
    );
    assert_eq!(follower.notices("Gap"), 0);
    let started = fields(&follower, "Started");
    assert_eq!(started["continuity"], "saved");
    assert_eq!(started["resumed_from"], 7);
}

#[tokio::test]
async fn another_server_of_the_cluster_goes_on_where_the_first_was_left() {
    let line = |statuses: [&str; 2]| {
        let mut line = BatchText::new(7);
        for status in statuses {
            let payload = format!(r#"{{"Job":{{"ID":"web","Status":"{status}"}}}}"#);
            let event = EventText::new("Job", "JobBatchDeregistered", status);
            line = line.event(event.payload(payload));
        }
        line
    };
    let data = TempDir::new().unwrap();
    let (first, second) = (fake_with([5]).await, fake_with([5]).await);
    first.append_batch(&line(["a", "b"])).unwrap();
    second.append_batch(&line(["b", "a"])).unwrap();
    second.append_batch(&job(9, "c")).unwrap();
    let mut follower = start(&data, &first, "{}");
    follower.until_events(3).await;
    assert_eq!(follower.close(super::PATIENCE).await, 0);
    let mut follower = start(&data, &second, "{}");
    follower.until_events(1).await;
    assert_eq!(follower.indexes(), [9]);
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn what_was_forgotten_in_between_is_a_gap_now_and_at_the_next_start() {
    let data = TempDir::new().unwrap();
    let fake = fake_with([5, 7]).await;
    let mut follower = start(&data, &fake, "{}");
    follower.until_events(2).await;
    assert_eq!(follower.close(super::PATIENCE).await, 0);
    for index in [9, 12] {
        fake.append_batch(&job(index, "later")).unwrap();
    }
    fake.evict_to(12);
    let mut follower = start(&data, &fake, "{}");
    follower.until_notices("Gap", 1).await;
    // It is news.
    assert_eq!(fields(&follower, "Gap").get("again"), None);
    follower.until_events(1).await;
    assert_eq!(follower.close(super::PATIENCE).await, 0);

    let mut follower = start(&data, &fake, "{}");
    follower.until_notices("Gap", 1).await;
    let gap = fields(&follower, "Gap");
    assert_eq!(gap["again"], true);
    assert_eq!((&gap["from"], &gap["to"]), (&7.into(), &12.into()));
    assert_eq!(gap["cause"], "evicted");
    assert_eq!(fields(&follower, "Started")["open_gaps"], 1);
}

#[tokio::test]
async fn a_latest_mark_outlives_a_crash_before_the_first_event() {
    let data = TempDir::new().unwrap();
    let fake = fake_with([5, 7]).await;
    let mut follower = start(&data, &fake, r#"{"start_at": "latest"}"#);
    until_saved(&mut follower, &data, 7).await;
    assert_eq!(saved(data.path()).unwrap().taken, Taken::All);
    drop(follower);
    fake.append_batch(&job(9, "while nobody was there"))
        .unwrap();
    let mut follower = start(&data, &fake, r#"{"start_at": "latest"}"#);
    follower.until_events(1).await;
    assert_eq!(follower.indexes(), [9]);
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn another_region_is_a_reset_without_a_probe() {
    let data = TempDir::new().unwrap();
    let first = fake_with([5, 7]).await;
    let mut follower = start(&data, &first, "{}");
    follower.until_events(2).await;
    assert_eq!(follower.close(super::PATIENCE).await, 0);

    let other = FakeNomad::builder().region("eu").start().await.unwrap();
    for (index, status) in [(3, "x"), (20, "y")] {
        other.append_batch(&job(index, status)).unwrap();
    }
    let mut follower = start(&data, &other, r#"{"region": "eu"}"#);
    follower.until_notices("IndexReset", 1).await;
    follower
        .until(|follower| follower.indexes().ends_with(&[3, 20]))
        .await;
    assert_eq!(fields(&follower, "Gap")["cause"], "index_reset");
    until_saved(&mut follower, &data, 20).await;
    assert_eq!(saved(data.path()).unwrap().position.epoch.0, 1);
}

#[tokio::test]
async fn a_position_of_a_topic_that_was_removed_does_not_stop_the_others() {
    let data = TempDir::new().unwrap();
    let fake = fake_with([5]).await;
    let evaluation = EventText::new("Evaluation", "JobRegistered", "e1");
    fake.append_batch(&BatchText::new(7).event(evaluation))
        .unwrap();
    let mut follower = start(&data, &fake, r#"{"topics": ["Job", "Evaluation"]}"#);
    follower.until_events(2).await;
    assert_eq!(follower.close(super::PATIENCE).await, 0);
    let mut follower = start(&data, &fake, r#"{"topics": ["Job"]}"#);
    follower.until_notices("Connected", 1).await;
    fake.append_batch(&job(9, "b")).unwrap();
    follower.until_events(1).await;
    assert_eq!(follower.indexes(), [9]);
    assert_eq!(follower.notices("IndexReset"), 0);
}
