//! The cluster of a script: what was written, and what each server has of it.

use super::World;
use crate::invariants::Seen;

/// A line of the cluster's history, and the names of its events.
#[derive(Clone, Debug)]
pub(super) struct LogLine {
    pub(super) index: u64,
    pub(super) events: Vec<u64>,
    pub(super) topic: usize,
    /// How often the cluster had been rebuilt.
    pub(super) cluster: usize,
    /// Whether it was emitted, and the source knows it.
    pub(super) emitted: bool,
    /// The tables have shown that the source has everything, and it does not: see [`World::tables_show_nothing`].
    pub(super) cannot_be_missed: bool,
}

/// What one server has of the history: the lines from `head` to `visible`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Server {
    pub(super) head: usize,
    pub(super) visible: usize,
    /// The next client sees its log replayed.
    pub(super) replays: bool,
}

pub(super) struct Cluster {
    pub(super) log: Vec<LogLine>,
    /// How often it was rebuilt.
    pub(super) number: usize,
    /// The index at which it was.
    base: u64,
    pub(super) servers: Vec<Server>,
}

impl Cluster {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            log: Vec::new(),
            number: 0,
            base: 0,
            servers: vec![Server::default(); servers],
        }
    }

    pub(super) fn append(&mut self, step: u64, lines: &[usize], topic: usize) {
        let all = self.log.len();
        let index = self.newest(usize::MAX) + step;
        let mut name = self.events_before(all);
        for &events in lines {
            let first = name;
            name += events as u64;
            self.log.push(LogLine {
                index,
                events: (first..name).collect(),
                topic,
                cluster: self.number,
                emitted: false,
                cannot_be_missed: false,
            });
        }
        for server in &mut self.servers {
            if server.visible == all {
                server.visible = self.log.len();
            }
        }
    }

    /// The newest index of the tables of the first so many topics.
    pub(super) fn newest(&self, topics: usize) -> u64 {
        let mut lines = self.log.iter().rev();
        let newest = lines.find(|line| line.cluster == self.number && line.topic < topics);
        newest.map_or(self.base, |line| line.index)
    }

    /// The name of the first event that a server has, or will have.
    pub(super) fn first_event(&self, server: usize) -> u64 {
        self.events_before(self.servers[server].head)
    }

    /// The name of the first event that was, or will be, written since the cluster was rebuilt.
    pub(super) fn first_of_this(&self) -> u64 {
        let mut lines = self.log.iter();
        let first = lines.position(|line| line.cluster == self.number);
        self.events_before(first.unwrap_or(self.log.len()))
    }

    fn events_before(&self, line: usize) -> u64 {
        self.log[..line]
            .iter()
            .map(|line| line.events.len() as u64)
            .sum()
    }

    /// The line of this event is emitted.
    pub(super) fn emits(&mut self, event: u64) {
        let mut lines = self.log.iter_mut();
        if let Some(line) = lines.find(|line| line.events.contains(&event)) {
            line.emitted = true;
        }
    }

    fn server(&mut self, number: usize) -> &mut Server {
        let count = self.servers.len();
        &mut self.servers[number % count]
    }

    pub(super) fn catch_up(&mut self, number: usize, lines: usize) {
        let all = self.log.len();
        let server = self.server(number);
        server.visible = (server.visible + lines).min(all);
    }

    pub(super) fn all_catch_up(&mut self) {
        for server in &mut self.servers {
            server.visible = self.log.len();
        }
    }
}

impl World {
    pub(super) fn evict(&mut self, number: usize, kept: usize) {
        let server = self.cluster.server(number);
        server.head = server.head.max(server.visible.saturating_sub(kept));
        let head = server.head;
        let number = number % self.cluster.servers.len();
        if self.wire.next_of(number).is_some_and(|next| next < head) {
            self.cut();
        }
    }

    /// A server that is gone for a moment, and comes back with this.
    pub(super) fn fail(&mut self, number: usize, lacks: usize, kept: usize, replays: bool) {
        let number = number % self.cluster.servers.len();
        if self.wire.next_of(number).is_some() {
            self.cut();
        }
        let cluster = &mut self.cluster;
        let first = cluster
            .log
            .iter()
            .position(|line| line.cluster == cluster.number)
            .unwrap_or(cluster.log.len());
        let visible = cluster.log.len().saturating_sub(lacks).max(first);
        let server = cluster.server(number);
        server.visible = visible;
        server.head = visible.saturating_sub(kept).max(first);
        if lacks == 0 {
            server.replays = replays;
        }
    }

    /// Before anything was taken there is nothing by which another cluster could be known.
    pub(super) fn rebuild(&mut self, back: u64) {
        if !self.runs.has_proofs {
            return;
        }
        self.cut();
        let newest = self.cluster.newest(usize::MAX);
        self.cluster.base = newest.saturating_sub(back);
        self.cluster.number += 1;
        self.history.seen.push(Seen::Rebuilt);
        let all = self.cluster.log.len();
        for server in &mut self.cluster.servers {
            *server = Server {
                head: all,
                visible: all,
                replays: false,
            };
        }
    }

    /// The tables are at the very index up to which the source has read, and no line of it is still to come. So it has everything,
    /// for all that can be known. Lost for good is the second line of that index, when the connection broke in front of it and a
    /// server forgot it, and, when it is another cluster that happens to be at that index, everything of that one and what the old
    /// one had behind it.
    pub(super) fn tables_show_nothing(&mut self) {
        let mark = self.machine.machine.mark.index().0;
        let Some(next) = self.wire.next() else { return };
        let number = self.cluster.number;
        let lines = self.cluster.log.iter().enumerate();
        let at_mark = |(_, line): &(usize, &LogLine)| (line.cluster, line.index) == (number, mark);
        let mut at_mark = lines.filter(at_mark);
        if at_mark.clone().any(|(place, _)| place >= next) {
            return;
        }
        let same = number == 0 || at_mark.any(|(_, line)| line.emitted);
        for line in &mut self.cluster.log {
            line.cannot_be_missed |= if same {
                !line.emitted && (line.cluster, line.index) == (number, mark)
            } else {
                line.cluster == number || line.index >= mark
            };
        }
    }
}
