//! Which failures are retried, and when: Vector's rules for its Loki sink.

use std::time::Duration;

use http::StatusCode;
use rand::{Rng, RngExt as _};

use super::client::{Answer, Failure};

/// The options under `request` that concern retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetryLimits {
    /// Retries after the first attempt.
    pub(super) attempts: usize,
    /// Longest wait before the first retry.
    pub(super) initial: Duration,
    /// Longest wait before any.
    pub(super) max: Duration,
}

/// What an attempt means for its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    Retry,
    Final,
}

/// Judges an attempt: 429, server errors but 501, and everything that is no answer may go better next time.
pub(super) fn judge(attempt: &Result<Answer, Failure>) -> Verdict {
    match attempt {
        Ok(answer) if answer.status.is_success() => Verdict::Delivered,
        Ok(answer) => match answer.status {
            StatusCode::TOO_MANY_REQUESTS => Verdict::Retry,
            StatusCode::NOT_IMPLEMENTED => Verdict::Final,
            status if status.is_server_error() => Verdict::Retry,
            _ => Verdict::Final,
        },
        Err(_) => Verdict::Retry,
    }
}

/// The waits between the attempts of one request: bounds that grow like Fibonacci's numbers, and a random part of each.
#[derive(Debug)]
pub(super) struct Backoff {
    attempts_left: usize,
    previous: Duration,
    current: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(limits: RetryLimits) -> Self {
        Self {
            attempts_left: limits.attempts,
            previous: Duration::ZERO,
            current: limits.initial,
            max: limits.max,
        }
    }

    /// How long to wait before the next attempt; `None` when there is to be none.
    pub(super) fn next(&mut self, random: &mut impl Rng) -> Option<Duration> {
        self.attempts_left = self.attempts_left.checked_sub(1)?;
        let next = self.previous.saturating_add(self.current).min(self.max);
        self.previous = self.current;
        self.current = next;
        let most = u64::try_from(next.as_millis()).unwrap_or(u64::MAX).max(1);
        Some(Duration::from_millis(random.random_range(1..=most)))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const LIMITS: RetryLimits = RetryLimits {
        attempts: usize::MAX,
        initial: Duration::from_secs(1),
        max: Duration::from_secs(30),
    };

    fn answer(status: u16) -> Result<Answer, Failure> {
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            text: String::new(),
        })
    }

    #[test]
    fn statuses_are_judged_as_in_vector() {
        for status in [200, 204] {
            assert_eq!(judge(&answer(status)), Verdict::Delivered, "{status}");
        }
        for status in [429, 500, 502, 503, 504, 599] {
            assert_eq!(judge(&answer(status)), Verdict::Retry, "{status}");
        }
        for status in [301, 302, 400, 401, 403, 404, 408, 413, 422, 501] {
            assert_eq!(judge(&answer(status)), Verdict::Final, "{status}");
        }
        assert_eq!(judge(&Err(Failure::Timeout)), Verdict::Retry);
        assert_eq!(
            judge(&Err(Failure::Transport("refused".to_owned()))),
            Verdict::Retry
        );
    }

    #[test]
    fn waits_stay_within_growing_bounds() {
        let bounds = [1, 2, 3, 5, 8, 13, 21, 30, 30];
        let mut longest = [Duration::ZERO; 9];
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..1000 {
            let mut backoff = Backoff::new(LIMITS);
            for (longest, bound) in longest.iter_mut().zip(bounds) {
                let wait = backoff.next(&mut random).unwrap();
                assert!(wait >= Duration::from_millis(1));
                assert!(wait <= Duration::from_secs(bound));
                *longest = wait.max(*longest);
            }
        }
        // Jitter is full: some waits come near each bound.
        for (longest, bound) in longest.iter().zip(bounds) {
            assert!(longest.as_secs_f64() > 0.95 * bound as f64, "bound {bound}");
        }
    }

    #[test]
    fn attempts_run_out() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(RetryLimits {
            attempts: 2,
            ..LIMITS
        });
        assert!(backoff.next(&mut random).is_some());
        assert!(backoff.next(&mut random).is_some());
        assert_eq!(backoff.next(&mut random), None);
        assert_eq!(backoff.next(&mut random), None);
    }
}
