//! Everything is killed, in any order, and started again where it was: Nomad, Loki, and the program between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::crashes::host::{Program, Setup, stop};
use crate::crashes::seed;
use crate::servers::cluster::{Cluster, Writer, register};
use crate::servers::expect::{Expected, When, expected};
use crate::servers::judge::{self, Finding, judge};
use crate::servers::loki::{Entry, LokiServer};
use crate::servers::wire::Reader;
use crate::servers::{Process, scenario, wait_for};

use super::witness::Witness;
use super::{CAUGHT_UP, Stage, TOPICS, assert_right, wait_until_quiet};

/// More batches than a test makes.
const WHOLE_HISTORY: u32 = 20_000;
/// How often something is killed, or several things at a time.
const ROUNDS: usize = 10;
/// Until a host has gone on, over elections, backoff and a Loki that reads what it kept.
const GOES_ON_LIMIT: Duration = Duration::from_secs(90);
/// Jobs that are registered and stopped beside the scenario.
const JOBS: usize = 60;
/// As many copies as two hosts may leave, of all events.
const COPIES_AT_MOST: f64 = 0.01;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Nomad,
    Loki,
    Host,
}

/// An index up to which everything is saved as done; 0 before anything is.
fn done(setup: &Setup) -> u64 {
    setup.saved().map_or(0, |saved| saved.position.index.0)
}

/// Waits until everything up to `index` is saved as done.
fn until_done(setup: &Setup, host: &mut Process, index: u64) {
    wait_for("the host has gone on", GOES_ON_LIMIT, || {
        if let Some(status) = host.ended() {
            panic!("the host has ended: {status}");
        }
        match done(setup) {
            done if done >= index => Ok(()),
            done => Err(format!("at {done}, not at {index}")),
        }
    });
}

fn last_index(expected: &[Expected]) -> u64 {
    let indexes = expected.iter().map(|expected| expected.event.index);
    indexes.max().expect("events")
}

/// Each event that Loki holds once, at the earliest of its times, and how many other copies there are, by event.
///
/// # Panics
///
/// When two copies of an event differ in more than their time.
fn copies(entries: &[Entry]) -> (Vec<Entry>, BTreeMap<String, usize>) {
    let mut earliest: BTreeMap<String, Entry> = BTreeMap::new();
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !judge::is_notice(entry)) {
        let line: Value = serde_json::from_str(&entry.line).expect("a line of JSON");
        let id = line["event_id"].as_str().expect("an event_id");
        let Some(first) = earliest.get_mut(id) else {
            earliest.insert(id.to_owned(), entry.clone());
            continue;
        };
        *others.entry(id.to_owned()).or_default() += 1;
        let nanos = first.nanos.min(entry.nanos);
        first.nanos = entry.nanos;
        assert_eq!(first, entry, "two copies of one event");
        first.nanos = nanos;
    }
    (earliest.into_values().collect(), others)
}

fn notices<'a>(entries: &'a [Entry], kind: &str) -> Vec<&'a Entry> {
    let notices = entries.iter().filter(|entry| judge::is_notice(entry));
    notices
        .filter(|notice| notice.labels["type"] == kind)
        .collect()
}

