//! Goes through a history, once, and notes each place at which a claim does not hold.

mod batches;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Covered, History, Range, Saved, Seen, Written};
use super::{Invariant, Violation, memory_bounded, stops_in_time};
use crate::event::BatchId;
use crate::position::{Epoch, Position, Positions};

/// What is known of a source up to a moment of its history.
pub(super) struct Judge<'h> {
    written: &'h [Written],
    /// By the name of an event: its place in that.
    places: HashMap<u64, usize>,
    found: Vec<Violation>,
    /// What was written before this place was gone when the source came.
    since: usize,
    /// How often the cluster was rebuilt.
    cluster: usize,
    /// At which cluster each epoch began.
    epochs: BTreeMap<Epoch, usize>,
    /// Answered otherwise than by an error, in any run.
    answered: HashSet<u64>,
    /// Announced, in any run.
    gaps: Vec<Said>,
    /// Where events were handed out last by earlier runs.
    earlier: HashMap<u64, Position>,
    saved: Option<&'h Saved>,
    /// The gaps of that state.
    kept: Vec<Said>,
    run: Run<'h>,
}

/// What is known of a run.
#[derive(Default)]
struct Run<'h> {
    /// The state that it began with.
    read: Option<&'h Saved>,
    topics: usize,
    /// In the order in which they were handed out for the first time.
    handed_out: Vec<HandedOut<'h>>,
    events: HashSet<u64>,
    ids: HashSet<BatchId>,
    with_host: HashMap<BatchId, HandedOut<'h>>,
    errored: HashMap<&'h [u64], HandedOut<'h>>,
    /// The event that was handed out last for the first time: where, through which connection, and its place among the written.
    last: Option<(Position, usize, usize)>,
    stand: Option<Positions>,
    /// Before it there is nothing to answer for.
    begins: Position,
    /// Events that were answered otherwise than by a delivery, for the last time.
    lost: u64,
    counted: u64,
    /// How many gaps were announced before.
    gaps_before: usize,
    /// The newest epoch that was announced, or saved before.
    announced: Epoch,
    settled: bool,
}

/// A handing out of a batch.
#[derive(Clone, Copy)]
struct HandedOut<'h> {
    at: Position,
    events: &'h [u64],
    /// How many times it had errored. A batch that has not, or too often, and comes again, is taken for another one.
    redelivery: u32,
}

/// A gap, and how often the cluster had been rebuilt when it was last heard of, or found again.
#[derive(Clone, Copy)]
struct Said {
    range: Range,
    cluster: usize,
}

impl<'h> Judge<'h> {
    /// All that does not hold, in the order in which it shows.
    pub(super) fn of(history: &'h History) -> Vec<Violation> {
        let places = history.written.iter().enumerate();
        let mut judge = Self {
            written: &history.written,
            places: places.map(|(place, one)| (one.event, place)).collect(),
            found: Vec::new(),
            since: 0,
            cluster: 0,
            epochs: BTreeMap::from([(Epoch(0), 0)]),
            answered: HashSet::new(),
            gaps: Vec::new(),
            earlier: HashMap::new(),
            saved: None,
            kept: Vec::new(),
            run: Run {
                topics: usize::MAX,
                ..Run::default()
            },
        };
        for seen in &history.seen {
            judge.see(seen);
        }
        judge.end()
    }

    fn find(&mut self, invariant: Invariant, what: String) {
        self.found.push(Violation { invariant, what });
    }

