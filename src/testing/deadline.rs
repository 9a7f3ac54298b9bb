//! Waiting for a condition in a test, with an end.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long [`eventually`] pauses between two looks at its condition.
pub const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A condition did not come true in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("still waiting for {what} after {within:?}")]
pub struct DeadlinePassed {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub within: Duration,
}

/// Looks at `condition` every 5 ms until it is true, at most for `within`.
///
/// It is looked at once more when the time is up, so a slow machine gets no false alarm. The time is tokio's: under a paused clock
/// it passes by itself while every task waits.
///
/// # Errors
///
/// [`DeadlinePassed`] when the condition was still false at the end.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use nomad_events::testing::eventually;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), nomad_events::testing::DeadlinePassed> {
/// let mut looks = 0;
/// eventually(Duration::from_secs(5), || { looks += 1; looks == 3 }).await
/// # }
/// ```
pub async fn eventually(
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<(), DeadlinePassed> {
    let deadline = Instant::now() + within;
    loop {
        let last_look = Instant::now() >= deadline;
        if condition() {
            return Ok(());
        }
        if last_look {
            return Err(DeadlinePassed {
                what: "a condition".to_owned(),
                within,
            });
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn returns_as_soon_as_the_condition_holds() {
        let start = Instant::now();
        let mut looks = 0;
        eventually(Duration::from_secs(10), || {
            looks += 1;
            looks == 4
        })
        .await
        .unwrap();
        assert_eq!(start.elapsed(), 3 * POLL_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn says_how_long_it_waited_when_the_condition_never_holds() {
        let start = Instant::now();
        let error = eventually(Duration::from_secs(2), || false)
            .await
            .unwrap_err();
        assert_eq!(error.within, Duration::from_secs(2));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!(error.to_string(), "still waiting for a condition after 2s");
    }
}
