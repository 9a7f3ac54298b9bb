//! The engine against the fake Nomad, over real sockets: what is new comes once, and what may be missing is said.

pub(crate) mod follower;
mod namespaces;
mod refusals;
mod resume;
mod saving;
mod scripts;
mod servers;
mod stops;

use std::time::Duration;

use nomad_events::testing::eventually;
use nomad_events::testing::nomad::{
    BatchText, EventText, FakeNomad, Fault, Point, Script, Version,
};
use nomad_events::testing::recording::Recording;
use nomad_events::{Delivery, RaftIndex};

use tokio::io::AsyncBufReadExt as _;

use follower::{Follower, PATIENCE};

fn job(index: u64, payload: &str) -> BatchText {
    BatchText::new(index).event(
        EventText::new("Job", "JobRegistered", "web")
            .payload(format!(r#"{{"Job":{{"ID":"web","Status":"{payload}"}}}}"#)),
    )
}

async fn fake_with(indexes: impl IntoIterator<Item = u64>) -> FakeNomad {
    let fake = FakeNomad::builder().start().await.unwrap();
    for index in indexes {
        fake.append_batch(&job(index, "running")).unwrap();
    }
    fake
}

/// The events of the default topics in the sample, in the order of the wire.
fn expected_of_sample(recording: &Recording) -> usize {
    recording
        .batches()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let events = line["Events"].as_array().unwrap();
            events
                .iter()
                .filter(|event| {
                    nomad_events::options::DEFAULT_TOPICS
                        .contains(&event["Topic"].as_str().unwrap())
                })
                .count()
        })
        .sum()
}

#[tokio::test]
async fn every_version_is_followed_through_a_connection_that_breaks_within_a_line() {
    let sample = Recording::sample();
    let expected = expected_of_sample(&sample);
    for version in Version::ALL {
        let fake = FakeNomad::builder()
            .version(version)
            .lines(sample.batches())
            .start()
            .await
            .unwrap();
        fake.script(Script::new().fault(Point::InsideLine(30), Fault::Close));
        fake.script(Script::new().fault(Point::InsideLine(20), Fault::Close));
        let mut follower = Follower::of(&fake, "{}");
        follower.until_events(expected).await;
        assert!(!follower.repeated(), "{version:?}");
        assert_eq!(follower.notices("Gap"), 0, "{version:?}");
        assert_eq!(follower.notices("Connected"), 3, "{version:?}");
        // What was taken before the connection broke came again, and was known again.
        assert!(follower.status().duplicates > 0);
        assert!(follower.indexes_in_order());
    }
}

