//! A cluster whose indexes begin anew, lower, equal or higher than before, and snapshots restored in place.

use super::*;
use crate::testing::nomad::{Fault, ListFault};

fn bytes(lines: impl IntoIterator<Item = BatchText>) -> Vec<bytes::Bytes> {
    lines
        .into_iter()
        .map(|line| line.to_bytes().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_rebuilt_cluster_with_lower_indexes_is_told_and_followed_from_its_earliest() {
    let site = Site::with([job(890, "a"), job(900, "b")]).await;
    site.taken_up_to("{}", "900:b").await;
    site.server()
        .replace_history(bytes([job(3, "x"), job(4, "y")]))
        .unwrap();
    let mut run = site.start("{}");
    run.until_notice("IndexReset").await;
    // All tables have been below for 30 s by then.
    let when = run.first("IndexReset");
    let expected = Duration::from_secs(35)..Duration::from_secs(90);
    assert!(expected.contains(&when), "{when:?}");
    run.until_event("4:y").await;
    // It ends with the first event.
    assert_eq!(run.gaps(), [(0, None, "index_reset")]);
    run.until_saved("the end of the gap", |state| {
        open_gaps(state) == [(0, Some(3), "index_reset")]
    })
    .await;
    site.server().append_batch(&job(5, "z")).unwrap();
    run.until_event("5:z").await;
    run.run_for(Duration::from_secs(300)).await;
    assert_eq!(run.events, ["3:x", "4:y", "5:z"]);
    assert!(run.places.iter().all(|(epoch, _)| *epoch == Epoch(1)));
    assert_eq!(run.notices("IndexReset").len(), 1);
    assert_eq!(run.gaps().len(), 1, "{:?}", run.gaps());
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(1), 5));
    assert_eq!(open_gaps(&site.saved()), [(0, Some(3), "index_reset")]);

    let mut run = site.start("{}");
    run.run_for(Duration::from_secs(120)).await;
    assert_eq!(run.events, [""; 0]);
    assert!(run.notices("IndexReset").is_empty());
    assert_eq!(run.started()["epoch"], 1);
    assert_eq!(run.started()["resumed_from"], 5);
}

#[tokio::test(start_paused = true)]
async fn gaps_of_the_cluster_before_are_gone_with_it() {
    let site = Site::with([job(890, "a")]).await;
    site.taken_up_to("{}", "890:a").await;
    site.server().append_batch(&job(900, "b")).unwrap();
    site.server().evict_to(900);
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.until_saved_at(900).await;
    assert_eq!(run.stop().await, 0);
    assert_eq!(site.saved().gaps.len(), 1);

    site.server().replace_history(bytes([job(3, "x")])).unwrap();
    let mut run = site.start("{}");
    run.until_notice("IndexReset").await;
    run.until_event("3:x").await;
    assert_eq!(run.stop().await, 0);
    assert_eq!(open_gaps(&site.saved()), [(0, Some(3), "index_reset")]);
}

#[tokio::test(start_paused = true)]
async fn tables_that_are_below_for_less_than_that_are_no_reset() {
    let mut site = Site::with([job(5, "a"), job(900, "b")]).await;
    site.add([job(5, "a")]).await;
    site.taken_up_to("{}", "900:b").await;
    // A leader that is just elected and has not applied its log yet.
    let mut run = site.start_at(1, "{}");
    run.run_for(Duration::from_secs(20)).await;
    site.servers[1].append_batch(&job(900, "b")).unwrap();
    run.run_for(Duration::from_secs(300)).await;
    assert_eq!(run.events, [""; 0]);
    run.assert_quiet();
}

/// It looks like the same cluster with half an index forgotten, which is a gap.
#[tokio::test(start_paused = true)]
async fn a_rebuilt_cluster_that_has_reached_the_very_index_is_a_gap() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    site.server()
        .replace_history(bytes([job(3, "x"), job(7, "y")]))
        .unwrap();
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, ["7:y"]);
    assert_eq!(run.gaps().len(), 1, "{:?}", run.gaps());
    assert_eq!(run.gaps()[0].0, 7);
    assert!(run.notices("IndexReset").is_empty());
    site.server().append_batch(&job(9, "z")).unwrap();
    run.until_event("9:z").await;
    assert_eq!(run.events, ["7:y", "9:z"]);
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(0), 9));
}

#[tokio::test(start_paused = true)]
async fn a_rebuilt_cluster_that_is_past_the_index_is_a_gap() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    site.taken_up_to("{}", "7:b").await;
    site.server()
        .replace_history(bytes([job(3, "v"), job(6, "w"), job(20, "x")]))
        .unwrap();
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.run_for(Duration::from_secs(600)).await;
    assert_eq!(run.events, ["20:x"]);
    assert_eq!(run.gaps(), [(7, Some(20), "evicted")]);
    assert!(run.notices("IndexReset").is_empty());
}

