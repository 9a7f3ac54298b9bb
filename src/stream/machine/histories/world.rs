//! Servers, a network, the machine, the outbox and a host: what a script does to them, and what is seen of it.
//!
//! What stands between the machine and the outbox in production is the driver, which waits and cannot run here; the few lines
//! of it that decide something stand here again.

mod host;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;

use self::host::Taken;
use super::super::{FIRST_LINE_TIMEOUT, Input, Machine, Output, PROOF_TIMEOUT, Rules};
use super::rule::{Rule, Ruled};
use super::script::{Action, End, Garbled, Refusal, Script, Start};
use crate::envelope::{self, Line};
use crate::error::{Error, ErrorKind};
use crate::event::{Batch, BatchId};
use crate::event::{Event, RaftIndex};
use crate::frame::{EDGE_BYTES, Frame, Splitter};
use crate::invariants::{History, Seen, Written};
use crate::payload::time::{EventTime, TimeSource};
use crate::position::Delivery;
use crate::position::proof::ProofKey;
use crate::stream::Item;
use crate::stream::notice::{Notice, NoticeKind};
use crate::stream::outbox::{Outbox, kept_bytes};

/// The longest line that is taken.
const LINE_LIMIT: usize = 1000;

/// A line of the cluster's history, and the names of its events.
#[derive(Clone, Debug)]
struct LogLine {
    index: u64,
    events: Vec<u64>,
    /// Whether the subscription gets it.
    matches: bool,
    cluster: usize,
}

/// What one server has of the history: the lines from `head` to `visible`.
#[derive(Clone, Copy, Debug, Default)]
struct Server {
    head: usize,
    visible: usize,
    /// The next client sees its log replayed.
    replays: bool,
}

pub(crate) struct World {
    machine: Ruled,
    outbox: Arc<Outbox>,
    queue_bytes: usize,
    now: Duration,
    history: History,
    start: Start,

    log: Vec<LogLine>,
    cluster: usize,
    servers: Vec<Server>,
    /// How many times a line was written out: maps come in another order each time.
    shuffles: usize,

    /// The machine wants a connection, to this server, from this index on.
    wanted: Option<(usize, u64)>,
    /// The server of the connection, and the line that it sends next.
    stream: Option<(usize, usize)>,
    connections: usize,
    /// The first line that the server had when the first connection came about.
    first_wanted: Option<usize>,

    /// Sent and not read.
    wire: VecDeque<Bytes>,
    splitter: Splitter,
    /// Read, and waiting for room.
    waiting: Option<(Line, Bytes)>,
    /// The connection has ended behind what is on the wire.
    ending: Option<Error>,

    /// The connections that batches came through, in the order in which they did.
    came_through: Vec<usize>,
    /// The batches that were handed out, in that order too.
    handed_out: Vec<Batch>,
    largest: usize,
    gap_waits: bool,
    /// Taken by the host and not answered.
    taken: Vec<Taken>,
    /// Identities that the host has answered for, and the place of each one's batch.
    answered_ids: Vec<(BatchId, usize)>,
    last_id: BatchId,
    /// The outbox's clock. The machine's stands still while nothing is read; this one does not.
    clock: Duration,
    /// When there is something to do for the outbox.
    due: Option<Duration>,
    told_lost: u64,
    /// How many batches have errored and are to come again.
    errored: usize,
    /// The newest index for which the host has answered.
    answered: RaftIndex,
    /// What was written down last.
    looked: Option<[Seen; 3]>,
}

