//! Does what the machine says: connects, reads, waits, and hands on.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::agents::Agents;
use super::asking::Asking;
use super::changes::JobVersions;
use super::inquiry::Inquiry;
use super::liveness::Liveness;
use super::machine::{Input, Machine, Output, Rules, backoff};
use super::mark::Mark;
use super::notice::{Connected, Notice, NoticeKind};
use super::outbox::Outbox;
use super::watch::NamespaceWatch;
use crate::envelope::{Envelope, RawEvent};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, RaftIndex};
use crate::nomad::{Purpose, concerns_namespaces};
use crate::options::{Settings, StartAt, TopicFilter};
use crate::payload::time::{Dating, Received};
use crate::position::proof::ProofKey;
use crate::position::{Epoch, Position, Taken};

mod outcomes;
mod reading;
mod saved;

/// A subscription waits so long for the list of namespaces at most; one that is slower is read beside the stream.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// The first `Status` of a source comes after this long, or after an interval that is shorter: whoever looks at it, or alerts on its
/// absence, need not wait for a whole interval.
const FIRST_STATUS: Duration = Duration::from_secs(5);

/// How often the gauge of the silence is set: as often as Vector reads it by default.
const SILENCE_EVERY: Duration = Duration::from_secs(1);

/// Follows the stream, for ever.
pub(super) struct Driver<A> {
    settings: Arc<Settings>,
    outbox: Arc<Outbox>,
    agents: Arc<A>,
    machine: Machine,
    dating: Dating,
    liveness: Liveness,
    clock: Clock,
    rng: StdRng,
    /// The connection that the machine asked for.
    next: Option<Connect>,
    /// Of each address, the cause that was told last and has not been mended since.
    told: Vec<Option<Error>>,
    inquiry: Inquiry,
    watch: NamespaceWatch,
    said_of_namespaces: outcomes::SaidOfNamespaces,
    asking: Asking,
    /// The topics whose tables show whether something is missing.
    asked_topics: Arc<[TopicFilter]>,
    /// Why tables could not be read the last time.
    tables_not_read: Option<ErrorKind>,
    /// Unless nobody wants to know.
    job_versions: Option<JobVersions>,
    /// Why the versions of a job could not be read the last time.
    versions_not_read: Option<ErrorKind>,
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

impl<A: Agents> Driver<A> {
    pub(super) fn new(settings: Arc<Settings>, agents: A, outbox: Arc<Outbox>) -> Self {
        let mut rng = StdRng::from_rng(&mut rand::rng());
        let rules = Rules {
            endpoints: settings.endpoints.len(),
            backoff_max: settings.backoff_max,
            proof_key: ProofKey::new(rng.random()),
        };
        Self {
            asking: Asking::default(),
            asked_topics: settings.topics.clone().into(),
            tables_not_read: None,
            job_versions: settings.job_changes.then(JobVersions::default),
            versions_not_read: None,
            agents: Arc::new(agents),
            machine: Machine::new(rules, Mark::Nothing),
            dating: Dating::default(),
            liveness: Liveness::default(),
            clock: Clock {
                origin: Instant::now(),
                stood_still: Duration::ZERO,
            },
            rng,
            next: None,
            told: vec![None; settings.endpoints.len()],
            inquiry: Inquiry::default(),
            watch: NamespaceWatch::default(),
            said_of_namespaces: outcomes::SaidOfNamespaces::default(),
            settings,
            outbox,
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        if !self.go_on().await {
            let mark = self.start_mark().await;
            match mark {
                // It is known with the first line.
                Mark::Nothing | Mark::Taken(_) => {}
                Mark::From(index) => self.outbox.begin_at(at(index), Taken::Nothing),
                Mark::Now(index) | Mark::After(index) => {
                    self.outbox.begin_at(at(index), Taken::All);
                }
            }
            self.machine.begin_at(mark);
        }
        self.step(Input::Begin, 0);
        while let Some(connect) = self.next.take() {
            self.pause(connect.pause).await;
            self.follow(connect).await;
        }
    }

    /// Subscribes, and reads until the subscription ends or the machine wants another one.
    async fn follow(&mut self, connect: Connect) {
        let Connect {
            endpoint, index, ..
        } = connect;
        // Read before the subscription begins: what is listed later, and not here, it does not cover.
        if self.follows_all_namespaces() {
            let agents = Arc::clone(&self.agents);
            let list = async move {
                let list = tokio::time::timeout(LIST_TIMEOUT, agents.namespaces(endpoint)).await;
                list.unwrap_or_else(|_| Err(Error::new(ErrorKind::List, "no list in time")))
            };
            match self.meanwhile(list).await {
                Ok(list) => {
                    self.listed(endpoint, list);
                    let pause = self.refresh_pause();
                    self.watch.wait(pause);
                }
                // What cannot be connected to is not tried twice.
                Err(error) if error.kind() == ErrorKind::Connect => {
                    return self.step(Input::Ended(error), 0);
                }
                Err(_) => self.watch.wait(Duration::ZERO),
            }
        } else if concerns_namespaces(&self.settings) {
            self.watch.wait(Duration::ZERO);
        }
        let agents = Arc::clone(&self.agents);
        let subscribing = async move { agents.subscribe(endpoint, index).await };
        match self.meanwhile(subscribing).await {
            Ok(body) => {
                self.step(Input::Accepted, 0);
                self.read(endpoint, body).await;
            }
            Err(error) => self.step(Input::Ended(error), 0),
        }
    }

    /// Waits for something, and tells what an inquiry has found in the meantime.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                explained = self.inquiry.explained() => self.explained(explained),
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
            let agents = Arc::clone(&self.agents);
            let latest = async move { agents.latest_index(endpoint).await };
            match self.meanwhile(latest).await {
                Ok(index) => return Mark::Now(index),
                Err(error) => {
                    self.disconnected(endpoint, error, Purpose::Latest);
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
        self.meanwhile(tokio::time::sleep(pause)).await;
    }

    /// The refresh interval, give or take a tenth.
    fn refresh_pause(&mut self) -> Duration {
        self.settings
            .namespace_refresh
            .mul_f64(self.rng.random_range(0.9..=1.1))
    }

    fn follows_all_namespaces(&self) -> bool {
        self.settings.namespace == "*" && concerns_namespaces(&self.settings)
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
                    if let Some(overtaken) = self.inquiry.overtaken(endpoint) {
                        self.explained(overtaken);
                    }
                    if let Some(told) = self.told.get_mut(endpoint) {
                        *told = None;
                    }
                    let endpoint = self.agents.name(endpoint);
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
                Output::Disconnected { endpoint, error } => {
                    self.disconnected(endpoint, error, Purpose::Stream);
                }
                Output::NamespacesAdded(names) => self.outbox.telemetry.namespaces_added(&names),
                Output::Gap(gap) => self.gap(gap),
                Output::StartMark(index) => self.outbox.starts_with(index),
                Output::Doubt(index) => self.doubt(index),
                Output::Continuous(index) => self.outbox.close_doubt(index),
                Output::AskTables { endpoint } => {
                    self.asking
                        .begin(&self.agents, endpoint, &self.asked_topics);
                }
                Output::Reset { from, to } => self.begin_epoch(from, to),
                Output::OnlyOlderLines { below } => self.outbox.telemetry.only_older_lines(below),
            }
        }
        // Behind the gaps that they make: known and without its gap, a namespace would not be missed after a crash.
        if let Some(known) = self.machine.namespaces_to_save() {
            self.outbox.note_namespaces(known);
        }
    }

