//! What is subscribed to may change in between: the position stays, and what was not covered before is a gap.

use super::*;

const JOBS: &str = r#"{"topics": ["Job"]}"#;
const BOTH: &str = r#"{"topics": ["Job", "Evaluation"]}"#;

fn evaluation(index: u64, status: &str) -> BatchText {
    BatchText::new(index).event(event("Evaluation", status))
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_added_are_a_gap_up_to_the_position_which_stays() {
    let site = Site::with([evaluation(4, "unwanted"), job(5, "a"), job(7, "b")]).await;
    site.taken_up_to(JOBS, "7:b").await;
    for line in [evaluation(8, "c"), job(9, "d")] {
        site.server().append_batch(&line).unwrap();
    }
    let mut run = site.start(BOTH);
    run.until_event("9:d").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["8:c", "9:d"]);
    assert_eq!(asked_for(site.server()), ["0", "7"]);
    assert_eq!(run.gaps(), [(0, Some(7), "subscription_changed")]);
    let changed = run.started()["subscription_changed"].as_str().unwrap();
    assert!(changed.contains("topics added: Evaluation"), "{changed}");
    assert_eq!(run.stop().await, 0);
    let saved = site.saved();
    assert_eq!(open_gaps(&saved), [(0, Some(7), "subscription_changed")]);
    let left: Vec<String> = saved
        .gaps
        .iter()
        .flat_map(|gap| gap.topics_left.iter().map(ToString::to_string))
        .collect();
    assert_eq!(left, ["Evaluation"]);

    // Said once: it is not changed again. The gap is still open.
    let mut run = site.start(BOTH);
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.started()["subscription_changed"], Value::Null);
    assert_eq!(run.started()["open_gaps"], 1);
    assert_eq!(run.gaps(), [(0, Some(7), "subscription_changed")]);
}

/// The table of jobs is behind the position, which is of an evaluation that nobody asks for any more.
#[tokio::test(start_paused = true)]
async fn a_position_of_a_topic_that_was_removed_is_no_reset() {
    let site = Site::with([job(5, "a"), evaluation(7, "b")]).await;
    site.taken_up_to(BOTH, "7:b").await;
    let mut run = site.start(JOBS);
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, [""; 0]);
    run.assert_quiet();
    let changed = run.started()["subscription_changed"].as_str().unwrap();
    assert!(changed.contains("topics removed: Evaluation"), "{changed}");
    site.server().append_batch(&job(9, "c")).unwrap();
    run.until_event("9:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["9:c"]);
    run.assert_quiet();
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(0), 9));
}

/// The position is still that of the evaluation, and the subscription that is saved has none any more.
#[tokio::test(start_paused = true)]
async fn a_position_of_a_topic_that_was_removed_is_no_reset_at_later_starts_either() {
    let site = Site::with([job(5, "a"), evaluation(7, "b")]).await;
    site.taken_up_to(BOTH, "7:b").await;
    for _ in 0..3 {
        let mut run = site.start(JOBS);
        run.run_for(Duration::from_secs(120)).await;
        run.assert_quiet();
        assert_eq!(run.events, [""; 0]);
        assert_eq!(run.stop().await, 0);
    }
    assert_eq!(site.saved().position.epoch, Epoch(0));
}

