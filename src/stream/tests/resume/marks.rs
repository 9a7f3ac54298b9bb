//! Where a run begins without a saved position is saved itself, and says how much of its index is taken.

use super::*;

const LATEST: &str = r#"{"start_at": "latest"}"#;
const INDEX: &str = r#"{"start_at": 6}"#;

/// Where the next run may begin is the saved position's business alone.
const ELSEWHERE: &str = r#"{"start_at": 1000}"#;

#[tokio::test(start_paused = true)]
async fn earliest_is_saved_with_the_first_line_of_which_nothing_is_taken() {
    let site = Site::with([]).await;
    let mut run = site.start("{}");
    run.hold();
    run.run_for(Duration::from_secs(30)).await;
    // There is no index yet at which it could be resumed.
    assert!(site.folder().read().unwrap().is_none());
    for line in [job(5, "a"), job(7, "b")] {
        site.server().append_batch(&line).unwrap();
    }
    run.until_event("7:b").await;
    run.until_saved_at(5).await;
    assert_eq!(site.saved().taken, Taken::Nothing);
    run.run_for(Duration::from_secs(5)).await;
    assert_eq!(at(&site.saved()), (Epoch(0), 5));
    run.crash().await;

    let mut run = site.start(ELSEWHERE);
    run.until_event("7:b").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["5:a", "7:b"]);
    run.assert_quiet();
    assert_eq!(run.started()["continuity"], "saved");
    assert_eq!(run.started()["resumed_from"], 5);
}

#[tokio::test(start_paused = true)]
async fn a_first_line_above_an_earliest_mark_is_looked_into() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_saved_at(5).await;
    run.crash().await;
    // What was not taken is gone.
    site.server().evict_lines(1);
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["7:b"]);
    assert_eq!(run.gaps(), [(5, Some(7), "evicted")]);
}

#[tokio::test(start_paused = true)]
async fn latest_is_saved_at_once_with_all_of_its_index_taken() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start(LATEST);
    run.until_saved_at(7).await;
    assert_eq!(site.saved().taken, Taken::All);
    assert_eq!(run.events, [""; 0]);
    run.crash().await;

    site.server().append_batch(&job(8, "c")).unwrap();
    let mut run = site.start(ELSEWHERE);
    run.until_event("8:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["8:c"]);
    run.assert_quiet();
    assert_eq!(at(&site.saved()), (Epoch(0), 8));
    assert_eq!(proofs(&site.saved()), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_first_line_above_a_latest_mark_is_looked_into() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start(LATEST);
    run.until_saved_at(7).await;
    run.crash().await;
    site.server().append_batch(&job(8, "lost")).unwrap();
    site.server().append_batch(&job(9, "c")).unwrap();
    site.server().evict_to(9);
    let mut run = site.start(LATEST);
    run.until_notice("Gap").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["9:c"]);
    assert_eq!(run.gaps(), [(7, Some(9), "evicted")]);
}

#[tokio::test(start_paused = true)]
async fn an_index_is_saved_at_once_with_nothing_of_it_taken() {
    let site = Site::with([]).await;
    let mut run = site.start(INDEX);
    run.until_saved_at(6).await;
    assert_eq!(site.saved().taken, Taken::Nothing);
    run.crash().await;

    for line in [job(5, "a"), job(6, "b"), job(7, "c")] {
        site.server().append_batch(&line).unwrap();
    }
    let mut run = site.start(ELSEWHERE);
    run.until_event("7:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["6:b", "7:c"]);
    run.assert_quiet();
    assert_eq!(proofs(&site.saved()), Some(1));
    assert_eq!(at(&site.saved()), (Epoch(0), 7));
}

#[tokio::test(start_paused = true)]
async fn an_answer_makes_a_proof_of_a_mark() {
    for options in ["{}", INDEX] {
        let site = Site::with([job(6, "a"), job(7, "b")]).await;
        let mut run = site.start(options);
        run.hold();
        run.until_event("7:b").await;
        run.until_saved_at(6).await;
        assert_eq!(site.saved().taken, Taken::Nothing, "{options}");
        run.answer_oldest(Delivery::Delivered);
        run.until_saved("a proof", |state| proofs(state) == Some(1))
            .await;
        assert_eq!(at(&site.saved()), (Epoch(0), 6), "{options}");
        run.crash().await;
        let mut run = site.start(options);
        run.until_event("7:b").await;
        run.run_for(Duration::from_secs(60)).await;
        assert_eq!(run.events, ["7:b"], "{options}");
        run.assert_quiet();
    }
}

/// What a user waits for may be far ahead, also for the second run that waits for it.
#[tokio::test(start_paused = true)]
async fn an_index_that_is_still_to_come_is_waited_for_over_restarts() {
    let options = r#"{"start_at": 1000}"#;
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    for _ in 0..2 {
        let mut run = site.start(options);
        run.run_for(Duration::from_secs(300)).await;
        assert_eq!(run.events, [""; 0]);
        run.assert_quiet();
        assert_eq!(run.stop().await, 0);
        assert_eq!(at(&site.saved()), (Epoch(0), 1000));
    }
}

/// The cluster of a mark of which nothing was taken can be rebuilt, too.
#[tokio::test(start_paused = true)]
async fn a_mark_in_a_cluster_that_was_rebuilt_is_left() {
    for options in ["{}", LATEST] {
        let site = Site::with([job(890, "a"), job(900, "b")]).await;
        let mut run = site.start(options);
        run.hold();
        run.until_saved("a mark", |_| true).await;
        run.crash().await;
        let line = job(3, "x").to_bytes().unwrap();
        site.server().replace_history([line]).unwrap();
        let mut run = site.start(options);
        run.until_notice("IndexReset").await;
        run.until_event("3:x").await;
        run.run_for(Duration::from_secs(60)).await;
        assert_eq!(run.events, ["3:x"]);
        assert_eq!(run.stop().await, 0);
        assert_eq!(at(&site.saved()), (Epoch(1), 3));
    }
}
