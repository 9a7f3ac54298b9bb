//! What can go wrong with a push.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// What happens to one push.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It is not stored; the answer is this status with this text.
    Status {
        /// The status code.
        status: u16,
        /// The body of the answer.
        body: String,
    },
    /// It is handled as usual after a while.
    Delay(Duration),
    /// It is handled as usual once the gate is open.
    Hold(Gate),
    /// It is not stored, and the connection is cut without an answer.
    Close,
    /// It is stored, and the answer is 500.
    WrittenButFailed,
    /// It is stored, and the connection is cut without an answer.
    WrittenThenClosed,
    /// It is handled as usual: a place in the script that does nothing.
    None,
}

/// Holds pushes back until it is opened. Clones are the same gate; it does not close again.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

/// The queue of faults.
#[derive(Debug, Default)]
pub(super) struct Script {
    next: VecDeque<Fault>,
    /// When the queue is empty.
    pub(super) afterwards: Option<Fault>,
}

impl Fault {
    /// An answer with this status and text, nothing stored.
    #[must_use]
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Status {
            status,
            body: body.into(),
        }
    }
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything through, from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(super) async fn passed(&self) {
        // The only error is that the sender is gone, and `self` holds it.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    pub(super) fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.next.extend(faults);
    }

    pub(super) fn len(&self) -> usize {
        self.next.len()
    }

    /// What the next push gets.
    pub(super) fn take(&mut self) -> Fault {
        self.next
            .pop_front()
            .or_else(|| self.afterwards.clone())
            .unwrap_or(Fault::None)
    }
}
