//! Notices that wait for the host, in a bounded place of their own. Pure.

use std::collections::VecDeque;

use super::notice::{Gap, Notice, NoticeKind};
use crate::event::RaftIndex;

/// So many gaps wait side by side; one more makes one gap of all namespaces, which takes in those that come after it.
const MAX_PENDING_GAPS: usize = 64;

/// Notices that wait, one of a type: a newer one replaces an older one, but gaps of the same namespaces that touch are merged, and
/// so are losses and resets, and addresses do not hide each other's failures. So they are bounded, and a full queue of batches does not silence them.
///
/// Of gaps there can be two, one that has an end and one that has none yet. A gap without an end is one up to the next batch
/// that is handed out; merged with one from before batches that still wait, it would seem to end at the first of those.
#[derive(Debug, Default)]
pub(super) struct Pending(VecDeque<Notice>);

impl Pending {
    /// Adds a notice.
    pub(super) fn push(&mut self, mut notice: Notice) {
        let gaps = self.0.iter().filter(|waiting| is_gap(waiting)).count();
        let full = gaps >= MAX_PENDING_GAPS;
        if let NoticeKind::Gap(new) = &mut notice.kind
            && full
        {
            new.namespace = None;
        }
        let same = self
            .0
            .iter()
            .position(|waiting| is_same(&waiting.kind, &notice.kind, full));
        if let Some(waiting) = same.and_then(|place| self.0.remove(place)) {
            match (waiting.kind, &mut notice.kind) {
                (NoticeKind::Gap(old), NoticeKind::Gap(new)) => {
                    merge(new, &old);
                    notice.index = notice.index.max(waiting.index);
                }
                (NoticeKind::IndexReset(old), NoticeKind::IndexReset(new)) => {
                    new.from = old.from;
                    new.gaps_given_up += old.gaps_given_up;
                }
                (NoticeKind::Rejected(old), NoticeKind::Rejected(new)) => {
                    *new = old.merged(new);
                    notice.index = notice.index.max(waiting.index);
                }
                _ => {}
            }
        }
        self.0.push_back(notice);
    }

