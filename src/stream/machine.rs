//! The protocol: what to do about what happens on the wire.
//!
//! A pure state machine. No clock (moments come in as durations since any fixed point), no I/O, no random numbers; the driver
//! does all of that. What Nomad does is from `nomad/stream/event_broker.go` and from real servers of 1.11 and 2.0.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use self::doubt::Doubt;
use self::joining::Joining;
use super::mark::Mark;
use super::namespaces::{self, Covered};
use super::notice::Gap;
use crate::backoff::doubled;
use crate::checkpoint::{GapCause, KnownNamespaces};
use crate::envelope::{Envelope, Line};
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::nomad::{Namespace, Tables};
use crate::position::Taken;
use crate::position::proof::ProofKey;

/// A server that accepts a subscription sends `{}` at once (1.0.7, 1.1.1 and later).
pub(crate) const FIRST_LINE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a line that proves continuity, after the first `{}` or the last line below the one resumed at.
pub(crate) const PROOF_TIMEOUT: Duration = Duration::from_secs(10);
/// After this long with nothing but lines below the one resumed at, it is said once.
pub(crate) const OLDER_LINES_TIMEOUT: Duration = Duration::from_secs(60);
/// A stream that was healthy for this long starts the backoff anew.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// The longest pause after the first failure; it doubles with each further one.
pub(crate) const BACKOFF_BASE: Duration = Duration::from_millis(500);

/// What can happen.
pub(crate) enum Input {
    /// The source starts.
    Begin,
    /// The server answered 200 to the subscription.
    Accepted,
    /// A line came, with its text.
    Line(Line, Bytes),
    /// A line came that was not taken, with its index where that is known.
    Discarded(Option<RaftIndex>),
    /// The namespaces that there are, for a subscription to all.
    Namespaces(Vec<Namespace>),
    /// The answer to [`Output::AskTables`] of this connection; `None` when there was none.
    Tables(Option<Tables>),
    /// No connection could be made, or the stream ended.
    Ended(Error),
    /// The moment of [`Machine::deadline`] has come.
    Deadline,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("Begin"),
            Self::Accepted => f.write_str("Accepted"),
            // The text is not to be shown.
            Self::Line(line, text) => f
                .debug_tuple("Line")
                .field(line)
                .field(&text.len())
                .finish(),
            Self::Discarded(index) => f.debug_tuple("Discarded").field(index).finish(),
            Self::Namespaces(list) => f.debug_tuple("Namespaces").field(list).finish(),
            Self::Tables(tables) => f.debug_tuple("Tables").field(tables).finish(),
            Self::Ended(error) => f.debug_tuple("Ended").field(error).finish(),
            Self::Deadline => f.write_str("Deadline"),
        }
    }
}

/// What to do about it, in this order.
#[derive(Debug)]
pub(crate) enum Output {
    /// Close what is open, wait for a random part of `pause`, then subscribe at the address of that number from `index` on.
    Connect {
        endpoint: usize,
        index: RaftIndex,
        pause: Duration,
    },
    /// Hand these on: they are new.
    Emit(Envelope),
    /// So many events were known already.
    Duplicates(usize),
    /// The first line came.
    Connected {
        endpoint: usize,
        resumed_at: RaftIndex,
    },
    /// The stream is gone, or did not come about.
    Disconnected { endpoint: usize, error: Error },
    /// The first line of a stream that is wanted from the earliest on: nothing before it can be had.
    StartMark(RaftIndex),
    /// What is emitted next is of the index where the stream stopped, and not what we know of it. As long as nothing shows that the
    /// stream goes on there, it may be the stream of another cluster.
    Doubt(RaftIndex),
    /// The stream goes on where it stopped, after a doubt.
    Continuous(RaftIndex),
    /// Ask for the indexes of the tables. Not any more, once there is another connection.
    AskTables { endpoint: usize },
    /// Indexes began anew. `to` is the newest index of the tables, where that is known.
    Reset {
        from: RaftIndex,
        to: Option<RaftIndex>,
    },
    /// Events may be missing.
    Gap(Gap),
    /// These namespaces are covered from the next subscription on.
    NamespacesAdded(Vec<String>),
    /// For a minute the server has sent nothing but lines that are older than what we have.
    OnlyOlderLines { below: RaftIndex },
}