    fn see(&mut self, seen: &'h Seen) {
        match seen {
            Seen::Started { topics } => self.start(*topics),
            // Nothing is claimed of what a source took that has saved nothing.
            Seen::Follows { since } => {
                self.since = self
                    .places
                    .get(since)
                    .copied()
                    .unwrap_or(self.written.len());
            }
            Seen::Begins(at) => self.run.begins = *at,
            Seen::Emitted {
                batch,
                at,
                events,
                connection,
            } => self.emitted(*batch, *at, events, *connection),
            Seen::Resolved(batch, delivery) => self.resolved(*batch, *delivery),
            Seen::CountedLost(counted) => self.run.counted = *counted,
            Seen::Gap(range) => {
                let cluster = self.cluster;
                self.gaps.push(Said {
                    range: *range,
                    cluster,
                });
            }
            Seen::GapKnown(range) => self.find_again(*range),
            Seen::EpochBegan(epoch) => {
                self.epochs.entry(*epoch).or_insert(self.cluster);
                self.since = self.written.len();
            }
            Seen::Reset(epoch) => self.run.announced = self.run.announced.max(*epoch),
            Seen::Rebuilt => self.cluster += 1,
            Seen::Crashed => self.crash(),
            Seen::Saved(saved) => self.save(saved),
            Seen::Settled => self.settle(),
            Seen::Positions(stand) => self.stands(*stand),
            Seen::Memory {
                bytes,
                largest,
                limit,
            } => {
                if !memory_bounded(*bytes, *largest, *limit) {
                    self.find(Invariant::MemoryBounded, format!("{seen:?}"));
                }
            }
            Seen::Stopped { took, deadline } => {
                if !stops_in_time(*took, *deadline) {
                    self.find(Invariant::StopsInTime, format!("{seen:?}"));
                }
                self.all_is_saved();
            }
        }
    }

    // --- runs ---

    fn start(&mut self, topics: usize) {
        self.end_of_run();
        let run = std::mem::take(&mut self.run);
        for batch in run.handed_out {
            let places = batch.events.iter().map(|event| (*event, batch.at));
            self.earlier.extend(places);
        }
        self.run = Run {
            read: self.saved,
            topics,
            gaps_before: self.gaps.len(),
            announced: self.saved.map_or(Epoch(0), |saved| saved.position.epoch),
            ..Run::default()
        };
    }

    /// Only what is saved counts from now on. What was announced may have been in memory too.
    fn crash(&mut self) {
        self.run.stand = None;
        self.run.with_host.clear();
        self.run.errored.clear();
        self.gaps.truncate(self.run.gaps_before);
    }

    /// What was lost downstream is counted: rejected, or errored each time.
    fn end_of_run(&mut self) {
        if self.run.lost != self.run.counted {
            let what = format!(
                "{} events were not delivered, {} are counted",
                self.run.lost, self.run.counted
            );
            self.find(Invariant::NothingLost, what);
        }
    }

    /// What is passed over at the end was answered for, or somebody heard that it may be missing. After a crash that is to be
    /// said of what was saved, and of nothing else.
    fn end(mut self) -> Vec<Violation> {
        self.end_of_run();
        if let Some(stand) = self.run.stand {
            let at = stand.acknowledged;
            let lost = self.missing(at, |one| one.index < at.index, !self.run.settled);
            if let Some(lost) = lost {
                let what = format!("lost without a word: {lost:?}");
                self.find(Invariant::NothingLost, what);
            }
        }
        self.found
    }

    /// What errored and is not lost comes again.
    fn settle(&mut self) {
        self.run.settled = true;
        if let Some(batch) = self.run.errored.values().min_by_key(|batch| batch.at) {
            let what = format!("a batch of {} errored and never came again", batch.at);
            self.find(Invariant::NothingLost, what);
        }
    }

    // --- NE-1: nothing is lost without a word ---

