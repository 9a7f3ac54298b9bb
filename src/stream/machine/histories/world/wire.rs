//! The network of a script: connections, and what they bring.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;

use super::World;
use super::cluster::LogLine;
use crate::envelope::{self, Line};
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::frame::{EDGE_BYTES, Frame, Splitter};
use crate::stream::machine::histories::script::{Garbled, Refusal};
use crate::stream::machine::{FIRST_LINE_TIMEOUT, Input};
use crate::stream::outbox::kept_bytes;

/// The longest line that is taken.
const LINE_LIMIT: usize = 1000;

pub(super) struct Wire {
    /// The machine wants a connection, to this server, from this index on.
    wanted: Option<(usize, RaftIndex)>,
    /// The server of the connection, and the line that it sends next.
    stream: Option<(usize, usize)>,
    /// How many there were.
    pub(super) connections: usize,
    /// Sent and not read.
    sent: VecDeque<Bytes>,
    splitter: Splitter,
    /// Read, and waiting for room.
    waiting: Option<(Line, Bytes)>,
    /// The connection has ended behind what was sent.
    ending: Option<Error>,
    /// How many times a line was written out: maps come in another order each time.
    shuffles: usize,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            wanted: None,
            stream: None,
            connections: 0,
            sent: VecDeque::new(),
            splitter: Splitter::new(LINE_LIMIT),
            waiting: None,
            ending: None,
            shuffles: 0,
        }
    }
}

impl Wire {
    /// Another connection is wanted.
    pub(super) fn want(&mut self, server: usize, index: RaftIndex) {
        self.hang_up();
        self.wanted = Some((server, index));
    }

    /// Nobody is there any more.
    pub(super) fn hang_up(&mut self) {
        *self = Self {
            connections: self.connections,
            shuffles: self.shuffles,
            ..Self::default()
        };
    }

    /// Whether nothing is read, since there is no room.
    pub(super) fn is_blocked(&self) -> bool {
        self.waiting.is_some()
    }

    /// The line that is sent next.
    pub(super) fn next(&self) -> Option<usize> {
        self.stream.map(|(_, next)| next)
    }

    /// The line that this server sends next, if the connection is to it.
    pub(super) fn next_of(&self, server: usize) -> Option<usize> {
        let (number, next) = self.stream?;
        (number == server).then_some(next)
    }
}

impl World {
    /// As `StartAtClosest` of Nomad's event buffer does it.
    pub(super) fn connect(&mut self, greeted: bool) {
        let Some((number, index)) = self.wire.wanted.take() else {
            return;
        };
        let server = &mut self.cluster.servers[number];
        let lines = &self.cluster.log[server.head..server.visible];
        let reached = lines.iter().position(|line| line.index >= index.0);
        let at = reached.unwrap_or(lines.len().saturating_sub(1));
        let replays = std::mem::take(&mut server.replays);
        let next = server.head + if replays { 0 } else { at };
        self.wire.stream = Some((number, next));
        self.wire.connections += 1;
        self.step(Input::Accepted, 0);
        if greeted {
            self.heartbeat();
        }
    }

    pub(super) fn heartbeat(&mut self) {
        if self.wire.stream.is_some() {
            self.send(b"{}\n", 3);
        }
    }

    pub(super) fn refuse(&mut self, how: Refusal) {
        if self.wire.wanted.take().is_none() {
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
        let (number, mut next) = self.wire.stream?;
        while next < self.cluster.servers[number].visible {
            let line = self.cluster.log[next].clone();
            next += 1;
            self.wire.stream = Some((number, next));
            if line.topic < self.runs.topics {
                return Some(line);
            }
        }
        None
    }

    pub(super) fn read(&mut self, lines: usize, chunk: usize) {
        let mut text = Vec::new();
        for _ in 0..lines {
            let Some(line) = self.next_line() else { break };
            text.extend(self.text(&line));
            text.push(b'\n');
        }
        self.send(&text, chunk);
    }

    pub(super) fn cut_inside(&mut self, at: usize) {
        if let Some(line) = self.next_line() {
            let text = self.text(&line);
            let cut = 1 + at % (text.len() - 1);
            self.send(&text[..cut], cut);
        }
        self.cut();
    }

    pub(super) fn garble(&mut self, how: Garbled) {
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
        self.wire.sent.extend(chunks);
        self.pump();
    }

    pub(super) fn cut(&mut self) {
        if self.wire.stream.take().is_some() {
            self.wire.ending = Some(Error::new(ErrorKind::Closed, "the end"));
            self.pump();
        }
    }

    /// Reads what was sent, until there is no room.
    pub(super) fn pump(&mut self) {
        loop {
            if let Some((line, text)) = self.wire.waiting.take() {
                let bytes = match &line {
                    Line::Heartbeat => 0,
                    Line::Batch(batch) => {
                        let filter_keys = batch.events.iter().map(|event| &event.filter_keys);
                        kept_bytes(text.len(), filter_keys)
                    }
                };
                if bytes > 0 && !self.has_room(bytes) {
                    self.wire.waiting = Some((line, text));
                    return;
                }
                if let Line::Batch(batch) = &line {
                    self.outbox.note_read(batch.index);
                }
                let line_bytes = text.len();
                self.step(Input::Line(line, text), line_bytes);
            }
            match self.wire.splitter.next_frame() {
                Some(Frame::Line(text)) => match envelope::parse(&text) {
                    Ok(line) => self.wire.waiting = Some((line, text)),
                    Err(_) => self.step(Input::Discarded(None), 0),
                },
                Some(Frame::TooLong(line)) => {
                    self.step(Input::Discarded(envelope::index_of_discarded(&line)), 0);
                }
                None => match self.wire.sent.pop_front() {
                    Some(chunk) => self.wire.splitter.push(chunk),
                    None => break,
                },
            }
        }
        if let Some(error) = self.wire.ending.take() {
            self.step(Input::Ended(error), 0);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let room = pin!(self.outbox.room(bytes));
        room.poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    /// A line as Nomad writes it, with everything that has no order in another order than before.
    pub(super) fn text(&mut self, line: &LogLine) -> Vec<u8> {
        self.wire.shuffles += 1;
        let turn = self.wire.shuffles;
        let topic = if line.topic == 0 { "Job" } else { "Evaluation" };
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
                        &format!(r#""Topic":"{topic}","Type":"T","Key":"web""#),
                        r#""FilterKeys":null"#,
                        &format!(r#""Payload":{{"{topic}":{{{payload}}}}}"#),
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
}

/// Three parts, in another order each turn.
fn turned(mut parts: [&str; 3], turn: usize) -> String {
    parts.rotate_left(turn % 3);
    parts.join(",")
}
