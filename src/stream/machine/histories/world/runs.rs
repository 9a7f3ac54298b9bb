//! The runs of a script's source: how each begins, what it saves, and how it ends.

mod disk;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::host::Host;
use super::{World, at};
use crate::checkpoint::format::{self, FormatError};
use crate::checkpoint::{GapCause, OpenGap, State, Subscription};
use crate::event::{BatchId, RaftIndex};
use crate::invariants::{Range, Seen};
use crate::options::TopicFilter;
use crate::position::proof::ProofKey;
use crate::position::{Delivery, Epoch, Taken};
use crate::stream::Item;
use crate::stream::machine::histories::rule::{Rule, Ruled};
use crate::stream::machine::histories::script::{Damage, Start};
use crate::stream::machine::{Input, Machine, Rules};
use crate::stream::mark::Mark;
use crate::stream::notice::{Gap, IndexReset, NoticeKind};
use crate::stream::outbox::Outbox;

/// How long a stop may take.
const STOP_DEADLINE: Duration = Duration::from_secs(4);

/// The run that is, and what it leaves to the next.
pub(super) struct Runs {
    rules: Rules,
    pub(super) start: Start,
    /// Whether there is a process.
    pub(super) up: bool,
    /// It subscribes to the first so many topics.
    pub(super) topics: usize,
    /// The state that it began with was of a subscription to the first so many.
    topics_before: usize,
    key: ProofKey,
    /// What is on disk, and what is being written.
    file: Option<Vec<u8>>,
    writing: Option<Vec<u8>>,
    /// There is something to save.
    begun: bool,
    /// Whether a run has come to know where the source begins.
    marked: bool,
    /// How often the cluster had been rebuilt when the source came to know where it begins, and its epochs do.
    pub(super) began_in: BTreeMap<Epoch, usize>,
    /// The start marks that runs have gone on from, each with the number of the cluster that was there then. Nothing of that is
    /// claimed up to the mark: the design takes its index for the proof.
    pub(super) marks: Vec<(usize, u64)>,
    /// Whether the source has come upon a server since it begins.
    pub(super) follows: bool,
    /// Whether its indexes have begun anew, and no line has come since. What it does not come to see of them is in the gap of the
    /// reset, which ends with that line.
    pub(super) anew: bool,
    /// Whether there is something by which another cluster can be known.
    pub(super) has_proofs: bool,
    /// The gap of the reset that was last.
    pub(super) reset: Option<Range>,
    /// The run that has stopped, and the batches that it had handed out.
    gone: Option<(Arc<Outbox>, Vec<BatchId>)>,
}

impl Runs {
    pub(super) fn new(rules: Rules, start: Start) -> Self {
        Self {
            rules,
            start,
            up: false,
            topics: 0,
            topics_before: 0,
            key: rules.proof_key,
            file: None,
            writing: None,
            begun: false,
            marked: false,
            began_in: BTreeMap::new(),
            marks: Vec::new(),
            follows: false,
            anew: false,
            has_proofs: false,
            reset: None,
            gone: None,
        }
    }

    pub(super) fn subscription(&self) -> Subscription {
        let topics = ["Job", "Evaluation"].into_iter().take(self.topics);
        Subscription {
            region: None,
            topics: topics
                .map(|topic| TopicFilter {
                    topic: topic.to_owned(),
                    key: None,
                })
                .collect(),
            namespace: "default".to_owned(),
        }
    }

    /// What came last may have been of a topic that is not subscribed to any more.
    pub(super) fn asked_topics(&self) -> usize {
        self.topics.max(self.topics_before)
    }
}

impl World {
    // --- the beginning ---

    /// A process begins that was away, unless its file is damaged: then it begins when somebody has put the file back.
    pub(super) fn start(&mut self, topics: usize, damage: Option<Damage>) {
        if self.runs.up {
            return;
        }
        if let Some(damage) = damage
            && let Some(whole) = self.runs.file.clone()
        {
            let damaged = damaged(&whole, damage);
            self.runs.file = Some(damaged.clone());
            let seen = self.history.seen.len();
            assert!(self.try_begin(topics).is_err(), "{damage:?} of {whole:?}");
            // Nothing has happened, and nothing has become of it.
            assert!(!self.runs.up && self.history.seen.len() == seen);
            assert_eq!(self.runs.file, Some(damaged));
            self.runs.file = Some(whole);
        }
        self.begin(topics);
    }

