//! Which failures are retried, and when: Vector's rules for its sinks `loki` and `http`.

use std::time::Duration;

use http::StatusCode;
use rand::{Rng, RngExt as _};

use super::client::{Answer, Failure};
use crate::position::Delivery;

/// The options under `request` that concern retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryLimits {
    /// Retries after the first attempt.
    pub(crate) attempts: usize,
    /// Longest wait before the first retry.
    pub(crate) initial: Duration,
    /// Longest wait before any.
    pub(crate) max: Duration,
}

/// What an attempt means for its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    Retry,
    Final,
}

/// Which failures may go better next time. Whatever is no answer may, but with [`RetryRule::Never`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RetryRule {
    /// Of the sink `loki`: 429 and server errors but 501.
    Loki,
    /// `retry_strategy.type = "default"` of the sink `http`: 408 too.
    Default,
    /// `none`.
    Never,
    /// `all`: every status that is no success.
    All,
    /// `custom`: these.
    Custom(Vec<u16>),
}

impl RetryRule {
    /// Judges an attempt.
    pub(super) fn judge(&self, attempt: &Result<Answer, Failure>) -> Verdict {
        let again = match (attempt, self) {
            (Ok(answer), _) if answer.status.is_success() => return Verdict::Delivered,
            (_, Self::Never) => false,
            (Err(failure), _) => failure.may_pass(),
            (Ok(_), Self::All) => true,
            (Ok(answer), Self::Custom(statuses)) => statuses.contains(&answer.status.as_u16()),
            (Ok(answer), rule) => match answer.status {
                StatusCode::TOO_MANY_REQUESTS => true,
                StatusCode::REQUEST_TIMEOUT => *rule == Self::Default,
                StatusCode::NOT_IMPLEMENTED => false,
                status => status.is_server_error(),
            },
        };
        if again {
            Verdict::Retry
        } else {
            Verdict::Final
        }
    }

    /// What events are told whose last attempt this was. Vector's `http` says of a server error that another try may help; its
    /// `loki` never does.
    pub(super) fn given_up(&self, last: &Result<Answer, Failure>) -> Delivery {
        match last {
            Ok(answer) if *self != Self::Loki && answer.status.is_server_error() => {
                Delivery::Errored
            }
            _ => Delivery::Rejected,
        }
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
            retry_after: None,
        })
    }

    #[test]
    fn statuses_are_judged_as_in_vector() {
        let custom = RetryRule::Custom(vec![404, 500]);
        // The statuses of failures that each rule retries; nothing else.
        let table: [(&RetryRule, &[u16]); 5] = [
            (&RetryRule::Loki, &[429, 500, 502, 503, 504, 599]),
            (&RetryRule::Default, &[408, 429, 500, 502, 503, 504, 599]),
            (&RetryRule::Never, &[]),
            (
                &RetryRule::All,
                &[
                    301, 302, 400, 401, 403, 404, 408, 413, 422, 429, 500, 501, 502, 503, 504, 599,
                ],
            ),
            (&custom, &[404, 500]),
        ];
        for (rule, retried) in table {
            for status in [200, 202, 204] {
                assert_eq!(rule.judge(&answer(status)), Verdict::Delivered);
            }
            for status in [
                301, 302, 400, 401, 403, 404, 408, 413, 422, 429, 500, 501, 502, 503, 504, 599,
            ] {
                let expected = if retried.contains(&status) {
                    Verdict::Retry
                } else {
                    Verdict::Final
                };
                assert_eq!(rule.judge(&answer(status)), expected, "{rule:?} {status}");
            }
            let expected = if *rule == RetryRule::Never {
                Verdict::Final
            } else {
                Verdict::Retry
            };
            assert_eq!(rule.judge(&Err(Failure::Timeout)), expected);
            let refused = Failure::Transport("refused".to_owned());
            assert_eq!(rule.judge(&Err(refused)), expected);
            let impossible = Failure::Impossible("no TLS");
            assert_eq!(rule.judge(&Err(impossible)), Verdict::Final);
        }
    }

    #[test]
    fn what_is_given_up_is_told_as_in_vector() {
        for (rule, status, expected) in [
            (RetryRule::Loki, 500, Delivery::Rejected),
            (RetryRule::Loki, 400, Delivery::Rejected),
            (RetryRule::Default, 500, Delivery::Errored),
            (RetryRule::Default, 501, Delivery::Errored),
            (RetryRule::Default, 429, Delivery::Rejected),
            (RetryRule::Default, 404, Delivery::Rejected),
        ] {
            assert_eq!(
                rule.given_up(&answer(status)),
                expected,
                "{rule:?} {status}"
            );
        }
        let rule = RetryRule::Default;
        assert_eq!(rule.given_up(&Err(Failure::Timeout)), Delivery::Rejected);
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
