//! A place in the history of a cluster, also of one whose indexes began anew. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::RaftIndex;

/// Counts the histories of a cluster: indexes of two epochs cannot be compared. Every `IndexReset` adds 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// A place in the history of a cluster. Ordered by the epoch, then by the index.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Which history.
    pub epoch: Epoch,
    /// Where in it.
    pub index: RaftIndex,
}

impl Position {
    /// Where the history begins that follows this one. It is above every position of this one.
    #[must_use]
    pub fn after_reset(self) -> Self {
        Self {
            epoch: Epoch(self.epoch.0.saturating_add(1)),
            index: RaftIndex(0),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} of epoch {}", self.index, self.epoch.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_epoch_then_index() {
        let at = |epoch, index| Position {
            epoch: Epoch(epoch),
            index: RaftIndex(index),
        };
        assert!(at(0, 9) < at(0, 10));
        assert!(at(0, u64::MAX) < at(1, 0));
        assert!(at(0, u64::MAX) < at(0, 5).after_reset());
        assert_eq!(at(3, 5).after_reset(), at(4, 0));
        assert_eq!(at(1, 7).to_string(), "index 7 of epoch 1");
    }
}
