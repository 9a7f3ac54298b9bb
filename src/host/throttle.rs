//! One line of a kind in a while, with the number of those that it stands for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::Counter;
use tokio::time::Instant;

/// What can come with every event or request is logged once in this time.
pub(crate) const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Causes that are told apart. There are fewer statuses that servers give; beyond, the one that was silent longest is forgotten.
const MAX_CAUSES: usize = 64;

/// Lets one line for each cause through in [`LOG_INTERVAL`].
#[derive(Debug)]
pub(crate) struct Throttle<Cause = ()>(Mutex<HashMap<Cause, Said>>);

/// When a cause was last logged, and what has not been since.
#[derive(Debug)]
struct Said {
    last: Instant,
    held_back: HeldBack,
}

/// What was not logged since the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// How often the cause came up.
    pub(crate) times: u64,
    /// How many events that were about.
    pub(crate) events: u64,
}

/// One kind of failure: how often it came up, and when it was last logged.
#[derive(Debug)]
pub(crate) struct Occasion {
    errors: Counter,
    throttle: Throttle,
}

impl<Cause> Default for Throttle<Cause> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Cause: Copy + Eq + Hash> Throttle<Cause> {
    /// Whether a cause that concerns so many events is to be logged now, and what was held back before.
    pub(crate) fn pass(&self, cause: Cause, events: u64) -> Option<HeldBack> {
        let now = Instant::now();
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = causes.get_mut(&cause) {
            if now.duration_since(said.last) < LOG_INTERVAL {
                said.held_back.times += 1;
                said.held_back.events = said.held_back.events.saturating_add(events);
                return None;
            }
            said.last = now;
            return Some(std::mem::take(&mut said.held_back));
        }
        if causes.len() >= MAX_CAUSES
            && let Some(oldest) = causes
                .iter()
                .min_by_key(|(_, said)| said.last)
                .map(|(cause, _)| *cause)
        {
            causes.remove(&oldest);
        }
        let said = Said {
            last: now,
            held_back: HeldBack::default(),
        };
        causes.insert(cause, said);
        Some(HeldBack::default())
    }
}

impl Occasion {
    /// Counts in `errors`.
    pub(crate) fn new(errors: Counter) -> Self {
        Self {
            errors,
            throttle: Throttle::default(),
        }
    }

    /// Counts, and logs unless it was logged a moment ago. The logger is told how many were not logged since.
    pub(crate) fn note(&self, log: impl FnOnce(u64)) {
        self.errors.increment(1);
        if let Some(held_back) = self.throttle.pass((), 0) {
            log(held_back.times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_logged_once_in_a_while_with_the_number_held_back() {
        let occasion = Occasion::new(Counter::noop());
        let mut logged = Vec::new();
        for _ in 0..25 {
            occasion.note(|held_back| logged.push(held_back));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(logged, [0, 9, 9]);
    }

    #[tokio::test(start_paused = true)]
    async fn every_cause_has_a_line_of_its_own_with_what_it_stands_for() {
        let throttle = Throttle::default();
        let held_back = |times, events| Some(HeldBack { times, events });
        assert_eq!(throttle.pass(400, 5), held_back(0, 0));
        assert_eq!(throttle.pass(400, 6), None);
        assert_eq!(throttle.pass(401, 1), held_back(0, 0));
        assert_eq!(throttle.pass(400, 7), None);
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!(throttle.pass(400, 8), held_back(2, 13));
        assert_eq!(throttle.pass(401, 1), held_back(0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_causes_is_bounded() {
        let throttle = Throttle::default();
        for cause in 0..10 * MAX_CAUSES {
            assert!(throttle.pass(cause, 1).is_some());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(throttle.0.lock().unwrap().len(), MAX_CAUSES);
    }
}