/// What no test here has given a reason for.
fn assert_no_loss_is_told(entries: &[Entry]) {
    for kind in ["Gap", "IndexReset", "Rejected", "LineDiscarded"] {
        let told = notices(entries, kind);
        assert!(told.is_empty(), "{told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn everything_is_in_loki_once_though_everything_is_killed() {
    kill_everything(Program::NomadEvents).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vector with the plugin: NOMAD_VECTOR=path cargo test --features real-servers nomad_vector -- --ignored"]
async fn everything_is_in_loki_once_though_everything_is_killed_by_nomad_vector() {
    kill_everything(Program::NomadVector).await;
}

async fn kill_everything(program: Program) {
    let mut random = StdRng::seed_from_u64(seed());
    let mut cluster = Cluster::start(1, WHOLE_HISTORY);
    let mut loki = LokiServer::start();
    let witness = Witness::before(loki.address()).await;
    let setup = Setup::new(program, cluster.url(0), witness.url());
    let mut host = setup.start();
    let mut kills = [0; 3];
    for round in 0..ROUNDS {
        let writer = Writer::start(cluster.address(0), format!("round-{round}"), 20);
        let before = done(&setup);
        until_done(&setup, &mut host, before + 1);
        let mut victims = [Victim::Nomad, Victim::Loki, Victim::Host];
        victims.shuffle(&mut random);
        // Each of them alone first, then some or all of them at a time.
        let count = if round < 3 {
            victims = [Victim::Nomad, Victim::Loki, Victim::Host];
            victims.rotate_left(round);
            1
        } else {
            random.random_range(1..=3)
        };
        let victims = &mut victims[..count];
        println!("round {round}: {victims:?} after index {}", done(&setup));
        for victim in victims.iter() {
            kills[*victim as usize] += 1;
            match victim {
                Victim::Nomad => cluster.kill(0),
                Victim::Loki => loki.kill(),
                Victim::Host => host.kill(),
            }
            std::thread::park_timeout(random.random_range(Duration::ZERO..Duration::from_secs(1)));
        }
        victims.shuffle(&mut random);
        for victim in victims {
            match victim {
                Victim::Nomad => cluster.spawn(0),
                Victim::Loki => loki.spawn(),
                Victim::Host => host = setup.start(),
            }
        }
        cluster.wait_until_it_answers(0);
        cluster.leader();
        loki.wait_until_ready();
        drop(writer);
    }
    register(cluster.address(0), "last", 0);
    // It sees the whole log, since no snapshot was made.
    let reader = Reader::start(cluster.address(0), &TOPICS, "*");
    wait_until_quiet(&reader, CAUGHT_UP);
    let expected = expected(&reader.stop());
    let last = last_index(&expected);
    until_done(&setup, &mut host, last);
    stop(&mut host);

    let mut entries = witness.acknowledged();
    assert_no_loss_is_told(&entries);
    let lost = lost_by(&loki, &entries);
    entries.retain(|entry| judge::index(entry) <= Some(last));
    let (events, others) = copies(&entries);
    // A reader that was there all the time was live in a pause of the stream, the one above never was.
    let (received, findings): (Vec<_>, Vec<_>) = judge(&expected, &events)
        .into_iter()
        .partition(|finding| matches!(finding, Finding::Time { .. }));
    println!(
        "{}: kills of Nomad, Loki and the host: {kills:?}; {} events, {} with a time of receipt, {} copies of such; \
         {lost} acknowledged entries were lost by Loki itself",
        program.name(),
        events.len(),
        received.len(),
        others.values().sum::<usize>(),
    );
    let shown: Vec<String> = findings.iter().take(20).map(ToString::to_string).collect();
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        shown.join("\n")
    );
    assert_few(received.len() + others.len(), events.len());
}

/// How many entries Loki has acknowledged and does not hold: see [`Witness`].
///
/// # Panics
///
/// When it holds something twice.
fn lost_by(loki: &LokiServer, acknowledged: &[Entry]) -> usize {
    // Loki adds to the metadata.
    let key = |entry: &Entry| (entry.labels.clone(), entry.nanos, entry.line.clone());
    let acknowledged: BTreeSet<_> = acknowledged.iter().map(key).collect();
    let entries = loki.entries().expect("an answer from Loki");
    let held: BTreeSet<_> = entries.iter().map(key).collect();
    assert_eq!(held.len(), entries.len(), "Loki holds something twice");
    acknowledged.difference(&held).count()
}

fn assert_few(count: usize, events: usize) {
    let share = count as f64 / events as f64;
    assert!(
        share <= COPIES_AT_MOST,
        "{count} of {events} events have a time of receipt"
    );
}

/// What the server forgets while the host is not there cannot come any more, and that is told.
#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn what_the_server_forgot_while_the_host_was_dead_is_within_an_announced_gap() {
    let cluster = Cluster::start(1, 20);
    let loki = LokiServer::start();
    let reader = Reader::start(cluster.address(0), &TOPICS, "*");
    let setup = Setup::new(
        Program::NomadEvents,
        cluster.url(0),
        format!("http://{}", loki.address()),
    );
    let write = |prefix: &str, count: usize| {
        for number in 0..count {
            register(cluster.address(0), &format!("{prefix}-{number}"), 0);
        }
    };
    let mut host = setup.start();
    write("before", 5);
    wait_until_quiet(&reader, CAUGHT_UP);
    let seen = last_index(&expected(&reader.lines()));
    until_done(&setup, &mut host, seen);
    host.kill();
    write("missed", 60);
    let mut host = setup.start();
    wait_for("a gap is told", GOES_ON_LIMIT, || {
        match notices(&loki.entries()?, "Gap").len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
    write("after", 5);
    wait_until_quiet(&reader, CAUGHT_UP);
    let expected = expected(&reader.stop());
    until_done(&setup, &mut host, last_index(&expected));
    stop(&mut host);

    let entries = loki.entries().expect("an answer from Loki");
    let gaps = notices(&entries, "Gap");
    assert_eq!(gaps.len(), 1, "{gaps:#?}");
    let gap: Value = serde_json::from_str(&gaps[0].line).expect("a line of JSON");
    println!("{gap}");
    assert_eq!(gap["cause"], "evicted");
    let bounds = [&gap["from"], &gap["to"]].map(|bound| bound.as_u64().expect("an index"));
    let within = |index: u64| bounds[0] <= index && index <= bounds[1];
    assert!(within(seen), "the gap begins behind what was saved");
    let outside: Vec<Expected> = (expected.iter())
        .filter(|expected| !within(expected.event.index))
        .cloned()
        .collect();
    let (inside, events): (Vec<Entry>, Vec<Entry>) = (entries.into_iter())
        .filter(|entry| !judge::is_notice(entry))
        .partition(|entry| judge::index(entry).is_some_and(within));
    println!(
        "{} events, {} outside the gap, {} came inside",
        expected.len(),
        outside.len(),
        inside.len()
    );
    assert_right(&outside, &events);
    let lost = expected.len() - outside.len() > inside.len();
    assert!(lost, "nothing was lost, so nothing was shown");
    let saved = setup.saved().expect("a saved position");
    assert_eq!(saved.gaps.len(), 1, "a gap stays open until it is filled");
}

/// Two hosts side by side, each with a folder of its own: Loki drops what comes from both, where both say when it happened.
#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn two_hosts_leave_one_copy_of_what_has_a_time() {
    two_hosts(Program::NomadEvents, Program::NomadEvents);
}

#[test]
#[ignore = "needs Vector with the plugin: NOMAD_VECTOR=path cargo test --features real-servers nomad_vector -- --ignored"]
fn two_hosts_leave_one_copy_of_what_has_a_time_by_nomad_vector() {
    two_hosts(Program::NomadVector, Program::NomadEvents);
}

fn two_hosts(one: Program, other: Program) {
    let stage = Stage::set();
    let setups = [one, other].map(|program| {
        Setup::new(
            program,
            format!("http://{}", stage.nomad.address()),
            format!("http://{}", stage.loki.address()),
        )
        .with_token(stage.nomad.shipped_token().secret)
    });
    let mut hosts = setups.each_ref().map(Setup::start);
    // So that both are past what the server had kept when the scenario begins.
    let kept = last_index(&expected(&stage.reader.lines()));
    for (setup, host) in setups.iter().zip(&mut hosts) {
        until_done(setup, host, kept);
    }
    scenario::churn(&stage.nomad, JOBS);
    let (_nomad, loki, expected) = stage.play();
    let last = last_index(&expected);
    for (setup, host) in setups.iter().zip(&mut hosts) {
        until_done(setup, host, last);
        stop(host);
    }

    let mut entries = loki.entries().expect("an answer from Loki");
    let received = loki.lines_received().expect("a count");
    let sent_twice = received - u64::try_from(entries.len()).expect("a count");
    assert_no_loss_is_told(&entries);
    entries.retain(|entry| judge::index(entry) <= Some(last));
    let (events, others) = copies(&entries);
    assert_right(&expected, &events);
    let has_none =
        |expected: &&Expected| expected.is_shipped() && !matches!(expected.when, When::Payload(_));
    println!(
        "{} and {}: {} events, {} without a time of their own; Loki dropped {sent_twice} repeats; {} copies, of {} events",
        one.name(),
        other.name(),
        events.len(),
        expected.iter().filter(has_none).count(),
        others.values().sum::<usize>(),
        others.len(),
    );
    let dated_by_receipt: usize = expected
        .iter()
        .filter(|expected| expected.is_shipped())
        .filter(|e| matches!(e.when, When::Receipt(_) | When::CarriedOrReceipt { .. }))
        .count();
    assert!(others.len() <= dated_by_receipt, "{others:?}");
    assert_few(others.values().sum(), events.len());
}
