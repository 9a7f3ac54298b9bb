//! Where the acknowledged position is kept, so that a restart goes on where the last run stopped.
//!
//! - [`State`] is what is kept, and [`mod@format`] how it stands in the file; [`Subscription`] tells what a user has changed in
//!   between. All of that is pure.
//! - [`Folder`] is where it is kept. Anybody may read it; only its [`Owner`], who holds a lock, writes.
//! - [`Saver`] writes in the background, at most once a second.
//!
//! What cannot be read is an error, never a reason to start anew: a position that is forgotten in silence loses events in silence.

mod file;
pub mod format;
mod lock;
mod saver;
mod state;
mod subscription;

pub use file::{
    Folder, FolderError, MAX_FILE_BYTES, ReadError, ReadProblem, WriteError, WriteProblem,
};
pub use lock::{HELD_EVERY, LOCK_POLL, LockError, Owner};
pub use saver::{Flushed, MAX_RETRY_PAUSE, Outcome, SAVE_EVERY, Saver, Store};
pub use state::{GapCause, KnownNamespaces, MAX_OPEN_GAPS, OpenGap, OpenGaps, State};
pub use subscription::{Changed, Subscription, SubscriptionChange};

#[cfg(test)]
mod tests;
