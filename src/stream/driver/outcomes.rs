//! What is told of failures and of namespaces: once per address and cause, and again when it changes.

use super::super::agents::Agents;
use super::super::inquiry::{Began, Explained};
use super::super::machine::Input;
use super::super::notice::{Disconnected, Gap, IndexReset, NoticeKind};
use super::Driver;
use super::saved::open;
use crate::checkpoint::{GapCause, OpenGap};
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::nomad::{NamespaceList, Purpose, Tables};

/// What was said of the list of namespaces, and still holds.
#[derive(Default)]
pub(super) struct SaidOfNamespaces {
    not_listed: Option<ErrorKind>,
    no_leader: bool,
    missing: bool,
}

impl<A: Agents> Driver<A> {
    /// A stream ended, or did not come about. What a refusal does not say is asked first.
    pub(super) fn disconnected(&mut self, endpoint: usize, error: Error, purpose: Purpose) {
        self.outbox.note_disconnected();
        self.outbox.telemetry.lost();
        if error.is_refusal() {
            match self.inquiry.begin(&self.agents, endpoint, purpose, &error) {
                Began::Asking => return,
                Began::Known(reason) => return self.tell(endpoint, reason, 1),
                Began::Busy => {
                    let name = self.agents.name(endpoint);
                    self.outbox.telemetry.disconnected(&name, &error, 1, false);
                    return;
                }
            }
        }
        self.tell(endpoint, error, 1);
    }

    /// A refusal whose reason was asked for.
    pub(super) fn explained(&mut self, explained: Explained) {
        self.tell(explained.endpoint, explained.error, explained.refusals);
    }

    /// Says it once per address and cause, and counts it each time.
    fn tell(&mut self, endpoint: usize, error: Error, times: u64) {
        let Some(told) = self.told.get_mut(endpoint) else {
            return;
        };
        let news = !told.as_ref().is_some_and(|told| error.is_same_cause(told));
        let name = self.agents.name(endpoint);
        self.outbox
            .telemetry
            .disconnected(&name, &error, times, news);
        if news {
            let notice = Disconnected {
                endpoint: name,
                cause: error.kind().as_str(),
                message: error.to_string(),
            };
            *told = Some(error);
            self.notice(
                self.outbox.positions().read.index,
                NoticeKind::Disconnected(notice),
            );
        }
    }

    /// The namespaces that there are, before a subscription or beside one.
    pub(super) fn listed(&mut self, endpoint: usize, list: NamespaceList) {
        let said = &mut self.said_of_namespaces;
        said.not_listed = None;
        let no_leader = list.leader == Some(false);
        if no_leader && !said.no_leader {
            self.outbox.telemetry.no_leader(&self.agents.name(endpoint));
        }
        said.no_leader = no_leader;
        if self.settings.namespace == "*" {
            self.step(Input::Namespaces(list.namespaces), 0);
            return;
        }
        let name = &self.settings.namespace;
        let missing = !list.namespaces.iter().any(|listed| &listed.name == name);
        if missing && !said.missing {
            self.outbox.telemetry.no_such_namespace(name);
        }
        said.missing = missing;
    }

    /// Events may be missing: it is said once, and kept until they are there. Each connection comes to the same conclusion anew.
    pub(super) fn gap(&mut self, gap: Gap) {
        if !self.outbox.open_gap(self.kept(&gap)) {
            return;
        }
        self.tell_gap(gap);
    }

    /// One that is news.
    pub(super) fn tell_gap(&self, gap: Gap) {
        self.outbox.telemetry.gap(&gap);
        self.announce(gap);
    }

    /// What is emitted next may be of another cluster. It is kept as a gap until it is known: a restart would take it for what
    /// it knows.
    pub(super) fn doubt(&mut self, index: RaftIndex) {
        let gap = Gap::of_all(index, None, GapCause::Unproven);
        self.outbox.suspect(self.kept(&gap));
    }

    fn kept(&self, gap: &Gap) -> OpenGap {
        let epoch = self.outbox.positions().read.epoch;
        let topics = self.settings.topics.clone();
        open(gap, epoch, topics, self.dating.newest())
    }

    /// Indexes begin anew. What the new ones had forgotten before their first event comes is a gap: it ends there.
    pub(super) fn begin_epoch(&mut self, from: RaftIndex, to: Option<RaftIndex>) {
        let gap = Gap::of_all(RaftIndex(0), None, GapCause::IndexReset);
        let (epoch, gaps_given_up) = self.outbox.begin_epoch(self.kept(&gap));
        if let Some(versions) = &mut self.job_versions {
            versions.forget();
        }
        let reset = IndexReset {
            epoch,
            from,
            to,
            gaps_given_up,
        };
        self.tell_reset(reset);
        self.tell_gap(gap);
    }

    pub(super) fn tell_reset(&self, reset: IndexReset) {
        self.outbox.telemetry.index_reset(&reset);
        self.notice(reset.from, NoticeKind::IndexReset(reset));
    }

    /// What the tables say, or why they say nothing.
    pub(super) fn asked(&mut self, tables: Result<Tables, Error>) {
        let tables = match tables {
            Ok(tables) => {
                self.tables_not_read = None;
                Some(tables)
            }
            Err(error) => {
                if self.tables_not_read.replace(error.kind()) != Some(error.kind()) {
                    self.outbox.telemetry.tables_not_read(&error);
                }
                None
            }
        };
        self.step(Input::Tables(tables), 0);
    }

    /// What a question about the versions of a job came to.
    pub(super) fn versions_read(&mut self, asked: Result<(), Error>) {
        match asked {
            Ok(()) => self.versions_not_read = None,
            Err(error) => {
                if self.versions_not_read.replace(error.kind()) != Some(error.kind()) {
                    self.outbox.telemetry.versions_not_read(&error);
                }
            }
        }
    }

    /// The list cannot be read, and a stream is open. A subscription to one namespace needs no list.
    pub(super) fn not_listed(&mut self, error: &Error) {
        if self.settings.namespace == "*"
            && self.said_of_namespaces.not_listed != Some(error.kind())
        {
            self.said_of_namespaces.not_listed = Some(error.kind());
            self.outbox.telemetry.namespaces_not_listed(error);
        }
    }
}
