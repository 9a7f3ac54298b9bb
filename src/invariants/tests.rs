//! Each claim holds of a good history, and fails of one that breaks it.

use super::*;

fn written(index: u64, event: u64) -> Written {
    Written {
        index: RaftIndex(index),
        event,
        wanted: true,
        cluster: 0,
    }
}

fn emitted(batch: u64, index: u64, events: &[u64]) -> Seen {
    Seen::Emitted {
        batch: BatchId(batch),
        index: RaftIndex(index),
        events: events.to_vec(),
        connection: 1,
    }
}

fn delivered(batch: u64) -> Seen {
    Seen::Resolved(BatchId(batch), Delivery::Delivered)
}

fn at_index(index: u64) -> Position {
    Position {
        index: RaftIndex(index),
        ..Position::default()
    }
}

fn positions(read: u64, emitted: u64, acknowledged: u64) -> Seen {
    Seen::Positions(Positions {
        read: at_index(read),
        emitted: at_index(emitted),
        acknowledged: at_index(acknowledged),
    })
}

fn gap(from: u64, to: Option<u64>) -> Seen {
    Seen::Gap {
        from: RaftIndex(from),
        to: to.map(RaftIndex),
    }
}

/// Two events in one line, another line of the same index, and three more indexes; all handed out and answered.
fn good() -> History {
    History {
        written: vec![
            written(5, 0),
            written(5, 1),
            written(5, 2),
            written(7, 3),
            written(9, 4),
        ],
        seen: vec![
            positions(0, 0, 0),
            emitted(1, 5, &[0, 1]),
            emitted(2, 5, &[2]),
            emitted(3, 7, &[3]),
            delivered(2),
            positions(7, 7, 0),
            delivered(1),
            positions(7, 7, 5),
            Seen::Memory {
                bytes: 80,
                largest: 90,
                limit: 100,
            },
            emitted(4, 9, &[4]),
            delivered(3),
            delivered(4),
            Seen::CountedLost(0),
            positions(9, 9, 9),
            Seen::Stopped {
                took: Duration::from_secs(1),
                deadline: Duration::from_secs(4),
            },
        ],
    }
}

/// The claims that do not hold.
fn broken(history: &History) -> Vec<&'static str> {
    Invariant::ALL
        .into_iter()
        .filter(|invariant| invariant.check(history).is_err())
        .map(Invariant::id)
        .collect()
}

/// The good history without one event at 7, which was not handed out.
fn missing() -> History {
    let mut history = good();
    history.seen.remove(3);
    history
}

#[test]
fn everything_holds_of_a_good_history() {
    assert_eq!(broken(&good()), [""; 0]);
    assert_eq!(good().check(), Ok(()));
    assert_eq!(broken(&History::default()), [""; 0]);
}

#[test]
fn a_loss_without_a_word_is_found() {
    assert_eq!(broken(&missing()), ["NE-1"]);
    let violation = missing().check().unwrap_err();
    assert!(
        violation.to_string().starts_with("NE-1 does not hold"),
        "{violation}"
    );
}

#[test]
fn a_gap_covers_what_lies_between_its_ends() {
    for (from, to, covers) in [
        (5, Some(9), true),
        (7, Some(7), true),
        (7, None, true),
        (8, None, false),
        (5, Some(6), false),
        (8, Some(9), false),
        // It ends with the first index behind it that is handed out, which is 5.
        (4, None, false),
    ] {
        let mut history = missing();
        history.seen.insert(0, gap(from, to));
        assert_eq!(broken(&history).is_empty(), covers, "{from} {to:?}");
    }
}

#[test]
fn what_is_not_wanted_or_comes_again_is_not_lost() {
    let mut unwanted = missing();
    unwanted.written[3].wanted = false;
    assert_eq!(broken(&unwanted), [""; 0]);
    // Not acknowledged that far: a restart reads it again.
    let mut early = missing();
    early.seen.truncate(7);
    assert_eq!(broken(&early), [""; 0]);
}

#[test]
fn what_was_handed_out_and_never_answered_is_lost_behind_the_position() {
    let mut history = good();
    let unanswered = history.seen.iter().position(|seen| *seen == delivered(3));
    history.seen.remove(unanswered.unwrap());
    assert_eq!(broken(&history), ["NE-1"]);
}

#[test]
fn a_position_that_passes_over_an_unanswered_batch_is_found_at_once() {
    let mut history = good();
    let late = history.seen.iter().position(|seen| *seen == delivered(3));
    history.seen.insert(late.unwrap(), positions(9, 9, 9));
    assert_eq!(broken(&history), ["NE-1"]);
}