    /// What is wanted, lies behind a position in the way that `passed` says, was never answered for, and of which no gap speaks
    /// that was announced or, if those count, is kept open.
    fn missing(
        &self,
        position: Position,
        passed: impl Fn(&Written) -> bool,
        kept_counts: bool,
    ) -> Option<&'h Written> {
        // What was before a reset is told by that.
        let began = self.epochs.get(&position.epoch).copied().unwrap_or(0);
        let highest = |cluster: usize| {
            let older = self.written.iter();
            let older = older.filter(|one| one.cluster >= began && one.cluster < cluster);
            older.map(|one| one.index).max()
        };
        let kept = self.kept.iter().filter(|_| kept_counts);
        let announced = self.gaps.iter().filter(|gap| gap.cluster >= began);
        let gaps: Vec<Said> = announced.chain(kept).copied().collect();
        let written = self.written.iter().skip(self.since);
        let mut claimed = written.filter(|one| {
            let behind_a_rebuild = one.cluster > began;
            one.wanted
                && one.topic < self.run.topics
                && (began..=self.cluster).contains(&one.cluster)
                && passed(one)
                // As long as nobody could notice the rebuild, its events are noticed to be others after a restart.
                && (!behind_a_rebuild
                    || self.run.settled
                    || Some(one.index) > highest(one.cluster))
        });
        claimed.find(|one| {
            let told = gaps.iter().any(|gap| {
                // Indexes of two clusters do not compare: up to where the older one had come, any word does.
                let of_a_rebuild = gap.cluster > began
                    && gap.cluster >= one.cluster
                    && (gap.cluster > one.cluster || Some(one.index) <= highest(one.cluster));
                gap.range.has(one.index) || of_a_rebuild
            });
            !told && !self.answered.contains(&one.event)
        })
    }

    /// A state is what the next run begins with: what it passes over never comes again.
    fn save(&mut self, saved: &'h Saved) {
        let at = saved.position;
        self.keep(saved);
        let passed = |one: &Written| {
            one.index < at.index || one.index == at.index && saved.taken.has(one.event)
        };
        // What was announced has to be kept open too, so that it can be filled one day.
        let announced = std::mem::take(&mut self.gaps);
        let lost = self.missing(at, passed, true);
        self.gaps = announced;
        if let Some(lost) = lost {
            let what = format!("saved over without an answer or an open gap: {lost:?}, {saved:?}");
            self.find(Invariant::NothingLost, what);
        }
        if let Covered::Events(events) = &saved.taken
            && let Some(event) = events.iter().find(|event| !self.answered.contains(event))
        {
            let what = format!("event {event} is saved and was not answered: {saved:?}");
            self.find(Invariant::NothingLost, what);
        }
        let mut unanswered = self.run.with_host.values().chain(self.run.errored.values());
        let too_early = |batch: &&HandedOut<'h>| {
            let mut events = batch.events.iter();
            events.any(|event| saved.covers(batch.at, *event))
        };
        if let Some(batch) = unanswered.find(too_early) {
            let what = format!("saved before {} was answered: {saved:?}", batch.at);
            self.find(Invariant::NothingLost, what);
        }
        if let Some(before) = self.saved
            && (before.position > at
                || before.position == at && !saved.taken.includes(&before.taken))
        {
            let what = format!("saved {before:?}, and then {saved:?}");
            self.find(Invariant::AcknowledgedStays, what);
        }
        if let Some(stand) = self.run.stand
            && at > stand.acknowledged.max(self.run.begins)
        {
            let what = format!("saved {at}, of {stand:?}");
            self.find(Invariant::PositionsInOrder, what);
        }
        self.saved = Some(saved);
    }

    /// Notes the gaps that are kept open, each with the cluster at which it was last heard of, alone or within another, or found
    /// again.
    fn keep(&mut self, saved: &'h Saved) {
        let known = std::mem::take(&mut self.kept);
        let cluster = |range: &Range| {
            let known = known.iter().chain(&self.gaps);
            let heard = known.filter(|said| said.range.includes(*range));
            let last = heard.map(|said| said.cluster).max();
            last.unwrap_or(self.cluster)
        };
        let kept = saved.gaps.iter().map(|range| Said {
            range: *range,
            cluster: cluster(range),
        });
        self.kept = kept.collect();
    }

    /// A gap that is found once more speaks of the cluster that is there now, too. Indexes of two clusters do not compare, so
    /// nobody can say more of one that was rebuilt unnoticed.
    fn find_again(&mut self, found: Range) {
        let cluster = self.cluster;
        let known = self.gaps.iter_mut().chain(&mut self.kept);
        for said in known.filter(|said| said.range.includes(found)) {
            said.cluster = cluster;
        }
    }
}
