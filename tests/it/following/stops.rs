//! NE-8: a stop ends within its deadline, whatever the server is doing.

use std::time::Duration;

use nomad_events::invariants::stops_in_time;
use nomad_events::testing::nomad::{FakeNomad, Fault, Point, Script};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::follower::Follower;
use super::{fake_with, job};

/// What a stop is given.
const DEADLINE: Duration = Duration::from_secs(1);
/// Long enough to be found out.
const LONG: Duration = Duration::from_secs(3600);

/// Stops, and says how many batches were left and how long it took.
async fn stop(follower: Follower) -> (usize, Duration) {
    let asked = Instant::now();
    let left = follower.close(DEADLINE).await;
    (left, asked.elapsed())
}

async fn stops_at_once(follower: Follower, state: &str) {
    let (left, took) = stop(follower).await;
    assert_eq!(left, 0, "{state}");
    // There is nothing to wait for, so it does not take the time that it is given.
    assert!(took < DEADLINE, "{state}: {took:?}");
}

#[tokio::test]
async fn a_stop_while_a_connection_is_made() {
    // A queue of connections that is full: the next one is neither taken nor refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        let connect = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(300), connect).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_) => break true,
        }
        assert!(waiting.len() < 50, "it takes all");
    };
    assert!(full);
    let mut follower = Follower::with_endpoints(&[format!("http://{address}")], "{}");
    follower.until_notices("Started", 1).await;
    follower.settle(Duration::from_millis(200)).await;
    assert_eq!(follower.notices("Disconnected"), 0);
    stops_at_once(follower, "connecting").await;
}

#[tokio::test]
async fn a_stop_while_nothing_comes_of_a_connection() {
    let stalls = [
        ("no head", Script::new().delay_head(LONG)),
        ("no first line", Script::new().delay_first_line(LONG)),
        (
            "within a line",
            Script::new().fault(Point::InsideLine(2), Fault::Stall),
        ),
        (
            "between lines",
            Script::new().fault(Point::Lines(1), Fault::Stall),
        ),
    ];
    for (state, script) in stalls {
        let fake = fake_with([5]).await;
        fake.script(script);
        let mut follower = Follower::of(&fake, "{}");
        fake.wait_for_requests(super::PATIENCE, |requests| !requests.is_empty())
            .await
            .unwrap();
        follower.settle(Duration::from_millis(200)).await;
        assert_eq!(follower.indexes(), [0; 0], "{state}");
        stops_at_once(follower, state).await;
        // The server is told: nothing of the connection is left behind.
        fake.wait_for_streams(0, super::PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_during_a_pause_between_two_attempts() {
    let fake = fake_with([]).await;
    fake.stop().await;
    let mut follower = Follower::of(&fake, "{}");
    follower
        .until(|follower| follower.status().disconnects >= 3)
        .await;
    stops_at_once(follower, "pausing").await;
}

#[tokio::test]
async fn a_stop_while_the_mark_to_start_at_is_asked_for() {
    let fake = fake_with([5]).await;
    fake.deny("/v1/jobs");
    let mut follower = Follower::of(&fake, r#"{"start_at": "latest"}"#);
    follower.until_notices("Disconnected", 1).await;
    stops_at_once(follower, "asking").await;
}

#[tokio::test]
async fn a_stop_with_a_full_queue_waits_for_answers_and_no_longer_than_it_may() {
    let fake = FakeNomad::builder().buffer_size(200).start().await.unwrap();
    for index in 1..=100 {
        fake.append_batch(&job(index, "x").padded_to(10_000))
            .unwrap();
    }
    let mut follower = Follower::of(&fake, r#"{"queue_bytes": 100000}"#);
    follower.hold_answers();
    follower.until_batches(3).await;
    follower.settle(Duration::from_millis(200)).await;
    let (left, took) = stop(follower).await;
    assert!(left >= 3, "{left}");
    assert!(
        took >= DEADLINE && stops_in_time(took, DEADLINE),
        "{took:?}"
    );
}
