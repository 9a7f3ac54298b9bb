//! Against a real Nomad and a real Loki. Needs Go, and minutes the first time.

mod acl;
mod cluster;
mod compare;
mod crashes;
mod demo;
mod deployed;
mod grafana;
mod tls;
mod witness;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::servers::expect::{Expected, When, expected};
use crate::servers::judge::{self, judge};
use crate::servers::loki::{Entry, LokiServer};
use crate::servers::nomad::NomadServer;
use crate::servers::wire::Reader;
use crate::servers::{Leftover, Process, folder, scenario, stand_in, wait_for, without_cluster};

/// The topics of the recommended configuration.
pub(crate) const TOPICS: [&str; 6] = [
    "Job",
    "Allocation",
    "Evaluation",
    "Deployment",
    "Node",
    "Service",
];
/// A stream without a line for this long has given all that the server had kept, and is live.
const CAUGHT_UP: Duration = Duration::from_millis(1500);
/// After such a pause, the newest time of the stream is so old that it is not carried any more, with some margin.
const LONG_PAUSE: Duration = Duration::from_secs(12);
/// Until a stream on which nothing more happens is quiet.
const QUIET_LIMIT: Duration = Duration::from_secs(40);
/// Until Loki holds what was on the wire: batches wait a second, and a busy machine takes its time.
const SHIPPED_LIMIT: Duration = Duration::from_secs(30);
/// Notices that say that all is well.
const GOOD_NOTICES: [&str; 3] = ["Connected", "Started", "Status"];

/// The two servers and the independent reader, with nothing on the stream but what the servers did at their start.
struct Stage {
    nomad: NomadServer,
    loki: LokiServer,
    reader: Reader,
}

impl Stage {
    fn set() -> Self {
        let started = Instant::now();
        let nomad = NomadServer::start();
        println!("Nomad is ready after {:?}", started.elapsed());
        let started = Instant::now();
        let loki = LokiServer::start();
        println!("Loki is ready after {:?}", started.elapsed());
        scenario::prepare(&nomad);
        let reader = Reader::start(nomad.api().clone(), &TOPICS, "*");
        wait_until_quiet(&reader, CAUGHT_UP);
        Self {
            nomad,
            loki,
            reader,
        }
    }

    /// Plays the scenario and gives every event of it, and of the servers' start.
    fn play(self) -> (NomadServer, LokiServer, Vec<Expected>) {
        let pause = || wait_until_quiet(&self.reader, LONG_PAUSE);
        for (phase, took) in scenario::play(&self.nomad, pause) {
            println!("{phase}: {took:?}");
        }
        wait_until_quiet(&self.reader, CAUGHT_UP);
        let lines = self.reader.stop();
        let expected = expected(&lines);
        println!("{} lines, {} events", lines.len(), expected.len());
        assert_telling(&expected);
        (self.nomad, self.loki, expected)
    }
}

fn wait_until_quiet(reader: &Reader, wanted: Duration) {
    wait_for("the stream is quiet", QUIET_LIMIT, || {
        match reader.quiet_for() {
            quiet if quiet >= wanted => Ok(()),
            quiet => Err(format!("a line {quiet:?} ago")),
        }
    });
}

/// Waits until Loki holds as many entries as `expected` has; `sender` is to put them there, and must not end meanwhile.
fn wait_until_shipped(loki: &LokiServer, expected: &[Expected], mut sender: Option<&mut Process>) {
    let wanted = expected
        .iter()
        .filter(|expected| expected.is_shipped())
        .count();
    let started = Instant::now();
    wait_for("Loki holds what was on the wire", SHIPPED_LIMIT, || {
        if let Some(status) = sender.as_deref_mut().and_then(Process::ended) {
            panic!("the sender has ended: {status}");
        }
        let entries = loki.entries()?;
        let found = entries.iter().filter(|entry| !judge::is_notice(entry));
        match found.count() {
            found if found >= wanted => Ok(()),
            found => Err(format!("{found} of {wanted}")),
        }
    });
    println!("Loki holds {wanted} after {:?}", started.elapsed());
}

/// What was recorded has everything that the scenario is there for, and every source of a time.
fn assert_telling(expected: &[Expected]) {
    let pairs: BTreeSet<(&str, &str)> = expected
        .iter()
        .map(|expected| (&*expected.event.topic, &*expected.event.event_type))
        .collect();
    for pair in scenario::REPORTED {
        assert!(pairs.contains(&pair), "{pair:?} was not reported");
    }
    let namespaces: BTreeSet<&str> = expected.iter().map(Expected::namespace_label).collect();
    let wanted = ["-", "default", scenario::SECOND_NAMESPACE];
    assert_eq!(namespaces, BTreeSet::from(wanted));
    let sources = expected
        .iter()
        .filter(|expected| expected.is_shipped())
        .fold([0, 0, 0, 0], |mut sources, expected| {
            sources[match expected.when {
                When::Payload(_) => 0,
                When::Carried(_) => 1,
                When::Receipt(_) => 2,
                When::CarriedOrReceipt { .. } => 3,
            }] += 1;
            sources
        });
    println!("payload, carried, receipt, either: {sources:?}");
    assert!(
        sources[..3].iter().all(|count| *count > 0),
        "a source of times does not occur: {sources:?}"
    );
}

