//! A stream that is open, until it is known whether it goes on where the mark is. Pure.

use std::time::Duration;

use bytes::Bytes;

use super::doubt::{Doubt, Verdict, Why};
use super::{Machine, OLDER_LINES_TIMEOUT, Output, PROOF_TIMEOUT, State};
use crate::checkpoint::GapCause;
use crate::envelope::Envelope;
use crate::event::RaftIndex;
use crate::nomad::Tables;
use crate::stream::mark::{Mark, Relation};
use crate::stream::namespaces::Covered;
use crate::stream::notice::Gap;

#[derive(Debug)]
pub(super) struct Joining {
    pub(super) since: Duration,
    /// Whether continuity is still to be shown: nothing has, and no gap was announced instead.
    pub(super) open: bool,
    /// When it comes into doubt.
    pub(super) prove_by: Option<Duration>,
    pub(super) older: Option<Older>,
    pub(super) doubt: Option<Doubt>,
}

impl Joining {
    /// Something has to come that shows it.
    pub(super) fn open(since: Duration, now: Duration) -> Self {
        Self {
            since,
            open: true,
            prove_by: Some(now + PROOF_TIMEOUT),
            older: None,
            doubt: None,
        }
    }
}

/// Lines below the one resumed at, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Older {
    pub(super) since: Duration,
    pub(super) said: bool,
}

impl Machine {
    pub(super) fn batch(
        &mut self,
        now: Duration,
        batch: Envelope,
        text: Bytes,
        outputs: &mut Vec<Output>,
    ) {
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
        let was_taken_before = self.mark.was_taken_before();
        let begins = self.fresh && matches!(self.mark, Mark::Nothing | Mark::From(RaftIndex(0)));
        let (relation, new) = self.mark.take(batch, text, self.rules.proof_key);

        if let State::Following { since } = self.state
            && was_taken_before
            && relation == (Relation::At { proved: false })
        {
            // By the tables nothing was written since, and yet something of that index comes which is not what was taken of it: they
            // were those of another cluster that had come as far.
            self.state = State::Joining(Joining::open(since, now));
        }

        match (&mut self.state, relation) {
            (_, Relation::Below) => self.below(now),
            (State::Joining(joining), Relation::At { proved: true }) => {
                if joining.open && (self.unknown_lines || self.another_region) {
                    outputs.push(Output::Continuous(asked));
                }
                self.another_region = false;
                self.state = State::Following {
                    since: joining.since,
                };
            }
            (State::Joining(joining), _) if joining.open && self.another_region => {
                // It is read again, from the earliest on.
                self.reset(now, asked, None, outputs);
                return;
            }
            // What came of the index is not what we know of it. Another line of it may be.
            (State::Joining(joining), Relation::At { proved: false }) => {
                joining.older = None;
                if joining.open && !std::mem::replace(&mut self.unknown_lines, true) {
                    outputs.push(Output::Doubt(asked));
                }
            }
            (State::Joining(joining), Relation::Above) => {
                if joining.open && leaves_out {
                    outputs.push(Output::Gap(Gap::of_all(
                        asked,
                        Some(index),
                        GapCause::Evicted,
                    )));
                }
                self.state = State::Following {
                    since: joining.since,
                };
            }
            _ => {}
        }

        if begins && relation == Relation::Above {
            self.fresh = false;
            // Behind a gap before it: it is saved at once, and with it what is missing.
            outputs.push(Output::StartMark(index));
        }
        if total > new.len() {
            outputs.push(Output::Duplicates(total - new.len()));
        }
        if !new.is_empty() {
            outputs.push(Output::Emit(Envelope { index, events: new }));
        }
    }

