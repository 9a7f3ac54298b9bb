//! What the engine took against what an independent reader saw.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::following::follower::Follower;
use crate::servers::wire::Line;

/// Until the engine has what a reader saw, over backoff, elections and a busy machine.
pub(super) const CAUGHT_UP_LIMIT: Duration = Duration::from_secs(90);
/// A stream that is waiting for nothing is quiet for so long.
pub(super) const QUIET: Duration = Duration::from_millis(500);

/// What tells events apart, however a server printed them, with how often it was seen.
pub(super) type Seen = BTreeMap<(u64, String, String, String, String), usize>;

/// What an independent reader saw.
pub(super) fn seen_by(lines: &[Line]) -> Seen {
    let mut seen = Seen::new();
    for line in lines {
        let line: Value = serde_json::from_slice(&line.text).unwrap();
        for event in line["Events"].as_array().into_iter().flatten() {
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let index = event["Index"].as_u64().unwrap();
            let payload = event["Payload"].to_string();
            let key = (index, text("Topic"), text("Type"), text("Key"), payload);
            *seen.entry(key).or_default() += 1;
        }
    }
    seen
}

/// What the engine gave.
pub(super) fn taken_by(follower: &Follower) -> Seen {
    let mut seen = Seen::new();
    for event in follower.events() {
        // Maps come in another order each time; this sorts them.
        let payload: Value = serde_json::from_slice(&event.payload).unwrap();
        let key = (
            event.index.0,
            event.topic.to_string(),
            event.event_type.to_string(),
            event.key.to_string(),
            payload.to_string(),
        );
        *seen.entry(key).or_default() += 1;
    }
    seen
}

/// What is in one and not in the other, as few words as tell it.
pub(super) fn missing(from: &Seen, what: &Seen) -> Vec<String> {
    what.iter()
        .filter(|(key, _)| !from.contains_key(*key))
        .map(|((index, topic, kind, key, _), _)| format!("{topic}/{kind} {key} at {index}"))
        .collect()
}

/// Waits until the follower has all that the reader saw, and asserts that it has nothing else, and nothing twice.
pub(super) async fn assert_same(follower: &mut Follower, lines: &[Line]) {
    let wanted = seen_by(lines);
    let started = Instant::now();
    loop {
        follower.settle(QUIET).await;
        let missing = missing(&taken_by(follower), &wanted);
        if missing.is_empty() {
            break;
        }
        assert!(
            started.elapsed() < CAUGHT_UP_LIMIT,
            "missing: {missing:?}; notices: {:?}",
            follower.seen().1
        );
    }
    let taken = taken_by(follower);
    let twice: Vec<_> = taken.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
    // It reads on a little longer than the reader, which may stand between two lines of an index.
    let last = wanted.keys().map(|key| key.0).max();
    let until_then = taken.into_iter().filter(|(key, _)| Some(key.0) < last);
    let invented = missing(&wanted, &until_then.collect());
    assert!(invented.is_empty(), "nobody else saw: {invented:?}");
    assert!(follower.indexes_in_order());
}

/// Takes items until so many connections were made.
pub(super) async fn until_connected(follower: &mut Follower, times: usize) {
    let connected = |follower: &Follower| follower.notices("Connected") >= times;
    follower.until_within(CAUGHT_UP_LIMIT, connected).await;
}

/// Takes items until an event has come: without one to go on from, what a server forgets before the next connection cannot be
/// excluded, and is a gap.
pub(super) async fn until_something_came(follower: &mut Follower) {
    let came = |follower: &Follower| !follower.events().is_empty();
    follower.until_within(CAUGHT_UP_LIMIT, came).await;
}