impl World {
    pub(crate) fn new(script: &Script, without: Option<Rule>) -> Self {
        let rules = Rules {
            endpoints: script.servers,
            backoff_max: Duration::from_secs(30),
            proof_key: ProofKey::new(42),
        };
        let mut world = Self {
            machine: Ruled::new(Machine::new(rules, script.start.mark()), without),
            outbox: Outbox::new(
                if without == Some(Rule::Room) {
                    usize::MAX
                } else {
                    script.queue_bytes
                },
                None,
            ),
            queue_bytes: script.queue_bytes,
            now: Duration::from_secs(1000),
            history: History::default(),
            start: script.start,
            log: Vec::new(),
            cluster: 0,
            servers: vec![Server::default(); script.servers],
            shuffles: 0,
            wanted: None,
            stream: None,
            connections: 0,
            first_wanted: None,
            wire: VecDeque::new(),
            splitter: Splitter::new(LINE_LIMIT),
            waiting: None,
            ending: None,
            came_through: Vec::new(),
            handed_out: Vec::new(),
            largest: 0,
            gap_waits: false,
            taken: Vec::new(),
            answered_ids: Vec::new(),
            last_id: BatchId(0),
            clock: Duration::ZERO,
            due: None,
            told_lost: 0,
            errored: 0,
            answered: RaftIndex(0),
            looked: None,
        };
        world.step(Input::Begin, 0);
        world
    }

    /// Does what the script says, and gives what was seen.
    pub(crate) fn run(mut self, script: &Script) -> History {
        for action in &script.actions {
            self.act(action);
        }
        match script.end {
            End::Stop => self.stop(),
            End::Settle(silent) => self.settle(silent),
        }
        self.history.written = self.written();
        self.history
    }

    pub(crate) fn act(&mut self, action: &Action) {
        match *action {
            Action::Append {
                step,
                ref lines,
                matches,
            } => self.append(step, lines, matches),
            Action::Read { lines, chunk } => self.read(lines, chunk),
            Action::CutInside(at) => self.cut_inside(at),
            Action::Garble(how) => self.garble(how),
            Action::Heartbeat => {
                if self.stream.is_some() {
                    self.send(b"{}\n", 3);
                }
            }
            Action::Cut => self.cut(),
            Action::Connect { greeted } => self.connect(greeted),
            Action::Refuse(how) => self.refuse(how),
            Action::Evict { server, kept } => self.evict(server, kept),
            Action::Restart {
                server,
                kept,
                early,
            } => {
                self.fail(server, 0, kept).replays = early;
            }
            Action::Lag {
                server,
                lacks,
                kept,
            } => {
                self.fail(server, lacks, kept);
            }
            Action::CatchUp { server, lines } => {
                let all = self.log.len();
                let server = self.server(server);
                server.visible = (server.visible + lines).min(all);
            }
            Action::Rebuild => self.rebuild(),
            Action::Pass(time) => self.pass(time),
            Action::Take(items) => (0..items).for_each(|_| {
                self.take();
            }),
            Action::Answer { which, delivery } => self.answer(which, delivery),
            Action::AnswerTooEarly => {
                if self.handed_out.len() < self.came_through.len() {
                    let next = BatchId(self.last_id.0 + 1);
                    self.outbox.resolve(self.clock, next, Delivery::Rejected);
                    self.attend();
                }
            }
            Action::AnswerAgain { which, delivery } => self.answer_again(which, delivery),
            Action::Fail { which, times } => self.fail_again(which, times),
            Action::Wait => {
                self.wait();
            }
        }
    }

    // --- servers ---

    fn append(&mut self, step: u64, lines: &[usize], matches: bool) {
        let all = self.log.len();
        let last = self
            .log
            .last()
            .filter(|line| line.cluster == self.cluster)
            .map_or(0, |line| line.index);
        let mut name = self.log.iter().map(|line| line.events.len() as u64).sum();
        for &events in lines {
            let first = name;
            name += events as u64;
            self.log.push(LogLine {
                index: last + step,
                events: (first..name).collect(),
                matches,
                cluster: self.cluster,
            });
        }
        for server in &mut self.servers {
            if server.visible == all {
                server.visible = self.log.len();
            }
        }
    }

    fn server(&mut self, number: usize) -> &mut Server {
        let count = self.servers.len();
        &mut self.servers[number % count]
    }

    fn evict(&mut self, number: usize, kept: usize) {
        let server = self.server(number);
        server.head = server.head.max(server.visible.saturating_sub(kept));
        let head = server.head;
        let number = number % self.servers.len();
        if self
            .stream
            .is_some_and(|(server, cursor)| server == number && cursor < head)
        {
            self.cut();
        }
    }

