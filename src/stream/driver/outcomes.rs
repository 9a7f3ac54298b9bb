//! What is told of failures and of namespaces: once per address and cause, and again when it changes.

use super::super::agents::Agents;
use super::super::inquiry::{Began, Explained};
use super::super::machine::Input;
use super::super::notice::{Disconnected, NoticeKind};
use super::Driver;
use crate::error::{Error, ErrorKind};
use crate::nomad::{NamespaceList, Purpose};

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
                self.outbox.positions().read,
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