    /// A line came of which nothing is wanted.
    pub(super) fn below(&mut self, now: Duration) {
        if let State::Joining(joining) = &mut self.state {
            joining.older.get_or_insert(Older {
                since: now,
                said: false,
            });
            if !matches!(self.mark, Mark::Taken(_)) && !self.another_region {
                // It shows that the server has all that follows the mark.
                joining.open = false;
                joining.prove_by = None;
            } else if joining.prove_by.is_some() || joining.doubt.is_none() {
                // A server that replays its log, or lags, gets the time that it needs.
                joining.prove_by = Some(now + PROOF_TIMEOUT);
            }
        }
    }

    /// A deadline of a stream that is still to be shown to go on.
    pub(super) fn joining_overdue(&mut self, now: Duration) -> Vec<Output> {
        let asked = self.mark.index();
        let State::Joining(joining) = &mut self.state else {
            return Vec::new();
        };
        let mut outputs = Vec::new();
        let mut why = None;
        if let Some(older) = &mut joining.older
            && !older.said
            && older.since + OLDER_LINES_TIMEOUT <= now
        {
            older.said = true;
            why = Some(Why::OnlyOlder);
            outputs.push(Output::OnlyOlderLines { below: asked });
        }
        if joining.prove_by.take_if(|by| *by <= now).is_some() {
            why = Some(Why::NoProof);
        }
        if why.is_some() && self.another_region {
            self.reset(now, asked, None, &mut outputs);
            return outputs;
        }
        if let Some(why) = why {
            let doubt = joining.doubt.get_or_insert_with(|| Doubt::new(why, now));
            doubt.raise(why);
        }
        if let Some(doubt) = &mut joining.doubt {
            if doubt.is_overdue(now) {
                self.decided(now, Verdict::Undecided, &mut outputs);
            } else if doubt.asks(now) {
                let endpoint = self.endpoint;
                outputs.push(Output::AskTables { endpoint });
            }
        }
        outputs
    }

    pub(super) fn tables(&mut self, now: Duration, tables: Option<Tables>) -> Vec<Output> {
        let mut outputs = Vec::new();
        if let State::Joining(joining) = &mut self.state
            && let Some(doubt) = &mut joining.doubt
        {
            let unknown_lines = self.unknown_lines;
            let older_lines = joining.older.is_some();
            let verdict = doubt.answered(
                now,
                tables,
                &self.mark,
                self.fresh,
                unknown_lines,
                older_lines,
            );
            self.decided(now, verdict, &mut outputs);
        }
        outputs
    }

    /// What is to be done about an answer, or about none.
    pub(super) fn decided(&mut self, now: Duration, verdict: Verdict, outputs: &mut Vec<Output>) {
        let State::Joining(joining) = &mut self.state else {
            return;
        };
        let at = self.mark.index();
        let cause = match verdict {
            Verdict::Open => return,
            Verdict::Continuous => {
                self.state = State::Following {
                    since: joining.since,
                };
                return;
            }
            Verdict::Lags => {
                joining.doubt = None;
                return;
            }
            Verdict::Reset(newest) => return self.reset(now, at, Some(newest), outputs),
            Verdict::Evicted => GapCause::Evicted,
            Verdict::Undecided => GapCause::Unproven,
        };
        joining.doubt = None;
        // All lines of a cluster that began anew would pass for old ones: where there are such, it is asked on.
        let asks_on = verdict == Verdict::Undecided && joining.older.is_some();
        joining.prove_by = asks_on.then_some(now + PROOF_TIMEOUT);
        if std::mem::take(&mut joining.open) || verdict == Verdict::Undecided {
            outputs.push(Output::Gap(Gap::of_all(at, None, cause)));
        }
    }

    /// Indexes begin anew: all that there is is wanted.
    pub(super) fn reset(
        &mut self,
        now: Duration,
        from: RaftIndex,
        to: Option<RaftIndex>,
        outputs: &mut Vec<Output>,
    ) {
        self.note_health(now);
        self.mark = Mark::Nothing;
        self.fresh = false;
        self.covered = Covered::default();
        self.another_region = false;
        outputs.push(Output::Reset { from, to });
        outputs.push(self.connect(Duration::ZERO));
    }
}