    /// A process begins that was written for.
    pub(super) fn begin(&mut self, topics: usize) {
        let begun = self.try_begin(topics);
        assert!(begun.is_ok(), "{begun:?} of {:?}", self.runs.file);
    }

    /// As the driver goes on. With as many topics as before, if none are named.
    fn try_begin(&mut self, topics: usize) -> Result<(), FormatError> {
        let file = self.runs.file.as_deref();
        let saved = file.map(format::decode).transpose()?;
        let runs = &mut self.runs;
        runs.up = true;
        if topics > 0 {
            runs.topics = topics;
        }
        // Keys are random; a state that is read brings its own.
        runs.rules.proof_key = ProofKey::new(runs.rules.proof_key.bits() + 1);
        runs.key = match &saved {
            Some(saved) => saved.key,
            None => runs.rules.proof_key,
        };
        runs.begun = saved.is_some();
        runs.has_proofs = matches!(&saved, Some(State { taken: Taken::Proofs(proofs), .. }) if !proofs.is_empty());
        // Nothing is claimed of a run that has left nothing behind, nor of a cluster that nothing was known of when it went.
        runs.follows &= runs.marked;
        let epoch = saved.as_ref().map(|saved| saved.position.epoch);
        let epoch = epoch.unwrap_or_default();
        let anew = saved.as_ref().and_then(|saved| {
            let mut gaps = saved.gaps.iter();
            gaps.find(|gap| gap.cause == GapCause::IndexReset && gap.to.is_none())
        });
        runs.anew = anew.is_some();
        if let Some(gap) = anew {
            self.history.seen.push(Seen::EpochBegan(gap.epoch));
        } else if runs
            .began_in
            .get(&epoch)
            .is_some_and(|began| *began != self.cluster.number)
            && !runs.has_proofs
        {
            runs.began_in.insert(epoch, self.cluster.number);
            let since = self.cluster.first_of_this();
            self.history.seen.push(Seen::Follows { since });
        }
        let queue_bytes = if self.without == Some(Rule::Room) {
            usize::MAX
        } else {
            self.queue_bytes
        };
        self.history.seen.push(Seen::Started {
            topics: self.runs.topics,
        });
        let machine = Machine::new(self.runs.rules, Mark::Nothing);
        self.machine = Ruled::new(machine, self.without);
        self.outbox = Outbox::new(queue_bytes, None);
        self.outbox.keep_proofs(self.runs.key);
        self.host = Host::default();
        self.forget_unsaved(saved.as_ref());
        match saved {
            Some(saved) => self.resume(saved),
            None => self.begin_at(),
        }
        self.step(Input::Begin, 0);
        Ok(())
    }

    fn resume(&mut self, mut saved: State) {
        if let Some((from, gap)) = saved.leave_history() {
            self.tell(
                from,
                NoticeKind::IndexReset(IndexReset {
                    epoch: gap.epoch,
                    from,
                    to: gap.to,
                    gaps_given_up: 0,
                }),
            );
        }
        let index = saved.position.index;
        if !matches!(saved.taken, Taken::Proofs(_)) {
            self.runs.marks.push((self.cluster.number, index.0));
        }
        if self.machine.lacks(Rule::ProofsAreRead) {
            saved.taken = Taken::Nothing;
        }
        saved.gaps.end(index);
        let told = if self.machine.lacks(Rule::OpenGapsAreToldAgain) {
            0
        } else {
            saved.gaps.len()
        };
        for gap in saved.gaps.iter().take(told) {
            self.tell_gap(Gap::from(gap));
        }
        let change = saved.subscription.change_to(&self.runs.subscription());
        if change.adds() && !self.machine.lacks(Rule::AddedIsGap) {
            let gap = Gap::of_all(RaftIndex(0), Some(index), GapCause::SubscriptionChanged);
            saved.gaps.add(OpenGap {
                epoch: saved.position.epoch,
                topics_left: change.topics_added,
                ..self.kept(&gap)
            });
            self.tell_gap(gap);
        }
        self.runs.topics_before = saved.subscription.topics.len();
        let namespaces = saved.namespaces.clone();
        self.machine
            .machine
            .resume(index, &saved.taken, namespaces, false, saved.key);
        if saved.taken == Taken::Nothing
            && matches!(self.runs.start, Start::From(from) if from == index.0)
        {
            self.machine.machine.waits_as_asked();
        }
        if !change.topics_removed.is_empty() {
            let topics = saved.subscription.topics.clone().into();
            self.outbox.keep_topics(saved.position, topics);
        }
        self.outbox.resume(saved);
    }