fn assert_right(expected: &[Expected], entries: &[Entry]) {
    let findings = judge(expected, entries);
    let shown: Vec<String> = findings.iter().take(20).map(ToString::to_string).collect();
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        shown.join("\n")
    );
}

/// The program had nothing to complain of.
fn assert_good_notices(entries: &[Entry]) {
    let notices = entries.iter().filter(|entry| judge::is_notice(entry));
    let types: BTreeSet<&str> = notices
        .filter_map(|notice| Some(notice.labels.get("type")?.as_str()))
        .collect();
    assert!(
        types.is_superset(&BTreeSet::from(["Connected", "Started"])),
        "{types:?}"
    );
    assert!(types.is_subset(&BTreeSet::from(GOOD_NOTICES)), "{types:?}");
}

fn assert_nothing_left(nomad: NomadServer, loki: LokiServer) {
    let (_, left_by_nomad) = nomad.stop();
    assert_eq!(left_by_nomad, [], "left by Nomad");
    let (_, left_by_loki) = loki.stop();
    assert_eq!(left_by_loki, [], "left by Loki");
}

/// Starts a host with the recommended configuration and the rights that the shipped policy gives.
fn start(name: &'static str, command: &mut Command, stage: &Stage) -> Process {
    without_cluster(command)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--config", "config/vector.toml"])
        .env("NOMAD_ADDR", format!("http://{}", stage.nomad.address()))
        .env("NOMAD_TOKEN", stage.nomad.shipped_token().secret)
        .env("LOKI_ADDR", format!("http://{}", stage.loki.address()));
    let folder = folder(name);
    command.env("NOMAD_EVENTS_DATA_DIR", folder.path());
    Process::start(name, folder, command)
}

#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn everything_is_in_loki_exactly_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-events"));
    assert_everything_comes_once("nomad-events", command.arg("run"));
}

#[test]
#[ignore = "needs Vector with the plugin: NOMAD_VECTOR=path cargo test --features real-servers nomad_vector -- --ignored"]
fn everything_is_in_loki_exactly_once_by_nomad_vector() {
    let program =
        std::env::var_os("NOMAD_VECTOR").expect("NOMAD_VECTOR has the path of the program");
    assert_everything_comes_once("nomad-vector", &mut Command::new(program));
}

fn assert_everything_comes_once(name: &'static str, command: &mut Command) {
    let stage = Stage::set();
    let mut host = start(name, command, &stage);
    // So that it, too, is past what the server had kept when the scenario begins.
    let kept = expected(&stage.reader.lines());
    wait_until_shipped(&stage.loki, &kept, Some(&mut host));

    let (nomad, loki, expected) = stage.play();
    wait_until_shipped(&loki, &expected, Some(&mut host));
    let stopping = Instant::now();
    let status = host.terminate();
    println!("{name} has ended after {:?}", stopping.elapsed());
    assert!(status.success(), "{status}");

    let mut entries = loki.entries().expect("an answer from Loki");
    assert_eq!(
        loki.lines_received(),
        Ok(u64::try_from(entries.len()).expect("a count")),
        "lines were sent twice, though nothing had failed"
    );
    assert_eq!(loki.lines_discarded(), Ok(0));
    assert_good_notices(&entries);
    // The program reads a little longer than the reader, and a node may say something at any time.
    let last = expected.iter().map(|expected| expected.event.index).max();
    entries.retain(|entry| judge::index(entry) <= last);
    assert_right(&expected, &entries);
    assert_nothing_left(nomad, loki);
}

/// The oracle accepts its own stand-in, through real servers; without this, a failure above could be the oracle's.
#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn stand_in_is_judged_right() {
    let (nomad, loki, expected) = Stage::set().play();
    loki.push(&stand_in::entries(&expected));
    wait_until_shipped(&loki, &expected, None);
    let entries = loki.entries().expect("an answer from Loki");
    assert_right(&expected, &entries);
    assert_eq!(
        loki.lines_received(),
        Ok(u64::try_from(entries.len()).expect("a count"))
    );
    assert_eq!(loki.lines_discarded(), Ok(0));
    assert_nothing_left(nomad, loki);
}

/// A task outlives an agent that crashes; the next test must not find it.
#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn crashed_agent_leaves_nothing_behind() {
    let nomad = NomadServer::start();
    let folder = nomad.folder().to_owned();
    nomad.register(&nomad.parse(scenario::SHIPPER));
    scenario::wait_for_running(&nomad, "shipper", 1);
    let leftovers = nomad.crash();
    let slept = leftovers.iter().any(
        |left| matches!(left, Leftover::Process(_, command) if command.contains("sleep 3600")),
    );
    assert!(slept, "the task had ended by itself: {leftovers:?}");
    assert!(!folder.exists(), "{} is still there", folder.display());
}
