//! The engine against real servers that are killed, frozen, started again and restored: what comes is what an independent
//! reader saw, once each, and what cannot come is announced.

use std::time::Duration;

use nomad_events::Delivery;
use tokio::time::Instant;

use crate::following::follower::Follower;
use crate::servers::cluster::{Cluster, Writer, register};
use crate::servers::wire::Reader;

use super::TOPICS;
use super::compare::{
    CAUGHT_UP_LIMIT, QUIET, assert_same, missing, seen_by, taken_by, until_connected,
    until_something_came,
};

/// More batches than a test makes.
const WHOLE_HISTORY: u32 = 20_000;
/// Short against a frozen server, which a heartbeat does not contradict as long as there are writes.
const OPTIONS: &str =
    r#"{"idle_timeout_secs": 5, "connect_timeout_secs": 3, "backoff_max_secs": 2}"#;

fn register_some(cluster: &Cluster, through: usize, prefix: &str, count: usize) {
    for number in 0..count {
        register(cluster.address(through), &format!("{prefix}-{number}"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn nothing_is_lost_or_repeated_when_the_leader_is_killed() {
    let mut cluster = Cluster::start(3, WHOLE_HISTORY);
    let leader = cluster.leader();
    let others = cluster.all_but(leader);
    let reader = Reader::start(cluster.address(others[0]), &TOPICS, "*");
    let endpoints = [leader, others[0], others[1]].map(|number| cluster.url(number));
    // One is connected to the leader, the other to a server that stays.
    let mut rotating = Follower::with_endpoints(&endpoints, OPTIONS);
    let mut staying = Follower::with_endpoints(&endpoints[2..], OPTIONS);

    register_some(&cluster, others[1], "first", 5);
    // With an event to go on from: without, what a server forgets meanwhile would be a gap that cannot be excluded.
    for follower in [&mut rotating, &mut staying] {
        assert_same(follower, &reader.lines()).await;
    }
    let writer = Writer::start(cluster.address(others[1]), "before", 20);
    until_something_came(&mut rotating).await;
    until_something_came(&mut staying).await;
    cluster.kill(leader);
    until_connected(&mut rotating, 2).await;
    drop(writer);
    cluster.leader();
    register_some(&cluster, others[1], "after", 20);

    // And back: what was killed comes again while writes go on.
    let writer = Writer::start(cluster.address(others[0]), "while", 20);
    cluster.spawn(leader);
    cluster.wait_until_it_answers(leader);
    drop(writer);
    register_some(&cluster, leader, "again", 5);

    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    let lines = reader.stop();
    for follower in [&mut rotating, &mut staying] {
        assert_same(follower, &lines).await;
        assert_eq!(follower.gaps().len(), 0, "{:?}", follower.gaps());
    }
    assert!(rotating.notices("Disconnected") >= 1);
    assert_eq!(staying.notices("Disconnected"), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_server_that_replays_its_log_after_a_crash_repeats_nothing() {
    let mut cluster = Cluster::start(1, WHOLE_HISTORY);
    let mut follower = Follower::with_endpoints(&[cluster.url(0)], OPTIONS);
    for round in ["first", "second", "third"] {
        register_some(&cluster, 0, round, 15);
        let connected = follower.notices("Connected");
        follower.settle(QUIET).await;
        cluster.kill(0);
        cluster.spawn(0);
        // Backoff is short, so that it comes while the server applies its log again.
        until_connected(&mut follower, connected + 1).await;
        cluster.leader();
    }
    register_some(&cluster, 0, "last", 5);
    // It sees the whole log, since no snapshot was made.
    let reader = Reader::start(cluster.address(0), &TOPICS, "*");
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    assert_same(&mut follower, &reader.stop()).await;
    assert_eq!(follower.gaps().len(), 0, "{:?}", follower.gaps());
    assert!(follower.status().duplicates > 0, "nothing was replayed");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_frozen_server_is_left_for_the_next_one() {
    let cluster = Cluster::start(3, WHOLE_HISTORY);
    let leader = cluster.leader();
    let others = cluster.all_but(leader);
    let reader = Reader::start(cluster.address(leader), &TOPICS, "*");
    let endpoints = [others[0], others[1]].map(|number| cluster.url(number));
    let mut follower = Follower::with_endpoints(&endpoints, OPTIONS);
    register_some(&cluster, leader, "before", 5);
    // With an event to go on from: without, what a server forgets meanwhile would be a gap that cannot be excluded.
    assert_same(&mut follower, &reader.lines()).await;
    let writer = Writer::start(cluster.address(leader), "write", 20);

    cluster.freeze(others[0]);
    until_connected(&mut follower, 2).await;
    assert!(follower.notice("Disconnected").contains("\"idle\""));
    cluster.thaw(others[0]);

    drop(writer);
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    assert_same(&mut follower, &reader.stop()).await;
    assert_eq!(follower.gaps().len(), 0, "{:?}", follower.gaps());
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_lost_quorum_is_waited_for() {
    let mut cluster = Cluster::start(3, WHOLE_HISTORY);
    let leader = cluster.leader();
    let others = cluster.all_but(leader);
    let reader = Reader::start(cluster.address(others[0]), &TOPICS, "*");
    let mut follower = Follower::with_endpoints(
        &[cluster.url(others[0])],
        r#"{"connect_timeout_secs": 3, "backoff_max_secs": 2}"#,
    );
    register_some(&cluster, others[0], "before", 10);
    cluster.kill(leader);
    cluster.kill(others[1]);
    // Longer than the servers need to see that they have no leader.
    follower.settle(Duration::from_secs(12)).await;
    assert_eq!(follower.notices("Disconnected"), 0);

    cluster.spawn(leader);
    cluster.spawn(others[1]);
    cluster.leader();
    register_some(&cluster, others[0], "after", 10);
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    assert_same(&mut follower, &reader.stop()).await;
    assert_eq!(follower.gaps().len(), 0, "{:?}", follower.gaps());
}

/// With a small buffer at the server and a host that does not answer, events are lost at the server: every one of them is
/// within an announced gap.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn what_a_slow_host_misses_is_within_an_announced_gap() {
    const PADDING: usize = 60_000;
    let cluster = Cluster::start(1, 10);
    let reader = Reader::start(cluster.address(0), &TOPICS, "*");
    let mut follower = Follower::with_endpoints(
        &[cluster.url(0)],
        r#"{"queue_bytes": 200000, "idle_timeout_secs": 5, "backoff_max_secs": 1}"#,
    );
    until_connected(&mut follower, 1).await;
    follower.hold_answers();
    // Sockets on loopback hold megabytes.
    for number in 0..200 {
        register(cluster.address(0), &format!("big-{number}"), PADDING);
        follower.settle(Duration::from_millis(1)).await;
    }
    follower.answer_held(Delivery::Delivered);
    until_connected(&mut follower, 2).await;
    register_some(&cluster, 0, "after", 3);
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    let seen = seen_by(&reader.stop());
    let started = Instant::now();
    let last = seen.keys().map(|key| key.0).max().unwrap();
    while !follower.indexes().contains(&last) {
        assert!(started.elapsed() < CAUGHT_UP_LIMIT, "{:?}", follower.seen());
        follower.settle(QUIET).await;
    }
    let taken = taken_by(&follower);
    let lost: Vec<u64> = (seen.keys().filter(|key| !taken.contains_key(*key)))
        .map(|key| key.0)
        .collect();
    println!("{} of {} events lost", lost.len(), seen.len());
    assert!(!lost.is_empty(), "nothing was lost, so nothing was shown");
    for index in lost {
        let told = follower
            .gaps()
            .iter()
            .any(|gap| gap.from.0 <= index && gap.to.is_none_or(|to| index <= to.0));
        assert!(told, "{index} is in none of {:?}", follower.gaps());
    }
    assert!(missing(&seen, &taken).is_empty());
}

/// A snapshot that is restored in place empties the server's buffer: what was not read then cannot be known, and is announced.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_restored_snapshot_is_a_gap_and_no_end() {
    let cluster = Cluster::start(1, WHOLE_HISTORY);
    let mut follower = Follower::with_endpoints(&[cluster.url(0)], OPTIONS);
    register_some(&cluster, 0, "before", 10);
    until_connected(&mut follower, 1).await;
    follower.settle(QUIET).await;
    let snapshot = cluster
        .write(0, "GET", "/v1/operator/snapshot", b"")
        .unwrap();
    let connected = follower.notices("Connected");
    cluster
        .write(0, "PUT", "/v1/operator/snapshot", &snapshot)
        .unwrap();
    // The old subscription ends without a word, which is seen as silence.
    let writer = Writer::start(cluster.address(0), "while", 10);
    until_connected(&mut follower, connected + 1).await;
    drop(writer);
    register_some(&cluster, 0, "after", 5);
    let reader = Reader::start(cluster.address(0), &TOPICS, "*");
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    let seen = seen_by(&reader.stop());
    let started = Instant::now();
    while follower.gaps().is_empty() || !missing(&taken_by(&follower), &seen).is_empty() {
        assert!(started.elapsed() < CAUGHT_UP_LIMIT, "{:?}", follower.seen());
        follower.settle(QUIET).await;
    }
    assert!(follower.indexes_in_order());
}
