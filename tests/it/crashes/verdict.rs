//! What is at the sink against what an independent reader saw, and what came more than once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nomad_events::checkpoint::State;
use nomad_events::position::Taken;
use nomad_events::testing::loki;
use serde_json::Value;

use crate::servers::expect::{Expected, When};
use crate::servers::judge::{self, judge};
use crate::servers::loki::Entry;

/// A process that was killed: what was at the sink and what was saved when it was gone.
pub(super) struct Crash {
    /// Entries that had come by then.
    pub(super) pushed: usize,
    pub(super) saved: Option<State>,
    /// The index that its first stream was asked for, if it came so far.
    pub(super) asked_for: Option<u64>,
}

/// What a run is told by.
#[derive(Debug, Default)]
pub(super) struct Figures {
    kills: usize,
    lines: usize,
    events: usize,
    /// Processes that went on from a saved position.
    resumed: usize,
    /// Processes that were killed before they had asked for a stream.
    never_asked: usize,
    /// Kills that found a position in the middle of an index saved.
    mid_index: usize,
    /// Entries that came again from a later process.
    repeated_by_crashes: usize,
    /// The most of them after one kill.
    most_after_one: usize,
    /// Entries that came again from the same process, since a push had failed.
    repeated_by_pushes: usize,
    /// Events with another timestamp the second time, which was that of receipt.
    received_again: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            lines,
            events,
            resumed,
            never_asked,
            mid_index,
            repeated_by_crashes,
            most_after_one,
            repeated_by_pushes,
            received_again,
        } = self;
        write!(
            f,
            "{kills} kills, {lines} lines, {events} events; {resumed} processes went on from a saved position, {never_asked} \
             were killed before they asked for a stream; {mid_index} kills found a position in the middle of an index; \
             entries repeated: {repeated_by_crashes} after kills ({most_after_one} at most after one), \
             {repeated_by_pushes} after pushes that failed; {received_again} events with a second time of receipt"
        )
    }
}

impl Figures {
    /// A long run has had all that it is there for.
    ///
    /// # Panics
    ///
    /// When it has not.
    pub(super) fn assert_telling(&self, forgets_after: usize) {
        assert!(self.kills > 100, "{self}");
        assert!(self.resumed > self.kills / 2, "{self}");
        assert!(self.mid_index > 0, "{self}");
        assert!(self.repeated_by_crashes > 0, "{self}");
        assert!(self.repeated_by_pushes > 0, "{self}");
        assert!(self.lines > forgets_after, "{self}");
    }
}

/// An entry with its place in the order of arrival.
struct Arrived<'a> {
    entry: &'a Entry,
    event_id: String,
    index: u64,
    /// The number of kills before it.
    process: usize,
}

/// Judges a run, and gives its figures.
///
/// # Panics
///
/// When something is missing, invented, different the second time, or repeated without need.
pub(super) fn verdict(
    expected: &[Expected],
    arrived: Vec<loki::Entry>,
    crashes: &[Crash],
    lines: usize,
) -> Figures {
    let arrived: Vec<Entry> = arrived.into_iter().map(of_loki).collect();
    assert_good_notices(&arrived);
    let arrived = read(&arrived, crashes);
    let mut figures = Figures {
        kills: crashes.len(),
        lines,
        events: expected.iter().filter(|event| event.is_shipped()).count(),
        never_asked: crashes.iter().filter(|c| c.asked_for.is_none()).count(),
        ..Figures::default()
    };
    count_repeats(&arrived, &mut figures);
    let firsts = assert_repeats_are_identical(expected, &arrived, &mut figures);
    let findings = judge(expected, &firsts);
    let shown: Vec<String> = findings.iter().take(20).map(ToString::to_string).collect();
    assert!(
        findings.is_empty(),
        "{} findings:\n{}\n{figures}",
        findings.len(),
        shown.join("\n")
    );
    assert_each_process_went_on(expected, &arrived, crashes, &mut figures);
    figures
}

/// An entry of the fake as one of a real Loki.
pub(crate) fn of_loki(entry: loki::Entry) -> Entry {
    Entry {
        labels: entry.labels,
        metadata: entry.structured_metadata,
        nanos: entry.timestamp_nanos,
        line: entry.line,
    }
}

