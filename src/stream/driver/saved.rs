//! The saved position: who has it, where it makes the source begin, and who saves the next one.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::super::agents::Agents;
use super::super::notice::{Gap, IndexReset, NoticeKind, Started};
use super::super::outbox::{Outbox, Saving};
use super::Driver;
use crate::backoff::doubled;
use crate::checkpoint::{
    Folder, GapCause, KnownNamespaces, OpenGap, Owner, Saver, State, Subscription,
    SubscriptionChange,
};
use crate::event::RaftIndex;
use crate::options::{StartAt, TopicFilter};
use crate::payload::time::Dating;
use crate::position::proof::ProofKey;
use crate::position::{Epoch, Taken};

/// The pause after the first failure to get a folder; it doubles with each further one.
const CLAIM_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts.
const CLAIM_PAUSE_MAX: Duration = Duration::from_secs(30);

impl<A: Agents> Driver<A> {
    /// Becomes the owner of the saved position, reads it, and sets where to begin. Waits as long as somebody else has it, or it
    /// cannot be had: to begin anew is not ours to choose. Says whether something was saved.
    pub(super) async fn go_on(&mut self) -> bool {
        let claimed = match self.settings.folder.clone() {
            Some(folder) => {
                // A disk that hangs shows by nothing else.
                self.outbox.telemetry.claiming(&folder);
                Some(claim(folder, Arc::clone(&self.outbox)).await)
            }
            None => None,
        };
        self.outbox.activate();
        let subscription = Subscription::of(&self.settings);
        let Some((owner, mut saved)) = claimed else {
            self.started(None, &SubscriptionChange::default());
            return false;
        };
        let left = saved.as_mut().and_then(State::leave_history);
        let change = saved
            .as_ref()
            .map(|saved| saved.subscription.change_to(&subscription))
            .unwrap_or_default();
        self.started(saved.as_ref(), &change);
        if let Some((from, gap)) = left {
            // The stop came between the reset and the last answer from before.
            let reset = IndexReset {
                epoch: gap.epoch,
                from,
                to: gap.to,
                gaps_given_up: 0,
            };
            self.tell_reset(reset);
        }
        let resumes = saved.is_some();
        if let Some(saved) = saved {
            self.outbox.telemetry.resumed(&saved, &change);
            self.resume(saved, &change);
        }
        let key = self.machine.proof_key();
        self.outbox.keep_proofs(key);
        self.save(owner, key, subscription);
        resumes
    }

    fn started(&self, saved: Option<&State>, change: &SubscriptionChange) {
        let settings = &self.settings;
        self.notice(
            saved.map_or(RaftIndex(0), |saved| saved.position.index),
            NoticeKind::Started(Started {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                endpoints: settings.endpoint_names(),
                topics: settings.topics.iter().map(ToString::to_string).collect(),
                namespace: settings.namespace.clone(),
                start_at: settings.start_at.to_string(),
                continuity: if saved.is_some() { "saved" } else { "none" },
                resumed_from: saved.map(|saved| saved.position.index),
                epoch: saved.map(|saved| saved.position.epoch).unwrap_or_default(),
                open_gaps: saved.map_or(0, |saved| saved.gaps.len()),
                saves_position: settings.folder.is_some(),
                subscription_changed: (!change.is_none()).then(|| change.to_string()),
            }),
        );
    }

    fn resume(&mut self, mut saved: State, change: &SubscriptionChange) {
        let at = saved.position.index;
        saved.gaps.end(at);
        for gap in saved.gaps.iter() {
            self.announce(Gap::from(gap));
        }
        if change.adds() {
            let topics_left = match change.namespace {
                Some(_) => self.settings.topics.clone(),
                None => change.topics_added.clone(),
            };
            let gap = Gap::of_all(RaftIndex(0), Some(at), GapCause::SubscriptionChanged);
            let epoch = saved.position.epoch;
            saved.gaps.add(open(&gap, epoch, topics_left, saved.newest));
            self.tell_gap(gap);
        }
        if change.namespace.is_some() {
            // What was known is of other namespaces.
            saved.namespaces = KnownNamespaces::Unknown;
        }
        self.dating = Dating::resuming(saved.newest);
        self.machine.resume(
            at,
            &saved.taken,
            saved.namespaces.clone(),
            change.region.is_some(),
            saved.key,
        );
        if saved.taken == Taken::Nothing && self.settings.start_at == StartAt::Index(at) {
            self.machine.waits_as_asked();
        }
        // What came last may have been of a topic that is not subscribed to any more.
        let mut topics = self.settings.topics.clone();
        for topic in &saved.subscription.topics {
            if !topics.contains(topic) {
                topics.push(topic.clone());
            }
        }
        self.asked_topics = topics.into();
        if !change.topics_removed.is_empty() {
            // Nor would a restart know that, before the position has moved.
            self.outbox
                .keep_topics(saved.position, Arc::clone(&self.asked_topics));
        }
        if let Some(region) = &change.region {
            // Until it is known to be the same cluster, a restart has to ask again.
            let mut subscription = Subscription::of(&self.settings);
            subscription.region.clone_from(&region.from);
            self.outbox.note_subscription(subscription);
        }
        self.outbox.resume(saved);
    }

    pub(super) fn announce(&self, gap: Gap) {
        self.notice(gap.to.unwrap_or(gap.from), NoticeKind::Gap(gap));
    }

    /// Lets what is acknowledged be saved, in a task that outlives this one: a stop saves too.
    fn save(&self, owner: Owner, key: ProofKey, subscription: Subscription) {
        let of_snapshot = Arc::clone(&self.outbox);
        let of_report = Arc::clone(&self.outbox);
        let (saver, task) = Saver::new(
            owner,
            move || of_snapshot.snapshot(key, &subscription),
            move |outcome| of_report.note_saved(&outcome),
        );
        let task = tokio::spawn(task.in_current_span());
        self.outbox.attach(Saving { saver, task });
    }
}

/// Gets the folder and reads it, however long that takes.
async fn claim(folder: Folder, outbox: Arc<Outbox>) -> (Owner, Option<State>) {
    let telemetry = &outbox.telemetry;
    let mut failures = 0;
    let mut told = None;
    loop {
        let held = |since| telemetry.standby(Some((&folder, since)));
        let problem = match folder.clone().acquire(held).await {
            Ok(owner) => {
                telemetry.standby(None);
                let reading = tokio::task::spawn_blocking(move || (owner.read(), owner));
                match reading.await {
                    Ok((Ok(saved), owner)) => return (owner, saved),
                    Ok((Err(error), _)) => error.to_string(),
                    Err(_) => "the reading of the saved position broke off".to_owned(),
                }
            }
            Err(error) => error.to_string(),
        };
        telemetry.folder_unusable(&problem, told.as_ref() != Some(&problem));
        told = Some(problem);
        failures += 1;
        tokio::time::sleep(doubled(CLAIM_PAUSE, failures, CLAIM_PAUSE_MAX)).await;
    }
}

/// A gap as it is kept.
pub(super) fn open(
    gap: &Gap,
    epoch: Epoch,
    topics_left: Vec<TopicFilter>,
    newest: Option<i64>,
) -> OpenGap {
    OpenGap {
        epoch,
        from: gap.from,
        to: gap.to,
        cause: gap.cause,
        namespace: gap.namespace.clone(),
        topics_left,
        newest,
    }
}