    fn emit(&mut self, batch: Envelope, line_bytes: usize, received: Received) {
        let times = self.dating.date(&batch.events, received);
        let mut changes = |event: &RawEvent| {
            let changes = self.job_versions.as_mut()?.tell(event, batch.index)?;
            self.outbox.telemetry.job_changes(&changes);
            Some(changes)
        };
        let events = batch
            .events
            .into_iter()
            .zip(times)
            .map(|(raw, time)| {
                let changes = changes(&raw);
                let event = raw.dated(batch.index, time);
                Event { changes, ..event }
            })
            .collect();
        self.outbox
            .push_batch(batch.index, events, line_bytes, self.dating.newest());
    }

    fn notice(&self, index: RaftIndex, kind: NoticeKind) {
        self.outbox.push_notice(Notice {
            at: now_nanos(),
            index,
            kind,
        });
    }
}

/// A place before any reset.
fn at(index: RaftIndex) -> Position {
    Position {
        epoch: Epoch::default(),
        index,
    }
}

/// Says once per interval how the source is, also when nothing else happens. A standby says nothing: the other one does.
pub(super) async fn report_status(outbox: Arc<Outbox>, interval: Duration) {
    outbox.active().await;
    let mut pause = FIRST_STATUS.min(interval);
    loop {
        tokio::time::sleep(pause).await;
        pause = interval;
        let status = outbox.status(Instant::now());
        outbox.push_notice(Notice {
            at: now_nanos(),
            index: status.read,
            kind: NoticeKind::Status(status),
        });
    }
}

/// Keeps the gauge of the silence moving, also when nothing else happens.
pub(super) async fn report_silence(outbox: Arc<Outbox>) {
    outbox.active().await;
    let started = Instant::now();
    loop {
        let now = Instant::now();
        let silent = outbox.status(now).seconds_since_last_line;
        let since_start = (now - started).as_secs_f64();
        outbox.telemetry.silent_for(silent.unwrap_or(since_start));
        tokio::time::sleep(SILENCE_EVERY).await;
    }
}

/// Our clock, nanoseconds since 1970. Saturates in the year 2262.
pub(super) fn now_nanos() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
