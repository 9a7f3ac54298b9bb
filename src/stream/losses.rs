//! What was lost downstream and is not told yet: the first loss at once, and then one notice a minute at most. Pure.

use std::time::Duration;

use super::notice::Rejected;
use crate::position::{Delivery, Loss};

/// From one notice of losses to the next at least.
pub(super) const REJECTED_EVERY: Duration = Duration::from_secs(60);

/// Losses that wait until they may be told.
#[derive(Debug, Default)]
pub(super) struct Losses {
    untold: Option<Rejected>,
    /// Until when nothing is told.
    quiet_until: Duration,
}

impl Losses {
    /// Adds the loss of a batch.
    pub(super) fn add(&mut self, loss: &Loss) {
        let errored = loss.delivery == Delivery::Errored;
        let lost = Rejected {
            events: loss.events,
            rejected: if errored { 0 } else { loss.events },
            errored: if errored { loss.events } else { 0 },
            from: loss.index,
            to: loss.index,
        };
        self.untold = Some(match self.untold.take() {
            Some(untold) => untold.merged(&lost),
            None => lost,
        });
    }

    /// When there is something to tell.
    pub(super) fn due(&self) -> Option<Duration> {
        self.untold.as_ref().map(|_| self.quiet_until)
    }

    /// What is to be told at this moment.
    pub(super) fn tell(&mut self, now: Duration) -> Option<Rejected> {
        let told = self.untold.take_if(|_| self.quiet_until <= now)?;
        self.quiet_until = now + REJECTED_EVERY;
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RaftIndex;

    #[test]
    fn the_first_loss_is_told_at_once_and_the_next_ones_together_after_a_minute() {
        let mut losses = Losses::default();
        let lost = |index, events, delivery| Loss {
            index: RaftIndex(index),
            events,
            delivery,
        };
        let told = |events, rejected, errored, from, to| {
            Some(Rejected {
                events,
                rejected,
                errored,
                from: RaftIndex(from),
                to: RaftIndex(to),
            })
        };
        let start = Duration::from_secs(500);
        assert_eq!((losses.due(), losses.tell(start)), (None, None));
        losses.add(&lost(5, 3, Delivery::Rejected));
        assert!(losses.due().is_some_and(|due| due <= start));
        assert_eq!(losses.tell(start), told(3, 3, 0, 5, 5));

        losses.add(&lost(9, 2, Delivery::Errored));
        losses.add(&lost(7, 1, Delivery::Rejected));
        assert_eq!(losses.due(), Some(start + REJECTED_EVERY));
        let too_early = start + REJECTED_EVERY - Duration::from_millis(1);
        assert_eq!(losses.tell(too_early), None);
        losses.add(&lost(8, 1, Delivery::Errored));
        assert_eq!(losses.tell(start + REJECTED_EVERY), told(4, 1, 3, 7, 9));
        assert_eq!(losses.due(), None);

        // Long after: at once again.
        let later = start + REJECTED_EVERY * 3;
        losses.add(&lost(11, 1, Delivery::Rejected));
        assert_eq!(losses.tell(later), told(1, 1, 0, 11, 11));
    }
}
