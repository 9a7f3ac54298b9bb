//! Without a proof the tables are asked: what they say decides between silence, a gap and a reset.

use super::*;
use crate::testing::nomad::ListFault;

/// Taken up to 7, and then forgotten by the server.
async fn forgotten() -> Site {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    site.server().evict_all();
    site
}

#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_that_has_forgotten_the_position_is_continuous() {
    let site = forgotten().await;
    let before = probes(site.server()).len();
    let mut run = site.start("{}");
    // Nothing is suspected yet.
    run.run_for(Duration::from_secs(8)).await;
    assert_eq!(probes(site.server()).len(), before);
    run.run_for(Duration::from_secs(600)).await;
    run.assert_quiet();
    let asked = probes(site.server()).split_off(before);
    assert!(!asked.is_empty());
    // A server that lags would say less than there is.
    assert!(
        asked
            .iter()
            .all(|request| request.query_value("stale").is_none())
    );
    // What is written from now on is what follows, although the position itself never came again.
    site.server().append_batch(&job(20, "c")).unwrap();
    run.until_event("20:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["20:c"]);
    run.assert_quiet();
    assert_eq!(run.stop().await, 0);
    assert!(site.saved().gaps.is_empty());
    assert_eq!(at(&site.saved()), (Epoch(0), 20));
}

/// As long as nothing is taken the position says all: the next run comes to the same suspicion by itself.
#[tokio::test(start_paused = true)]
async fn a_suspicion_survives_a_crash_and_is_decided_by_the_next_run() {
    let site = forgotten().await;
    site.server()
        .disturb_lists(ListFault::Error(500, "rpc error".to_owned()));
    let mut run = site.start("{}");
    run.run_for(Duration::from_secs(60)).await;
    run.assert_quiet();
    run.crash().await;
    assert_eq!(at(&site.saved()), (Epoch(0), 7));
    site.server().mend_lists();
    site.server().append_batch(&job(8, "lost")).unwrap();
    site.server().evict_all();
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    assert_eq!(run.gaps(), [(7, None, "evicted")]);
}