/// It is not known yet whether it is the same cluster, so the region of the position is not the new one yet.
#[tokio::test(start_paused = true)]
async fn another_region_is_still_another_after_a_crash_before_its_first_line() {
    let mut site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    let eu = r#"{"region": "eu"}"#;
    site.add_of_region("eu", []).await;
    site.servers[1].stop().await;
    let mut run = site.start_at(1, eu);
    run.run_for(Duration::from_secs(60)).await;
    run.crash().await;
    assert_eq!(site.saved().subscription.region, None);
    site.servers[1].start_again().await.unwrap();
    site.servers[1].append_batch(&job(20, "y")).unwrap();
    let mut run = site.start_at(1, eu);
    run.until_notice("IndexReset").await;
    run.until_event("20:y").await;
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(1), 20));
    assert_eq!(site.saved().subscription.region.as_deref(), Some("eu"));
    // And then it is followed as any other.
    site.servers[1].append_batch(&job(21, "z")).unwrap();
    let mut run = site.start_at(1, eu);
    run.until_event("21:z").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["21:z"]);
    assert!(run.notices("IndexReset").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_crash_follows_at_once_is_not_forgotten() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to(JOBS, "7:b").await;
    site.server().stop().await;
    let mut run = site.start(BOTH);
    run.run_for(Duration::from_secs(2)).await;
    run.crash().await;
    assert_eq!(
        open_gaps(&site.saved()),
        [(0, Some(7), "subscription_changed")]
    );
    let mut run = site.start(BOTH);
    run.until_notice("Gap").await;
    assert_eq!(run.gaps(), [(0, Some(7), "subscription_changed")]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_removed_takes_no_event_of_the_others_with_it() {
    let site = Site::with([job(5, "a"), evaluation(7, "b"), job(7, "c")]).await;
    let mut run = site.start(BOTH);
    run.hold();
    run.until_event("7:c").await;
    run.answer_oldest(Delivery::Delivered);
    run.answer_oldest(Delivery::Delivered);
    run.until_saved_at(7).await;
    run.crash().await;
    let mut run = site.start(JOBS);
    run.until_event("7:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["7:c"]);
    assert!(run.notices("IndexReset").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wider_namespace_is_a_gap_and_a_narrower_one_is_none() {
    let elsewhere =
        |index, status: &str| BatchText::new(index).event(event("Job", status).namespace("team"));
    let narrow = r#"{"namespace": "default"}"#;
    let site = Site::with([elsewhere(4, "unwanted"), job(5, "a"), job(7, "b")]).await;
    site.taken_up_to(narrow, "7:b").await;
    site.server().append_batch(&elsewhere(8, "c")).unwrap();
    let mut run = site.start("{}");
    run.until_event("8:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["8:c"]);
    assert_eq!(run.gaps(), [(0, Some(7), "subscription_changed")]);
    assert_eq!(run.stop().await, 0);

    // The position is of an event that is not wanted any more.
    let mut run = site.start(narrow);
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, [""; 0]);
    assert!(run.notices("IndexReset").is_empty());
    // Only what was open before.
    assert_eq!(run.gaps(), [(0, Some(7), "subscription_changed")]);
    let changed = run.started()["subscription_changed"].as_str().unwrap();
    assert!(changed.contains("namespace was"), "{changed}");
}

#[tokio::test(start_paused = true)]
async fn another_name_for_the_same_region_is_shown_by_its_proof() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    site.server().append_batch(&job(9, "c")).unwrap();
    let mut run = site.start(r#"{"region": "global"}"#);
    run.until_event("9:c").await;
    run.run_for(Duration::from_secs(120)).await;
    assert_eq!(run.events, ["9:c"]);
    run.assert_quiet();
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(0), 9));
    assert_eq!(site.saved().subscription.region.as_deref(), Some("global"));
}

#[tokio::test(start_paused = true)]
async fn another_region_is_a_reset_and_is_followed_from_its_earliest() {
    let mut site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.add_of_region("eu", [job(3, "x"), job(20, "y")]).await;
    site.taken_up_to("{}", "7:b").await;
    let mut run = site.start_at(1, r#"{"region": "eu"}"#);
    run.until_event("20:y").await;
    run.run_for(Duration::from_secs(120)).await;
    // What came before the reset was known may come again in the new epoch.
    let mut events = run.events.clone();
    events.dedup();
    assert!(
        events.ends_with(&["3:x".to_owned(), "20:y".to_owned()]),
        "{events:?}"
    );
    assert_eq!(run.notices("IndexReset").len(), 1, "{}", run.told());
    // Everything from the earliest line on has come.
    assert_eq!(run.gaps(), [(0, Some(3), "index_reset")]);
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(1), 20));
    assert_eq!(open_gaps(&site.saved()), [(0, Some(3), "index_reset")]);
}

#[tokio::test(start_paused = true)]
async fn another_region_with_lower_indexes_or_without_a_line_is_a_reset_too() {
    for lines in [vec![job(3, "x")], vec![]] {
        let mut site = Site::with([job(5, "a"), job(7, "b")]).await;
        let empty = lines.is_empty();
        site.add_of_region("eu", lines).await;
        site.taken_up_to("{}", "7:b").await;
        let mut run = site.start_at(1, r#"{"region": "eu"}"#);
        run.until_notice("IndexReset").await;
        site.servers[1].append_batch(&job(4, "y")).unwrap();
        run.until_event("4:y").await;
        run.run_for(Duration::from_secs(120)).await;
        let expected: &[&str] = if empty { &["4:y"] } else { &["3:x", "4:y"] };
        assert_eq!(run.events, expected);
        assert_eq!(run.stop().await, 0);
        assert_eq!(at(&site.saved()), (Epoch(1), 4));
    }
}
