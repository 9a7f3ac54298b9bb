//! Collects finished entries until there are enough for a request.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;

use crate::host::sinks::outbound::Batch;
use crate::loki_push::Entry;

use super::labels::LabelSet;
use super::record::Record;
use super::request::{Push, RequestError};

/// What an entry adds to a request apart from its texts: time, tags and lengths.
const ENTRY_BYTES: usize = 24;

/// What a pair of structured metadata adds apart from its texts.
const PAIR_BYTES: usize = 6;

/// Entries of one request, grouped by stream.
#[derive(Debug)]
pub(super) struct LokiBatch {
    push: Arc<Push>,
    streams: Vec<BatchStream>,
    by_labels: HashMap<Arc<LabelSet>, usize>,
}

/// Entries with the same labels.
#[derive(Debug)]
pub(super) struct BatchStream {
    pub(super) labels: Arc<LabelSet>,
    pub(super) entries: Vec<Entry>,
}

impl LokiBatch {
    /// An empty batch, to be pushed there.
    pub(super) fn new(push: Arc<Push>) -> Self {
        Self {
            push,
            streams: Vec::new(),
            by_labels: HashMap::new(),
        }
    }
}

impl Batch for LokiBatch {
    type Record = Record;
    /// The tenant.
    type Key = Option<String>;
    type Error = RequestError;

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

    fn push(&mut self, record: Record) {
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
    fn into_request(mut self, tenant: Option<String>) -> Result<Request<Bytes>, RequestError> {
        for stream in &mut self.streams {
            stream.entries.sort_by_key(|entry| entry.timestamp);
        }
        self.push.request(tenant.as_deref(), self.streams)
    }
}
