//! One stream in the hands of a test.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::script::{Command, Fault};
use super::state::Shared;

/// One stream of a fake, to look at and to disturb.
#[derive(Clone)]
pub struct StreamHandle {
    id: u64,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

impl StreamHandle {
    pub(super) fn new(id: u64, commands: mpsc::Sender<Command>, shared: Arc<Shared>) -> Self {
        Self {
            id,
            commands,
            shared,
        }
    }

    /// Whether neither side has closed it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let state = self.shared.state();
        state
            .streams
            .get(&self.id)
            .is_some_and(|stream| stream.open)
    }

    /// Batches handed to its socket, heartbeats not counted.
    #[must_use]
    pub fn batches_sent(&self) -> u64 {
        let state = self.shared.state();
        state
            .streams
            .get(&self.id)
            .map_or(0, |stream| stream.batches)
    }

    /// The index of the last of them.
    #[must_use]
    pub fn last_index_sent(&self) -> Option<u64> {
        let state = self.shared.state();
        state
            .streams
            .get(&self.id)
            .and_then(|stream| stream.last_index)
    }

    /// Lets a fault happen now, in the middle of a line if one is being written. Nothing happens to a stream that has ended.
    pub fn inject(&self, fault: Fault) {
        self.tell(Command::Fault(fault));
    }

    /// Lets a fault happen in the middle of the next line, heartbeat or batch.
    pub fn inject_in_next_line(&self, fault: Fault) {
        self.tell(Command::InNextLine(fault));
    }

    /// Goes on after [`Fault::Stall`].
    pub fn resume(&self) {
        self.tell(Command::Resume);
    }

    fn tell(&self, command: Command) {
        // Full: the stream has sixteen orders that it could not obey yet. Closed: it has ended. Neither needs one more.
        let _ = self.commands.try_send(command);
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle")
            .field("id", &self.id)
            .field("open", &self.is_open())
            .field("batches_sent", &self.batches_sent())
            .finish_non_exhaustive()
    }
}