#[tokio::test]
async fn a_stream_that_comes_byte_by_byte_is_the_same() {
    let fake = FakeNomad::builder()
        .version(Version::V1_11_2)
        .start()
        .await
        .unwrap();
    for index in 1..=20 {
        fake.append_batch(&job(index, "running")).unwrap();
    }
    fake.script(Script::new().one_byte_at_a_time());
    let mut follower = Follower::of(&fake, "{}");
    follower.until_events(20).await;
    assert!(!follower.repeated());
    assert_eq!(follower.notices("Connected"), 1);
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_announced_as_a_gap() {
    let fake = fake_with([5, 7]).await;
    let mut follower = Follower::of(&fake, "{}");
    follower.until_events(2).await;
    fake.stop().await;
    fake.append_batch(&job(9, "lost")).unwrap();
    fake.append_batch(&job(12, "kept")).unwrap();
    fake.evict_to(12);
    fake.start_again().await.unwrap();
    follower.until_events(3).await;
    follower.until_notices("Gap", 1).await;
    let gap = follower.notice("Gap");
    assert!(
        gap.contains("from: RaftIndex(7), to: Some(RaftIndex(12)), cause: Evicted"),
        "{gap}"
    );
}

#[tokio::test]
async fn a_server_that_replays_its_log_brings_nothing_twice() {
    let fake = fake_with(1..=20).await;
    let mut follower = Follower::of(&fake, "{}");
    follower.until_events(20).await;
    fake.stop().await;
    let log: Vec<_> = (1..=20)
        .map(|index| job(index, "running").to_bytes().unwrap())
        .collect();
    fake.replay_log_on_next_connect(log).unwrap();
    fake.start_again().await.unwrap();
    follower.until_notices("Connected", 2).await;
    fake.append_batch(&job(21, "running")).unwrap();
    follower.until_events(21).await;
    assert!(!follower.repeated());
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn an_index_in_two_lines_survives_a_break_between_them() {
    let fake = fake_with([5]).await;
    // The heartbeat and the first line, then the end.
    fake.script(Script::new().fault(Point::Lines(2), Fault::Close));
    fake.append_batch(&job(5, "pending")).unwrap();
    let mut follower = Follower::of(&fake, "{}");
    follower.until_events(2).await;
    assert!(!follower.repeated());
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_fails() {
    let first = fake_with([5]).await;
    let second = fake_with([5, 7]).await;
    let mut follower = Follower::with_endpoints(&[first.url(), second.url()], "{}");
    follower.until_events(1).await;
    first.stop().await;
    follower.until_events(2).await;
    assert_eq!(second.open_streams(), 1);
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn a_token_file_is_read_again_at_every_connect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old-token\n").unwrap();
    let fake = FakeNomad::builder()
        .version(Version::V1_11_1)
        .token("old-token")
        .start()
        .await
        .unwrap();
    fake.append_batch(&job(5, "a")).unwrap();
    let option = format!(
        r#"{{"token_file": {:?}, "backoff_max_secs": 1}}"#,
        path.display().to_string()
    );
    let mut follower = Follower::of(&fake, &option);
    follower.until_events(1).await;

    fake.set_token(Some("new-token"));
    for stream in fake.streams() {
        stream.inject(Fault::SubscriptionClosed);
    }
    follower.until_notices("Disconnected", 2).await;
    let refused = follower.notice("Disconnected");
    assert!(
        refused.contains("token_unknown") && refused.contains("does not know the token"),
        "{refused}"
    );

    std::fs::write(&path, "new-token\n").unwrap();
    fake.append_batch(&job(6, "b")).unwrap();
    follower.until_events(2).await;
    assert!(!format!("{:?}", follower.seen()).contains("-token"));
}

#[tokio::test]
async fn attempts_are_no_further_apart_than_the_backoff_says() {
    let fake = FakeNomad::builder()
        .token("other")
        .eof_delay(Duration::from_millis(10))
        .start()
        .await
        .unwrap();
    let follower = Follower::of(&fake, r#"{"token": "wrong", "backoff_max_secs": 1}"#);
    // Eight pauses of at most a second; without the option they are a minute together, and more than 30 s nearly always.
    let attempts = eventually(Duration::from_secs(15), || {
        let requests = fake.requests();
        let streams = requests
            .iter()
            .filter(|request| request.path == "/v1/event/stream");
        streams.count() > 8
    });
    assert!(attempts.await.is_ok(), "{}", fake.requests().len());
    drop(follower);
}

/// Lets go whoever waits for a pipe, or the runtime would wait for him at its end.
struct Release(std::path::PathBuf);

impl Drop for Release {
    fn drop(&mut self) {
        let _ = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.0);
    }
}

/// As on a network file system that does not answer.
#[tokio::test]
async fn a_token_file_that_does_not_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let made = tokio::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.await.unwrap().success());
    let _release = Release(path.clone());
    let fake = fake_with([5]).await;
    let option = format!(
        r#"{{"token_file": {:?}, "connect_timeout_secs": 1}}"#,
        path.display().to_string()
    );
    let mut follower = Follower::of(&fake, &option);
    follower.until_notices("Disconnected", 1).await;
    let notice = follower.notice("Disconnected");
    assert!(
        notice.contains("token_file") && notice.contains("1 s"),
        "{notice}"
    );
}

/// NE-8, of the whole process: nothing that has no end is waited for.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_file_that_does_not_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let made = tokio::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.await.unwrap().success());
    let _release = Release(path.clone());
    let config = folder.path().join("config.toml");
    let text = format!(
        "[sources.nomad]\ntype = \"nomad_events\"\ntoken_file = {path:?}\nconnect_timeout_secs = 1\n\
         [sinks.none]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_nomad-events"))
        .args(["run", "--config"])
        .arg(&config)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = tokio::io::BufReader::new(process.stderr.take().unwrap()).lines();
    let stopped = tokio::time::timeout(PATIENCE, async {
        while !log
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .contains("not read within")
        {}
        let id = rustix::process::Pid::from_raw(process.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        process.wait().await.unwrap()
    });
    assert!(stopped.await.expect("it does not end").success());
}

