//! The machine with one of its rules taken out, to see that somebody would notice.
//!
//! A rule is taken out from the outside, by a change of what goes in and comes out: production code knows nothing of it.

use std::time::Duration;

use bytes::Bytes;

use super::super::{Input, Machine, Output};
use crate::envelope::{self, Envelope, Line};
use crate::event::RaftIndex;

/// A rule of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "fuzzers play the source with all its rules")
)]
pub(crate) enum Rule {
    /// An event of the index asked for that has no proof is new. Without: the index alone drops it.
    NewWithoutProof,
    /// Only a proof shows that the stream goes on. Without: any event of the index asked for does.
    OnlyProofsProve,
    /// What was taken is dropped by its proof. Without: it comes again.
    ProvenIsDropped,
    /// Lines below the index asked for are dropped. Without: they are handed on.
    OlderIsDropped,
    /// A first line above the index asked for is a gap.
    FirstLineAboveIsGap,
    /// No proof in time is a gap.
    NoProofInTimeIsGap,
    /// What proved nothing, and then the end, is a gap.
    UnprovenEndIsGap,
    /// A line that was not taken is a gap.
    DiscardedIsGap,
    /// The first line is the server's yes. Without: 200 is.
    FirstLineIsYes,
    /// `acknowledged` moves over the contiguous answered prefix only. Without: over every answer.
    ContiguousPrefix,
    /// What waits for the host is bounded. Without: reading goes on.
    Room,
    /// Gaps that wait for the host are merged. Without: the newest replaces the others.
    GapsAreMerged,
    /// `acknowledged` does not pass what errored. Without: it does, as over what was rejected.
    ErroredIsHeld,
    /// What errored comes again. Without: it stays where it is.
    ErroredComesAgain,
    /// Nothing else comes again. Without: what was delivered does too.
    OnlyErroredComesAgain,
    /// What errors three times more is given up. Without: it comes a fourth time.
    ThreeTimesAtMost,
    /// Each handing out has an identity of its own. Without: late answers for one count for the next.
    FreshIdentity,
    /// What is saved was answered for. Without: it was read.
    OnlyAnsweredIsSaved,
    /// The proofs that are saved are those of the saved index. Without: those of the index that was read last.
    ProofsOfTheAnswered,
    /// What is suspected is kept in the state. Without: it is announced, or will be, and forgotten with the process.
    SuspectedIsKept,
    /// What comes of the saved index and may be of another cluster is kept as a gap until that is known.
    DoubtIsKept,
    /// The saved proofs are read. Without: the next run knows the index only.
    ProofsAreRead,
    /// Where the source begins is saved at once. Without: what was acknowledged is, and nothing before.
    StartMarkIsSaved,
    /// Gaps that are kept open are announced again at the next start.
    OpenGapsAreToldAgain,
    /// A topic that was not subscribed to before is a gap.
    AddedIsGap,
    /// That indexes begin anew is announced.
    ResetIsTold,
    /// Answers for batches of the epoch before free memory. Without: they move the position of the new one.
    OldEpochMovesNothing,
}

impl Rule {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 27] = [
        Self::NewWithoutProof,
        Self::OnlyProofsProve,
        Self::ProvenIsDropped,
        Self::OlderIsDropped,
        Self::FirstLineAboveIsGap,
        Self::NoProofInTimeIsGap,
        Self::UnprovenEndIsGap,
        Self::DiscardedIsGap,
        Self::FirstLineIsYes,
        Self::ContiguousPrefix,
        Self::Room,
        Self::GapsAreMerged,
        Self::ErroredIsHeld,
        Self::ErroredComesAgain,
        Self::OnlyErroredComesAgain,
        Self::ThreeTimesAtMost,
        Self::FreshIdentity,
        Self::OnlyAnsweredIsSaved,
        Self::ProofsOfTheAnswered,
        Self::SuspectedIsKept,
        Self::DoubtIsKept,
        Self::ProofsAreRead,
        Self::StartMarkIsSaved,
        Self::OpenGapsAreToldAgain,
        Self::AddedIsGap,
        Self::ResetIsTold,
        Self::OldEpochMovesNothing,
    ];
}

/// A machine, whole or without one of its rules.
#[derive(Debug)]
pub(crate) struct Ruled {
    pub(crate) machine: Machine,
    without: Option<Rule>,
    /// The index that was asked for last.
    asked: RaftIndex,
    /// The last line that was handed on.
    taken: Option<(RaftIndex, Bytes)>,
    /// That of the connections before.
    known: Option<(RaftIndex, Bytes)>,
}

impl Ruled {
    pub(crate) fn new(machine: Machine, without: Option<Rule>) -> Self {
        Self {
            machine,
            without,
            asked: RaftIndex(0),
            taken: None,
            known: None,
        }
    }

    pub(crate) fn lacks(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Vec<Output> {
        let line = match &input {
            Input::Line(Line::Batch(batch), text) => Some((batch.clone(), text.clone())),
            _ => None,
        };
        let outputs = self.step_without(now, input, line.as_ref().map(|(batch, _)| batch));
        for output in &outputs {
            match output {
                Output::Connect { index, .. } => {
                    self.asked = *index;
                    self.known = self.taken.clone();
                }
                Output::Emit(batch) => {
                    self.taken = line.as_ref().map(|(_, text)| (batch.index, text.clone()));
                }
                _ => {}
            }
        }
        outputs
    }

    fn step_without(
        &mut self,
        now: Duration,
        input: Input,
        line: Option<&Envelope>,
    ) -> Vec<Output> {
        let of_asked = line.filter(|batch| batch.index == self.asked);
        let silent = matches!(
            (self.without, &input),
            (Some(Rule::FirstLineAboveIsGap), Input::Line(..))
                | (
                    Some(Rule::NoProofInTimeIsGap),
                    Input::Deadline | Input::Tables(_)
                )
                | (Some(Rule::UnprovenEndIsGap), Input::Ended(_))
                | (Some(Rule::DiscardedIsGap), Input::Discarded(_))
        );
        let mut outputs = match (self.without, of_asked, self.known_at_asked()) {
            (Some(Rule::NewWithoutProof), Some(_), Some(known)) => self.machine.step(now, known),
            (Some(Rule::OnlyProofsProve), Some(_), Some(known)) => {
                let mut outputs = self.machine.step(now, known);
                outputs.extend(self.machine.step(now, input));
                outputs
            }
            (Some(Rule::FirstLineIsYes), ..) if matches!(input, Input::Accepted) => {
                let mut outputs = self.machine.step(now, input);
                let yes = Input::Line(Line::Heartbeat, Bytes::from_static(b"{}"));
                outputs.extend(self.machine.step(now, yes));
                outputs
            }
            _ => self.machine.step(now, input),
        };
        if silent {
            outputs.retain(|output| !matches!(output, Output::Gap(_)));
        }
        let again = match self.without {
            Some(Rule::ProvenIsDropped) => of_asked,
            Some(Rule::OlderIsDropped) => line.filter(|batch| batch.index < self.asked),
            _ => None,
        };
        if let Some(batch) = again {
            outputs.retain(|output| !matches!(output, Output::Emit(_)));
            outputs.push(Output::Emit(batch.clone()));
        }
        outputs
    }

    /// The line that was handed on last before the connection, once more, if it was of the index asked for.
    fn known_at_asked(&self) -> Option<Input> {
        let (index, text) = self.known.as_ref()?;
        let line = envelope::parse(text).ok()?;
        (*index == self.asked).then(|| Input::Line(line, text.clone()))
    }
}
