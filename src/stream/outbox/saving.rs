//! What is saved of the outbox: how far everything is answered for, and what goes with it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{Inner, Outbox};
use crate::checkpoint::{
    self, GapCause, KnownNamespaces, OpenGap, OpenGaps, Saver, State, Subscription,
};
use crate::event::RaftIndex;
use crate::options::TopicFilter;
use crate::position::proof::ProofKey;
use crate::position::{Epoch, Position, Taken};

/// Who saves.
#[derive(Debug)]
pub(in crate::stream) struct Saving {
    pub(in crate::stream) saver: Saver,
    pub(in crate::stream) task: JoinHandle<()>,
}

impl Inner {
    /// There is something new to save.
    pub(super) fn changed(&self) {
        if let Some(saving) = &self.saving
            && self.begun
        {
            saving.saver.changed();
        }
    }
}

impl Outbox {
    /// Goes on where an earlier run stopped. Nothing was pushed yet.
    pub(in crate::stream) fn resume(&self, saved: State) {
        let mut state = self.lock();
        state
            .ledger
            .begin_at(saved.position, saved.taken, saved.newest);
        state.begun = true;
        state.gaps = saved.gaps;
        state.namespaces = saved.namespaces;
        self.gauge(&mut state);
        self.telemetry.open_gaps(state.gaps.len());
        self.telemetry.saved(saved.position);
    }

    /// Begins at a place that a user has asked for, which is saved at once. Nothing was pushed yet.
    pub(in crate::stream) fn begin_at(&self, position: Position, taken: Taken) {
        let mut state = self.lock();
        state.ledger.begin_at(position, taken, None);
        state.begun = true;
        self.gauge(&mut state);
        state.changed();
    }

    /// The first line that can be had is of this index, which is saved at once: what of it is forgotten from now on is missed.
    pub(in crate::stream) fn starts_with(&self, index: RaftIndex) {
        let mut state = self.lock();
        state.ledger.starts_with(index);
        state.begun = true;
        state.changed();
    }

    /// Indexes begin anew. Gaps of those before cannot be filled any more: this one takes their place. Gives how many there were.
    pub(in crate::stream) fn begin_epoch(&self, gap: OpenGap) -> (Epoch, usize) {
        let mut state = self.lock();
        let given_up = state.gaps.len();
        state.ledger.begin_epoch(gap.newest);
        let epoch = state.ledger.positions().read.epoch;
        state.gaps = OpenGaps::default();
        state.gaps.add(OpenGap { epoch, ..gap });
        state.suspected = None;
        state.namespaces = KnownNamespaces::Unknown;
        state.subscription = None;
        self.gauge(&mut state);
        self.gaps_changed(&state);
        (epoch, given_up)
    }

    /// Keeps a gap until it is filled. Says whether it is news: no gap that is kept already, and was announced, has all of it.
    pub(in crate::stream) fn open_gap(&self, gap: OpenGap) -> bool {
        let mut state = self.lock();
        let decides = gap.cause.is_of_continuity();
        let suspected = state.suspected.take_if(|from| decides && *from == gap.from);
        let news = suspected.is_some() || !state.gaps.cover(&gap);
        if news {
            state.gaps.add(gap);
            self.gaps_changed(&state);
        }
        news
    }

    /// Keeps a gap that is not announced, until it is or [is none](Self::close_doubt).
    pub(in crate::stream) fn suspect(&self, gap: OpenGap) {
        let mut state = self.lock();
        if !state.gaps.cover(&gap) {
            state.suspected = Some(gap.from);
            state.gaps.add(gap);
            self.gaps_changed(&state);
        }
    }

    /// It is the same cluster, and there is no gap from this index on after all: what was in doubt is shown.
    ///
    /// One that was announced stays. What shows it now may be what was in doubt when that connection, or that process, ended.
    pub(in crate::stream) fn close_doubt(&self, from: RaftIndex) {
        let mut state = self.lock();
        state.subscription = None;
        if state.suspected.take() == Some(from) {
            state.gaps.retain(|gap| {
                gap.from != from || gap.cause != GapCause::Unproven || gap.namespace.is_some()
            });
        }
        self.gaps_changed(&state);
    }

    fn gaps_changed(&self, state: &Inner) {
        self.telemetry.open_gaps(state.gaps.len());
        state.changed();
    }

    /// Keeps which namespaces are covered.
    pub(in crate::stream) fn note_namespaces(&self, known: KnownNamespaces) {
        let mut state = self.lock();
        state.namespaces = known;
        state.changed();
    }

    /// Saves another subscription than the one there is, until it is known to be of the same cluster.
    pub(in crate::stream) fn note_subscription(&self, subscription: Subscription) {
        self.lock().subscription = Some(subscription);
    }

    /// Saves these topics for as long as the position is this one: what was taken there may be of one that is not subscribed to any
    /// more.
    pub(in crate::stream) fn keep_topics(&self, position: Position, topics: Arc<[TopicFilter]>) {
        self.lock().topics_of = Some((position, topics));
    }

    /// Keeps, from now on, what is needed to save the position.
    pub(in crate::stream) fn keep_proofs(&self, key: ProofKey) {
        self.lock().ledger.keep_proofs(key);
    }

    /// What is to be saved at this moment. Proofs are computed without the lock. `subscription` is what is saved, unless another one
    /// was noted.
    pub(in crate::stream) fn snapshot(&self, key: ProofKey, subscription: &Subscription) -> State {
        let (answered, gaps, namespaces, noted, topics_of) = {
            let state = self.lock();
            (
                state.ledger.answered(),
                state.gaps.clone(),
                state.namespaces.clone(),
                state.subscription.clone(),
                state.topics_of.clone(),
            )
        };
        let mut subscription = noted.unwrap_or_else(|| subscription.clone());
        if let Some((_, topics)) = topics_of.filter(|(at, _)| *at == answered.position) {
            subscription.topics = topics.to_vec();
        }
        State {
            position: answered.position,
            newest: answered.newest,
            subscription,
            gaps,
            namespaces,
            key,
            taken: answered.taken(key),
        }
    }

    /// Lets what changes from now on be saved; if somebody still reads the stream.
    pub(in crate::stream) fn attach(&self, saving: Saving) {
        let mut state = self.lock();
        if !state.detached {
            state.saving = Some(saving);
            state.changed();
        }
    }

    /// Saves nothing any more: gives who did. To be called once nobody reads the stream.
    pub(in crate::stream) fn detach(&self) -> Option<Saving> {
        let mut state = self.lock();
        state.detached = true;
        state.saving.take()
    }

    /// Whether there is somebody who saves.
    pub(in crate::stream) fn saves(&self) -> bool {
        self.lock().saving.is_some()
    }

    /// What came of a saving.
    pub(in crate::stream) fn note_saved(&self, outcome: &checkpoint::Outcome<'_>) {
        match outcome {
            checkpoint::Outcome::Saved { position, failures } => {
                self.telemetry.saved(*position);
                self.telemetry.saves(*failures);
                let mut state = self.lock();
                let answered = state.ledger.answered_up_to();
                if let Err(violated) = state.watch.saved(*position, answered) {
                    self.violated(violated);
                }
            }
            checkpoint::Outcome::Failed { error, news } => self.telemetry.not_saved(error, *news),
        }
    }
}
