//! Pauses that grow.

use std::time::Duration;

/// More doublings than this make no pause longer: it is at its limit, or longer than anybody waits.
const MAX_DOUBLINGS: u32 = 16;

/// The pause after so many failures in a row: `base` after the first, twice as long after each further one, never longer than
/// `longest`.
pub(crate) fn doubled(base: Duration, failures: u32, longest: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
    base.saturating_mul(1 << doublings).min(longest)
}
