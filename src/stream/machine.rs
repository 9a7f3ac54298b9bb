//! The protocol: what to do about what happens on the wire.
//!
//! A pure state machine. No clock (moments come in as durations since any fixed point), no I/O, no random numbers; the driver
//! does all of that. What Nomad does is from `nomad/stream/event_broker.go` and from real servers of 1.11 and 2.0.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::mark::{Mark, Relation};
use super::namespaces::{self, Covered};
use super::notice::Gap;
use crate::backoff::doubled;
use crate::envelope::{Envelope, Line};
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::nomad::Namespace;
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

/// Cause of a gap that is suspected, since nothing shows the opposite.
pub(crate) const UNPROVEN: &str = "unproven";

/// Cause of a gap that is a line which was not taken.
pub(crate) const LINE_DISCARDED: &str = "line_discarded";

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
    /// Lines come, of which none was taken yet; whether the server still has what follows the mark is not known.
    Starting {
        since: Duration,
    },
    /// Lines come; whether they go on where we stopped is not proved yet.
    Resuming {
        since: Duration,
        /// When it is a gap; `None` when that was announced.
        prove_by: Option<Duration>,
        older: Option<Older>,
    },
    /// Lines come.
    Following {
        since: Duration,
    },
}

/// Lines below the one resumed at, and nothing else.
#[derive(Clone, Copy, Debug)]
struct Older {
    since: Duration,
    said: bool,
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
    /// Whether a line with events came through this connection.
    batch_seen: bool,
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
            batch_seen: false,
            endpoint: 0,
            failures: 0,
        }
    }

    /// Sets where to begin, before the first step.
    pub(crate) fn begin_at(&mut self, mark: Mark) {
        self.mark = mark;
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
                    outputs.push(Output::Gap(Gap {
                        from: index.unwrap_or(self.mark.index()),
                        to: index,
                        cause: LINE_DISCARDED,
                        namespace: None,
                    }));
                }
                outputs
            }
            Input::Namespaces(list) => self.listed(now, list),
            Input::Ended(error) => self.ended(now, error),
            Input::Deadline => self.deadline_passed(now),
        }
    }

    /// When [`Input::Deadline`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Idle | State::Connecting | State::Starting { .. } | State::Following { .. } => {
                None
            }
            State::Opening { first_line_by } => Some(*first_line_by),
            State::Resuming {
                prove_by, older, ..
            } => {
                let say_by = older
                    .filter(|older| !older.said)
                    .map(|older| older.since + OLDER_LINES_TIMEOUT);
                [*prove_by, say_by].into_iter().flatten().min()
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
        self.state = match self.mark {
            Mark::Nothing => {
                // From now on all is wanted: what is evicted before the next connection, if none is taken from this one, is
                // missed.
                self.mark = Mark::From(RaftIndex(0));
                State::Following { since: now }
            }
            Mark::From(_) | Mark::After(_) => State::Starting { since: now },
            Mark::Taken(_) => State::Resuming {
                since: now,
                prove_by: Some(now + PROOF_TIMEOUT),
                older: None,
            },
        };
        vec![Output::Connected {
            endpoint: self.endpoint,
            resumed_at,
        }]
    }

    fn batch(&mut self, now: Duration, batch: Envelope, text: Bytes, outputs: &mut Vec<Output>) {
        let index = batch.index;
        let total = batch.events.len();
        if !std::mem::replace(&mut self.batch_seen, true) {
            self.covered.first_line(index);
        }
        for event in &batch.events {
            self.covered.delivered(&event.namespace);
        }
        let asked = self.mark.index();
        let leaves_out = self.mark.leaves_out(index);
        let (relation, new) = self.mark.take(batch, text, self.rules.proof_key);

        match (&mut self.state, relation) {
            (_, Relation::Below) => self.below(now),
            // What came of the index is not what we know of it. Another line of it may be.
            (State::Resuming { older, .. }, Relation::At { proved: false }) => *older = None,
            (State::Resuming { since, .. }, Relation::At { proved: true }) => {
                self.state = State::Following { since: *since };
            }
            (
                State::Resuming {
                    since, prove_by, ..
                },
                Relation::Above,
            ) => {
                if prove_by.is_some() {
                    outputs.push(unproven(asked, Some(index)));
                }
                self.state = State::Following { since: *since };
            }
            (State::Starting { since }, Relation::Above) => {
                if leaves_out {
                    outputs.push(unproven(asked, Some(index)));
                }
                self.state = State::Following { since: *since };
            }
            _ => {}
        }

        if total > new.len() {
            outputs.push(Output::Duplicates(total - new.len()));
        }
        if !new.is_empty() {
            outputs.push(Output::Emit(Envelope { index, events: new }));
        }
    }

    /// A line came of which nothing is wanted.
    fn below(&mut self, now: Duration) {
        match &mut self.state {
            // It shows that the server has all that follows the mark.
            State::Starting { since } => self.state = State::Following { since: *since },
            // A server that replays its log, or lags, gets the time that it needs.
            State::Resuming {
                prove_by, older, ..
            } => {
                if let Some(prove_by) = prove_by {
                    *prove_by = now + PROOF_TIMEOUT;
                }
                older.get_or_insert(Older {
                    since: now,
                    said: false,
                });
            }
            _ => {}
        }
    }

    fn deadline_passed(&mut self, now: Duration) -> Vec<Output> {
        let asked = self.mark.index();
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
            State::Resuming {
                prove_by, older, ..
            } => {
                let mut outputs = Vec::new();
                if let Some(older) = older
                    && !older.said
                    && older.since + OLDER_LINES_TIMEOUT <= now
                {
                    older.said = true;
                    outputs.push(Output::OnlyOlderLines { below: asked });
                }
                if prove_by.is_some_and(|by| by <= now) {
                    *prove_by = None;
                    outputs.push(unproven(asked, None));
                }
                outputs
            }
            _ => Vec::new(),
        }
    }

    /// The list of namespaces: what is new is covered by the next subscription, so that follows at once.
    fn listed(&mut self, now: Duration, list: Vec<Namespace>) -> Vec<Output> {
        let between = matches!(self.state, State::Idle | State::Connecting);
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
        if let State::Resuming {
            prove_by: Some(_), ..
        } = self.state
            && self.mark.has_fresh()
        {
            // What came of the index proved nothing, and would pass for a proof the next time.
            outputs.push(unproven(self.mark.index(), None));
        }
        self.mark.disconnected(self.rules.proof_key);
        if let State::Starting { since }
        | State::Resuming { since, .. }
        | State::Following { since } = self.state
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

fn unproven(from: RaftIndex, to: Option<RaftIndex>) -> Output {
    Output::Gap(Gap {
        from,
        to,
        cause: UNPROVEN,
        namespace: None,
    })
}

#[cfg(any(test, feature = "fuzzing"))]
mod histories;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use histories::fuzzing;
#[cfg(test)]
mod tests;