/// The tables are those of the snapshot, and nothing comes.
#[tokio::test(start_paused = true)]
async fn a_snapshot_restored_in_place_is_a_reset_while_nothing_is_written() {
    for outage in [false, true] {
        let site = Site::with([job(3, "a")]).await;
        let snapshot = site.server().take_snapshot();
        site.server().append_batch(&job(9, "b")).unwrap();
        let mut run = if outage {
            let mut run = site.start("{}");
            run.until_event("9:b").await;
            site.server().restore_snapshot(&snapshot);
            run.events.clear();
            run
        } else {
            site.taken_up_to("{}", "9:b").await;
            site.server().restore_snapshot(&snapshot);
            site.start("{}")
        };
        run.until_notice("IndexReset").await;
        site.server().append_batch(&job(11, "c")).unwrap();
        run.until_event("11:c").await;
        run.run_for(Duration::from_secs(120)).await;
        assert_eq!(run.events, ["11:c"], "outage: {outage}");
        assert_eq!(run.notices("IndexReset").len(), 1);
        let gaps = run.gaps();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!((gaps[0].0, gaps[0].2), (0, "index_reset"));
        assert_eq!(run.stop().await, 0);
        assert_eq!(at(&site.saved()), (Epoch(1), 11));
    }
}

/// Raft goes on above, so the first write looks like an index that was forgotten.
#[tokio::test(start_paused = true)]
async fn a_snapshot_restored_in_place_is_a_gap_when_something_is_written_at_once() {
    let site = Site::with([job(3, "a")]).await;
    let snapshot = site.server().take_snapshot();
    site.server().append_batch(&job(9, "b")).unwrap();
    site.taken_up_to("{}", "9:b").await;
    site.server().restore_snapshot(&snapshot);
    site.server().append_batch(&job(11, "c")).unwrap();
    let mut run = site.start("{}");
    run.until_notice("Gap").await;
    run.run_for(Duration::from_secs(120)).await;
    assert_eq!(run.events, ["11:c"]);
    assert_eq!(run.gaps(), [(9, Some(11), "evicted")]);
}

