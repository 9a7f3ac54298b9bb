//! Namespaces that are made while the stream is open: Nomad does not deliver them before the next subscription.

use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad, SeenRequest};

use super::follower::{Follower, PATIENCE};
use super::job;

const OPTIONS: &str = r#"{"namespace_refresh_secs": 1}"#;

fn job_in(namespace: &str, index: u64) -> BatchText {
    BatchText::new(index).event(EventText::new("Job", "JobRegistered", "web").namespace(namespace))
}

/// Waits until the list of namespaces was asked for so many times.
async fn until_listed(fake: &FakeNomad, times: usize) {
    let listed = |requests: &[SeenRequest]| {
        let lists = requests.iter().filter(|seen| seen.path == "/v1/namespaces");
        lists.count() >= times
    };
    fake.wait_for_requests(PATIENCE, listed).await.unwrap();
}

#[tokio::test]
async fn a_new_namespace_is_followed_and_what_went_by_is_a_gap() {
    let fake = FakeNomad::builder().start().await.unwrap();
    fake.append_batch(&job(5, "a")).unwrap();
    let mut follower = Follower::of(&fake, OPTIONS);
    follower.until_events(1).await;

    fake.add_namespace("team", 6);
    fake.append_batch(&job_in("team", 7)).unwrap();
    fake.append_batch(&job(8, "b")).unwrap();
    follower.until_events(2).await;
    assert_eq!(follower.indexes(), [5, 8]);
    follower.until_notices("Gap", 1).await;
    let gap = follower.notice("Gap");
    assert!(
        gap.contains("from: RaftIndex(6), to: Some(RaftIndex(8))")
            && gap.contains(r#"cause: NamespaceAdded, namespace: Some("team")"#),
        "{gap}"
    );
    follower.until_notices("Connected", 2).await;
    fake.append_batch(&job_in("team", 9)).unwrap();
    follower.until_events(3).await;
    assert_eq!(follower.indexes(), [5, 8, 9]);
    assert!(!follower.repeated());
    // It was no failure, and nothing else is missing.
    assert_eq!(follower.notices("Disconnected"), 0);
    assert_eq!(follower.status().disconnects, 0);
    assert_eq!(follower.notices("Gap"), 1);
}

#[tokio::test]
async fn several_new_namespaces_cost_one_subscription_and_no_gap_before_they_are_passed() {
    let fake = FakeNomad::builder().start().await.unwrap();
    fake.append_batch(&job(5, "a")).unwrap();
    let mut follower = Follower::of(&fake, OPTIONS);
    follower.until_events(1).await;
    for (name, index) in [("x", 6), ("y", 7), ("z", 8)] {
        fake.add_namespace(name, index);
    }
    // All of these come after the last line that was read.
    for (name, index) in [("z", 9), ("y", 10), ("x", 11)] {
        fake.append_batch(&job_in(name, index)).unwrap();
    }
    follower.until_events(4).await;
    assert_eq!(follower.indexes(), [5, 9, 10, 11]);
    assert_eq!(follower.notices("Gap"), 0);
    // They may have been found by one look or by two.
    let lists = |requests: &[SeenRequest]| {
        let lists = requests.iter().filter(|seen| seen.path == "/v1/namespaces");
        lists.count()
    };
    let before = fake.stream_requests().len();
    assert!((2..=3).contains(&before), "{before}");
    let seen = lists(&fake.requests());
    fake.wait_for_requests(PATIENCE, |requests| lists(requests) >= seen + 2)
        .await
        .unwrap();
    assert_eq!(fake.stream_requests().len(), before);
}

#[tokio::test]
async fn a_namespace_that_is_made_during_an_outage_is_covered_by_the_reconnect() {
    let fake = FakeNomad::builder().start().await.unwrap();
    fake.append_batch(&job(5, "a")).unwrap();
    let mut follower = Follower::of(&fake, OPTIONS);
    follower.until_events(1).await;
    fake.stop().await;
    fake.append_batch(&job_in("team", 6)).unwrap();
    fake.start_again().await.unwrap();
    follower.until_events(2).await;
    assert_eq!(follower.notices("Gap"), 0);
    assert_eq!(follower.notices("Connected"), 2);
}

#[tokio::test]
async fn namespaces_that_cannot_be_listed_do_not_disturb_the_stream() {
    let fake = FakeNomad::builder().start().await.unwrap();
    fake.deny("/v1/namespaces");
    fake.append_batch(&job(5, "a")).unwrap();
    let mut follower = Follower::of(&fake, OPTIONS);
    follower.until_events(1).await;
    until_listed(&fake, 3).await;
    fake.append_batch(&job(6, "b")).unwrap();
    follower.until_events(2).await;
    assert_eq!(follower.notices("Disconnected"), 0);
    assert_eq!(fake.stream_requests().len(), 1);

    // When the list can be read at last, what is younger than the stream is looked after.
    fake.add_namespace("team", 7);
    fake.append_batch(&job_in("team", 8)).unwrap();
    fake.allow("/v1/namespaces");
    follower.until_events(3).await;
    assert_eq!(follower.indexes(), [5, 6, 8]);
    assert_eq!(follower.notices("Gap"), 0);
}

#[tokio::test]
async fn one_namespace_is_not_subscribed_to_again() {
    let fake = FakeNomad::builder().start().await.unwrap();
    fake.append_batch(&job(5, "a")).unwrap();
    let mut follower = Follower::of(
        &fake,
        r#"{"namespace": "default", "namespace_refresh_secs": 1}"#,
    );
    follower.until_events(1).await;
    fake.append_batch(&job_in("team", 6)).unwrap();
    until_listed(&fake, 3).await;
    assert_eq!(fake.stream_requests().len(), 1);
    assert_eq!(follower.notices("Gap"), 0);
}