/// What comes of the index would prove it the next time: so the suspicion is in the file before the position has it.
#[tokio::test(start_paused = true)]
async fn lines_of_the_position_that_are_not_known_are_taken_with_the_suspicion() {
    let site = Site::with([job(5, "a"), job(7, "b"), job(7, "c")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("7:c").await;
    run.answer_oldest(Delivery::Delivered);
    run.answer_oldest(Delivery::Delivered);
    run.until_saved_at(7).await;
    run.crash().await;
    site.server().evict_lines(2);
    let mut run = site.start("{}");
    run.until_event("7:c").await;
    run.until_saved("both proofs", |state| proofs(state) == Some(2))
        .await;
    assert_eq!(open_gaps(&site.saved()), [(7, None, "unproven")]);
    run.assert_quiet();
    run.crash().await;

    // By now it proves that nothing is missing behind it; what was in doubt stays open.
    site.server().append_batch(&job(9, "d")).unwrap();
    let mut run = site.start("{}");
    run.until_event("9:d").await;
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, ["9:d"]);
    let gaps = run.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((gaps[0].0, gaps[0].2), (7, "unproven"));
}

/// A line that is known comes behind one that is not: nothing is missing after all.
#[tokio::test(start_paused = true)]
async fn a_suspicion_that_a_later_line_of_the_index_takes_back_leaves_nothing() {
    let mut site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    // Another server has a line of the index that came to it first.
    site.add([job(7, "new"), job(7, "b"), job(9, "c")]).await;
    let mut run = site.start_at(1, "{}");
    run.until_event("9:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["7:new", "9:c"]);
    run.assert_quiet();
    assert_eq!(run.stop().await, 0);
    assert!(site.saved().gaps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_gap_without_an_end_is_one_gap_over_restarts_and_reconnects() {
    for causes in ["evicted", "unproven"] {
        let site = forgotten().await;
        site.server().append_batch(&job(9, "lost")).unwrap();
        site.server().evict_all();
        if causes == "unproven" {
            site.server()
                .disturb_lists(ListFault::Error(500, "rpc error".to_owned()));
        }
        for _ in 0..3 {
            let mut run = site.start("{}");
            run.until_notice("Gap").await;
            for _ in 0..2 {
                run.run_for(Duration::from_secs(400)).await;
                site.server().restart().await.unwrap();
            }
            run.run_for(Duration::from_secs(400)).await;
            assert_eq!(run.gaps(), [(7, None, causes)], "{}", run.told());
            assert_eq!(run.stop().await, 0);
            assert_eq!(open_gaps(&site.saved()), [(7, None, causes)]);
        }
        site.server().append_batch(&job(12, "c")).unwrap();
        let mut run = site.start("{}");
        run.until_event("12:c").await;
        run.run_for(Duration::from_secs(400)).await;
        assert_eq!(run.gaps().len(), 1, "{}", run.told());
        assert_eq!(run.stop().await, 0);
        assert_eq!(open_gaps(&site.saved()), [(7, Some(12), causes)]);
    }
}

#[tokio::test(start_paused = true)]
async fn writes_of_other_topics_that_push_the_position_out_are_no_gap() {
    let jobs = r#"{"topics": ["Job"]}"#;
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to(jobs, "7:b").await;
    for index in 8..20 {
        let line = BatchText::new(index).event(event("Evaluation", "other"));
        site.server().append_batch(&line).unwrap();
    }
    site.server().evict_to(15);
    let mut run = site.start(jobs);
    run.run_for(Duration::from_secs(600)).await;
    site.server().append_batch(&job(21, "c")).unwrap();
    run.until_event("21:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["21:c"]);
    run.assert_quiet();
}

/// A client's update of its allocations is an event of its node, too.
#[tokio::test(start_paused = true)]
async fn a_position_of_a_client_update_is_found_in_the_table_of_nodes() {
    let nodes = r#"{"topics": ["Node"]}"#;
    let update = BatchText::new(7).event(
        EventText::new("Node", "AllocationUpdated", "n1")
            .namespace("")
            .payload(r#"{"Node":{"Status":"b"}}"#),
    );
    let site = Site::with([BatchText::new(5).event(event("Node", "a")), update]).await;
    site.taken_up_to(nodes, "7:b").await;
    site.server().evict_all();
    let mut run = site.start(nodes);
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, [""; 0]);
    run.assert_quiet();
}

/// The list of jobs tells the index of their summaries, too, which count allocations: what it shows may be no job's.
#[tokio::test(start_paused = true)]
async fn an_update_of_allocations_that_pushes_a_job_out_is_a_gap() {
    let jobs = r#"{"topics": ["Job"]}"#;
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to(jobs, "7:b").await;
    let update = BatchText::new(9).event(event("Allocation", "other"));
    site.server().append_batch(&update).unwrap();
    site.server().evict_to(9);
    let mut run = site.start(jobs);
    run.until_notice("Gap").await;
    assert_eq!(run.gaps(), [(7, None, "evicted")]);
}

#[tokio::test(start_paused = true)]
async fn one_table_above_is_a_gap_that_ends_at_the_next_batch() {
    let site = forgotten().await;
    site.server().append_batch(&job(9, "lost")).unwrap();
    site.server().evict_all();
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    assert!(run.first("Gap") < Duration::from_secs(20));
    assert_eq!(run.gaps(), [(7, None, "evicted")]);
    run.until_saved("the gap", |state| {
        open_gaps(state) == [(7, None, "evicted")]
    })
    .await;
    site.server().append_batch(&job(12, "c")).unwrap();
    run.until_event("12:c").await;
    run.until_saved_at(12).await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["12:c"]);
    assert_eq!(run.gaps().len(), 1, "{:?}", run.gaps());
    assert_eq!(run.stop().await, 0);
    assert_eq!(open_gaps(&site.saved()), [(7, Some(12), "evicted")]);
}

#[tokio::test(start_paused = true)]
async fn a_first_line_above_is_a_gap_with_both_indexes_at_once() {
    let site = forgotten().await;
    for line in [job(9, "lost"), job(12, "c"), job(13, "d")] {
        site.server().append_batch(&line).unwrap();
    }
    site.server().evict_to(12);
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    assert!(run.first("Gap") < Duration::from_secs(5));
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, ["12:c", "13:d"]);
    assert_eq!(run.gaps(), [(7, Some(12), "evicted")]);
    assert!(run.notices("IndexReset").is_empty());
    assert_eq!(run.stop().await, 0);
    assert_eq!(open_gaps(&site.saved()), [(7, Some(12), "evicted")]);
    assert_eq!(at(&site.saved()), (Epoch(0), 13));
}

/// Once for an outage: what was announced is not announced again by a reconnect.
#[tokio::test(start_paused = true)]
async fn a_reconnect_after_a_gap_announces_it_no_second_time() {
    let site = forgotten().await;
    site.server().append_batch(&job(9, "lost")).unwrap();
    site.server().append_batch(&job(12, "c")).unwrap();
    site.server().evict_to(12);
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.until_event("12:c").await;
    site.server().restart().await.unwrap();
    run.until("Connected", |run| run.notices("Connected").len() == 2)
        .await;
    site.server().append_batch(&job(14, "d")).unwrap();
    run.until_event("14:d").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["12:c", "14:d"]);
    assert_eq!(run.gaps().len(), 1, "{:?}", run.gaps());
}

/// The same questions after an outage of one run.
#[tokio::test(start_paused = true)]
async fn an_outage_is_judged_as_a_restart_is() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start("{}");
    run.until_event("7:b").await;
    site.server().stop().await;
    site.server().evict_all();
    site.server().start_again().await.unwrap();
    run.run_for(Duration::from_secs(120)).await;
    run.assert_quiet();

    site.server().stop().await;
    site.server().append_batch(&job(9, "lost")).unwrap();
    site.server().evict_all();
    site.server().start_again().await.unwrap();
    run.run_for(Duration::from_secs(120)).await;
    assert_eq!(run.gaps(), [(7, None, "evicted")]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_may_not_be_read_hides_no_answer_that_another_gives() {
    let site = forgotten().await;
    site.server().deny("/v1/nodes");
    site.server().append_batch(&job(9, "lost")).unwrap();
    site.server().evict_all();
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    assert_eq!(run.gaps(), [(7, None, "evicted")]);
    assert!(run.first("Gap") < Duration::from_secs(30));
}

/// Nothing can be decided for five minutes.
async fn until_unproven(run: &mut Run) {
    run.until_notice("Gap").await;
    assert_eq!(run.gaps(), [(7, None, "unproven")]);
    let minutes = Duration::from_secs(300)..Duration::from_secs(360);
    assert!(
        minutes.contains(&run.first("Gap")),
        "{:?}",
        run.first("Gap")
    );
}

#[tokio::test(start_paused = true)]
async fn a_table_that_may_not_be_read_leaves_it_unproven_after_five_minutes() {
    let site = forgotten().await;
    site.server().deny("/v1/nodes");
    let mut run = site.start("{}");
    until_unproven(&mut run).await;
    assert!(run.notices("IndexReset").is_empty());
    site.server().append_batch(&job(9, "c")).unwrap();
    run.until_event("9:c").await;
    assert_eq!(run.events, ["9:c"]);
    assert_eq!(run.stop().await, 0);
    assert_eq!(open_gaps(&site.saved()), [(7, Some(9), "unproven")]);
}

#[tokio::test(start_paused = true)]
async fn what_never_answers_leaves_it_unproven_after_five_minutes() {
    let faults: [fn(&FakeNomad); 3] = [
        |server| server.disturb_lists(ListFault::Hang),
        |server| server.disturb_lists(ListFault::Error(500, "No cluster leader".to_owned())),
        |server| {
            for path in [
                "jobs",
                "allocations",
                "evaluations",
                "deployments",
                "nodes",
                "services",
            ] {
                server.deny(&format!("/v1/{path}"));
            }
        },
    ];
    for disturb in faults {
        let site = forgotten().await;
        disturb(site.server());
        let before = probes(site.server()).len();
        let mut run = site.start("{}");
        until_unproven(&mut run).await;
        let asked = probes(site.server()).len() - before;
        // With pauses up to 30 s, several lists each time.
        assert!((5..200).contains(&asked), "{asked}");
        // The stream goes on all the while.
        site.server().append_batch(&job(9, "c")).unwrap();
        run.until_event("9:c").await;
        assert!(run.notices("IndexReset").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn tables_that_can_be_read_at_last_decide() {
    for (lost, expected) in [(false, None), (true, Some("evicted"))] {
        let site = forgotten().await;
        site.server()
            .disturb_lists(ListFault::Error(500, "rpc error".to_owned()));
        site.server().disturb_list("/v1/jobs", ListFault::Hang);
        if lost {
            site.server().append_batch(&job(9, "lost")).unwrap();
            site.server().evict_all();
        }
        let mut run = site.start("{}");
        run.run_for(Duration::from_secs(120)).await;
        run.assert_quiet();
        site.server().mend_lists();
        run.run_for(Duration::from_secs(600)).await;
        let causes: Vec<&str> = run.gaps().into_iter().map(|(_, _, cause)| cause).collect();
        assert_eq!(causes, Vec::from_iter(expected), "lost: {lost}");
        assert!(run.notices("IndexReset").is_empty());
    }
}

/// What goes on flowing does not wait for an answer, and is one itself.
#[tokio::test(start_paused = true)]
async fn a_first_line_above_needs_no_table() {
    for quiet in [0, 60] {
        let site = forgotten().await;
        site.server().disturb_lists(ListFault::Hang);
        let mut run = site.start("{}");
        run.run_for(Duration::from_secs(quiet)).await;
        site.server().append_batch(&job(12, "c")).unwrap();
        run.until_event("12:c").await;
        run.until_notice("Gap").await;
        run.until_saved_at(12).await;
        assert_eq!(run.gaps(), [(7, Some(12), "evicted")]);
        assert_eq!(open_gaps(&site.saved()), [(7, Some(12), "evicted")]);
        run.run_for(Duration::from_secs(600)).await;
        assert_eq!(run.gaps().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_tables_that_hang() {
    let site = forgotten().await;
    site.server().disturb_lists(ListFault::Hang);
    let mut run = site.start("{}");
    run.run_for(Duration::from_secs(60)).await;
    let asked = Instant::now();
    assert_eq!(run.stop().await, 0);
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(at(&site.saved()), (Epoch(0), 7));
}
