//! What a host answers, or does not, and what of it is in the file.

use super::*;

fn file(site: &Site) -> Vec<u8> {
    std::fs::read(site.folder().file()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_errored_and_was_not_answered_otherwise_comes_again_after_a_restart() {
    let site = Site::with([job(5, "a"), job(7, "b"), job(9, "c")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("9:c").await;
    run.answer_oldest(Delivery::Delivered);
    run.answer_oldest(Delivery::Errored);
    run.answer_oldest(Delivery::Delivered);
    assert_eq!(run.stop().await, 1);
    assert_eq!(at(&site.saved()), (Epoch(0), 5));

    let mut run = site.start("{}");
    run.until_event("9:c").await;
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, ["7:b", "9:c"]);
    run.assert_quiet();
    assert_eq!(at(&site.saved()), (Epoch(0), 9));
}

#[tokio::test(start_paused = true)]
async fn what_was_rejected_is_passed_and_does_not_come_again() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start("{}");
    run.answer = Delivery::Rejected;
    run.until_event("7:b").await;
    run.until_notice("Rejected").await;
    run.until_saved_at(7).await;
    assert_eq!(run.stop().await, 0);
    let mut run = site.start("{}");
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, [""; 0]);
    run.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_after_the_stop_changes_nothing_in_the_file() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("7:b").await;
    run.answer_oldest(Delivery::Delivered);
    let (late, acknowledger) = (run.held.as_ref().unwrap()[0], run.acknowledger.clone());
    assert_eq!(run.stop().await, 1);
    let before = file(&site);
    assert_eq!(at(&site.saved()), (Epoch(0), 5));
    acknowledger.resolve(late, Delivery::Delivered);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(file(&site), before);
    let mut run = site.start("{}");
    run.until_event("7:b").await;
    assert_eq!(run.events, ["7:b"]);
}

/// NE-8: what comes while the stop waits is saved, without waiting for the second that lies between two writes.
#[tokio::test(start_paused = true)]
async fn what_is_answered_during_the_stop_is_saved_within_it() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("7:b").await;
    let held = run.held.take().unwrap();
    let acknowledger = run.acknowledger.clone();
    let answers = async {
        for id in held {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            acknowledger.resolve(id, Delivery::Delivered);
        }
    };
    let asked = Instant::now();
    let (left, ()) = tokio::join!(run.stop(), answers);
    assert_eq!(left, 0);
    assert!(asked.elapsed() < STOP, "{:?}", asked.elapsed());
    assert_eq!(at(&site.saved()), (Epoch(0), 7));
}

/// What never is answered leaves time to save what was.
#[tokio::test(start_paused = true)]
async fn a_stop_that_waits_in_vain_saves_in_time() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("7:b").await;
    run.until_saved_at(5).await;
    run.answer_oldest(Delivery::Delivered);
    let asked = Instant::now();
    assert_eq!(run.stop().await, 1);
    assert!(asked.elapsed() <= STOP, "{:?}", asked.elapsed());
    assert_eq!(at(&site.saved()), (Epoch(0), 5));
    assert_eq!(proofs(&site.saved()), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_answers_is_saved_once_a_second() {
    let meters = Meters::default();
    let _guard = metrics::set_default_local_recorder(&meters);
    let site = Site::with((1..=500).map(|index| job(index, "a"))).await;
    let mut run = site.start("{}");
    let began = Instant::now();
    run.until_event("500:a").await;
    for index in 501..=600 {
        site.server().append_batch(&job(index, "a")).unwrap();
        run.run_for(Duration::from_millis(100)).await;
    }
    run.until_saved_at(600).await;
    let seconds = began.elapsed().as_secs();
    let saves = meters.counter("nomad_events_saves_total");
    assert!((5..=seconds + 2).contains(&saves), "{saves} in {seconds} s");
    assert_eq!(meters.gauge("nomad_events_index saved"), 600.0);
}

/// A full queue must not keep the file from following.
#[tokio::test(start_paused = true)]
async fn what_was_read_and_not_handed_out_comes_after_the_restart() {
    let lines = (1..=50).map(|index| BatchText::new(index).event(event("Job", "a")));
    let site = Site::with(lines).await;
    let options = r#"{"queue_bytes": 1}"#;
    let mut run = site.start(options);
    run.until_event("10:a").await;
    run.hold();
    run.run_for(Duration::from_secs(10)).await;
    let left = run.stop().await;
    assert!(left <= 1, "{left}");
    let saved = site.saved().position.index.0;
    let mut run = site.start(options);
    run.until_event("50:a").await;
    let expected: Vec<String> = (saved + 1..=50).map(|index| format!("{index}:a")).collect();
    assert_eq!(run.events, expected);
    run.assert_quiet();
}

/// NE-6: an event without a time of its own has that of the events before it, which the next run has not read.
#[tokio::test(start_paused = true)]
async fn what_comes_again_has_the_same_time() {
    let hour_ago = jiff::Timestamp::now().as_nanosecond() - 3_600_000_000_000;
    let dated =
        BatchText::new(5).event(EventText::new("Evaluation", "JobRegistered", "e").payload(
            format!(r#"{{"Evaluation":{{"Status":"a","ModifyTime":{hour_ago}}}}}"#),
        ));
    let site = Site::with([dated, job(7, "b"), job(9, "c")]).await;
    let mut run = site.start("{}");
    run.hold();
    run.until_event("9:c").await;
    run.answer_oldest(Delivery::Delivered);
    run.until_saved_at(5).await;
    run.until_saved("a proof", |state| proofs(state) == Some(1))
        .await;
    assert_eq!(site.saved().newest.map(i128::from), Some(hour_ago));
    let first: Vec<EventTime> = run.places[1..].iter().map(|(_, time)| *time).collect();
    assert!(first.iter().all(|time| i128::from(time.nanos) == hour_ago));
    run.crash().await;

    let mut run = site.start("{}");
    run.until_event("9:c").await;
    assert_eq!(run.events, ["7:b", "9:c"]);
    let again: Vec<EventTime> = run.places.iter().map(|(_, time)| *time).collect();
    assert_eq!(again, first);
}
