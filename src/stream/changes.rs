//! What new versions of jobs have changed, asked for when their events come.
//!
//! An event and its changes go on together, so reading waits for the answer: [`LOOK_UP_TIMEOUT`] for a line at most, and after a
//! failure nothing is asked for [`REST`] times as long as it took. So a Nomad that does not answer costs a tenth of the time, and
//! events that say that their changes are not known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::agents::Agents;
use crate::changes::{Changes, JobVersion};
use crate::envelope::{Envelope, RawEvent};
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;

/// The questions about one line take no longer.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// After a failure nothing is asked for so many times as long as it took.
const REST: u32 = 9;

/// Of so many jobs is remembered what Nomad has answered, and which version was told last.
const MAX_JOBS: usize = 256;

/// The most that is remembered (bytes), unless it is of one job.
const MAX_BYTES: usize = 4 * 1024 * 1024;

const TOPIC: &str = "Job";

/// Said of a version whose changes were not asked for, or not remembered: there is room for [`MAX_BYTES`].
const NOT_ASKED: &str =
    "not asked: the question before had failed, or too much has changed at once";

/// A job, from its registration to its purge.
#[derive(Clone, Debug, PartialEq, Eq)]
struct JobKey {
    namespace: String,
    id: String,
    create_index: RaftIndex,
}

/// What an event shows for the first time.
struct NewVersion {
    job: JobKey,
    version: u64,
}

/// What is remembered of a job.
struct Known {
    job: JobKey,
    changes: BTreeMap<u64, Arc<Changes>>,
    /// Of the changes.
    bytes: usize,
    /// The newest version whose changes have gone along with an event.
    told: u64,
}

/// Finds out what new versions have changed, and says it once for each.
#[derive(Default)]
pub(super) struct JobVersions {
    /// Those that were asked about last are at the end.
    known: VecDeque<Known>,
    /// After a failure.
    rest_until: Option<Instant>,
}

/// What became of the questions about a line.
#[derive(Default)]
pub(super) struct LookedUp {
    /// The most that the changes of its events keep in memory.
    pub(super) bytes: usize,
    /// How the last question ended; `None` if nothing was asked.
    pub(super) asked: Option<Result<(), Error>>,
}

impl JobVersions {
    /// Asks for the changes of all new versions in a line, unless they are known. Bounded in time.
    ///
    /// # Cancel safety
    ///
    /// What was answered until then is remembered.
    pub(super) async fn look_up<A: Agents>(
        &mut self,
        agents: &A,
        endpoint: usize,
        line: &Envelope,
    ) -> LookedUp {
        let deadline = Instant::now() + LOOK_UP_TIMEOUT;
        let mut done = LookedUp::default();
        for event in &line.events {
            let Some(new) = new_version(event, line.index) else {
                continue;
            };
            if self.is_told(&new) {
                continue;
            }
            if self.changes_of(&new).is_none() && !self.rests() {
                let asked = self.ask(agents, endpoint, &new, deadline).await;
                done.asked = Some(asked);
            }
            let changes = self
                .changes_of(&new)
                .map_or_else(|| unknown(NOT_ASKED), Arc::clone);
            done.bytes += changes.bytes();
        }
        done
    }

    /// The changes that an event is to take along: those of a version that no event has shown before.
    pub(super) fn tell(&mut self, event: &RawEvent, index: RaftIndex) -> Option<Arc<Changes>> {
        let new = new_version(event, index)?;
        if self.is_told(&new) {
            return None;
        }
        let changes = self
            .changes_of(&new)
            .map_or_else(|| unknown(NOT_ASKED), Arc::clone);
        self.entry(new.job).told = new.version;
        Some(changes)
    }

