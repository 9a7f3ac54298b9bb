//! Servers that differ: one that lags, one that has just been started, lines that no server should send.

use nomad_events::testing::nomad::FakeNomad;

use super::follower::Follower;
use super::{fake_with, job};

#[tokio::test]
async fn a_server_that_lags_brings_nothing_twice_and_no_false_gap() {
    let first = fake_with([5, 7]).await;
    let lagging = fake_with([3, 5]).await;
    let mut follower = Follower::with_endpoints(&[first.url(), lagging.url()], "{}");
    follower.until_events(2).await;
    first.stop().await;
    // Asked for 7, it repeats the last line that it has.
    follower.until_notices("Connected", 2).await;
    follower.until(|f| f.status().duplicates >= 1).await;
    for index in [7, 9] {
        lagging.append_batch(&job(index, "running")).unwrap();
    }
    follower.until_events(3).await;
    assert_eq!(follower.indexes(), [5, 7, 9]);
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn a_restarted_server_replays_its_log_whatever_was_asked_for() {
    let fake = fake_with(1..=30).await;
    let mut follower = Follower::of(&fake, r#"{"start_at": 25}"#);
    follower.until_events(6).await;
    fake.stop().await;
    // More than the client has seen: what was written while it was away comes with the log.
    let log = (1..=33).map(|index| job(index, "running").to_bytes().unwrap());
    fake.replay_log_on_next_connect(log).unwrap();
    fake.start_again().await.unwrap();
    follower.until_events(9).await;
    assert_eq!(follower.indexes(), (25..=33).collect::<Vec<u64>>());
    assert!(!follower.repeated());
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn a_line_of_countless_events_is_told_and_the_next_one_is_taken() {
    let fake = FakeNomad::builder().start().await.unwrap();
    fake.append_batch(&job(5, "a")).unwrap();
    let events = vec!["{}"; 100_000].join(",");
    fake.append_opaque(6, format!(r#"{{"Events":[{events}],"Index":6}}"#));
    fake.append_batch(&job(7, "b")).unwrap();
    let mut follower = Follower::of(&fake, "{}");
    follower.until_events(2).await;
    follower.until_notices("Gap", 1).await;
    let notice = follower.notice("LineDiscarded");
    assert!(
        notice.contains("too_many_events") && notice.contains("index: Some(RaftIndex(6))"),
        "{notice}"
    );
    let gap = follower.notice("Gap");
    assert!(
        gap.contains("from: RaftIndex(6), to: Some(RaftIndex(6)), cause: LineDiscarded"),
        "{gap}"
    );
    assert_eq!(follower.status().discarded_lines, 1);
}

#[tokio::test]
async fn latest_of_all_topics_looks_at_all_tables() {
    let fake = fake_with([5]).await;
    // Something that is in none of the default topics' tables, and a server without one of the lists.
    fake.set_list_index("/v1/node/pools", 9);
    fake.deny("/v1/acl/roles");
    fake.append_batch(&job(7, "old")).unwrap();
    fake.append_batch(&job(9, "old")).unwrap();
    fake.set_list_index("/v1/jobs", 5);
    let mut follower = Follower::of(&fake, r#"{"topics": ["*"], "start_at": "latest"}"#);
    follower.until_notices("Connected", 1).await;
    fake.append_batch(&job(10, "new")).unwrap();
    follower.until_events(1).await;
    assert_eq!(follower.indexes(), [10]);
}
