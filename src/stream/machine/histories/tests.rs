mod needed;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// As long as a script can use.
const SCRIPT_BYTES: usize = 240;

/// How many scripts a source without a rule may need until it is found out.
const SEEDS: u64 = 400;
/// In how many of them nothing must be found in a source with all its rules.
const CLEAN_SEEDS: u64 = 100;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_servers_and_hosts_do_the_promises_hold(
        bytes in proptest::collection::vec(any::<u8>(), 0..SCRIPT_BYTES),
    ) {
        let (script, history) = play(&bytes, Weather::Any, None);
        let holds = history.check();
        prop_assert!(holds.is_ok(), "{holds:?}\n{script:?}\n{history:?}");
    }

    #[test]
    fn whatever_is_lost_the_promises_hold(
        bytes in proptest::collection::vec(any::<u8>(), 0..SCRIPT_BYTES),
    ) {
        let (script, history) = play(&bytes, Weather::Losses, None);
        let holds = history.check();
        prop_assert!(holds.is_ok(), "{holds:?}\n{script:?}\n{history:?}");
    }

    #[test]
    fn servers_that_forget_nothing_make_no_gap(
        bytes in proptest::collection::vec(any::<u8>(), 0..SCRIPT_BYTES),
    ) {
        let (script, history) = play(&bytes, Weather::Calm, None);
        let holds = no_gap(&history);
        prop_assert!(holds.is_ok(), "{holds:?}\n{script:?}\n{history:?}");
        let holds = history.check();
        prop_assert!(holds.is_ok(), "{holds:?}\n{script:?}\n{history:?}");
    }
}

fn random_bytes(seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let length = rng.random_range(0..SCRIPT_BYTES);
    (0..length).map(|_| rng.random()).collect()
}

/// What is wrong with the source without a rule, in the first script in which something is. A debug assertion counts: it is the
/// same promises, looked at while the source runs.
fn found(rule: Option<Rule>, seeds: u64) -> Option<(u64, &'static str)> {
    (0..seeds).find_map(|seed| {
        let bytes = random_bytes(seed);
        let played = std::panic::catch_unwind(|| {
            let (_, history) = play(&bytes, Weather::Any, rule);
            let (_, calm) = play(&bytes, Weather::Calm, rule);
            let (_, losses) = play(&bytes, Weather::Losses, rule);
            (history, calm, losses)
        });
        let Ok((history, calm, losses)) = played else {
            return Some((seed, "a debug assertion"));
        };
        let violation = history.check().and(calm.check()).and(losses.check()).err();
        violation
            .map(|violation| violation.invariant.id())
            .or(no_gap(&calm).is_err().then_some("a gap for nothing"))
            .map(|promise| (seed, promise))
    })
}

#[test]
fn a_source_with_one_rule_taken_out_is_found_out() {
    for rule in Rule::ALL {
        // What chance brings about too seldom is written down.
        let found = match needed::script(rule) {
            Some(script) => {
                let history = World::new(&script, None).run(&script);
                assert_eq!(history.check(), Ok(()), "{rule:?}");
                let without = World::new(&script, Some(rule)).run(&script);
                let found = without.check().err();
                found.map(|violation| (0, violation.invariant.id()))
            }
            None => found(Some(rule), SEEDS),
        };
        println!("{rule:?}: {found:?}");
        assert!(found.is_some(), "nobody misses {rule:?}");
    }
    assert_eq!(found(None, CLEAN_SEEDS), None);
}

/// A connection shows lines of the index where the stream stopped that nothing is known of, and ends: that is a gap. The next one
/// shows the same lines, and others: they are known now, and prove nothing.
#[test]
fn what_was_taken_in_doubt_does_not_close_the_gap_that_it_made() {
    let script = needed::doubtful_lines_come_again();
    let history = World::new(&script, None).run(&script);
    assert_eq!(history.check(), Ok(()), "{history:?}");
}

/// Nobody can notice that rebuild. What it has taken is told by the gap that is found again, and needs no second notice.
#[test]
fn a_gap_that_is_found_again_speaks_of_the_cluster_that_is_there_now() {
    let script = needed::a_rebuilt_cluster_has_the_same_gap();
    let mut history = World::new(&script, None).run(&script);
    assert_eq!(history.check(), Ok(()), "{history:?}");
    let found_again = |seen: &Seen| matches!(seen, Seen::GapKnown(_));
    assert!(history.seen.iter().any(found_again), "{history:?}");
    history.seen.retain(|seen| !found_again(seen));
    let lost = history.check().err().map(|found| found.invariant.id());
    assert_eq!(lost, Some("NE-1"), "{history:?}");
}
