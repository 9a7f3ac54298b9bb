//! Does what the machine says: connects, reads, waits, and hands on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::liveness::Liveness;
use super::machine::{Input, Machine, Output, Rules, backoff};
use super::mark::Mark;
use super::notice::{Connected, Disconnected, LineDiscarded, Notice, NoticeKind, Started};
use super::outbox::Outbox;
use crate::envelope::{self, Envelope, Line};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, RaftIndex};
use crate::frame::{Frame, Remainder, Splitter};
use crate::nomad::{Client, Dial, Subscription, with_sources};
use crate::options::{Settings, StartAt};
use crate::payload::time::{Dating, Received};
use crate::position::proof::ProofKey;
use crate::telemetry::Discarded;

/// A connection on which no line was completed for this long is dead, however many bytes come.
const LINE_TIMEOUT: Duration = Duration::from_secs(300);

/// Follows the stream, for ever.
pub(super) struct Driver {
    settings: Arc<Settings>,
    outbox: Arc<Outbox>,
    client: Client,
    machine: Machine,
    dating: Dating,
    liveness: Liveness,
    clock: Clock,
    rng: StdRng,
    /// The connection that the machine asked for.
    next: Option<Connect>,
    /// The cause that was told last, and has not been mended since.
    told: Option<ErrorKind>,
}

struct Connect {
    endpoint: usize,
    index: RaftIndex,
    pause: Duration,
}

/// Time as the machine sees it: it stands still while we do not read, or a full queue would look like a silent server.
struct Clock {
    origin: Instant,
    stood_still: Duration,
}

impl Clock {
    fn now(&self) -> Duration {
        self.origin.elapsed().saturating_sub(self.stood_still)
    }

    fn instant(&self, at: Duration) -> Instant {
        self.origin + at + self.stood_still
    }
}

