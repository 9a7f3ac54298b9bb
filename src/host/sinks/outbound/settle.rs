//! What becomes of events: told to their finalizers, whatever happens to the sink.

use crate::host::event::Finalizer;
use crate::position::Delivery;

/// The finalizer of an event that was taken in. Whoever holds it says what became of the event; if it is dropped without a word,
/// because the sink is stopped in the middle, the event counts as not delivered.
#[derive(Debug)]
pub(crate) struct Unsettled(Finalizer);

/// The finalizers of the events in a request.
#[derive(Debug, Default)]
pub(super) struct Finalizers(Vec<Unsettled>);

impl Unsettled {
    /// Takes a finalizer over.
    pub(crate) fn new(finalizer: Finalizer) -> Self {
        Self(finalizer)
    }

    /// Notes what became of the event.
    pub(crate) fn settle(mut self, delivery: Delivery) {
        // Taken out, so that nothing is left for `drop` to note.
        std::mem::take(&mut self.0).note(delivery);
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.note(Delivery::Errored);
    }
}

impl Finalizers {
    pub(super) fn push(&mut self, finalizer: Unsettled) {
        self.0.push(finalizer);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes what became of all the events.
    pub(super) fn settle(self, delivery: Delivery) {
        for finalizer in self.0 {
            finalizer.settle(delivery);
        }
    }
}
