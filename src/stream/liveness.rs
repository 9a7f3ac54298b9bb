//! Did a line come as it happened, or was it waiting for us?
//!
//! Pure: moments come in as durations since any fixed point.

use std::time::Duration;

/// How long nothing must have come before what follows counts as live.
const CAUGHT_UP_AFTER: Duration = Duration::from_secs(1);

/// Tells lines that are live from those of a catch-up.
///
/// After a connect, or after we did not read for a while, the server sends what has accumulated. That is over when we have
/// waited for a second without a byte; from then on lines come as they happen, until we stop reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Liveness {
    /// When the last bytes came, while catching up; `None` before any.
    last_bytes: Option<Duration>,
    live: bool,
}

impl Liveness {
    /// Notes that bytes came at `now`, after having been waited for. Says whether they are live.
    pub fn bytes(&mut self, now: Duration) -> bool {
        if let Some(last) = self.last_bytes
            && now.saturating_sub(last) >= CAUGHT_UP_AFTER
        {
            self.live = true;
        }
        self.last_bytes = Some(now);
        self.live
    }

    /// Notes that we did not read: what comes next may be old. Also for a new connection.
    pub fn not_reading(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn lines_are_live_once_a_second_has_passed_in_silence() {
        let mut liveness = Liveness::default();
        assert!(!liveness.bytes(at(0)));
        assert!(!liveness.bytes(at(900)));
        assert!(!liveness.bytes(at(1800)));
        assert!(liveness.bytes(at(2800)));
        assert!(liveness.bytes(at(2801)));
        liveness.not_reading();
        assert!(!liveness.bytes(at(9000)));
        assert!(liveness.bytes(at(10_000)));
    }
}