    /// A server that is gone for a moment, and comes back with this.
    fn fail(&mut self, number: usize, lacks: usize, kept: usize) -> &mut Server {
        let number = number % self.servers.len();
        if self.stream.is_some_and(|(server, _)| server == number) {
            self.cut();
        }
        let first = self
            .log
            .iter()
            .position(|line| line.cluster == self.cluster)
            .unwrap_or(self.log.len());
        let visible = self.log.len().saturating_sub(lacks).max(first);
        let server = self.server(number);
        server.visible = visible;
        server.head = visible.saturating_sub(kept).max(first);
        server
    }

    /// Before anything was taken there is nothing by which another cluster could be known.
    fn rebuild(&mut self) {
        if self.came_through.is_empty() {
            return;
        }
        self.cut();
        self.cluster += 1;
        self.history.seen.push(Seen::Rebuilt);
        let all = self.log.len();
        for server in &mut self.servers {
            *server = Server {
                head: all,
                visible: all,
                replays: false,
            };
        }
    }

    // --- the network ---

    /// As `StartAtClosest` of Nomad's event buffer does it.
    fn connect(&mut self, greeted: bool) {
        let Some((number, index)) = self.wanted.take() else {
            return;
        };
        let server = &mut self.servers[number];
        let lines = &self.log[server.head..server.visible];
        let reached = lines.iter().position(|line| line.index >= index);
        let at = reached.unwrap_or(lines.len().saturating_sub(1));
        let replays = std::mem::take(&mut server.replays);
        let cursor = server.head + if replays { 0 } else { at };
        self.stream = Some((number, cursor));
        self.connections += 1;
        self.step(Input::Accepted, 0);
        if greeted {
            self.act(&Action::Heartbeat);
        }
    }

    fn refuse(&mut self, how: Refusal) {
        if self.wanted.take().is_none() {
            return;
        }
        let end = |kind| Input::Ended(Error::new(kind, "the end"));
        match how {
            Refusal::Plain => self.step(end(ErrorKind::Denied), 0),
            Refusal::LooksLikeSuccess => {
                self.step(Input::Accepted, 0);
                self.step(end(ErrorKind::Closed), 0);
            }
            Refusal::Silent => {
                self.step(Input::Accepted, 0);
                self.pass(FIRST_LINE_TIMEOUT);
            }
        }
    }

    fn next_line(&mut self) -> Option<LogLine> {
        let (number, mut cursor) = self.stream?;
        while cursor < self.servers[number].visible {
            let line = self.log[cursor].clone();
            cursor += 1;
            self.stream = Some((number, cursor));
            if line.matches {
                return Some(line);
            }
        }
        None
    }

    fn read(&mut self, lines: usize, chunk: usize) {
        let mut text = Vec::new();
        for _ in 0..lines {
            let Some(line) = self.next_line() else { break };
            text.extend(self.text(&line));
            text.push(b'\n');
        }
        self.send(&text, chunk);
    }

    fn cut_inside(&mut self, at: usize) {
        if let Some(line) = self.next_line() {
            let text = self.text(&line);
            let cut = 1 + at % (text.len() - 1);
            self.send(&text[..cut], cut);
        }
        self.cut();
    }

    fn garble(&mut self, how: Garbled) {
        let Some(line) = self.next_line() else { return };
        let text = self.text(&line);
        let filler = |bytes| std::iter::repeat_n(b' ', bytes);
        let text: Vec<u8> = match how {
            Garbled::NotJson => text.iter().copied().take(text.len() / 2).collect(),
            Garbled::TooLong => text.iter().copied().chain(filler(LINE_LIMIT)).collect(),
            Garbled::FarTooLong => filler(EDGE_BYTES)
                .chain(text.iter().copied())
                .chain(filler(EDGE_BYTES))
                .collect(),
        };
        self.send(&[&text[..], b"\n"].concat(), 1 << 16);
    }

    fn send(&mut self, bytes: &[u8], chunk: usize) {
        let chunks = bytes.chunks(chunk).map(Bytes::copy_from_slice);
        self.wire.extend(chunks);
        self.pump();
    }

