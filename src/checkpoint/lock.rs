//! One owner for each folder: two that write would take each other's position back.
//!
//! The lock is an advisory one on a file of its own, which stays. It ends with the process, however that ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::file::{Folder, ReadError, WriteError, WriteProblem, for_us_alone, sync_folder};
use super::saver::Store;
use super::state::State;
use crate::shown;

/// How often a standby looks whether the folder is free.
pub const LOCK_POLL: Duration = Duration::from_secs(1);

/// How often it is told that it is not.
pub const HELD_EVERY: Duration = Duration::from_secs(60);

/// Locked by the owner.
const LOCK_FILE: &str = "lock";

/// Who may write to a folder, for as long as this lives. The lock goes with it.
#[derive(Debug)]
pub struct Owner {
    folder: Folder,
    lock: File,
}

/// Why a folder cannot be owned. The text names it and what to do.
#[derive(Debug, Error)]
#[error("no position can be saved in {}: {problem}", shown::path(path))]
pub struct LockError {
    path: PathBuf,
    problem: LockProblem,
}

#[derive(Debug, Error)]
enum LockProblem {
    #[error("{} does not exist; make it, or set `data_dir` to a folder that does", shown::path(.0))]
    NoParent(PathBuf),
    #[error("it is not a folder; move it away, or set another `data_dir`")]
    NotAFolder,
    #[error("it cannot be made: {0}; let the user of this process write to the folder above it")]
    Create(io::Error),
    #[error("the lock file in it cannot be opened: {0}; let the user of this process write there")]
    Open(io::Error),
    #[error("it cannot be locked: {0}; set `data_dir` to a file system that has locks")]
    Lock(io::Error),
    #[error("the attempt to lock it broke off")]
    BrokeOff,
}

enum Attempt {
    Owned(Owner),
    Held,
}

impl Folder {
    /// Becomes the owner. Makes the folder, not those above it. Waits while somebody else owns it, in this process or in another;
    /// `held` is told then, at once and every [`HELD_EVERY`], how long it has been.
    ///
    /// What was saved is to be read after this, even if it was read before: the last owner may have gone on meanwhile.
    ///
    /// # Errors
    ///
    /// When it cannot be made or locked. Nothing is tried again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves an empty folder and a lock file at most, and nothing locked.
    pub async fn acquire(self, mut held: impl FnMut(Duration)) -> Result<Owner, LockError> {
        let since = Instant::now();
        let mut tell_at = since;
        loop {
            let folder = self.clone();
            // Network file systems can take long. An owner whom nobody takes any more is dropped with its lock.
            let attempt = tokio::task::spawn_blocking(move || folder.attempt()).await;
            let problem = match attempt {
                Ok(Ok(Attempt::Owned(owner))) => return Ok(owner),
                Ok(Ok(Attempt::Held)) => {
                    let now = Instant::now();
                    if now >= tell_at {
                        held(now - since);
                        tell_at = now + HELD_EVERY;
                    }
                    tokio::time::sleep(LOCK_POLL).await;
                    continue;
                }
                Ok(Err(problem)) => problem,
                Err(_) => LockProblem::BrokeOff,
            };
            return Err(LockError {
                path: self.path().to_owned(),
                problem,
            });
        }
    }

    fn attempt(self) -> Result<Attempt, LockProblem> {
        make(self.path())?;
        let path = self.path().join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        for_us_alone(&mut options);
        let lock = options.open(&path).map_err(LockProblem::Open)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Held),
            Err(TryLockError::Error(error)) => return Err(LockProblem::Lock(error)),
        }
        let owner = Owner { folder: self, lock };
        // Somebody can have removed the folder between opening and locking: that lock keeps nobody out. Another one does.
        match owner.owns() {
            Ok(true) => Ok(Attempt::Owned(owner)),
            Ok(false) => Ok(Attempt::Held),
            Err(error) => Err(LockProblem::Open(error)),
        }
    }
}

impl Owner {
    /// The folder that is owned.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Reads what was saved, as [`Folder::read`] does.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn read(&self) -> Result<Option<State>, ReadError> {
        self.folder.read()
    }

    /// Replaces what was saved, as a whole: whoever reads finds the old one or the new one. It lasts when this returns, also if
    /// the machine stops.
    ///
    /// Blocks on the file system.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or the lock file is not ours any more. What was saved before stays, but for a folder that cannot be synced.
    pub fn write(&self, state: &State) -> Result<(), WriteError> {
        match self.owns() {
            Ok(true) => self.folder.write(state),
            Ok(false) => Err(self.folder.not_saved(WriteProblem::LockLost)),
            Err(error) => Err(self.folder.not_saved(WriteProblem::Io {
                step: "look at the lock file",
                error,
            })),
        }
    }

    /// Whether the locked file is still the one that others find.
    fn owns(&self) -> io::Result<bool> {
        match fs::metadata(self.folder.path().join(LOCK_FILE)) {
            Ok(found) => Ok(is_same(&found, &self.lock.metadata()?)),
            // Without its folder there is no place to write to, which says more than a lost lock.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.folder.path().is_dir() =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Store for Owner {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn write(&self, state: &State) -> Result<(), WriteError> {
        Self::write(self, state)
    }
}

/// Makes the folder, unless it is there.
fn make(path: &Path) -> Result<(), LockProblem> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Ok(()) => {
            // Best effort: without the folder a restart repeats events, which a disk that cannot sync does anyway.
            if let Some(parent) = path.parent() {
                let _ = sync_folder(parent);
            }
            Ok(())
        }
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::AlreadyExists => LockProblem::NotAFolder,
            io::ErrorKind::NotFound => {
                LockProblem::NoParent(path.parent().unwrap_or(path).to_owned())
            }
            _ => LockProblem::Create(error),
        }),
    }
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}
