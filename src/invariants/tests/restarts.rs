//! Claims about what is saved, and about the runs before and after a crash or a stop.

use super::*;

/// The good history, which ends with a stop, and a run behind it. The cluster goes on.
fn restarted(behind: Vec<Seen>) -> History {
    let mut history = stopped();
    history.written.push(written(9, 5));
    history.written.push(written(12, 6));
    history.seen.push(Seen::Started { topics: usize::MAX });
    history.seen.push(positions(9, 9, 9));
    history.seen.extend(behind);
    history
}

/// The good history up to where three of five events are answered, and then a crash. `state` is what is on disk.
fn crashed(state: Option<Seen>, behind: Vec<Seen>) -> History {
    let mut history = good();
    history.seen.truncate(8);
    history.seen.extend(state);
    history.seen.push(Seen::Crashed);
    history.seen.push(Seen::Started { topics: usize::MAX });
    history.seen.extend(behind);
    history
}

fn reset(epoch: u64) -> Seen {
    Seen::Reset(Epoch(epoch))
}

fn emitted_in(epoch: u64, batch: u64, index: u64, events: &[u64]) -> Seen {
    Seen::Emitted {
        batch: BatchId(batch),
        at: at(epoch, index),
        events: events.to_vec(),
        connection: 1,
    }
}

fn stand(epoch: u64, index: u64) -> Seen {
    Seen::Positions(Positions {
        read: at(epoch, index),
        emitted: at(epoch, index),
        acknowledged: at(epoch, index),
    })
}

