//! Saves in the background: the newest state, at most once a second, for as long as the stream goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::file::{Folder, WriteError, WriteProblem};
use super::state::State;
use crate::backoff::doubled;
use crate::position::Position;

/// The least time between the beginnings of two writes.
pub const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The longest pause between two attempts while saving fails. The first is [`SAVE_EVERY`], each is twice the one before.
pub const MAX_RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Where states go. [`Owner`](super::Owner) is one.
pub trait Store: Send + Sync + 'static {
    /// The folder, for messages.
    fn folder(&self) -> &Folder;

    /// Replaces what was saved, as a whole. May block.
    ///
    /// # Errors
    ///
    /// When it may not last: then the old one has stayed, but for a folder that cannot be synced.
    fn write(&self, state: &State) -> Result<(), WriteError>;
}

/// What came of a write.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<'e> {
    /// It is saved.
    Saved {
        /// How far.
        position: Position,
        /// How many attempts had failed since the last that did not. More than none: saving works again.
        failures: u64,
    },
    /// It is not.
    Failed {
        /// Why.
        error: &'e WriteError,
        /// Whether it is another cause than that of the attempt before.
        news: bool,
    },
}

/// What [`Saver::flush`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flushed {
    /// Everything up to the call is saved.
    Saved,
    /// The attempt has failed, and was reported.
    Failed,
    /// It was not done in time. It may still be.
    TimedOut,
}

/// Tells the task that saves what there is to do. Cheap to clone, usable from any thread.
///
/// The task ends with the last clone. What is not saved then is repeated after a restart; [`flush`](Self::flush) before.
#[derive(Clone, Debug)]
pub struct Saver {
    wanted: Arc<watch::Sender<Wanted>>,
    done: watch::Receiver<Done>,
}

/// Numbers that only rise.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    /// Changes so far.
    changes: u64,
    /// Flushes so far.
    flushes: u64,
}

/// What of it was done.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    /// The changes that are saved.
    changes: u64,
    /// The flushes after whose call a write was begun, and has ended.
    flushes: u64,
}

impl Saver {
    /// A saver, and its task, which the caller spawns: it runs in the span and with the recorder of the caller's choice.
    ///
    /// `snapshot` gives the newest state. It is called on a thread for blocking work, just before a write and never twice at a
    /// time, so it may compute proofs. `report` is called in the task, for every write.
    ///
    /// The store is kept until a write that is under way has ended, also when the task is aborted: with an
    /// [`Owner`](super::Owner), nobody else gets the folder before.
    pub fn new(
        store: impl Store,
        snapshot: impl Fn() -> State + Send + Sync + 'static,
        report: impl Fn(Outcome<'_>) + Send + Sync + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (wanted, wanted_of_task) = watch::channel(Wanted::default());
        let (done_of_task, done) = watch::channel(Done::default());
        let task = Task {
            work: Arc::new((store, snapshot)),
            report,
            wanted: wanted_of_task,
            done: done_of_task,
            failures: Failures::default(),
        };
        let saver = Self {
            wanted: Arc::new(wanted),
            done,
        };
        (saver, task.run())
    }

    /// There is something new to save. Returns at once; the write comes within [`SAVE_EVERY`] of the last one.
    pub fn changed(&self) {
        self.wanted.send_modify(|wanted| wanted.changes += 1);
    }

    /// Saves at once what has changed up to now, and waits for it, at most for `within`. One attempt: a disk that is full when
    /// a source stops will be so in a second.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the request back.
    pub async fn flush(&self, within: Duration) -> Flushed {
        let mut done = self.done.clone();
        let changes = self.wanted.borrow().changes;
        if done.borrow().changes >= changes {
            return Flushed::Saved;
        }
        let mut flush = 0;
        self.wanted.send_modify(|wanted| {
            wanted.flushes += 1;
            flush = wanted.flushes;
        });
        let ended = done.wait_for(|done| done.changes >= changes || done.flushes >= flush);
        match tokio::time::timeout(within, ended).await {
            Ok(Ok(done)) if done.changes >= changes => Flushed::Saved,
            // Or the task is gone.
            Ok(_) => Flushed::Failed,
            Err(_) => Flushed::TimedOut,
        }
    }
}

struct Task<S, F, R> {
    work: Arc<(S, F)>,
    report: R,
    wanted: watch::Receiver<Wanted>,
    done: watch::Sender<Done>,
    failures: Failures,
}

/// Those since the last write that was none.
#[derive(Default)]
struct Failures {
    count: u64,
    cause: Option<&'static str>,
}

impl<S, F, R> Task<S, F, R>
where
    S: Store,
    F: Fn() -> State + Send + Sync + 'static,
    R: Fn(Outcome<'_>),
{
    async fn run(mut self) {
        let mut next = Instant::now();
        while self.wait(next).await {
            let wanted = *self.wanted.borrow_and_update();
            let began = Instant::now();
            let work = Arc::clone(&self.work);
            let writing = tokio::task::spawn_blocking(move || {
                let (store, snapshot) = &*work;
                let state = snapshot();
                store.write(&state).map(|()| state.position)
            });
            let written = writing
                .await
                .unwrap_or_else(|_| Err(self.work.0.folder().not_saved(WriteProblem::BrokeOff)));
            let saved = written.is_ok();
            next = match self.settle(written) {
                None => began + SAVE_EVERY,
                Some(pause) => Instant::now() + pause,
            };
            let now = *self.wanted.borrow();
            self.done.send_modify(|done| {
                done.flushes = wanted.flushes;
                if saved {
                    done.changes = wanted.changes;
                    // A flush that came meanwhile and has nothing newer is served too.
                    if now.changes == wanted.changes {
                        done.flushes = now.flushes;
                    }
                }
            });
        }
    }

    /// Waits until there is something to save and it is time, or somebody waits for it. `false` when nobody is left who could.
    async fn wait(&mut self, next: Instant) -> bool {
        let done = *self.done.borrow();
        let something = self.wanted.wait_for(|wanted| wanted.changes > done.changes);
        if something.await.is_err() {
            return false;
        }
        tokio::select! {
            biased;
            flush = self.wanted.wait_for(|wanted| wanted.flushes > done.flushes) => flush.is_ok(),
            () = tokio::time::sleep_until(next) => true,
        }
    }

    /// Reports, and gives the pause before the next attempt after a failure.
    fn settle(&mut self, written: Result<Position, WriteError>) -> Option<Duration> {
        match written {
            Ok(position) => {
                let failures = std::mem::take(&mut self.failures).count;
                (self.report)(Outcome::Saved { position, failures });
                None
            }
            Err(error) => {
                let news = self.failures.cause.replace(error.cause()) != Some(error.cause());
                (self.report)(Outcome::Failed {
                    error: &error,
                    news,
                });
                self.failures.count += 1;
                let failures = u32::try_from(self.failures.count).unwrap_or(u32::MAX);
                Some(doubled(SAVE_EVERY, failures, MAX_RETRY_PAUSE))
            }
        }
    }
}