#[test]
fn a_rejection_has_to_be_counted() {
    for (delivery, counted, holds) in [
        (Delivery::Rejected, 2, true),
        (Delivery::Rejected, 0, false),
        (Delivery::Rejected, 1, false),
        (Delivery::Delivered, 2, false),
    ] {
        let mut history = good();
        for seen in &mut history.seen {
            match seen {
                Seen::Resolved(BatchId(1), answer) => *answer = delivery,
                Seen::CountedLost(count) => *count = counted,
                _ => {}
            }
        }
        assert_eq!(broken(&history).is_empty(), holds, "{delivery:?} {counted}");
    }
    // A second answer changes nothing.
    let mut twice = good();
    let again = Seen::Resolved(BatchId(1), Delivery::Rejected);
    twice.seen.insert(8, again);
    assert_eq!(broken(&twice), [""; 0]);
}

/// The good history, in which the last batch errored so often before it was answered by this.
fn errored(times: u64, answer: Option<Delivery>) -> History {
    let mut history = good();
    // Its answer, and the position behind it, come later.
    history
        .seen
        .retain(|seen| *seen != delivered(4) && *seen != positions(9, 9, 9));
    history.seen.push(positions(9, 9, 7));
    for time in 0..times {
        let batch = BatchId(4 + time);
        history.seen.push(Seen::Resolved(batch, Delivery::Errored));
        history.seen.push(emitted(5 + time, 9, &[4]));
    }
    if let Some(answer) = answer {
        history
            .seen
            .push(Seen::Resolved(BatchId(4 + times), answer));
        history.seen.push(positions(9, 9, 9));
    }
    history
}

#[test]
fn what_errored_comes_again_and_is_no_repetition() {
    for times in 0..=3 {
        assert_eq!(broken(&errored(times, Some(Delivery::Delivered))), [""; 0]);
        assert_eq!(broken(&errored(times, None)), [""; 0]);
    }
    assert_eq!(broken(&errored(4, None)), ["NE-1", "NE-6"]);
    // Only what errored, only whole, and only after it has.
    let mut too_early = errored(1, None);
    let last = too_early.seen.len() - 1;
    too_early.seen.swap(last - 1, last);
    assert_eq!(broken(&too_early), ["NE-6"]);
    let mut in_part = good();
    in_part.seen[6] = Seen::Resolved(BatchId(1), Delivery::Errored);
    in_part.seen.truncate(7);
    in_part.seen.push(emitted(5, 5, &[0]));
    assert_eq!(broken(&in_part), ["NE-4", "NE-6"]);
    let mut as_before = errored(1, None);
    as_before.seen.pop();
    as_before.seen.push(emitted(4, 9, &[4]));
    assert_eq!(broken(&as_before), ["NE-6"]);
}

#[test]
fn a_redelivery_may_come_between_newer_batches_and_does_not_change_their_order() {
    let between = |newer: u64| {
        let mut history = good();
        history.seen.truncate(4);
        let errored = Seen::Resolved(BatchId(1), Delivery::Errored);
        history.seen.extend([errored, emitted(4, 5, &[0, 1])]);
        if newer == 7 {
            history.seen.remove(3);
            history.seen.push(emitted(5, newer, &[3]));
        } else {
            history.seen.remove(2);
            history.seen.push(emitted(5, newer, &[2]));
        }
        history
    };
    assert_eq!(broken(&between(7)), [""; 0]);
    assert_eq!(broken(&between(5)), ["NE-4"]);
}

#[test]
fn a_position_that_passes_over_what_errored_is_found() {
    let mut history = errored(0, None);
    let error = Seen::Resolved(BatchId(4), Delivery::Errored);
    history.seen.extend([error, positions(9, 9, 9)]);
    // At the very index a restart reads it again.
    assert_eq!(broken(&history), [""; 0]);
    history.written.push(written(11, 5));
    history.seen.push(emitted(5, 11, &[5]));
    history.seen.extend([delivered(5), positions(11, 11, 11)]);
    assert_eq!(broken(&history), ["NE-1"]);
}

#[test]
fn what_errored_each_time_has_to_be_counted_and_what_never_came_again_is_missed() {
    let mut given_up = errored(3, Some(Delivery::Errored));
    assert_eq!(broken(&given_up), ["NE-1"]);
    given_up.seen.push(Seen::CountedLost(1));
    assert_eq!(broken(&given_up), [""; 0]);
    // One that may come again is not lost yet.
    let mut counted = errored(2, None);
    counted
        .seen
        .push(Seen::Resolved(BatchId(6), Delivery::Errored));
    assert_eq!(broken(&counted), [""; 0]);
    let mut settled = counted.clone();
    counted.seen.push(Seen::CountedLost(1));
    assert_eq!(broken(&counted), ["NE-1"]);
    settled.seen.push(Seen::Settled);
    assert_eq!(broken(&settled), ["NE-1"]);
}