    /// A batch of this index comes behind the gaps that have no end yet: that is their end.
    pub(super) fn end_gaps(&mut self, index: RaftIndex) {
        let is_open = |waiting: &Notice| matches!(&waiting.kind, NoticeKind::Gap(gap) if gap.to.is_none() && gap.from < index);
        while let Some(place) = self.0.iter().position(is_open)
            && let Some(mut notice) = self.0.remove(place)
        {
            if let NoticeKind::Gap(gap) = &mut notice.kind {
                gap.to = Some(index);
            }
            notice.index = index;
            self.push(notice);
        }
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<Notice> {
        self.0.pop_front()
    }
}

fn is_gap(notice: &Notice) -> bool {
    matches!(notice.kind, NoticeKind::Gap(_))
}

/// Whether the newer one makes the older one superfluous, or takes it into itself.
fn is_same(old: &NoticeKind, new: &NoticeKind, full: bool) -> bool {
    match (old, new) {
        (NoticeKind::Gap(old), NoticeKind::Gap(new)) => {
            old.namespace == new.namespace
                && old.to.is_some() == new.to.is_some()
                && (full || touch(old, new))
        }
        (NoticeKind::Disconnected(old), NoticeKind::Disconnected(new)) => {
            old.endpoint == new.endpoint
        }
        _ => old.name() == new.name(),
    }
}

/// Whether nothing lies between the two, or one of them has no end yet.
fn touch(one: &Gap, other: &Gap) -> bool {
    let behind = |first: &Gap, second: &Gap| {
        first
            .to
            .is_some_and(|to| RaftIndex(to.0.saturating_add(1)) < second.from)
    };
    !behind(one, other) && !behind(other, one)
}

fn merge(new: &mut Gap, old: &Gap) {
    new.from = old.from.min(new.from);
    new.to = old.to.max(new.to);
    // What is suspected may be more than what was seen to be discarded.
    new.cause = old.cause.max(new.cause);
    new.again &= old.again;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::GapCause;
    use crate::position::Epoch;
    use crate::stream::notice::{Disconnected, IndexReset, Rejected};

    #[test]
    fn merged_gaps_keep_the_graver_cause() {
        let gap = |from: u64, to: Option<u64>, cause| Notice {
            at: 0,
            index: RaftIndex(to.unwrap_or(from)),
            kind: NoticeKind::Gap(Gap {
                from: RaftIndex(from),
                to: to.map(RaftIndex),
                cause,
                namespace: None,
                again: false,
            }),
        };
        let mut pending = Pending::default();
        pending.push(gap(7, Some(12), GapCause::Unproven));
        pending.push(gap(13, Some(13), GapCause::LineDiscarded));
        assert_eq!(pending.0, [gap(7, Some(13), GapCause::Unproven)]);
        pending.push(gap(13, None, GapCause::LineDiscarded));
        pending.push(gap(15, None, GapCause::Unproven));
        pending.push(gap(15, None, GapCause::LineDiscarded));
        let mut latest = gap(13, None, GapCause::Unproven);
        latest.index = RaftIndex(15);
        assert_eq!(pending.0, [gap(7, Some(13), GapCause::Unproven), latest]);
    }

    #[test]
    fn a_gap_that_is_news_in_part_is_news() {
        let gap = |from: u64, again| Notice {
            at: 0,
            index: RaftIndex(9),
            kind: NoticeKind::Gap(Gap {
                again,
                ..Gap::of_all(RaftIndex(from), Some(RaftIndex(9)), GapCause::Evicted)
            }),
        };
        for (first, second, both) in [
            (true, true, true),
            (true, false, false),
            (false, true, false),
        ] {
            let mut pending = Pending::default();
            pending.push(gap(5, first));
            pending.push(gap(7, second));
            assert_eq!(pending.0, [gap(5, both)]);
        }
    }

    #[test]
    fn gaps_far_from_each_other_are_told_apart_and_resets_together() {
        let notice = |kind| Notice {
            at: 0,
            index: RaftIndex(0),
            kind,
        };
        let gap = |from: u64, to: u64| {
            notice(NoticeKind::Gap(Gap {
                from: RaftIndex(from),
                to: Some(RaftIndex(to)),
                cause: GapCause::Evicted,
                namespace: None,
                again: false,
            }))
        };
        let mut pending = Pending::default();
        pending.push(gap(5, 9));
        pending.push(gap(100_000, 100_010));
        assert_eq!(pending.0, [gap(5, 9), gap(100_000, 100_010)]);
        let reset = |epoch, from: u64, gaps_given_up| {
            notice(NoticeKind::IndexReset(IndexReset {
                epoch: Epoch(epoch),
                from: RaftIndex(from),
                to: None,
                gaps_given_up,
            }))
        };
        let mut pending = Pending::default();
        pending.push(reset(1, 900, 3));
        pending.push(reset(2, 7, 1));
        assert_eq!(pending.0, [reset(2, 900, 4)]);
    }

    #[test]
    fn a_failure_of_one_address_does_not_hide_that_of_another() {
        let failure = |endpoint: &str, cause| Notice {
            at: 0,
            index: RaftIndex(0),
            kind: NoticeKind::Disconnected(Disconnected {
                endpoint: endpoint.to_owned(),
                cause,
                message: String::new(),
            }),
        };
        let mut pending = Pending::default();
        pending.push(failure("a", "connect"));
        pending.push(failure("b", "token_unknown"));
        pending.push(failure("a", "idle"));
        assert_eq!(
            pending.0,
            [failure("b", "token_unknown"), failure("a", "idle")]
        );
    }

    #[test]
    fn losses_that_wait_for_the_host_are_added_up() {
        let lost = |rejected, errored, from: u64, to: u64| Notice {
            at: 0,
            index: RaftIndex(to),
            kind: NoticeKind::Rejected(Rejected {
                events: rejected + errored,
                rejected,
                errored,
                from: RaftIndex(from),
                to: RaftIndex(to),
            }),
        };
        let mut pending = Pending::default();
        pending.push(lost(3, 0, 20, 25));
        pending.push(lost(1, 2, 11, 12));
        assert_eq!(pending.0, [lost(4, 2, 11, 25)]);
    }

    #[test]
    fn gaps_of_many_namespaces_wait_side_by_side_and_in_bounds() {
        let gap = |namespace: Option<usize>, from: u64| Notice {
            at: 0,
            index: RaftIndex(9),
            kind: NoticeKind::Gap(Gap {
                from: RaftIndex(from),
                to: Some(RaftIndex(9)),
                cause: GapCause::NamespaceAdded,
                namespace: namespace.map(|number| format!("ns-{number}")),
                again: false,
            }),
        };
        let mut pending = Pending::default();
        for number in 0..MAX_PENDING_GAPS {
            pending.push(gap(Some(number), 5));
        }
        for number in [500, 400, 300] {
            pending.push(gap(Some(number), 3));
        }
        assert_eq!(pending.0.len(), MAX_PENDING_GAPS + 1);
        assert_eq!(pending.0.back(), Some(&gap(None, 3)));
    }
}