#[derive(Debug)]
enum State {
    Idle,
    Connecting,
    /// 200, which is no success yet: from 1.11.2 on a refusal looks just like it, and then nothing follows.
    Opening {
        first_line_by: Duration,
    },
    /// Lines come; whether they go on where the mark is, is not known yet.
    Joining(Joining),
    /// Lines come.
    Following {
        since: Duration,
    },
}

/// What the machine needs to know of the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) endpoints: usize,
    pub(crate) backoff_max: Duration,
    pub(crate) proof_key: ProofKey,
}

#[derive(Debug)]
pub(crate) struct Machine {
    rules: Rules,
    state: State,
    mark: Mark,
    covered: Covered,
    /// The mark is what a user has asked for, and no earlier run has seen it.
    fresh: bool,
    /// Another region is subscribed to than the one of the mark: only a proof shows that it is the same cluster.
    another_region: bool,
    /// Whether a line with events came through this connection.
    batch_seen: bool,
    /// Whether events of the mark's own index came through this connection that nothing is known of.
    unknown_lines: bool,
    /// Number of the address in use.
    endpoint: usize,
    /// Failures in a row, without a healthy stream between them.
    failures: u32,
}

impl Machine {
    /// `mark` says where to begin.
    pub(crate) fn new(rules: Rules, mark: Mark) -> Self {
        Self {
            rules,
            state: State::Idle,
            mark,
            covered: Covered::default(),
            fresh: true,
            another_region: false,
            batch_seen: false,
            unknown_lines: false,
            endpoint: 0,
            failures: 0,
        }
    }

