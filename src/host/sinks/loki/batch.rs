//! Collects finished entries until there are enough for a request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::host::event::Finalizer;
use crate::loki_push::Entry;
use crate::position::Delivery;

use super::labels::LabelSet;
use super::record::Record;

/// What an entry adds to a request apart from its texts: time, tags and lengths.
const ENTRY_BYTES: usize = 24;

/// What a pair of structured metadata adds apart from its texts.
const PAIR_BYTES: usize = 6;

/// When a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchLimits {
    /// Bytes of a request before compression. A single entry above it is sent alone.
    pub(super) max_bytes: usize,
    /// Entries of a request.
    pub(super) max_events: usize,
    /// Since its first entry.
    pub(super) timeout: Duration,
}

/// Entries of one request, grouped by stream.
#[derive(Debug, Default)]
pub(super) struct Batch {
    streams: Vec<BatchStream>,
    by_labels: HashMap<Arc<LabelSet>, usize>,
    bytes: usize,
    finalizers: Finalizers,
}

/// Entries with the same labels.
#[derive(Debug)]
pub(super) struct BatchStream {
    pub(super) labels: Arc<LabelSet>,
    pub(super) entries: Vec<Entry>,
}

/// The finalizer of an event that was taken in. Whoever holds it says what became of the event; if it is dropped without a word,
/// because the sink is stopped in the middle, the event counts as not delivered.
#[derive(Debug)]
pub(super) struct Unsettled(Finalizer);

/// The finalizers of the events in a request.
#[derive(Debug, Default)]
pub(super) struct Finalizers(Vec<Unsettled>);

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.finalizers.len() == 0
    }

    /// Whether `record` can still be added. An empty batch takes anything.
    pub(super) fn fits(&self, record: &Record, limits: &BatchLimits) -> bool {
        self.is_empty() || self.bytes.saturating_add(self.growth(record)) <= limits.max_bytes
    }

    /// Whether nothing more can be added, whatever it is.
    pub(super) fn is_full(&self, limits: &BatchLimits) -> bool {
        self.finalizers.len() >= limits.max_events || self.bytes >= limits.max_bytes
    }

    pub(super) fn push(&mut self, record: Record) {
        self.bytes = self.bytes.saturating_add(self.growth(&record));
        self.finalizers.0.push(record.finalizer);
        let place = match self.by_labels.get(&record.labels) {
            Some(place) => *place,
            None => {
                let place = self.streams.len();
                self.by_labels.insert(Arc::clone(&record.labels), place);
                self.streams.push(BatchStream {
                    labels: record.labels,
                    entries: Vec::new(),
                });
                place
            }
        };
        if let Some(stream) = self.streams.get_mut(place) {
            stream.entries.push(record.entry);
        }
    }

    /// The streams, each with its entries in order of time, those of the same time in order of arrival.
    pub(super) fn finish(mut self) -> (Vec<BatchStream>, Finalizers) {
        for stream in &mut self.streams {
            stream.entries.sort_by_key(|entry| entry.timestamp);
        }
        (self.streams, self.finalizers)
    }

    fn growth(&self, record: &Record) -> usize {
        let pairs = record.entry.structured_metadata.iter();
        let metadata: usize = pairs
            .map(|pair| PAIR_BYTES + pair.name.len() + pair.value.len())
            .sum();
        let stream = if self.by_labels.contains_key(&record.labels) {
            0
        } else {
            record.labels.text.len()
        };
        ENTRY_BYTES + record.entry.line.len() + metadata + stream
    }
}

impl Unsettled {
    pub(super) fn new(finalizer: Finalizer) -> Self {
        Self(finalizer)
    }

    /// Notes what became of the event.
    pub(super) fn settle(mut self, delivery: Delivery) {
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