#[test]
fn around_a_rebuild_a_loss_needs_a_word_too() {
    let rebuilt = |gap: Option<Seen>| {
        let mut history = good();
        // The new cluster has the index 3, which is dropped as older, and 12, which is not handed out either.
        for (index, event) in [(3, 5), (12, 6), (14, 7)] {
            history.written.push(Written {
                cluster: 1,
                ..written(index, event)
            });
        }
        history.seen.push(Seen::Rebuilt);
        history.seen.extend(gap);
        history.seen.push(emitted(5, 14, &[7]));
        history.seen.push(delivered(5));
        history.seen.push(positions(14, 14, 14));
        history.seen.push(Seen::Settled);
        history
    };
    assert_eq!(broken(&rebuilt(None)), ["NE-1"]);
    assert_eq!(broken(&rebuilt(Some(gap(9, Some(14))))), [""; 0]);
    assert_eq!(broken(&rebuilt(Some(gap(9, None)))), [""; 0]);
    // Above where the old cluster had come, the range counts.
    assert_eq!(broken(&rebuilt(Some(gap(9, Some(10))))), ["NE-1"]);
    // A stop before anybody could notice: after a restart it is noticed.
    let mut stopped = rebuilt(None);
    stopped.seen.pop();
    stopped.written[6].wanted = false;
    assert_eq!(broken(&stopped), [""; 0]);
    // One from before does not speak of it.
    let mut before = rebuilt(None);
    before.seen.insert(0, gap(1, Some(2)));
    assert_eq!(broken(&before), ["NE-1"]);
}

#[test]
fn a_position_that_goes_back_is_found() {
    let mut history = good();
    history.seen.push(positions(9, 9, 7));
    assert!(broken(&history).contains(&"NE-2"));
}

#[test]
fn positions_that_overtake_each_other_are_found() {
    for overtaken in [positions(9, 10, 9), positions(10, 9, 10)] {
        let mut history = good();
        history.seen.push(overtaken);
        assert_eq!(broken(&history), ["NE-3"]);
    }
}

#[test]
fn another_order_is_found() {
    // Two indexes, and two lines of an index.
    for places in [(2, 3), (1, 2)] {
        let mut history = good();
        history.seen.swap(places.0, places.1);
        assert_eq!(broken(&history), ["NE-4"]);
    }
    let mut within_a_line = good();
    within_a_line.seen[1] = emitted(1, 5, &[1, 0]);
    assert_eq!(broken(&within_a_line), ["NE-4"]);
    // Another connection may bring what the first server had forgotten.
    let mut later = good();
    later.seen.swap(1, 2);
    if let Seen::Emitted { connection, .. } = &mut later.seen[1] {
        *connection = 0;
    }
    assert_eq!(broken(&later), [""; 0]);
}

#[test]
fn an_event_that_was_never_written_is_found() {
    let mut history = good();
    history.written.pop();
    assert_eq!(broken(&history), ["NE-4"]);
    let mut elsewhere = good();
    elsewhere.written[4].index = RaftIndex(8);
    assert_eq!(broken(&elsewhere), ["NE-4"]);
}

#[test]
fn a_repetition_is_found() {
    let mut history = good();
    history.seen.push(emitted(5, 9, &[4]));
    assert_eq!(broken(&history), ["NE-6"]);
}

#[test]
fn memory_beyond_its_limit_is_found() {
    let memory = |bytes, largest| {
        let mut history = good();
        history.seen.push(Seen::Memory {
            bytes,
            largest,
            limit: 100,
        });
        broken(&history)
    };
    assert_eq!(memory(100, 60), [""; 0]);
    assert_eq!(memory(101, 60), ["NE-7"]);
    // One that is larger than the limit is admitted alone.
    assert_eq!(memory(150, 150), [""; 0]);
    assert_eq!(memory(151, 150), ["NE-7"]);
}

#[test]
fn a_stop_that_takes_too_long_is_found() {
    for (took, late) in [(4, false), (6, false), (7, true)] {
        let mut history = good();
        history.seen.push(Seen::Stopped {
            took: Duration::from_secs(took),
            deadline: Duration::from_secs(4),
        });
        assert_eq!(!broken(&history).is_empty(), late, "{took}");
    }
}

#[test]
fn the_watch_says_which_claim_does_not_hold() {
    let at = |read: u64, emitted: u64, acknowledged: u64| Positions {
        read: at_index(read),
        emitted: at_index(emitted),
        acknowledged: at_index(acknowledged),
    };
    let mut watch = Watch::default();
    assert_eq!(watch.positions(at(7, 7, 5)), Ok(()));
    assert_eq!(
        watch.positions(at(7, 7, 4)),
        Err(Invariant::AcknowledgedStays)
    );
    assert_eq!(
        watch.positions(at(7, 8, 5)),
        Err(Invariant::PositionsInOrder)
    );
    assert_eq!(
        watch.positions(at(9, 8, 9)),
        Err(Invariant::PositionsInOrder)
    );
    assert_eq!(watch.handed_out(at_index(7)), Ok(()));
    assert_eq!(watch.handed_out(at_index(7)), Ok(()));
    assert_eq!(watch.handed_out_again(at_index(5)), Ok(()));
    assert_eq!(watch.handed_out_again(at_index(8)), Err(Invariant::InOrder));
    assert_eq!(watch.handed_out(at_index(6)), Err(Invariant::InOrder));
}
