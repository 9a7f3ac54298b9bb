//! What was pushed.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::broadcast;

/// Pushes remembered; older ones are forgotten.
const KEPT_PUSHES: usize = 10_000;

/// One line as it arrived, with all that Loki knows about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The header `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// The labels of its stream.
    pub labels: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub timestamp_nanos: i64,
    /// The line.
    pub line: String,
    /// The pairs that belong to this line alone.
    pub structured_metadata: BTreeMap<String, String>,
}

/// One push, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushRecord {
    /// The header `Content-Type`.
    pub content_type: String,
    /// The header `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// Bytes of the body as sent.
    pub body_bytes: usize,
    /// Streams in it; none if it could not be read.
    pub streams: usize,
    /// Entries in it; none if it could not be read.
    pub entries: usize,
}

/// Entries as they arrive. A reader that falls too far behind misses the oldest.
#[derive(Debug)]
pub struct Arrivals {
    receiver: broadcast::Receiver<Arc<Entry>>,
    missed: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    kept: usize,
    entries: Vec<Arc<Entry>>,
    distinct: HashSet<Arc<Entry>>,
    pushed: usize,
    line_bytes: u64,
    pushes: VecDeque<PushRecord>,
    begun: usize,
}

impl Arrivals {
    pub(super) fn new(receiver: broadcast::Receiver<Arc<Entry>>) -> Self {
        Self {
            receiver,
            missed: 0,
        }
    }

    /// The next entry; `None` when the fake is gone and nothing is left. Cancel safe.
    pub async fn next(&mut self) -> Option<Entry> {
        loop {
            match self.receiver.recv().await {
                Ok(entry) => return Some(Entry::clone(&entry)),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Entries that were missed because nobody asked for them in time.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl Store {
    pub(super) fn new(kept: usize) -> Self {
        Self {
            kept,
            entries: Vec::new(),
            distinct: HashSet::new(),
            pushed: 0,
            line_bytes: 0,
            pushes: VecDeque::new(),
            begun: 0,
        }
    }

    /// Whether entries are remembered at all.
    pub(super) fn keeps_entries(&self) -> bool {
        self.kept > 0
    }

    /// Notes a push whose body has arrived.
    pub(super) fn begin(&mut self, push: PushRecord) {
        self.begun += 1;
        if self.pushes.len() == KEPT_PUSHES {
            self.pushes.pop_front();
        }
        self.pushes.push_back(push);
    }

    /// Stores the entries of a push.
    pub(super) fn write(&mut self, entries: &[Arc<Entry>]) {
        self.pushed += entries.len();
        for entry in entries {
            self.line_bytes += entry.line.len() as u64;
            if self.entries.len() < self.kept {
                self.distinct.insert(Arc::clone(entry));
                self.entries.push(Arc::clone(entry));
            }
        }
    }

    /// Counts entries that nobody keeps.
    pub(super) fn count(&mut self, entries: usize, line_bytes: u64) {
        self.pushed += entries;
        self.line_bytes += line_bytes;
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries
            .iter()
            .map(|entry| Entry::clone(entry))
            .collect()
    }

    pub(super) fn distinct(&self) -> BTreeSet<Entry> {
        self.distinct
            .iter()
            .map(|entry| Entry::clone(entry))
            .collect()
    }

    pub(super) fn distinct_len(&self) -> usize {
        if self.keeps_entries() {
            self.distinct.len()
        } else {
            self.pushed
        }
    }

    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    pub(super) fn line_bytes(&self) -> u64 {
        self.line_bytes
    }

    pub(super) fn pushes(&self) -> Vec<PushRecord> {
        self.pushes.iter().cloned().collect()
    }

    pub(super) fn begun(&self) -> usize {
        self.begun
    }
}
