//! What the ledger does with answers, in every order and at every moment.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use proptest::prelude::*;

use super::*;
use crate::event::Origin;
use crate::payload::time::{EventTime, TimeSource};

const NOW: Duration = Duration::from_secs(100);

fn events(index: u64, names: &[&'static str]) -> Vec<Event> {
    let text = |text: &str| ByteString::from(text);
    let event = |name: &&'static str| Event {
        topic: text("Job"),
        event_type: text("JobRegistered"),
        key: text(name),
        namespace: text("default"),
        filter_keys: Some(vec![text(name)]),
        index: RaftIndex(index),
        payload: Bytes::from(format!(r#"{{"Job":"{name}"}}"#)),
        time: EventTime {
            nanos: 7,
            source: TimeSource::Receipt,
        },
        origin: Origin::Stream,
        changes: None,
    };
    names.iter().map(event).collect()
}

/// With a batch of 10 bytes and one event at each of these indexes.
fn ledger_of(indexes: &[u64]) -> Ledger {
    let mut ledger = Ledger::default();
    for &index in indexes {
        ledger.admit(RaftIndex(index), 10, events(index, &["web"]), None);
    }
    ledger
}

fn hand_out_all(ledger: &mut Ledger) -> Vec<Batch> {
    std::iter::from_fn(|| ledger.hand_out()).collect()
}

/// The indexes and the numbers of the redeliveries of what is handed out now.
fn handed_out(ledger: &mut Ledger) -> Vec<(u64, u32)> {
    let batches = hand_out_all(ledger);
    let told = batches
        .iter()
        .map(|batch| (batch.index.0, batch.redelivery));
    told.collect()
}

#[test]
fn acknowledged_moves_over_the_contiguous_prefix_only() {
    let mut ledger = ledger_of(&[5, 5, 7]);
    assert_eq!(ledger.positions().read.index, RaftIndex(7));
    assert_eq!(ledger.positions().emitted.index, RaftIndex(0));
    let batches = hand_out_all(&mut ledger);
    assert_eq!(ledger.positions().emitted.index, RaftIndex(7));
    let resolved = ledger.resolve(NOW, batches[1].id, Delivery::Delivered);
    assert_eq!(
        resolved,
        Resolved {
            outcome: Outcome::Delivered,
            freed_bytes: 0,
            moved: false
        }
    );
    assert_eq!(ledger.positions().acknowledged.index, RaftIndex(0));
    assert_eq!(ledger.outstanding_bytes(), 30);
    let resolved = ledger.resolve(NOW, batches[0].id, Delivery::Delivered);
    assert_eq!(
        resolved,
        Resolved {
            outcome: Outcome::Delivered,
            freed_bytes: 20,
            moved: true
        }
    );
    assert_eq!(ledger.positions().acknowledged.index, RaftIndex(5));
    assert_eq!(ledger.unanswered(), 1);
}

#[test]
fn what_a_sink_refused_is_counted_and_moves_on() {
    let mut ledger = Ledger::default();
    ledger.admit(RaftIndex(5), 10, events(5, &["a", "b", "c"]), None);
    let id = ledger.hand_out().unwrap().id;
    let resolved = ledger.resolve(NOW, id, Delivery::Rejected);
    let loss = Loss {
        index: RaftIndex(5),
        events: 3,
        delivery: Delivery::Rejected,
    };
    assert_eq!(resolved.outcome, Outcome::Lost(loss));
    assert!(resolved.moved);
    assert_eq!(ledger.rejected_events(), 3);
    // A second answer, or one for a batch that never was, changes nothing.
    for id in [id, BatchId(99)] {
        let resolved = ledger.resolve(NOW, id, Delivery::Rejected);
        assert_eq!(resolved, Resolved::default());
    }
    assert_eq!(ledger.rejected_events(), 3);
}

#[test]
fn what_errored_comes_again_the_same_and_holds_the_position_until_it_is_delivered() {
    let mut ledger = ledger_of(&[5, 7]);
    let batches = hand_out_all(&mut ledger);
    let resolved = ledger.resolve(NOW, batches[0].id, Delivery::Errored);
    assert_eq!(resolved.outcome, Outcome::Again(REDELIVERY_PAUSE));
    assert_eq!((resolved.freed_bytes, resolved.moved), (0, false));
    ledger.resolve(NOW, batches[1].id, Delivery::Delivered);
    assert_eq!(ledger.positions().acknowledged.index, RaftIndex(0));
    assert_eq!((ledger.with_host(), ledger.unanswered()), (0, 1));

    assert_eq!(ledger.next_release(), Some(NOW + REDELIVERY_PAUSE));
    assert!(!ledger.release(NOW));
    assert!(ledger.hand_out().is_none());
    assert!(ledger.release(NOW + REDELIVERY_PAUSE));
    assert_eq!(ledger.next_release(), None);
    let again = ledger.hand_out().unwrap();
    assert!(ledger.hand_out().is_none(), "what was delivered comes too");
    assert_ne!(again.id, batches[0].id);
    assert_eq!(again.redelivery, 1);
    assert_eq!(again.index, batches[0].index);
    assert_eq!(again.events, batches[0].events);
    assert_eq!(again.text_bytes, batches[0].text_bytes);

    let resolved = ledger.resolve(NOW, again.id, Delivery::Delivered);
    assert_eq!((resolved.freed_bytes, resolved.moved), (20, true));
    assert_eq!(ledger.positions().acknowledged.index, RaftIndex(7));
    assert_eq!(ledger.outstanding_bytes(), 0);
    assert_eq!(ledger.rejected_events(), 0);
}

#[test]
fn what_errors_again_and_again_is_given_up_after_pauses_that_grow() {
    let mut ledger = ledger_of(&[5]);
    let mut now = NOW;
    let mut pauses = Vec::new();
    loop {
        let batch = ledger.hand_out().unwrap();
        match ledger.resolve(now, batch.id, Delivery::Errored).outcome {
            Outcome::Again(pause) => {
                assert_eq!(ledger.positions().acknowledged.index, RaftIndex(0));
                pauses.push(pause.as_secs());
                now += pause;
                assert!(ledger.release(now));
            }
            outcome => {
                let loss = Loss {
                    index: RaftIndex(5),
                    events: 1,
                    delivery: Delivery::Errored,
                };
                assert_eq!(outcome, Outcome::Lost(loss));
                break;
            }
        }
    }
    assert_eq!(pauses, [1, 2, 4]);
    assert_eq!(pauses.len(), MAX_REDELIVERIES as usize);
    assert_eq!(ledger.positions().acknowledged.index, RaftIndex(5));
    assert_eq!((ledger.rejected_events(), ledger.unanswered()), (1, 0));
    assert_eq!(redelivery_pause(40), REDELIVERY_PAUSE_MAX);
}

#[test]
fn redeliveries_go_before_what_is_queued_and_the_oldest_first() {
    let mut ledger = ledger_of(&[5, 7, 9]);
    let batches = hand_out_all(&mut ledger);
    ledger.admit(RaftIndex(11), 10, events(11, &["new"]), None);
    for (place, late) in [(2, 0), (0, 1), (1, 2)] {
        let now = NOW + Duration::from_millis(late);
        ledger.resolve(now, batches[place].id, Delivery::Errored);
    }
    let all_but_the_last = NOW + REDELIVERY_PAUSE + Duration::from_millis(1);
    assert!(ledger.release(all_but_the_last));
    assert_eq!(handed_out(&mut ledger), [(5, 1), (9, 1), (11, 0)]);
    assert!(ledger.release(all_but_the_last + Duration::from_millis(1)));
    assert_eq!(handed_out(&mut ledger), [(7, 1)]);
}

#[test]
fn a_late_answer_for_an_earlier_handing_out_changes_nothing() {
    let mut ledger = ledger_of(&[5]);
    let first = ledger.hand_out().unwrap().id;
    ledger.resolve(NOW, first, Delivery::Errored);
    let unknown = |ledger: &mut Ledger| {
        for delivery in [Delivery::Delivered, Delivery::Errored, Delivery::Rejected] {
            let resolved = ledger.resolve(NOW, first, delivery);
            assert_eq!(resolved, Resolved::default());
        }
    };
    unknown(&mut ledger);
    ledger.release(NOW + REDELIVERY_PAUSE);
    unknown(&mut ledger);
    let second = ledger.hand_out().unwrap().id;
    unknown(&mut ledger);
    assert_eq!(ledger.unanswered(), 1);
    assert!(ledger.resolve(NOW, second, Delivery::Delivered).moved);
}

#[test]
fn after_a_stop_nothing_is_handed_out_and_an_error_is_no_answer() {
    let mut ledger = ledger_of(&[5, 7, 9]);
    let pausing = ledger.hand_out().unwrap().id;
    let with_host = ledger.hand_out().unwrap().id;
    ledger.resolve(NOW, pausing, Delivery::Errored);
    ledger.stop();
    assert!(ledger.release(NOW + REDELIVERY_PAUSE_MAX));
    assert!(ledger.hand_out().is_none());
    assert_eq!((ledger.with_host(), ledger.unanswered()), (1, 2));
    assert_eq!(ledger.outstanding_bytes(), 20);
    ledger.resolve(NOW, with_host, Delivery::Errored);
    assert_eq!((ledger.with_host(), ledger.unanswered()), (0, 2));
    assert_eq!(ledger.positions().acknowledged.index, RaftIndex(0));
    assert_eq!(ledger.rejected_events(), 0);
}

/// What a ledger should be, told in another way.
#[derive(Default)]
struct Model {
    /// Index of each batch, and whether it is done.
    batches: Vec<(u64, bool)>,
    /// Number of the batch and of the redelivery, by identity.
    out: BTreeMap<BatchId, (usize, u32)>,
    /// The same of those that errored, with the moment from which on they may come.
    errored: Vec<(usize, u32, Duration)>,
    next: usize,
    lost: u64,
}

proptest! {
    /// NE-2, NE-3 and what is promised of redeliveries, for batches that are read, handed out and answered in any order.
    #[test]
    fn positions_keep_their_order(
        actions in proptest::collection::vec((0u8..6, 0usize..12, 0u8..5), 0..120),
    ) {
        let mut ledger = Ledger::default();
        let mut model = Model::default();
        let mut now = Duration::ZERO;
        let mut index = 1;
        let mut seen_ids = Vec::new();
        for (action, which, how) in actions {
            let before = ledger.positions();
            match action {
                0 => {
                    index += u64::from(how) / 2;
                    ledger.admit(RaftIndex(index), 10, events(index, &["web"]), None);
                    model.batches.push((index, false));
                }
                1 | 2 => {
                    let due = model.errored.iter().filter(|(.., at)| *at <= now);
                    let due = due.map(|(number, redelivery, _)| (*number, *redelivery)).min();
                    ledger.release(now);
                    let given = ledger.hand_out();
                    let queued = model.batches.get(model.next).map(|_| (model.next, 0));
                    let expected = due.or(queued);
                    prop_assert_eq!(given.is_some(), expected.is_some());
                    if let (Some(batch), Some((number, redelivery))) = (given, expected) {
                        prop_assert_eq!(batch.index.0, model.batches[number].0);
                        prop_assert_eq!(batch.redelivery, redelivery);
                        prop_assert!(!seen_ids.contains(&batch.id));
                        seen_ids.push(batch.id);
                        model.errored.retain(|(errored, ..)| *errored != number);
                        model.next = model.next.max(number + 1);
                        model.out.insert(batch.id, (number, redelivery));
                    }
                }
                3 => now += Duration::from_millis(400 * u64::from(how)),
                // Any identity that was ever given, and one that was not.
                _ => {
                    let id = seen_ids.get(which).copied().unwrap_or(BatchId(1000));
                    let delivery = match how {
                        0 => Delivery::Rejected,
                        1 | 2 => Delivery::Errored,
                        _ => Delivery::Delivered,
                    };
                    let known = model.out.remove(&id);
                    let resolved = ledger.resolve(now, id, delivery);
                    prop_assert_eq!(resolved.outcome != Outcome::Unknown, known.is_some());
                    if let Some((number, redelivery)) = known {
                        if delivery == Delivery::Errored && redelivery < MAX_REDELIVERIES {
                            let pause = Duration::from_secs(1 << redelivery);
                            model.errored.push((number, redelivery + 1, now + pause));
                        } else {
                            model.batches[number].1 = true;
                            model.lost += u64::from(delivery != Delivery::Delivered);
                        }
                    }
                }
            }
            let positions = ledger.positions();
            let done = model.batches.iter().take_while(|(_, done)| *done);
            let expected = done.map(|(index, _)| *index).last().unwrap_or(0);
            prop_assert_eq!(positions.acknowledged.index, RaftIndex(expected));
            prop_assert!(before.acknowledged <= positions.acknowledged);
            prop_assert!(positions.acknowledged <= positions.emitted);
            prop_assert!(positions.emitted <= positions.read);
            prop_assert_eq!(ledger.unanswered(), model.out.len() + model.errored.len());
            prop_assert_eq!(ledger.with_host(), model.out.len());
            prop_assert_eq!(ledger.rejected_events(), model.lost);
            let prefix = model.batches.iter().take_while(|(_, done)| *done).count();
            prop_assert_eq!(ledger.outstanding_bytes(), 10 * (model.batches.len() - prefix));
        }
    }
}
