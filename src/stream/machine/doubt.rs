//! Whether a stream goes on where it stopped, when no line shows it: then the tables' indexes are asked for. Pure.
//!
//! The buffer counts the writes of all topics, so on a narrow subscription or a quiet cluster the place where the stream stopped is
//! often forgotten although nothing is missing. And a cluster that was made anew is known by its lower indexes.

use std::time::Duration;

use crate::backoff::doubled;
use crate::event::RaftIndex;
use crate::nomad::Tables;
use crate::stream::mark::Mark;

/// After this long without an answer that decides, it counts as a gap.
pub(crate) const UNDECIDED_TIMEOUT: Duration = Duration::from_secs(300);

/// For so long all tables have to be behind before it is said that indexes began anew.
pub(crate) const LOWER_FOR: Duration = Duration::from_secs(30);

/// The pause after the first question; it doubles with each further one.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two questions.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A question that is open.
#[derive(Debug)]
pub(super) struct Doubt {
    why: Why,
    decide_by: Duration,
    /// When to ask next; `None` while an answer is waited for.
    ask_at: Option<Duration>,
    asked: u32,
    /// Since when all tables are behind.
    lower_since: Option<Duration>,
}

/// What has raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing came that shows it.
    NoProof,
    /// Nothing came but lines from before. The server may lag.
    OnlyOlder,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet.
    Open,
    /// Nothing was written since.
    Continuous,
    /// The server lags, and has what it lacks still to send.
    Lags,
    /// Something was written since, and the server does not show it.
    Evicted,
    /// Indexes began anew.
    Reset(RaftIndex),
    /// It stays unknown.
    Undecided,
}

impl Doubt {
    pub(super) fn new(why: Why, now: Duration) -> Self {
        Self {
            why,
            decide_by: now + UNDECIDED_TIMEOUT,
            ask_at: Some(now),
            asked: 0,
            lower_since: None,
        }
    }

    /// A graver reason than the one before.
    pub(super) fn raise(&mut self, why: Why) {
        if why == Why::NoProof {
            self.why = why;
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.ask_at
            .map_or(self.decide_by, |ask_at| ask_at.min(self.decide_by))
    }

    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        self.decide_by <= now
    }

    /// Whether the tables are to be asked for now. An answer follows.
    pub(super) fn asks(&mut self, now: Duration) -> bool {
        self.ask_at.take_if(|ask_at| *ask_at <= now).is_some()
    }

    /// Takes an answer. `fresh` says that the mark has never been anything but what a user has asked for, `unknown_lines` that
    /// lines of the mark's own index came that nothing is known of.
    pub(super) fn answered(
        &mut self,
        now: Duration,
        tables: Option<Tables>,
        mark: &Mark,
        fresh: bool,
        unknown_lines: bool,
    ) -> Verdict {
        self.asked += 1;
        self.ask_at = Some(now + doubled(ASK_PAUSE, self.asked, ASK_PAUSE_MAX));
        let Some(Tables { newest, complete }) = tables else {
            self.lower_since = None;
            return Verdict::Open;
        };
        let at = mark.index();
        let ahead = match mark {
            Mark::From(_) => newest >= at,
            _ => newest > at,
        };
        if ahead {
            return match self.why {
                Why::NoProof => Verdict::Evicted,
                Why::OnlyOlder => Verdict::Lags,
            };
        }
        if !complete {
            self.lower_since = None;
            return Verdict::Open;
        }
        match mark {
            // A user may ask for an index that is still to come.
            Mark::From(_) if fresh => return Verdict::Continuous,
            Mark::Taken(_) | Mark::After(_) if newest == at => {
                self.lower_since = None;
                return match (self.why, unknown_lines) {
                    (Why::OnlyOlder, _) => Verdict::Lags,
                    (Why::NoProof, false) => Verdict::Continuous,
                    (Why::NoProof, true) => Verdict::Open,
                };
            }
            _ => {}
        }
        let since = *self.lower_since.get_or_insert(now);
        if now.saturating_sub(since) >= LOWER_FOR {
            return Verdict::Reset(newest);
        }
        // One more question exactly when it is long enough.
        self.ask_at = self.ask_at.map(|ask_at| ask_at.min(since + LOWER_FOR));
        Verdict::Open
    }
}
