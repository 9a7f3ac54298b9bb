//! What a test does to the cluster: its history, its buffer, its tables.

use std::sync::Arc;

use bytes::Bytes;

use super::FakeNomad;
use super::line::{BatchText, Line, LineError};
use super::lists::{ClusterSnapshot, ListFault};
use super::script::Fault;
use super::version::Answer;
use crate::testing::recording::HEARTBEAT;

impl FakeNomad {
    /// Adds a line to the history, as one transaction of the cluster. Heartbeats are passed over.
    ///
    /// The index of the lists of its topics moves with it, and its namespaces exist from then on.
    ///
    /// # Errors
    ///
    /// The line is not a batch; see [`append_opaque`](Self::append_opaque).
    pub fn append(&self, line: impl Into<Bytes>) -> Result<(), LineError> {
        if let Some(line) = parse(line.into())? {
            self.shared.change(|state| state.append(line));
        }
        Ok(())
    }

    /// Builds a line and adds it.
    ///
    /// # Errors
    ///
    /// The line cannot be built.
    pub fn append_batch(&self, batch: &BatchText) -> Result<(), LineError> {
        self.append(batch.to_bytes()?)
    }

    /// Adds a line that nobody looks into: it goes to every subscriber byte for byte, at `index` of the history.
    ///
    /// For what no Nomad should send: broken JSON, `NaN`, an empty line.
    pub fn append_opaque(&self, index: u64, line: impl Into<Bytes>) {
        let line = Arc::new(Line::opaque(index, line.into()));
        self.shared.change(|state| state.append(line));
    }

    /// A transaction that this server has not applied yet, as one that lags: the tables have it, which lists tell unless they are
    /// asked for with `stale`; the stream does not, before it is [appended](Self::append).
    ///
    /// # Errors
    ///
    /// The line cannot be built.
    pub fn write_elsewhere(&self, batch: &BatchText) -> Result<(), LineError> {
        if let Some(line) = parse(batch.to_bytes()?)? {
            self.shared
                .change(|state| state.lists.note_elsewhere(&line));
        }
        Ok(())
    }

    /// Forgets all lines below `index`, as if so many had come that they fell out of the buffer.
    ///
    /// A stream that has not sent them yet is dropped.
    pub fn evict_to(&self, index: u64) {
        self.shared.change(|state| state.history.evict_to(index));
    }

    /// Forgets the oldest lines, so many of them: an index of several lines can be cut in half.
    ///
    /// A stream that has not sent them yet is dropped.
    pub fn evict_lines(&self, count: usize) {
        self.shared.change(|state| state.history.evict_lines(count));
    }

    /// Forgets all lines. New streams wait for the next one, whatever index they ask for.
    pub fn evict_all(&self) {
        self.shared.change(|state| state.history.evict_all());
    }

    /// Lets the next stream see `lines` come from the first on, whatever index it asks for.
    ///
    /// That is a client which connects while a server that was just started applies its log again. The lines become the whole history
    /// with that connection, as far as the buffer holds them.
    ///
    /// # Errors
    ///
    /// A line is not a batch.
    pub fn replay_log_on_next_connect(
        &self,
        lines: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), LineError> {
        let lines = parse_all(lines)?;
        self.shared.change(|state| state.replay = Some(lines));
        Ok(())
    }

    /// Becomes another, rebuilt cluster with these lines: old ones, their table indexes and namespaces are gone, and streams are
    /// closed.
    ///
    /// # Errors
    ///
    /// A line is not a batch.
    pub fn replace_history(&self, lines: impl IntoIterator<Item = Bytes>) -> Result<(), LineError> {
        let lines = parse_all(lines)?;
        self.inject(&Fault::Close);
        self.shared.change(|state| {
            state.history.evict_all();
            state.lists.forget_lines();
            for line in lines {
                state.append(line);
            }
        });
        Ok(())
    }

    /// Keeps the tables as they are, to be [restored](Self::restore_snapshot).
    #[must_use]
    pub fn take_snapshot(&self) -> ClusterSnapshot {
        self.shared.state().lists.snapshot()
    }

    /// Becomes what `nomad operator snapshot restore` makes of a running cluster: tables with the indexes of then, an empty
    /// buffer, and closed subscriptions. Raft goes on above its highest index, so the next line has a higher one than any before.
    pub fn restore_snapshot(&self, snapshot: &ClusterSnapshot) {
        self.inject(&Fault::SubscriptionClosed);
        self.shared.change(|state| {
            state.history.evict_all();
            state.lists.restore(snapshot);
        });
    }

    /// Makes a namespace. Streams with `namespace=*` that are open already do not see its events.
    pub fn add_namespace(&self, name: &str, create_index: u64) {
        self.shared
            .change(|state| state.lists.add_namespace(name, create_index));
    }

    /// Sets `X-Nomad-Index` of a list, which otherwise is the newest index at which a line has written its table.
    ///
    /// Volumes and plugins are listed by type: `/v1/volumes?type=csi`.
    pub fn set_list_index(&self, path: &str, index: u64) {
        self.shared
            .change(|state| state.lists.set_index(path, index));
    }

    /// Lets something be the matter with a list, named as for [`set_list_index`](Self::set_list_index).
    pub fn disturb_list(&self, path: &str, fault: ListFault) {
        self.shared
            .change(|state| state.lists.set_fault(Some(path), fault));
    }

    /// Lets something be the matter with every list, that of the namespaces left out.
    pub fn disturb_lists(&self, fault: ListFault) {
        self.shared
            .change(|state| state.lists.set_fault(None, fault));
    }

    /// Takes back what [`disturb_list`](Self::disturb_list) and [`disturb_lists`](Self::disturb_lists) have done.
    pub fn mend_lists(&self) {
        self.shared.change(|state| state.lists.mend());
    }

    /// Sets what a path answers, also one that is unknown otherwise, as `/v1/job/web`.
    pub fn set_body(&self, path: &str, json: impl Into<String>) {
        let json = json.into();
        self.shared.change(|state| state.lists.set_body(path, json));
    }

    /// Answers the next request of an ordinary path with this status and text, once, whatever its token.
    pub fn answer_once(&self, path: &str, status: u16, text: impl Into<String>) {
        let answer = Answer::error(status, text);
        self.shared
            .change(|state| state.lists.answer_once(path, answer));
    }
}

/// Reads a line; `None` for a heartbeat, which the server makes itself.
fn parse(line: Bytes) -> Result<Option<Arc<Line>>, LineError> {
    if line.as_ref() == HEARTBEAT {
        return Ok(None);
    }
    Line::parse(line).map(|line| Some(Arc::new(line)))
}

pub(super) fn parse_all(
    lines: impl IntoIterator<Item = Bytes>,
) -> Result<Vec<Arc<Line>>, LineError> {
    let lines = lines.into_iter().map(parse);
    lines.filter_map(Result::transpose).collect()
}