    fn begin_at(&mut self) {
        self.runs.topics_before = 0;
        let (mark, taken) = match self.runs.start {
            Start::Nothing => return,
            Start::From(index) => (Mark::From(RaftIndex(index)), Taken::Nothing),
            Start::Latest(lines) => (Mark::Now(RaftIndex(2 * lines as u64)), Taken::All),
        };
        let index = mark.index();
        self.machine.machine.begin_at(mark);
        if self.marked() {
            self.outbox.begin_at(at(index), taken);
            self.runs.begun = true;
            self.save();
        }
    }

    /// The first line has come of a source that begins with the earliest.
    pub(super) fn first_line(&mut self, index: RaftIndex) {
        if self.marked() {
            self.outbox.starts_with(index);
            self.history.seen.push(Seen::Begins(at(index)));
            self.runs.begun = true;
            self.save();
        }
    }

    /// Where the source begins is known, and is to be saved at once.
    fn marked(&mut self) -> bool {
        self.runs.marked = true;
        self.runs
            .began_in
            .insert(Epoch::default(), self.cluster.number);
        !self.machine.lacks(Rule::StartMarkIsSaved)
    }

    // --- the end ---

    /// The process is gone, with all that it had in memory.
    pub(super) fn crash(&mut self, lands: bool, away: bool) {
        if !self.runs.up {
            return;
        }
        if lands {
            self.land();
        }
        self.runs.writing = None;
        self.history.seen.push(Seen::Crashed);
        self.gone();
        if !away {
            self.begin(0);
        }
    }

    fn gone(&mut self) {
        self.runs.up = false;
        self.wire.hang_up();
        self.asked = None;
        self.host = Host::default();
    }

    /// As [`EventStream::close`](crate::EventStream::close) does it. What is answered too late changes nothing.
    pub(super) fn stop(&mut self) {
        if !self.runs.up {
            return;
        }
        {
            let drained = pin!(self.outbox.drained());
            let _ = drained.poll(&mut Context::from_waker(Waker::noop()));
        }
        assert!(
            !matches!(self.poll(), Some(Item::Batch(_))),
            "handed out after the stop"
        );
        for _ in 0..self.host.taken.len() / 2 {
            let batch = self.host.taken.remove(0);
            self.outbox
                .resolve(self.clock, batch.real, Delivery::Delivered);
            self.history
                .seen
                .push(Seen::Resolved(batch.id, Delivery::Delivered));
        }
        // That a sink fails now is no answer, so it is none in the history.
        if let Some(batch) = self.host.taken.last() {
            self.outbox
                .resolve(self.clock, batch.real, Delivery::Errored);
        }
        while self.wait() {}
        assert!(
            !matches!(self.poll(), Some(Item::Batch(_))),
            "handed out again after the stop"
        );
        let left = self.outbox.seal();
        let expected = self.host.taken.len() + self.host.errored;
        assert_eq!(left, expected, "batches without an answer");
        for batch in std::mem::take(&mut self.host.taken) {
            self.outbox
                .resolve(self.clock, batch.real, Delivery::Rejected);
        }
        self.look();
        self.save();
        let took = Duration::ZERO;
        self.history.seen.push(Seen::Stopped {
            took,
            deadline: STOP_DEADLINE,
        });
        let handed_out = (1..=self.host.last_id).map(BatchId).collect();
        self.runs.gone = Some((Arc::clone(&self.outbox), handed_out));
        self.gone();
    }

    /// What is answered after the stop is no news.
    pub(super) fn answer_gone(&mut self, which: usize, delivery: Delivery) {
        if let Some((outbox, handed_out)) = &self.runs.gone
            && !handed_out.is_empty()
        {
            let id = handed_out[which % handed_out.len()];
            let before = outbox.snapshot(self.runs.key, &self.runs.subscription());
            outbox.resolve(self.clock, id, delivery);
            let after = outbox.snapshot(self.runs.key, &self.runs.subscription());
            assert_eq!(before, after, "an answer after the stop");
        }
    }
}

fn damaged(whole: &[u8], damage: Damage) -> Vec<u8> {
    // The newline at the end is none of the document.
    let length = whole.len() - 1;
    let mut bytes = whole.to_vec();
    match damage {
        Damage::CutAt(at) => bytes.truncate(at % length),
        Damage::Flipped(at) => bytes[at % length] ^= 1,
    }
    bytes
}
