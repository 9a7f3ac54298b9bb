//! A gap stays in the file, and is announced again at each start, until something fills it.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_gap_is_announced_again_after_each_start() {
    let site = Site::with([job(5, "a")]).await;
    site.taken_up_to("{}", "5:a").await;
    site.server().append_batch(&job(9, "b")).unwrap();
    site.server().evict_to(9);
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.until_saved_at(9).await;
    run.crash().await;
    for _ in 0..2 {
        let mut run = site.start("{}");
        run.until_notice("Gap").await;
        run.run_for(Duration::from_secs(120)).await;
        assert_eq!(run.gaps(), [(5, Some(9), "evicted")]);
        assert_eq!(run.started()["open_gaps"], 1);
        assert_eq!(run.events, [""; 0]);
        assert_eq!(run.stop().await, 0);
        assert_eq!(open_gaps(&site.saved()), [(5, Some(9), "evicted")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_was_not_taken_is_remembered() {
    let long = BatchText::new(7).event(event("Job", "b")).padded_to(10_000);
    let site = Site::with([job(5, "a"), long, job(9, "c")]).await;
    let options = r#"{"max_line_bytes": 5000}"#;
    site.taken_up_to(options, "9:c").await;
    assert_eq!(open_gaps(&site.saved()), [(7, Some(7), "line_discarded")]);
    let mut run = site.start(options);
    run.until_notice("Gap").await;
    assert_eq!(run.gaps(), [(7, Some(7), "line_discarded")]);
}

/// Each run that is resumed before it discards it anew.
#[tokio::test(start_paused = true)]
async fn a_line_that_is_discarded_again_is_the_same_gap() {
    let long = BatchText::new(7).event(event("Job", "b")).padded_to(10_000);
    let site = Site::with([job(5, "a"), long]).await;
    let options = r#"{"max_line_bytes": 5000}"#;
    for _ in 0..2 {
        let mut run = site.start(options);
        run.until_notice("LineDiscarded").await;
        run.run_for(Duration::from_secs(60)).await;
        assert_eq!(run.gaps(), [(7, Some(7), "line_discarded")]);
        assert_eq!(run.stop().await, 0);
        assert_eq!(at(&site.saved()), (Epoch(0), 5));
        assert_eq!(open_gaps(&site.saved()), [(7, Some(7), "line_discarded")]);
    }
}

#[tokio::test(start_paused = true)]
async fn open_gaps_are_measured() {
    let meters = Meters::default();
    let _guard = metrics::set_default_local_recorder(&meters);
    let site = Site::with([job(5, "a")]).await;
    site.taken_up_to("{}", "5:a").await;
    assert_eq!(meters.gauge("nomad_events_open_gaps"), 0.0);
    site.server().append_batch(&job(9, "b")).unwrap();
    site.server().evict_to(9);
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.until_event("9:b").await;
    assert_eq!(meters.gauge("nomad_events_open_gaps"), 1.0);
    assert_eq!(meters.gauge("nomad_events_epoch"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_was_made_while_nobody_was_there_is_covered_and_no_gap() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    site.server().add_namespace("team", 8);
    let line = BatchText::new(9).event(event("Job", "c").namespace("team"));
    site.server().append_batch(&line).unwrap();
    let mut run = site.start("{}");
    run.until_event("9:c").await;
    run.run_for(Duration::from_secs(300)).await;
    assert_eq!(run.events, ["9:c"]);
    run.assert_quiet();
}

/// Its first events went by before the stream could be asked for them; the position has passed them.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_found_after_a_crash_is_a_gap_from_its_making() {
    let site = Site::with([job(5, "a")]).await;
    let mut run = site.start("{}");
    run.until_event("5:a").await;
    site.server().add_namespace("team", 6);
    let line = BatchText::new(7).event(event("Job", "unseen").namespace("team"));
    site.server().append_batch(&line).unwrap();
    site.server().append_batch(&job(8, "b")).unwrap();
    run.until_event("8:b").await;
    run.until_saved_at(8).await;
    assert_eq!(run.gaps(), [], "too late for the test");
    run.crash().await;
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.run_for(Duration::from_secs(120)).await;
    assert_eq!(run.gaps(), [(6, Some(8), "namespace_added")]);
    assert_eq!(run.events, [""; 0]);
}