    /// Other indexes begin: a version may come again and be another one.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    async fn ask<A: Agents>(
        &mut self,
        agents: &A,
        endpoint: usize,
        new: &NewVersion,
        deadline: Instant,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let NewVersion { job, version } = new;
        let asking = agents.job_versions(endpoint, &job.namespace, &job.id);
        let answer = timeout_at(deadline, asking).await.unwrap_or_else(|_| {
            let secs = LOOK_UP_TIMEOUT.as_secs();
            Err(Error::new(
                ErrorKind::List,
                format!("no answer within {secs} s"),
            ))
        });
        let (changes, failure) = match answer {
            Ok(versions) => (changes_by_version(job, *version, versions), Ok(())),
            Err(error) => {
                self.rest_until = Some(Instant::now() + begun.elapsed() * REST);
                let changes = BTreeMap::from([(*version, unknown(error.context()))]);
                (changes, Err(error))
            }
        };
        self.remember(job, changes);
        failure
    }

    fn rests(&self) -> bool {
        self.rest_until.is_some_and(|until| Instant::now() < until)
    }

    fn of(&self, job: &JobKey) -> Option<&Known> {
        self.known.iter().find(|known| known.job == *job)
    }

    fn is_told(&self, new: &NewVersion) -> bool {
        self.of(&new.job)
            .is_some_and(|known| known.told >= new.version)
    }

    fn changes_of(&self, new: &NewVersion) -> Option<&Arc<Changes>> {
        self.of(&new.job)?.changes.get(&new.version)
    }

    /// What is remembered of a job, at the end.
    fn entry(&mut self, job: JobKey) -> &mut Known {
        let place = self.known.iter().position(|known| known.job == job);
        let known = place.and_then(|place| self.known.remove(place));
        self.known.push_back(known.unwrap_or(Known {
            job,
            changes: BTreeMap::new(),
            bytes: 0,
            told: 0,
        }));
        while self.known.len() > 1 && (self.known.len() > MAX_JOBS || self.bytes() > MAX_BYTES) {
            self.known.pop_front();
        }
        let last = self.known.len() - 1;
        &mut self.known[last]
    }

    fn remember(&mut self, job: &JobKey, changes: BTreeMap<u64, Arc<Changes>>) {
        let known = self.entry(job.clone());
        known.bytes = changes.values().map(|changes| changes.bytes()).sum();
        known.changes = changes;
    }

    fn bytes(&self) -> usize {
        self.known.iter().map(|known| known.bytes).sum()
    }
}

/// What an answer says of a job's versions, and of the one that was asked about in any case.
fn changes_by_version(
    job: &JobKey,
    asked: u64,
    versions: Vec<JobVersion>,
) -> BTreeMap<u64, Arc<Changes>> {
    let mut why = "Nomad does not have this version any more";
    let mut by_version = BTreeMap::new();
    for known in versions {
        if known.create_index != job.create_index {
            continue;
        }
        match known.changes {
            Some(changes) => {
                by_version.insert(known.version, Arc::new(Changes::Known(changes)));
            }
            None if known.version == asked => {
                why = "Nomad does not have the version before any more";
            }
            None => {}
        }
    }
    by_version.entry(asked).or_insert_with(|| unknown(why));
    by_version
}

fn unknown(why: &str) -> Arc<Changes> {
    Arc::new(Changes::Unknown(why.to_owned()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Payload {
    job: Job,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Job {
    #[serde(rename = "ID")]
    id: String,
    version: u64,
    create_index: RaftIndex,
    job_modify_index: RaftIndex,
}

/// The version that an event shows, if it was written with the event's index, and something was there to be changed.
///
/// The type of the event does not tell: a deployment that fails and goes back to an older version writes a new one, and its job
/// comes as `DeploymentStatusUpdate`. `JobModifyIndex` is set when the job's specification is written, and then the version rises
/// (`nomad/state/state_store.go`, `upsertJobImpl`). One index can show the same version twice.
fn new_version(event: &RawEvent, index: RaftIndex) -> Option<NewVersion> {
    if event.topic != TOPIC {
        return None;
    }
    let Payload { job } = serde_json::from_slice(&event.payload).ok()?;
    (job.job_modify_index == index && job.version > 0).then(|| NewVersion {
        job: JobKey {
            namespace: event.namespace.to_string(),
            id: job.id,
            create_index: job.create_index,
        },
        version: job.version,
    })
}