#[tokio::test]
async fn a_refusal_that_looks_like_success_is_none() {
    let fake = FakeNomad::builder()
        .version(Version::V1_11_3)
        .token("right")
        .eof_delay(Duration::from_millis(10))
        .start()
        .await
        .unwrap();
    let mut follower = Follower::of(&fake, r#"{"token": "wrong"}"#);
    follower.until_notices("Disconnected", 1).await;
    let notice = follower.notice("Disconnected");
    assert!(
        notice.contains("token_unknown") && notice.contains("does not know the token"),
        "{notice}"
    );
    assert_eq!(follower.notices("Connected"), 0);
    // Tried on, and said once.
    follower.until(|f| f.status().disconnects >= 3).await;
    assert_eq!(follower.notices("Disconnected"), 1);
}

#[tokio::test]
async fn the_reason_that_a_server_gives_is_told() {
    let fake = FakeNomad::builder()
        .version(Version::V1_11_1)
        .start()
        .await
        .unwrap();
    fake.script(Script::new().fault(
        Point::Lines(1),
        Fault::Text("event dropped from buffer".to_owned()),
    ));
    let mut follower = Follower::of(&fake, "{}");
    follower.until_notices("Disconnected", 1).await;
    assert!(
        follower
            .notice("Disconnected")
            .contains("event dropped from buffer")
    );
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let fake = fake_with([5]).await;
    fake.script(Script::new().fault(Point::Lines(2), Fault::Stall));
    let mut follower = Follower::of(&fake, r#"{"idle_timeout_secs": 1}"#);
    follower.until_notices("Disconnected", 1).await;
    assert!(follower.notice("Disconnected").contains("\"idle\""));
    fake.append_batch(&job(6, "b")).unwrap();
    follower.until_events(2).await;
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_told_and_the_next_one_is_taken() {
    let fake = fake_with([5]).await;
    fake.append_batch(&job(6, "long").padded_to(100_000))
        .unwrap();
    fake.append_opaque(7, "no JSON, hunter2");
    fake.append_batch(&job(8, "after")).unwrap();
    let mut follower = Follower::of(&fake, r#"{"max_line_bytes": 10000}"#);
    follower.until_events(2).await;
    follower.until_notices("Gap", 1).await;
    let status = follower.status();
    assert_eq!(status.discarded_lines, 2);
    assert_eq!(status.read, RaftIndex(8));
    assert!(!format!("{:?}", follower.seen()).contains("hunter2"));
}

#[tokio::test]
async fn a_bad_line_is_told_at_the_index_that_was_reached() {
    let fake = fake_with([5]).await;
    let mut follower = Follower::of(&fake, "{}");
    follower.until_events(1).await;
    fake.append_opaque(7, "no JSON");
    follower.until_notices("LineDiscarded", 1).await;
    let notice = follower.notice("LineDiscarded");
    assert!(
        notice.contains("index: RaftIndex(5), kind") && notice.contains("index: None"),
        "{notice}"
    );
}

#[tokio::test]
async fn a_full_queue_stops_the_reading_and_loses_nothing() {
    let fake = FakeNomad::builder()
        .buffer_size(1000)
        .start()
        .await
        .unwrap();
    for index in 1..=400 {
        fake.append_batch(&job(index, "x").padded_to(20_000))
            .unwrap();
    }
    let mut follower = Follower::of(&fake, r#"{"queue_bytes": 100000, "idle_timeout_secs": 1}"#);
    follower.hold_answers();
    follower.until_batches(4).await;
    // Longer than the idle timeout: the clock stands still while nothing is read.
    follower.settle(Duration::from_millis(1500)).await;
    let status = follower.status();
    assert!(status.queued_bytes <= 100_000, "{status:?}");
    assert_eq!(status.disconnects, 0);
    follower.answer_held(Delivery::Delivered);
    follower.until_events(400).await;
    assert!(!follower.repeated());
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn what_waits_for_room_was_received_before_it_waited() {
    let service = |index| {
        BatchText::new(index).event(
            EventText::new("Service", "ServiceRegistration", "s").payload(r#"{"Service":{}}"#),
        )
    };
    let fake = fake_with([]).await;
    fake.append_batch(&service(5)).unwrap();
    let mut follower = Follower::of(&fake, r#"{"queue_bytes": 1}"#);
    follower.hold_answers();
    follower.until_batches(1).await;
    // The second line comes while the queue is full of the first.
    let appended = tokio::time::Instant::now();
    fake.append_batch(&service(6)).unwrap();
    follower
        .until(|follower| {
            let since = appended.elapsed().as_secs_f64();
            let quiet = follower.status().seconds_since_last_line;
            quiet.is_some_and(|quiet| quiet < since)
        })
        .await;
    let full = jiff::Timestamp::now().as_nanosecond();
    follower.answer_held(Delivery::Delivered);
    follower.until_events(2).await;
    let received = i128::from(follower.event(1).time.nanos);
    assert!(received < full, "{} ns late", received - full);
}

#[tokio::test]
async fn a_line_larger_than_the_queue_is_admitted_alone() {
    let fake = fake_with([]).await;
    for index in 1..=3 {
        fake.append_batch(&job(index, "x").padded_to(50_000))
            .unwrap();
    }
    let mut follower = Follower::of(&fake, r#"{"queue_bytes": 1000}"#);
    follower.until_events(3).await;
}

#[tokio::test]
async fn start_at_latest_shows_only_what_is_new() {
    let fake = fake_with([5, 7]).await;
    for path in [
        "/v1/jobs",
        "/v1/allocations",
        "/v1/evaluations",
        "/v1/deployments",
        "/v1/nodes",
        "/v1/services",
    ] {
        fake.set_list_index(path, 3);
    }
    fake.set_list_index("/v1/jobs", 7);
    let mut follower = Follower::of(&fake, r#"{"start_at": "latest"}"#);
    follower.until_notices("Connected", 1).await;
    fake.append_batch(&job(8, "new")).unwrap();
    follower.until_events(1).await;
    assert_eq!(follower.indexes(), [8]);
}

#[tokio::test]
async fn closing_waits_for_answers_and_no_longer_than_its_deadline() {
    let fake = fake_with([5, 7]).await;
    let mut follower = Follower::of(&fake, "{}");
    follower.hold_answers();
    follower.until_batches(2).await;
    assert_eq!(follower.close(Duration::from_millis(50)).await, 2);

    let mut follower = Follower::of(&fake, "{}");
    follower.hold_answers();
    follower.until_batches(2).await;
    follower.answer_held(Delivery::Delivered);
    assert_eq!(follower.close(PATIENCE).await, 0);
    fake.wait_for_streams(0, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_status_comes_in_time_also_when_nothing_happens() {
    let fake = fake_with([]).await;
    let mut follower = Follower::of(&fake, r#"{"status_interval_secs": 1}"#);
    follower.until_notices("Status", 2).await;
    assert!(follower.notice("Status").contains("connected: true"));
}