#[test]
fn a_run_goes_on_where_the_one_before_stopped() {
    let history = restarted(vec![
        emitted(1, 9, &[5]),
        emitted(2, 12, &[6]),
        delivered(1),
        delivered(2),
        positions(12, 12, 12),
        saved(at(0, 12), &[6], &[]),
    ]);
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn what_the_state_covers_does_not_come_again() {
    // Below the saved index, and at it.
    for again in [emitted(1, 7, &[3]), emitted(1, 9, &[4])] {
        assert_eq!(broken(&restarted(vec![again])), ["NE-6"]);
    }
}

#[test]
fn what_was_not_saved_comes_again_after_a_crash() {
    let again = vec![
        positions(5, 5, 5),
        emitted(1, 5, &[2]),
        emitted(2, 7, &[3]),
        delivered(1),
        delivered(2),
        emitted(3, 9, &[4]),
        delivered(3),
        positions(9, 9, 9),
        saved(at(0, 9), &[4], &[]),
    ];
    let in_part = saved(at(0, 5), &[0, 1], &[]);
    assert_eq!(broken(&crashed(Some(in_part.clone()), again)), [""; 0]);
    let repeated = vec![positions(5, 5, 5), emitted(1, 5, &[0, 1])];
    assert_eq!(broken(&crashed(Some(in_part), repeated.clone())), ["NE-6"]);
    // Nothing was saved: all of it comes.
    let mut anew = repeated;
    anew.remove(0);
    assert_eq!(broken(&crashed(None, anew)), [""; 0]);
}

#[test]
fn an_answer_of_an_earlier_run_is_an_answer() {
    // Of 5 the first line is repeated; the second was evicted meanwhile, and was answered before the crash.
    let history = crashed(
        None,
        vec![
            emitted(1, 5, &[0, 1]),
            emitted(2, 7, &[3]),
            emitted(3, 9, &[4]),
            delivered(1),
            delivered(2),
            delivered(3),
            positions(9, 9, 9),
        ],
    );
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn a_loss_across_a_crash_is_found_by_what_was_saved() {
    // 7 was handed out before the crash, and evicted before the restart.
    let lost = |gaps: &[Range], said: Option<Seen>| {
        let state = saved(at(0, 5), &[0, 1, 2], &[]);
        let mut behind = vec![positions(5, 5, 5)];
        behind.extend(said);
        behind.extend([
            emitted(1, 9, &[4]),
            delivered(1),
            positions(9, 9, 9),
            saved(at(0, 9), &[4], gaps),
        ]);
        crashed(Some(state), behind)
    };
    assert_eq!(broken(&lost(&[], None)), ["NE-1"]);
    // Kept open, to be announced later.
    assert_eq!(broken(&lost(&[range(5, Some(9))], None)), [""; 0]);
    assert_eq!(broken(&lost(&[range(5, None)], None)), [""; 0]);
    assert_eq!(broken(&lost(&[range(8, Some(9))], None)), ["NE-1"]);
    // Announced and not kept: it will not be announced at the next start, and never be filled.
    assert_eq!(broken(&lost(&[], Some(gap(5, Some(9))))), ["NE-1"]);
    // At the end it has to be announced.
    let mut settled = lost(&[range(5, Some(9))], None);
    settled.seen.push(Seen::Settled);
    assert_eq!(broken(&settled), ["NE-1"]);
    let mut told = lost(&[range(5, Some(9))], Some(gap(5, Some(9))));
    told.seen.push(Seen::Settled);
    assert_eq!(broken(&told), [""; 0]);
}

#[test]
fn a_state_that_covers_what_was_not_answered_is_found() {
    // 7 is with the host.
    for (position, taken, holds) in [
        (5, &[0, 1, 2][..], true),
        (7, &[], true),
        (7, &[3], false),
        (9, &[], false),
    ] {
        let state = saved(at(0, position), taken, &[]);
        let history = crashed(Some(state), Vec::new());
        assert_eq!(
            broken(&history).contains(&"NE-1"),
            !holds,
            "{position} {taken:?}"
        );
    }
    // Also when an earlier run has answered for it.
    let history = crashed(
        None,
        vec![
            emitted(1, 5, &[0, 1]),
            saved(at(0, 5), &[0, 1], &[]),
            positions(5, 5, 5),
        ],
    );
    assert_eq!(broken(&history), ["NE-1"]);
}

#[test]
fn what_is_saved_is_not_ahead_of_what_is_acknowledged() {
    let mut ahead = good();
    ahead.seen.insert(8, saved(at(0, 7), &[], &[]));
    assert_eq!(broken(&ahead), ["NE-3"]);
    // Nor is it after a restart.
    assert_eq!(broken(&restarted(vec![positions(9, 9, 9)])), [""; 0]);
    let mut begins_anew = restarted(Vec::new());
    begins_anew.seen.pop();
    begins_anew.seen.push(positions(0, 0, 0));
    assert_eq!(broken(&begins_anew), ["NE-3"]);
}

#[test]
fn where_a_source_begins_is_saved_before_anything_is_acknowledged() {
    let begun = |told: bool| {
        let mut history = good();
        history.seen.truncate(1);
        history.seen.extend(told.then_some(Seen::Begins(at(0, 5))));
        history.seen.push(saved(at(0, 5), &[], &[]));
        history.seen.push(positions(5, 0, 0));
        history
    };
    assert_eq!(broken(&begun(true)), [""; 0]);
    assert_eq!(broken(&begun(false)), ["NE-3"]);
}

#[test]
fn what_is_saved_does_not_go_back() {
    for (position, taken, goes_back) in [
        (at(0, 9), &[4][..], false),
        (at(0, 9), &[], true),
        (at(0, 7), &[], true),
    ] {
        let mut history = stopped();
        history.seen.push(saved(position, taken, &[]));
        assert_eq!(
            broken(&history).contains(&"NE-2"),
            goes_back,
            "{position} {taken:?}"
        );
    }
    // All of an index is more than anything of it.
    let all = |position| {
        Seen::Saved(Saved {
            position,
            taken: Covered::All,
            gaps: Vec::new(),
        })
    };
    let mut less = good();
    less.seen
        .extend([all(at(0, 9)), saved(at(0, 9), &[4], &[])]);
    assert_eq!(broken(&less), ["NE-2"]);
}

#[test]
fn after_a_stop_everything_acknowledged_is_saved() {
    for (position, taken, holds) in [
        (9, &[4][..], true),
        (9, &[], false),
        (7, &[3], false),
        (5, &[0, 1, 2], false),
    ] {
        let mut history = stopped();
        for seen in &mut history.seen {
            if matches!(seen, Seen::Saved(_)) {
                *seen = saved(at(0, position), taken, &[]);
            }
        }
        let expected: &[&str] = if holds { &[] } else { &["NE-8"] };
        assert_eq!(broken(&history), expected, "{position} {taken:?}");
    }
    // A source without a place for it saves nothing.
    let mut nothing = stopped();
    nothing.seen.retain(|seen| !matches!(seen, Seen::Saved(_)));
    assert_eq!(broken(&nothing), [""; 0]);
}

/// The good history, a cluster that begins anew, and a reset that is known to all but the host.
fn rebuilt(behind: Vec<Seen>) -> History {
    let mut history = good();
    for (index, event) in [(3, 5), (4, 6)] {
        history.written.push(Written {
            cluster: 1,
            ..written(index, event)
        });
    }
    history
        .seen
        .extend([Seen::Rebuilt, Seen::EpochBegan(Epoch(1))]);
    history.seen.extend(behind);
    history
}

#[test]
fn a_position_goes_back_by_an_announced_reset_only() {
    let all = [
        emitted_in(1, 5, 3, &[5]),
        emitted_in(1, 6, 4, &[6]),
        delivered(5),
        delivered(6),
        stand(1, 4),
        saved(at(1, 4), &[6], &[range(0, Some(4))]),
    ];
    let told = std::iter::once(reset(1)).chain(all.clone());
    assert_eq!(broken(&rebuilt(told.collect())), [""; 0]);
    assert_eq!(broken(&rebuilt(all.to_vec())), ["NE-2"]);
    // In the same epoch it is going back.
    let back = vec![reset(1), emitted(5, 3, &[5]), stand(0, 3)];
    assert_eq!(broken(&rebuilt(back)), ["NE-2", "NE-4"]);
}

#[test]
fn after_a_restart_in_its_epoch_a_reset_needs_no_further_word() {
    let history = rebuilt(vec![
        saved(at(1, 0), &[], &[range(0, Some(4))]),
        Seen::Started { topics: usize::MAX },
        stand(1, 0),
        emitted_in(1, 1, 3, &[5]),
    ]);
    // The state was saved before the position had passed on.
    assert_eq!(broken(&history), ["NE-3"]);
    let mut passed = history;
    let place = passed.seen.len() - 4;
    passed.seen.insert(place, stand(1, 0));
    assert_eq!(broken(&passed), [""; 0]);
}

#[test]
fn after_a_reset_the_new_indexes_count() {
    // 3 was not handed out.
    let missing = |gaps: &[Range], said: Option<Seen>| {
        let mut behind = vec![Seen::Follows { since: 5 }, reset(1)];
        behind.extend(said);
        behind.extend([
            emitted_in(1, 5, 4, &[6]),
            delivered(5),
            stand(1, 4),
            saved(at(1, 4), &[6], gaps),
            Seen::Settled,
        ]);
        rebuilt(behind)
    };
    let whole = range(0, Some(4));
    assert_eq!(broken(&missing(&[], None)), ["NE-1"]);
    assert_eq!(broken(&missing(&[whole], Some(Seen::Gap(whole)))), [""; 0]);
    // A word from before it does not speak of it.
    let mut before = missing(&[whole], None);
    before.seen.insert(0, Seen::Gap(whole));
    assert_eq!(broken(&before), ["NE-1"]);
}

/// A rebuild that nobody can notice, since the new cluster is past the index of the old one. What the old one had behind that
/// index is gone.
#[test]
fn a_gap_that_is_found_again_speaks_of_the_cluster_that_is_there_now() {
    let open = range(9, Some(12));
    let passed = |found: &[Seen]| {
        let mut history = stopped();
        history.written.push(written(13, 5));
        for (index, event) in [(12, 6), (14, 7)] {
            history.written.push(Written {
                cluster: 1,
                ..written(index, event)
            });
        }
        history.seen.extend([
            Seen::Started { topics: usize::MAX },
            positions(9, 9, 9),
            saved(at(0, 9), &[4], &[open]),
            Seen::Gap(open),
            Seen::Rebuilt,
        ]);
        history.seen.extend_from_slice(found);
        history.seen.extend([
            emitted(1, 12, &[6]),
            emitted(2, 14, &[7]),
            delivered(1),
            delivered(2),
            positions(14, 14, 14),
            saved(at(0, 14), &[7], &[open]),
        ]);
        history
    };
    assert_eq!(broken(&passed(&[])), ["NE-1"]);
    assert_eq!(broken(&passed(&[Seen::GapKnown(open)])), [""; 0]);
    // Only all of it is the same gap.
    for other in [range(9, Some(13)), range(8, Some(12)), range(9, None)] {
        assert_eq!(broken(&passed(&[Seen::GapKnown(other)])), ["NE-1"]);
    }
}

#[test]
fn an_answer_for_the_old_epoch_does_not_move_the_new_one() {
    let late = |moves: bool| {
        let mut history = rebuilt(vec![
            reset(1),
            emitted_in(1, 6, 3, &[5]),
            delivered(5),
            if moves { stand(1, 9) } else { stand(0, 9) },
        ]);
        let place = history.seen.len() - 6;
        history.written.insert(5, written(11, 7));
        history.seen.insert(place, emitted(5, 11, &[7]));
        if let Some(Seen::Positions(stand)) = history.seen.last_mut() {
            stand.read = at(1, 9);
            stand.emitted = at(1, 9);
        }
        history
    };
    assert_eq!(broken(&late(false)), [""; 0]);
    assert_eq!(broken(&late(true)), ["NE-1"]);
}

#[test]
fn what_is_wanted_depends_on_the_run() {
    // Another topic, subscribed to from the second run on.
    let history = |gaps: &[Range]| {
        let mut history = restarted(vec![
            emitted(1, 12, &[6]),
            delivered(1),
            positions(12, 12, 12),
            saved(at(0, 12), &[6], gaps),
        ]);
        for one in &mut history.written {
            one.topic = usize::from(matches!(one.event, 3 | 5));
        }
        // Events 3 and 5 were not given to anybody.
        history.seen.retain(|seen| {
            !matches!(seen, Seen::Emitted { events, .. } if *events == [3]) && *seen != delivered(3)
        });
        history.seen.insert(0, Seen::Started { topics: 1 });
        history
    };
    assert_eq!(broken(&history(&[])), ["NE-1"]);
    assert_eq!(broken(&history(&[range(0, Some(9))])), [""; 0]);
    let mut never = history(&[]);
    for seen in &mut never.seen {
        if let Seen::Started { topics } = seen {
            *topics = 1;
        }
    }
    assert_eq!(broken(&never), [""; 0]);
}

#[test]
fn without_a_state_what_was_evicted_before_the_next_run_is_not_claimed() {
    let behind = |since: u64| {
        crashed(
            None,
            vec![
                Seen::Follows { since },
                emitted(1, 9, &[4]),
                delivered(1),
                positions(9, 9, 9),
            ],
        )
    };
    assert_eq!(broken(&behind(4)), [""; 0]);
    assert_eq!(broken(&behind(3)), ["NE-1"]);
}

#[test]
fn losses_are_counted_by_run() {
    let mut history = restarted(vec![
        emitted(1, 12, &[6]),
        Seen::Resolved(BatchId(1), Delivery::Rejected),
    ]);
    assert_eq!(broken(&history), ["NE-1"]);
    history.seen.push(Seen::CountedLost(1));
    assert_eq!(broken(&history), [""; 0]);
    // Those of the run before do not count.
    let last = history.seen.len() - 1;
    history.seen[last] = Seen::CountedLost(0);
    history.seen.insert(0, Seen::CountedLost(1));
    assert_eq!(broken(&history), ["NE-1"]);
}

#[test]
fn an_identity_of_a_run_before_says_nothing() {
    let history = restarted(vec![
        emitted(1, 9, &[5]),
        delivered(1),
        emitted(5, 12, &[6]),
        // The number was used in the run before, for another batch.
        delivered(4),
        positions(12, 12, 12),
        saved(at(0, 12), &[], &[]),
    ]);
    assert_eq!(broken(&history), [""; 0]);
}
