//! What was taken is known again, whatever server it comes from and however it is written; what was not comes.

use super::*;
use crate::testing::nomad::KeyOrder;

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_the_last_run_stopped_and_brings_nothing_twice() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    assert_eq!(at(&site.saved()), (Epoch(0), 7));
    assert_eq!(proofs(&site.saved()), Some(1));

    site.server().append_batch(&job(9, "c")).unwrap();
    let mut run = site.start("{}");
    run.until_event("9:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["9:c"]);
    run.assert_quiet();
    assert_eq!(asked_for(site.server()), ["0", "7"]);
    let started = run.started();
    assert_eq!(started["continuity"], "saved");
    assert_eq!(started["resumed_from"], 7);
    assert_eq!(started["epoch"], 0);
    assert_eq!(started["open_gaps"], 0);
    assert_eq!(started["saves_position"], true);
    assert_eq!(started["subscription_changed"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn without_a_saved_position_a_start_says_that_nothing_is_known() {
    let site = Site::with([job(5, "a")]).await;
    let mut run = site.start("{}");
    run.until_event("5:a").await;
    let started = run.started();
    assert_eq!(started["continuity"], "none");
    assert_eq!(started["resumed_from"], Value::Null);
    assert_eq!(started["saves_position"], true);
    run.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_is_resumed_in_silence_by_the_proof_alone() {
    let site = Site::with([job(5, "a")]).await;
    site.taken_up_to("{}", "5:a").await;
    let before = probes(site.server()).len();
    let mut run = site.start("{}");
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, [""; 0]);
    run.assert_quiet();
    // The proof came, so nothing was asked.
    assert_eq!(probes(site.server()).len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_two_lines_of_an_index_brings_the_second_and_not_the_first() {
    let site = Site::with([job(5, "a"), job(7, "dead"), job(7, "pending")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("7:pending").await;
    run.answer_oldest(Delivery::Delivered);
    run.answer_oldest(Delivery::Delivered);
    run.until_saved_at(7).await;
    assert_eq!(proofs(&site.saved()), Some(1));
    run.crash().await;

    site.server().append_batch(&job(8, "b")).unwrap();
    let mut run = site.start("{}");
    run.until_event("8:b").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["7:pending", "8:b"]);
    run.assert_quiet();
    assert_eq!(at(&site.saved()), (Epoch(0), 8));
}

/// The second line of the index is answered, the first is not: nothing of the index may count as taken.
#[tokio::test(start_paused = true)]
async fn an_answer_behind_an_open_one_is_not_saved() {
    let site = Site::with([job(5, "a"), job(7, "dead"), job(7, "pending")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("7:pending").await;
    run.answer_oldest(Delivery::Delivered);
    let last = run.held.as_mut().unwrap().remove(1);
    run.acknowledger.resolve(last, Delivery::Delivered);
    run.run_for(Duration::from_secs(5)).await;
    assert_eq!(at(&site.saved()), (Epoch(0), 5));
    run.crash().await;

    let mut run = site.start("{}");
    run.until_event("7:pending").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["7:dead", "7:pending"]);
    run.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn an_index_of_which_the_taken_half_is_forgotten_is_no_proof() {
    let site = Site::with([job(5, "a"), job(7, "dead"), job(7, "pending")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("7:pending").await;
    run.answer_oldest(Delivery::Delivered);
    run.answer_oldest(Delivery::Delivered);
    run.until_saved_at(7).await;
    run.crash().await;

    // The line that proves it is gone, and whether others of the index are cannot be known.
    site.server().evict_lines(2);
    site.server().append_batch(&job(9, "b")).unwrap();
    let mut run = site.start("{}");
    run.until_event("9:b").await;
    run.until_notice("Gap").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["7:pending", "9:b"]);
    assert_eq!(run.gaps().len(), 1, "{:?}", run.gaps());
    assert_eq!(run.gaps()[0].0, 7);
    assert!(run.notices("IndexReset").is_empty());
}

#[tokio::test(start_paused = true)]
async fn half_of_an_index_proves_the_rest_of_it() {
    let site = Site::with([job(5, "a"), job(7, "dead"), job(7, "pending")]).await;
    site.taken_up_to("{}", "7:pending").await;
    assert_eq!(proofs(&site.saved()), Some(2));
    site.server().evict_lines(2);
    site.server().append_batch(&job(9, "b")).unwrap();
    let mut run = site.start("{}");
    run.until_event("9:b").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["9:b"]);
    run.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn another_server_may_write_the_same_batch_in_another_order() {
    let first = BatchText::new(7)
        .event(event("Job", "x"))
        .event(EventText::new("Job", "JobRegistered", "web").payload(
            r#"{"Job":{"Status":"y","Meta":{"a":"1","b":"2"},"Count":18446744073709551615}}"#,
        ))
        .event(event("Evaluation", "z"));
    let second = BatchText::new(7)
        .key_order(KeyOrder::Sorted)
        .event(event("Evaluation", "z"))
        .event(EventText::new("Job", "JobRegistered", "web").payload(
            r#"{"Job":{"Count":18446744073709551615,"Meta":{"b":"2","a":"1"},"Status":"y"}}"#,
        ))
        .event(event("Job", "x"));
    let mut site = Site::with([job(5, "a"), first]).await;
    site.add([second, job(9, "b")]).await;
    site.taken_up_to("{}", "7:z").await;
    assert_eq!(proofs(&site.saved()), Some(3));
    let mut run = site.start_at(1, "{}");
    run.until_event("9:b").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["9:b"]);
    run.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_replays_its_log_brings_only_what_is_new() {
    let lines = || (1..=20).map(|index| job(index, "a"));
    let site = Site::with(lines()).await;
    site.taken_up_to("{}", "20:a").await;
    let log = lines().chain([job(21, "b"), job(22, "c")]);
    site.server()
        .replay_log_on_next_connect(log.map(|line| line.to_bytes().unwrap()))
        .unwrap();
    let mut run = site.start("{}");
    run.until_event("22:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["21:b", "22:c"]);
    run.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lags_is_waited_for() {
    let mut site = Site::with([job(5, "a"), job(7, "b"), job(9, "c")]).await;
    let lagging = site.add([job(5, "a"), job(7, "b")]).await;
    lagging.write_elsewhere(&job(9, "c")).unwrap();
    site.taken_up_to("{}", "9:c").await;

    let mut run = site.start_at(1, "{}");
    run.run_for(Duration::from_secs(45)).await;
    assert_eq!(run.events, [""; 0]);
    // Its leader has no more than what was taken.
    run.assert_quiet();
    for line in [job(9, "c"), job(11, "d")] {
        site.servers[1].append_batch(&line).unwrap();
    }
    run.until_event("11:d").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["11:d"]);
    run.assert_quiet();
    assert!(run.stop().await == 0 && site.saved().gaps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_lagging_server_has_not_yet_is_no_gap_when_it_comes_with_its_proof() {
    let mut site = Site::with([job(5, "a"), job(7, "b"), job(9, "c")]).await;
    let lagging = site.add([job(5, "a"), job(7, "b")]).await;
    for line in [job(9, "c"), job(11, "d")] {
        lagging.write_elsewhere(&line).unwrap();
    }
    site.taken_up_to("{}", "9:c").await;
    let mut run = site.start_at(1, "{}");
    // Sooner than anything is suspected.
    run.run_for(Duration::from_secs(5)).await;
    for line in [job(9, "c"), job(11, "d")] {
        site.servers[1].append_batch(&line).unwrap();
    }
    run.until_event("11:d").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["11:d"]);
    run.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn redaction_may_be_turned_on_or_off_in_between() {
    let env = |index, status: &str| {
        let payload = format!(
            r#"{{"Job":{{"Status":"{status}","TaskGroups":[{{"Tasks":[{{"Env":{{"KEY":"hunter2"}}}}]}}]}}}}"#
        );
        BatchText::new(index).event(EventText::new("Job", "JobRegistered", "web").payload(payload))
    };
    let site = Site::with([env(5, "a"), env(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    assert!(
        !std::fs::read_to_string(site.folder().file())
            .unwrap()
            .contains("hunter2")
    );
    for (index, options) in [(9, r#"{"redact": false}"#), (11, "{}")] {
        site.server().append_batch(&env(index, "c")).unwrap();
        let mut run = site.start(options);
        run.until_event(&format!("{index}:c")).await;
        run.run_for(Duration::from_secs(20)).await;
        assert_eq!(run.events, [format!("{index}:c")]);
        run.assert_quiet();
        assert_eq!(run.stop().await, 0);
    }
}