impl Driver {
    pub(super) fn new(settings: Arc<Settings>, outbox: Arc<Outbox>, dial: Arc<dyn Dial>) -> Self {
        let mut rng = StdRng::from_rng(&mut rand::rng());
        let rules = Rules {
            endpoints: settings.endpoints.len(),
            backoff_max: settings.backoff_max,
            proof_key: ProofKey::new(rng.random()),
        };
        Self {
            client: Client::new(Arc::clone(&settings), dial),
            machine: Machine::new(rules, Mark::Nothing),
            dating: Dating::default(),
            liveness: Liveness::default(),
            clock: Clock {
                origin: Instant::now(),
                stood_still: Duration::ZERO,
            },
            rng,
            next: None,
            told: None,
            settings,
            outbox,
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        self.notice(
            RaftIndex(0),
            NoticeKind::Started(Started {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                endpoints: self.settings.endpoint_names(),
                topics: self
                    .settings
                    .topics
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                namespace: self.settings.namespace.clone(),
                start_at: self.settings.start_at.to_string(),
                continuity: "none",
            }),
        );
        let mark = self.start_mark().await;
        self.machine.begin_at(mark);
        self.step(Input::Begin, 0);
        while let Some(connect) = self.next.take() {
            self.pause(connect.pause).await;
            match self.client.subscribe(connect.endpoint, connect.index).await {
                Ok(subscription) => {
                    self.step(Input::Accepted, 0);
                    self.read(subscription).await;
                }
                Err(error) => self.step(Input::Ended(error), 0),
            }
        }
    }

    async fn start_mark(&mut self) -> Mark {
        match self.settings.start_at {
            StartAt::Earliest | StartAt::Index(RaftIndex(0)) => return Mark::Nothing,
            StartAt::Index(index) => return Mark::From(index),
            StartAt::Latest => {}
        }
        let mut failures = 0;
        loop {
            let endpoint = failures as usize % self.settings.endpoints.len();
            match self.client.latest_index(endpoint).await {
                Ok(index) => return Mark::After(index),
                Err(error) => {
                    self.disconnected(endpoint, &error);
                    failures += 1;
                    self.pause(backoff(failures, self.settings.backoff_max))
                        .await;
                }
            }
        }
    }

    /// Full jitter: many sources that lost one server do not come back at one moment.
    async fn pause(&mut self, longest: Duration) {
        let pause = longest.mul_f64(self.rng.random_range(0.0..=1.0));
        tokio::time::sleep(pause).await;
    }

    /// Reads a subscription until it ends, or the machine wants another one.
    async fn read(&mut self, mut subscription: Subscription) {
        let mut splitter = Splitter::new(self.settings.max_line_bytes);
        self.liveness.not_reading();
        let mut last_byte = self.clock.now();
        let mut last_line = last_byte;
        while self.next.is_none() {
            let deadline = self.machine.deadline();
            let dead_at = (last_byte + self.settings.idle_timeout).min(last_line + LINE_TIMEOUT);
            tokio::select! {
                // What has come is looked at before a deadline is.
                biased;
                frame = subscription.body.frame() => {
                    let data = match frame {
                        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                        Some(Err(error)) => {
                            self.step(Input::Ended(broken(&error)), 0);
                            return;
                        }
                        None => {
                            self.step(Input::Ended(closed(splitter.finish())), 0);
                            return;
                        }
                    };
                    last_byte = self.clock.now();
                    // Of all lines of the chunk, also of one that will have to wait for room.
                    let received = Received {
                        at: now_nanos(),
                        live: self.liveness.bytes(last_byte),
                    };
                    splitter.push(data);
                    while let Some(frame) = splitter.next_frame() {
                        self.frame(frame, received).await;
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
                () = tokio::time::sleep_until(self.clock.instant(dead_at)) => {
                    let silent = self.clock.now().saturating_sub(last_line).as_secs();
                    self.step(Input::Ended(Error::new(ErrorKind::Idle, format!("no line for {silent} s"))), 0);
                }
            }
        }
    }

    async fn frame(&mut self, frame: Frame, received: Received) {
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
                if let Line::Batch(batch) = &line {
                    self.wait_for_room(&text, batch.events.len()).await;
                    self.outbox.note_read(batch.index);
                }
                let bytes = text.len();
                let outputs = self.machine.step(self.clock.now(), Input::Line(line, text));
                self.perform(outputs, bytes, received);
            }
            Err(_) => self.discarded(Discarded::NotJson, text.len() as u64, None),
        }
    }

    /// A full queue stops the reading: the server cuts us off in the end, and we resume when there is room.
    async fn wait_for_room(&mut self, text: &Bytes, events: usize) {
        let bytes = text.len() + events * size_of::<Event>();
        let from = Instant::now();
        if self.outbox.room(bytes, self.settings.queue_bytes).await {
            self.clock.stood_still += from.elapsed();
            self.liveness.not_reading();
        }
    }

    fn discarded(&mut self, reason: Discarded, bytes: u64, index: Option<RaftIndex>) {
        self.outbox.telemetry.line_discarded(reason, bytes, index);
        self.outbox.note_discarded();
        self.notice(
            index.unwrap_or_else(|| self.outbox.positions().read),
            NoticeKind::LineDiscarded(LineDiscarded {
                bytes,
                index,
                reason: reason.as_str(),
            }),
        );
        self.step(Input::Discarded(index), 0);
    }

    fn step(&mut self, input: Input, line_bytes: usize) {
        let received = Received {
            at: now_nanos(),
            live: false,
        };
        let outputs = self.machine.step(self.clock.now(), input);
        self.perform(outputs, line_bytes, received);
    }

    fn perform(&mut self, outputs: Vec<Output>, line_bytes: usize, received: Received) {
        for output in outputs {
            match output {
                Output::Connect {
                    endpoint,
                    index,
                    pause,
                } => {
                    self.next = Some(Connect {
                        endpoint,
                        index,
                        pause,
                    });
                }
                Output::Emit(batch) => self.emit(batch, line_bytes, received),
                Output::Duplicates(count) => self.outbox.note_duplicates(count as u64),
                Output::Connected {
                    endpoint,
                    resumed_at,
                } => {
                    let endpoint = self.client.name(endpoint);
                    self.told = None;
                    self.outbox.note_connected();
                    self.outbox.telemetry.connected(&endpoint, resumed_at);
                    self.notice(
                        resumed_at,
                        NoticeKind::Connected(Connected {
                            endpoint,
                            resumed_at,
                        }),
                    );
                }
                Output::Disconnected { endpoint, error } => self.disconnected(endpoint, &error),
                Output::Gap(gap) => {
                    self.outbox.telemetry.gap(&gap);
                    self.notice(gap.to.unwrap_or(gap.from), NoticeKind::Gap(gap));
                }
                Output::OnlyOlderLines { below } => self.outbox.telemetry.only_older_lines(below),
            }
        }
    }

    fn emit(&mut self, batch: Envelope, line_bytes: usize, received: Received) {
        let times = self.dating.date(&batch.events, received);
        let events = batch
            .events
            .into_iter()
            .zip(times)
            .map(|(raw, time)| raw.dated(batch.index, time))
            .collect();
        self.outbox.push_batch(batch.index, events, line_bytes);
    }

    fn disconnected(&mut self, endpoint: usize, error: &Error) {
        let endpoint = self.client.name(endpoint);
        let news = self.told != Some(error.kind());
        self.outbox.note_disconnected();
        self.outbox.telemetry.disconnected(&endpoint, error, news);
        if news {
            self.told = Some(error.kind());
            self.notice(
                self.outbox.positions().read,
                NoticeKind::Disconnected(Disconnected {
                    endpoint,
                    cause: error.kind().as_str(),
                    message: error.to_string(),
                }),
            );
        }
    }

    fn notice(&self, index: RaftIndex, kind: NoticeKind) {
        self.outbox.push_notice(Notice {
            at: now_nanos(),
            index,
            kind,
        });
    }
}

/// Says once per interval how the source is, also when nothing else happens.
pub(super) async fn report_status(outbox: Arc<Outbox>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let status = outbox.status(Instant::now());
        outbox.push_notice(Notice {
            at: now_nanos(),
            index: status.read,
            kind: NoticeKind::Status(status),
        });
    }
}

fn broken(error: &hyper::Error) -> Error {
    Error::new(
        ErrorKind::Broken,
        format!("the connection broke: {}", with_sources(error)),
    )
}

fn closed(remainder: Remainder) -> Error {
    let context = match remainder {
        Remainder::Nothing => "the server ended the stream".to_owned(),
        Remainder::ErrorText(text) => format!("the server ended the stream: {text:?}"),
        Remainder::Cut(bytes) => {
            format!("the stream ended within a line, after {bytes} bytes of it")
        }
    };
    Error::new(ErrorKind::Closed, context)
}

/// Our clock, nanoseconds since 1970. Saturates in the year 2262.
fn now_nanos() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
