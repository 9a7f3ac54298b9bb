//! An open subscription: its bytes become lines, and lines become steps of the machine.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::agents::{Agents, Body};
use super::super::machine::Input;
use super::super::notice::{LineDiscarded, NoticeKind};
use super::super::outbox::kept_bytes;
use super::{Driver, now_nanos};
use crate::envelope::{self, Envelope, EnvelopeError, Line};
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::frame::{Frame, Remainder, Splitter};
use crate::nomad::said;
use crate::payload::time::Received;
use crate::telemetry::Discarded;

/// A connection on which no line was completed for this long is dead, however many bytes come.
const LINE_TIMEOUT: Duration = Duration::from_secs(300);

impl<A: Agents> Driver<A> {
    /// Reads a subscription until it ends, or the machine wants another one.
    pub(super) async fn read(&mut self, endpoint: usize, mut body: A::Body) {
        let mut splitter = Splitter::new(self.settings.max_line_bytes);
        let address = self.agents.name(endpoint);
        self.liveness.not_reading();
        self.asking.forget();
        let mut last_byte = self.clock.now();
        let mut last_line = last_byte;
        while self.next.is_none() {
            let deadline = self.machine.deadline();
            let dead_at = (last_byte + self.settings.idle_timeout).min(last_line + LINE_TIMEOUT);
            tokio::select! {
                // What has come is looked at before a deadline is.
                biased;
                data = body.next() => {
                    let data = match data {
                        Some(Ok(data)) => data,
                        Some(Err(error)) => return self.step(Input::Ended(error), 0),
                        None => {
                            return self.step(Input::Ended(closed(splitter.finish())), 0);
                        }
                    };
                    self.outbox.telemetry.received(&address, data.len());
                    last_byte = self.clock.now();
                    // Of all lines of the chunk, also of one that will have to wait for room.
                    let received = Received {
                        at: now_nanos(),
                        live: self.liveness.bytes(last_byte),
                    };
                    splitter.push(data);
                    while let Some(frame) = splitter.next_frame() {
                        self.frame(endpoint, frame, received).await;
                        if self.next.is_some() {
                            return;
                        }
                        last_line = self.clock.now();
                    }
                    last_byte = self.clock.now();
                }
                () = tokio::time::sleep_until(self.clock.instant(deadline.unwrap_or(Duration::MAX / 4))), if deadline.is_some() => {
                    self.step(Input::Deadline, 0);
                }
                explained = self.inquiry.explained() => self.explained(explained),
                tables = self.asking.answer() => self.asked(tables),
                list = self.watch.next(&self.agents, endpoint) => {
                    let pause = self.refresh_pause();
                    self.watch.wait(pause);
                    match list {
                        Ok(list) => self.listed(endpoint, list),
                        Err(error) => self.not_listed(&error),
                    }
                }
                () = tokio::time::sleep_until(self.clock.instant(dead_at)) => {
                    let silent = self.clock.now().saturating_sub(last_line).as_secs();
                    self.step(Input::Ended(Error::new(ErrorKind::Idle, format!("no line for {silent} s"))), 0);
                }
            }
        }
    }

    async fn frame(&mut self, endpoint: usize, frame: Frame, received: Received) {
        self.outbox.note_line(Instant::now());
        let text = match frame {
            Frame::Line(text) => text,
            Frame::TooLong(line) => {
                let index = envelope::index_of_discarded(&line);
                self.discarded(Discarded::TooLong, line.bytes, index);
                return;
            }
        };
        match envelope::parse(&text) {
            Ok(line) => {
                let mut bytes = text.len();
                if let Line::Batch(batch) = &line {
                    bytes += self.look_up_changes(endpoint, batch).await;
                    self.wait_for_room(bytes, batch).await;
                    self.outbox.note_read(batch.index);
                }
                let outputs = self.machine.step(self.clock.now(), Input::Line(line, text));
                self.perform(outputs, bytes, received);
            }
            Err(EnvelopeError::TooManyEvents { index, bytes }) => {
                self.discarded(Discarded::TooManyEvents, bytes as u64, index);
            }
            Err(EnvelopeError::NotABatch { bytes, .. }) => {
                self.discarded(Discarded::NotJson, bytes as u64, None);
            }
        }
    }

    /// A full queue stops the reading: the server cuts us off in the end, and we resume when there is room.
    async fn wait_for_room(&mut self, line_bytes: usize, batch: &Envelope) {
        let filter_keys = batch.events.iter().map(|event| &event.filter_keys);
        let bytes = kept_bytes(line_bytes, filter_keys);
        let from = Instant::now();
        if self.outbox.room(bytes).await {
            self.not_read_since(from);
        }
    }

    /// Asks what the new versions of jobs in a line have changed, if somebody wants to know. Gives the most that the answers keep
    /// in memory.
    async fn look_up_changes(&mut self, endpoint: usize, batch: &Envelope) -> usize {
        let Some(mut versions) = self.job_versions.take() else {
            return 0;
        };
        let from = Instant::now();
        let agents = Arc::clone(&self.agents);
        let found = self
            .meanwhile(versions.look_up(&*agents, endpoint, batch))
            .await;
        self.job_versions = Some(versions);
        if let Some(asked) = found.asked {
            self.not_read_since(from);
            self.versions_read(asked);
        }
        found.bytes
    }

    fn not_read_since(&mut self, from: Instant) {
        self.clock.stood_still += from.elapsed();
        self.liveness.not_reading();
    }

    fn discarded(&mut self, reason: Discarded, bytes: u64, index: Option<RaftIndex>) {
        self.outbox.telemetry.line_discarded(reason, bytes, index);
        self.outbox.note_discarded();
        self.notice(
            index.unwrap_or_else(|| self.outbox.positions().read.index),
            NoticeKind::LineDiscarded(LineDiscarded {
                bytes,
                index,
                reason: reason.as_str(),
            }),
        );
        self.step(Input::Discarded(index), 0);
    }
}

fn closed(remainder: Remainder) -> Error {
    let context = match remainder {
        Remainder::Nothing => "the server ended the stream".to_owned(),
        Remainder::ErrorText(text) => match said::last_words(&text) {
            Some(words) => format!("the server ended the stream: {words:?}"),
            None => format!(
                "the server ended the stream with {} bytes that are no line",
                text.len()
            ),
        },
        Remainder::Cut(bytes) => {
            format!("the stream ended within a line, after {bytes} bytes of it")
        }
    };
    Error::new(ErrorKind::Closed, context)
}
