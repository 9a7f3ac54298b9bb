//! `request.rate_limit_num` and `request.rate_limit_duration_secs`: how many requests begin in a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many requests in a time. The time begins with the first of them, as in Vector; retries are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Requests.
    pub(crate) requests: u64,
    /// In this time.
    pub(crate) window: Duration,
}

/// Keeps requests within a limit.
#[derive(Debug)]
pub(super) struct Pace {
    limit: RateLimit,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    left: u64,
}

impl Pace {
    pub(super) fn new(limit: RateLimit) -> Self {
        let window = Window {
            ends: Instant::now(),
            left: 0,
        };
        Self {
            limit,
            window: Mutex::new(window),
        }
    }

    /// Waits until another request may begin. Cancel safe.
    pub(super) async fn wait(&self) {
        loop {
            let ends = {
                let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                if now >= window.ends {
                    window.ends = now + self.limit.window;
                    window.left = self.limit.requests;
                }
                if window.left > 0 {
                    window.left -= 1;
                    return;
                }
                window.ends
            };
            tokio::time::sleep_until(ends).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_begin_in_a_window_and_a_pause_saves_none_up() {
        let pace = Pace::new(RateLimit {
            requests: 2,
            window: Duration::from_secs(10),
        });
        let start = Instant::now();
        let mut begun = Vec::new();
        for number in 0..7 {
            if number == 5 {
                tokio::time::sleep(Duration::from_secs(95)).await;
            }
            pace.wait().await;
            begun.push(start.elapsed().as_secs());
        }
        assert_eq!(begun, [0, 0, 10, 10, 20, 115, 115]);
    }
}