    /// Sets where to begin, before the first step.
    pub(crate) fn begin_at(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Goes on from a saved position, before the first step. With `another_region` only a proof shows that it is the same
    /// cluster; anything else makes indexes begin anew.
    pub(crate) fn resume(
        &mut self,
        position: RaftIndex,
        taken: &Taken,
        namespaces: KnownNamespaces,
        another_region: bool,
        proof_key: ProofKey,
    ) {
        self.rules.proof_key = proof_key;
        self.mark = Mark::saved(position, taken);
        self.covered = Covered::saved(namespaces);
        self.fresh = false;
        self.another_region = another_region;
    }

    /// The saved position is still the one that a user asks for, and may be one that is still to come.
    pub(crate) fn waits_as_asked(&mut self) {
        self.fresh = true;
    }

    /// The key under which proofs are taken.
    pub(crate) fn proof_key(&self) -> ProofKey {
        self.rules.proof_key
    }

    /// The namespaces that are known to be covered, if that is not what it was the last time.
    pub(crate) fn namespaces_to_save(&mut self) -> Option<KnownNamespaces> {
        self.covered.take_changed()
    }

    /// Takes one input and says what is to be done.
    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Vec<Output> {
        match input {
            Input::Begin => vec![self.connect(Duration::ZERO)],
            Input::Accepted => {
                // From here on a list is younger than the subscription.
                self.covered.begin(self.mark.index());
                self.state = State::Opening {
                    first_line_by: now + FIRST_LINE_TIMEOUT,
                };
                Vec::new()
            }
            Input::Line(line, text) => {
                let mut outputs = self.first_line(now);
                match line {
                    Line::Heartbeat => {}
                    Line::Batch(envelope) => self.batch(now, envelope, text, &mut outputs),
                }
                outputs
            }
            Input::Discarded(index) => {
                let mut outputs = self.first_line(now);
                if index.is_some_and(|index| self.mark.is_ahead_of(index)) {
                    // It was discarded or taken before, or is not wanted.
                    self.below(now);
                } else {
                    let from = index.unwrap_or(self.mark.index());
                    let cause = GapCause::LineDiscarded;
                    outputs.push(Output::Gap(Gap::of_all(from, index, cause)));
                }
                outputs
            }
            Input::Namespaces(list) => self.listed(now, list),
            Input::Tables(tables) => self.tables(now, tables),
            Input::Ended(error) => self.ended(now, error),
            Input::Deadline => self.deadline_passed(now),
        }
    }

    /// When [`Input::Deadline`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Idle | State::Connecting | State::Following { .. } => None,
            State::Opening { first_line_by } => Some(*first_line_by),
            State::Joining(joining) => {
                let say_by = joining
                    .older
                    .filter(|older| !older.said)
                    .map(|older| older.since + OLDER_LINES_TIMEOUT);
                let decide_by = joining.doubt.as_ref().map(Doubt::deadline);
                [joining.prove_by, say_by, decide_by]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    fn connect(&mut self, pause: Duration) -> Output {
        self.state = State::Connecting;
        Output::Connect {
            endpoint: self.endpoint,
            index: self.mark.index(),
            pause,
        }
    }

    /// The first line of a connection is the server's yes.
    fn first_line(&mut self, now: Duration) -> Vec<Output> {
        if !matches!(self.state, State::Opening { .. }) {
            return Vec::new();
        }
        let resumed_at = self.mark.index();
        self.batch_seen = false;
        self.unknown_lines = false;
        // From now on all is wanted: what is evicted before the next connection, if none is taken from this one, is missed.
        self.state = match self.mark {
            Mark::Nothing => {
                self.mark = Mark::From(RaftIndex(0));
                State::Following { since: now }
            }
            Mark::Now(index) => {
                self.mark = Mark::After(index);
                State::Following { since: now }
            }
            _ => {
                let mut joining = Joining::open(now, now);
                if resumed_at == RaftIndex(0) {
                    // That nothing comes of a stream from the earliest on is no wonder.
                    joining.prove_by = None;
                }
                State::Joining(joining)
            }
        };
        vec![Output::Connected {
            endpoint: self.endpoint,
            resumed_at,
        }]
    }

    fn deadline_passed(&mut self, now: Duration) -> Vec<Output> {
        match &mut self.state {
            State::Opening { first_line_by } if *first_line_by <= now => {
                let error = Error::new(
                    ErrorKind::NoFirstLine,
                    format!(
                        "200, and then no line for {} s",
                        FIRST_LINE_TIMEOUT.as_secs()
                    ),
                );
                self.ended(now, error)
            }
            State::Joining(_) => self.joining_overdue(now),
            _ => Vec::new(),
        }
    }

    /// The list of namespaces: what is new is covered by the next subscription, so that follows at once.
    fn listed(&mut self, now: Duration, list: Vec<Namespace>) -> Vec<Output> {
        let between = matches!(self.state, State::Idle | State::Connecting);
        if self.another_region {
            // They are compared with nothing: they may be those of another cluster.
            self.covered = Covered::default();
        }
        let new = if between {
            self.covered.take(list)
        } else {
            self.covered.compare_open(list)
        };
        if new.is_empty() {
            return Vec::new();
        }
        let mut outputs = vec![Output::NamespacesAdded(
            new.iter().map(|namespace| namespace.name.clone()).collect(),
        )];
        // Before anything was taken nothing was passed over: the next subscription begins at the same place.
        if let Mark::Taken(_) = self.mark {
            let read = self.mark.index();
            let gaps = new
                .into_iter()
                .filter_map(|namespace| namespaces::gap(namespace, read));
            outputs.extend(gaps.map(Output::Gap));
        }
        if !between {
            self.leave(now, &mut outputs);
            outputs.push(self.connect(Duration::ZERO));
        }
        outputs
    }

    /// Notes that the connection is gone, or about to be.
    fn leave(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        if let State::Joining(joining) = &self.state
            && joining.open
            && self.unknown_lines
        {
            // What came of the index proved nothing, and would pass for a proof the next time.
            let at = self.mark.index();
            outputs.push(Output::Gap(Gap::of_all(at, None, GapCause::Unproven)));
        }
        self.mark.disconnected(self.rules.proof_key);
        self.note_health(now);
    }

    fn note_health(&mut self, now: Duration) {
        if let State::Joining(Joining { since, .. }) | State::Following { since } = self.state
            && now.saturating_sub(since) >= HEALTHY_AFTER
        {
            self.failures = 0;
        }
    }

    fn ended(&mut self, now: Duration, error: Error) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.leave(now, &mut outputs);
        let error = match self.state {
            // The end before the first line says something else than the end of a stream that worked.
            State::Opening { .. } => error.before_first_line(),
            _ => error,
        };
        outputs.push(Output::Disconnected {
            endpoint: self.endpoint,
            error,
        });
        self.endpoint = (self.endpoint + 1) % self.rules.endpoints.max(1);
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(self.failures, self.rules.backoff_max);
        outputs.push(self.connect(pause));
        outputs
    }
}

/// The longest pause after so many failures in a row.
pub(crate) fn backoff(failures: u32, longest: Duration) -> Duration {
    doubled(BACKOFF_BASE, failures, longest)
}

mod doubt;
#[cfg(any(test, feature = "fuzzing"))]
mod histories;
mod joining;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use histories::fuzzing;
#[cfg(test)]
mod tests;