/// The events among the entries, with the process that each came from.
fn read<'a>(entries: &'a [Entry], crashes: &[Crash]) -> Vec<Arrived<'a>> {
    let events = entries.iter().enumerate();
    let events = events.filter(|(_, entry)| !judge::is_notice(entry));
    events
        .map(|(place, entry)| {
            let line: Value = serde_json::from_str(&entry.line).expect("a line of JSON");
            Arrived {
                entry,
                event_id: line["event_id"].as_str().expect("an event_id").to_owned(),
                index: line["index"].as_u64().expect("an index"),
                process: crashes.partition_point(|crash| crash.pushed <= place),
            }
        })
        .collect()
}

/// The server forgot nothing that was needed, and no sink gave anything up.
fn assert_good_notices(entries: &[Entry]) {
    let notices = entries.iter().filter(|entry| judge::is_notice(entry));
    let bad: Vec<&str> = notices
        .filter(|notice| {
            !["Connected", "Disconnected", "Started", "Status"]
                .contains(&notice.labels["type"].as_str())
        })
        .map(|notice| notice.line.as_str())
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

fn count_repeats(arrived: &[Arrived<'_>], figures: &mut Figures) {
    let mut newest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut after: BTreeMap<usize, usize> = BTreeMap::new();
    for entry in arrived {
        match newest.insert(&entry.event_id, entry.process) {
            None => {}
            Some(process) if process == entry.process => figures.repeated_by_pushes += 1,
            Some(_) => *after.entry(entry.process).or_default() += 1,
        }
    }
    figures.repeated_by_crashes = after.values().sum();
    figures.most_after_one = after.into_values().max().unwrap_or_default();
}

/// All copies of an event are the same, but for a time of receipt. Gives the first copy of each.
fn assert_repeats_are_identical(
    expected: &[Expected],
    arrived: &[Arrived<'_>],
    figures: &mut Figures,
) -> Vec<Entry> {
    let received: BTreeSet<u64> = expected
        .iter()
        .filter(|expected| !matches!(expected.when, When::Payload(_) | When::Carried(_)))
        .map(|expected| expected.event.index)
        .collect();
    let mut firsts: BTreeMap<&str, &Entry> = BTreeMap::new();
    for again in arrived {
        let first = *firsts.entry(&again.event_id).or_insert(again.entry);
        if first == again.entry {
            continue;
        }
        let redated = Entry {
            nanos: first.nanos,
            ..again.entry.clone()
        };
        assert!(
            *first == redated && received.contains(&again.index),
            "an event differs the second time:\n{first:?}\n{:?}",
            again.entry
        );
        figures.received_again += 1;
    }
    firsts.into_values().cloned().collect()
}

/// Each process went on exactly where the one before had saved: nothing below came again, nor what was proved at it.
fn assert_each_process_went_on(
    expected: &[Expected],
    arrived: &[Arrived<'_>],
    crashes: &[Crash],
    figures: &mut Figures,
) {
    let mut events_at: BTreeMap<u64, usize> = BTreeMap::new();
    for expected in expected {
        *events_at.entry(expected.event.index).or_default() += 1;
    }
    let mut sent_at: BTreeMap<(usize, u64), BTreeSet<&str>> = BTreeMap::new();
    let mut lowest: BTreeMap<usize, u64> = BTreeMap::new();
    for entry in arrived {
        let sent = sent_at.entry((entry.process, entry.index)).or_default();
        sent.insert(&entry.event_id);
        let lowest = lowest.entry(entry.process).or_insert(entry.index);
        *lowest = entry.index.min(*lowest);
    }
    for (number, crash) in crashes.iter().enumerate() {
        let Some(saved) = &crash.saved else {
            continue;
        };
        let index = saved.position.index.0;
        if let Some(next) = crashes.get(number + 1).and_then(|next| next.asked_for) {
            assert_eq!(
                next,
                index,
                "process {} asked for another index",
                number + 2
            );
            figures.resumed += 1;
        }
        if let Some(lowest) = lowest.get(&(number + 1)) {
            assert!(
                *lowest >= index,
                "after kill {}, {lowest} came again, though {index} was saved",
                number + 1
            );
        }
        let proofs = match &saved.taken {
            Taken::Proofs(proofs) => proofs.len(),
            Taken::Nothing => 0,
            Taken::All => panic!("nobody has asked for the latest"),
        };
        let there = events_at.get(&index).copied().unwrap_or_default();
        figures.mid_index += usize::from(proofs > 0 && proofs < there);
        let sent = sent_at.get(&(number + 1, index)).map_or(0, BTreeSet::len);
        assert!(
            proofs + sent <= there,
            "after kill {}, {sent} events of index {index} came, though {proofs} of {there} were done",
            number + 1
        );
    }
}