    fn cut(&mut self) {
        if self.stream.take().is_some() {
            self.ending = Some(Error::new(ErrorKind::Closed, "the end"));
            self.pump();
        }
    }

    /// A line as Nomad writes it, with everything that has no order in another order than before.
    fn text(&mut self, line: &LogLine) -> Vec<u8> {
        self.shuffles += 1;
        let turn = self.shuffles;
        let events: Vec<String> = line
            .events
            .iter()
            .map(|name| {
                let meta = turned([r#""a":"1""#, r#""b":"2""#, r#""c":{"d":3}"#], turn / 2);
                let payload = turned(
                    [
                        r#""ID":"web""#,
                        &format!(r#""Meta":{{{meta}}}"#),
                        &format!(r#""Name":{name}"#),
                    ],
                    turn,
                );
                turned(
                    [
                        r#""Topic":"Job","Type":"T","Key":"web""#,
                        r#""FilterKeys":null"#,
                        &format!(r#""Payload":{{"Job":{{{payload}}}}}"#),
                    ],
                    turn / 3,
                )
            })
            .map(|event| format!("{{{event}}}"))
            .collect();
        let index = format!(r#""Index":{}"#, line.index);
        let events = format!(r#""Events":[{}]"#, events.join(","));
        // Release builds write the index first, others last.
        let parts = if turn.is_multiple_of(2) {
            [index, events]
        } else {
            [events, index]
        };
        format!("{{{}}}", parts.join(",")).into_bytes()
    }

    // --- what the driver does ---

    fn step(&mut self, input: Input, line_bytes: usize) {
        for output in self.machine.step(self.now, input) {
            match output {
                Output::Connect {
                    endpoint, index, ..
                } => {
                    self.wanted = Some((endpoint, index.0));
                    self.stream = None;
                    self.ending = None;
                    self.wire.clear();
                    self.splitter = Splitter::new(LINE_LIMIT);
                }
                Output::Emit(batch) => {
                    let time = EventTime {
                        nanos: 0,
                        source: TimeSource::Receipt,
                    };
                    let index = batch.index;
                    let events: Vec<Event> = batch
                        .events
                        .into_iter()
                        .map(|event| event.dated(index, time))
                        .collect();
                    let filter_keys = events.iter().map(|event| &event.filter_keys);
                    self.largest = self.largest.max(kept_bytes(line_bytes, filter_keys));
                    self.outbox.push_batch(index, events, line_bytes, None);
                    self.came_through.push(self.connections);
                }
                Output::Gap(gap) => {
                    if self.gap_waits && self.machine.lacks(Rule::GapsAreMerged) {
                        let _ = self.poll();
                    }
                    self.gap_waits = true;
                    self.outbox.push_notice(Notice {
                        at: 0,
                        index: gap.to.unwrap_or(gap.from),
                        kind: NoticeKind::Gap(gap),
                    });
                }
                Output::Connected { endpoint, .. } => {
                    let head = self.servers[endpoint].head;
                    self.first_wanted.get_or_insert(head);
                }
                _ => {}
            }
        }
        self.look();
    }

    /// Reads what is on the wire, until there is no room.
    fn pump(&mut self) {
        loop {
            if let Some((line, text)) = self.waiting.take() {
                let bytes = match &line {
                    Line::Heartbeat => 0,
                    Line::Batch(batch) => {
                        let filter_keys = batch.events.iter().map(|event| &event.filter_keys);
                        kept_bytes(text.len(), filter_keys)
                    }
                };
                if bytes > 0 && !self.has_room(bytes) {
                    self.waiting = Some((line, text));
                    return;
                }
                if let Line::Batch(batch) = &line {
                    self.outbox.note_read(batch.index);
                }
                let line_bytes = text.len();
                self.step(Input::Line(line, text), line_bytes);
            }
            match self.splitter.next_frame() {
                Some(Frame::Line(text)) => match envelope::parse(&text) {
                    Ok(line) => self.waiting = Some((line, text)),
                    Err(_) => self.step(Input::Discarded(None), 0),
                },
                Some(Frame::TooLong(line)) => {
                    self.step(Input::Discarded(envelope::index_of_discarded(&line)), 0);
                }
                None => match self.wire.pop_front() {
                    Some(chunk) => self.splitter.push(chunk),
                    None => break,
                },
            }
        }
        if let Some(error) = self.ending.take() {
            self.step(Input::Ended(error), 0);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let room = pin!(self.outbox.room(bytes));
        room.poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    /// The machine's clock stands still while nothing is read.
    fn pass(&mut self, time: Duration) {
        self.clock += time;
        self.attend();
        if self.waiting.is_some() {
            return;
        }
        self.now += time;
        let due = |world: &Self| {
            let deadline = world.machine.machine.deadline();
            deadline.is_some_and(|by| by <= world.now)
        };
        if due(self) {
            self.step(Input::Deadline, 0);
        }
        // One that stays due would keep the driver busy for ever.
        assert!(!due(self), "{:?}", self.machine);
    }

    // --- the end ---

    /// As [`EventStream::close`](crate::EventStream::close) does it. What is answered too late changes nothing.
    fn stop(&mut self) {
        {
            let drained = pin!(self.outbox.drained());
            let _ = drained.poll(&mut Context::from_waker(Waker::noop()));
        }
        assert!(
            !matches!(self.poll(), Some(Item::Batch(_))),
            "handed out after the stop"
        );
        for _ in 0..self.taken.len() / 2 {
            let batch = self.taken.remove(0);
            self.outbox
                .resolve(self.clock, batch.real, Delivery::Delivered);
            self.history
                .seen
                .push(Seen::Resolved(batch.id, Delivery::Delivered));
        }
        // That a sink fails now is no answer, so it is none in the history.
        if let Some(batch) = self.taken.last() {
            self.outbox
                .resolve(self.clock, batch.real, Delivery::Errored);
        }
        while self.wait() {}
        assert!(
            !matches!(self.poll(), Some(Item::Batch(_))),
            "handed out again after the stop"
        );
        let left = self.outbox.seal();
        let expected = self.taken.len() + self.errored;
        assert_eq!(left, expected, "batches without an answer");
        for batch in std::mem::take(&mut self.taken) {
            self.outbox
                .resolve(self.clock, batch.real, Delivery::Rejected);
        }
        self.look();
    }

    /// Everything that can still come has come, after some silence, and what was suspected has been said: before a first line
    /// was taken that is when one comes.
    fn settle(&mut self, silent: Duration) {
        self.cut();
        self.drain();
        for server in &mut self.servers {
            server.visible = self.log.len();
        }
        self.connect(true);
        self.drain();
        self.pass(silent);
        self.append(1, &[1], true);
        self.read(self.log.len(), 1 << 16);
        self.drain();
        self.pass(PROOF_TIMEOUT);
        self.drain();
        // Nothing that lies behind it is claimed, so it is the newest that has to be answered for.
        self.append(1, &[1], true);
        self.read(1, 1 << 16);
        self.drain();
        self.history.seen.push(Seen::Settled);
        let status = self.outbox.status(tokio::time::Instant::now());
        assert_eq!(self.told_lost, status.rejected_events, "not told");
    }

    /// The host takes and answers all there is, and all that comes again.
    fn drain(&mut self) {
        loop {
            while self.take() || !self.taken.is_empty() {
                self.answer(0, Delivery::Delivered);
            }
            if !self.wait() {
                return;
            }
        }
    }

    fn written(&self) -> Vec<Written> {
        let mut written = Vec::new();
        for (place, line) in self.log.iter().enumerate() {
            let there = self.first_wanted.is_some_and(|first| first <= place);
            written.extend(line.events.iter().map(|&event| Written {
                index: RaftIndex(line.index),
                event,
                wanted: line.matches && there && self.start.wants(line.index),
                cluster: line.cluster,
            }));
        }
        written
    }
}

/// Three parts, in another order each turn.
fn turned(mut parts: [&str; 3], turn: usize) -> String {
    parts.rotate_left(turn % 3);
    parts.join(",")
}