/// What the host still has of the cluster before is answered for before the position is one of the new cluster.
#[tokio::test(start_paused = true)]
async fn batches_of_the_epoch_before_are_answered_before_the_position_passes_on() {
    let site = Site::with([job(890, "a"), job(900, "b")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("900:b").await;
    run.answer_oldest(Delivery::Delivered);
    run.until_saved_at(890).await;
    site.server().replace_history(bytes([job(3, "x")])).unwrap();
    run.until_event("3:x").await;
    assert_eq!(run.notices("IndexReset").len(), 1);
    // The one of the new cluster is answered first.
    let new = run.held.as_mut().unwrap().pop().unwrap();
    run.acknowledger.resolve(new, Delivery::Delivered);
    run.run_for(Duration::from_secs(10)).await;
    assert_eq!(site.saved().position.epoch, Epoch(0));
    run.answer_oldest(Delivery::Delivered);
    run.until_saved("the new epoch", |state| at(state) == (Epoch(1), 3))
        .await;
    assert_eq!(run.events, ["890:a", "900:b", "3:x"]);
}

/// Those that nobody has taken yet are handed out first, and one that a sink fails with comes again.
#[tokio::test(start_paused = true)]
async fn batches_of_the_epoch_before_that_wait_come_before_those_of_the_new_one() {
    let site = Site::with([job(890, "a"), job(900, "b")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("890:a").await;
    // The host is busy meanwhile.
    tokio::time::sleep(Duration::from_secs(5)).await;
    site.server().replace_history(bytes([job(3, "x")])).unwrap();
    tokio::time::sleep(Duration::from_secs(180)).await;
    run.until_event("3:x").await;
    assert_eq!(run.events, ["890:a", "900:b", "3:x"]);
    run.answer_oldest(Delivery::Errored);
    run.answer_oldest(Delivery::Delivered);
    run.answer_oldest(Delivery::Delivered);
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["890:a", "900:b", "3:x", "890:a"]);
    run.answer_oldest(Delivery::Delivered);
    run.until_saved("the new epoch", |state| at(state) == (Epoch(1), 3))
        .await;
}

/// A crash before anything of the new cluster is answered: the reset is found again, or was saved; nothing is missing.
#[tokio::test(start_paused = true)]
async fn a_crash_after_a_reset_loses_nothing_of_the_new_cluster() {
    let site = Site::with([job(900, "b")]).await;
    site.taken_up_to("{}", "900:b").await;
    site.server()
        .replace_history(bytes([job(3, "x"), job(4, "y")]))
        .unwrap();
    let mut run = site.start("{}");
    run.hold();
    run.until_event("4:y").await;
    run.run_for(Duration::from_secs(5)).await;
    run.crash().await;
    let mut run = site.start("{}");
    run.until_event("4:y").await;
    run.run_for(Duration::from_secs(120)).await;
    assert_eq!(run.events, ["3:x", "4:y"]);
    assert!(run.notices("IndexReset").len() + run.gaps().len() > 0);
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(1), 4));
    assert_eq!(open_gaps(&site.saved()), [(0, Some(3), "index_reset")]);
}

/// Between the look at the tables and the first line everything can be forgotten.
#[tokio::test(start_paused = true)]
async fn what_a_new_cluster_forgets_before_its_first_line_comes_is_in_the_gap_of_the_reset() {
    let site = Site::with([job(900, "b")]).await;
    site.taken_up_to("{}", "900:b").await;
    site.server().replace_history(bytes([job(3, "x")])).unwrap();
    site.server().evict_lines(1);
    let mut run = site.start("{}");
    run.until_notice("IndexReset").await;
    site.server().inject(&Fault::Close);
    site.server().append_batch(&job(50, "y")).unwrap();
    site.server().evict_lines(1);
    site.server().append_batch(&job(60, "z")).unwrap();
    run.until_event("60:z").await;
    assert_eq!(run.stop().await, 0);
    assert_eq!(open_gaps(&site.saved()), [(0, Some(60), "index_reset")]);
}

/// A run that had answered for 890 and not for 900 when the cluster was made anew, and was killed after it had found that out.
async fn crashed_with_open_answers() -> Site {
    let site = Site::with([job(890, "a"), job(900, "b")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("900:b").await;
    run.answer_oldest(Delivery::Delivered);
    run.until_saved_at(890).await;
    site.server().replace_history(bytes([job(3, "x")])).unwrap();
    run.until_event("3:x").await;
    run.run_for(Duration::from_secs(5)).await;
    run.crash().await;
    assert_eq!(at(&site.saved()), (Epoch(0), 890));
    site
}

/// The saved position is of a cluster that is gone, and the new one has passed its index meanwhile.
#[tokio::test(start_paused = true)]
async fn a_position_of_a_cluster_that_is_gone_is_left_also_when_the_new_one_has_passed_it() {
    let site = crashed_with_open_answers().await;
    site.server().append_batch(&job(950, "lost")).unwrap();
    site.server().evict_lines(2);
    site.server().append_batch(&job(951, "y")).unwrap();
    let mut run = site.start("{}");
    run.until_event("951:y").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.notices("IndexReset").len(), 1);
    assert_eq!(run.notices("IndexReset")[0]["from"], 890);
    assert_eq!(run.stop().await, 0);
    let gaps = open_gaps(&site.saved());
    assert!(gaps.contains(&(0, Some(951), "evicted")), "{gaps:?}");
}

/// A connection that breaks while the tables are below makes no reset sooner, and none twice.
#[tokio::test(start_paused = true)]
async fn a_reset_is_told_once_however_often_the_connection_breaks() {
    let site = Site::with([job(900, "b")]).await;
    site.taken_up_to("{}", "900:b").await;
    site.server().replace_history(bytes([job(3, "x")])).unwrap();
    let mut run = site.start("{}");
    for _ in 0..5 {
        run.run_for(Duration::from_secs(12)).await;
        site.server().inject(&Fault::Close);
    }
    run.until_notice("IndexReset").await;
    run.until_event("3:x").await;
    run.run_for(Duration::from_secs(300)).await;
    assert_eq!(run.events, ["3:x"]);
    assert_eq!(run.notices("IndexReset").len(), 1);
}

/// What was not answered is gone with its cluster: the reset says from where on.
#[tokio::test(start_paused = true)]
async fn a_crash_with_open_answers_of_the_epoch_before_is_told_from_the_last_answer_on() {
    let site = crashed_with_open_answers().await;
    let mut run = site.start("{}");
    run.until_event("3:x").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["3:x"]);
    let resets = run.notices("IndexReset");
    assert_eq!(resets.len(), 1);
    assert_eq!(resets[0]["from"], 890);
    assert_eq!(run.stop().await, 0);
    assert_eq!(at(&site.saved()), (Epoch(1), 3));
}

/// Tables that could not be read for long are looked at again: otherwise all lines of the new cluster would be taken for old ones.
#[tokio::test(start_paused = true)]
async fn a_rebuilt_cluster_is_found_out_also_when_its_tables_can_be_read_late() {
    for has_lines in [true, false] {
        let site = Site::with([job(900, "b")]).await;
        site.taken_up_to("{}", "900:b").await;
        let line = has_lines.then(|| job(3, "x"));
        site.server().replace_history(bytes(line)).unwrap();
        site.server()
            .disturb_lists(ListFault::Error(500, "No cluster leader".to_owned()));
        let mut run = site.start("{}");
        run.run_for(Duration::from_secs(1000)).await;
        assert_eq!(run.gaps(), [(900, None, "unproven")]);
        site.server().mend_lists();
        site.server().append_batch(&job(4, "y")).unwrap();
        run.until_event("4:y").await;
        let expected: &[&str] = if has_lines { &["3:x", "4:y"] } else { &["4:y"] };
        assert_eq!(run.events, expected);
        assert_eq!(run.notices("IndexReset").len(), 1);
    }
}
