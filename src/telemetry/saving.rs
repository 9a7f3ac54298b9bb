//! What becomes of the saved position.

use std::time::Duration;

use tracing::{error, info, warn};

use super::{DATA_DIR, Telemetry};
use crate::checkpoint::{Folder, State, SubscriptionChange, WriteError};
use crate::position::Position;
use crate::shown;

impl Telemetry {
    /// A position that stands in the file.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn saved(&self, position: Position) {
        self.saved.set(position.index.0 as f64);
    }

    /// It was written, after so many failures.
    pub(crate) fn saves(&self, failures: u64) {
        self.saves.increment(1);
        if failures > 0 {
            info!(failures, "the position is saved again");
        }
    }

    /// Said once per cause, and counted each time: the stream goes on.
    pub(crate) fn not_saved(&self, failure: &WriteError, news: bool) {
        self.save_failures.increment(failure.cause());
        if news {
            error!(cause = failure.cause(), error = %failure, "the position cannot be saved, trying on");
        }
    }

    /// A stop ends without having saved everything.
    pub(crate) fn not_saved_at_stop(&self) {
        warn!("the position was not saved at the stop: a restart repeats events");
    }

    pub(crate) fn claiming(&self, folder: &Folder) {
        info!(folder = %shown::path(folder.path()), "looking for a saved position");
    }

    /// Somebody else has the folder, for so long. `None`: it is ours.
    pub(crate) fn standby(&self, held: Option<(&Folder, Duration)>) {
        self.standby.set(f64::from(u8::from(held.is_some())));
        if let Some((folder, since)) = held {
            warn!(
                folder = %shown::path(folder.path()),
                seconds = since.as_secs(),
                "somebody else has the saved position: waiting as a standby"
            );
        }
    }

    /// The folder cannot be used. Counted each time, said once per reason.
    pub(crate) fn folder_unusable(&self, failure: &str, news: bool) {
        self.error(DATA_DIR, 1);
        if news {
            error!(
                error = failure,
                "without its saved position the source does not start, trying on"
            );
        }
    }

    pub(crate) fn resumed(&self, saved: &State, change: &SubscriptionChange) {
        info!(
            index = saved.position.index.0,
            epoch = saved.position.epoch.0,
            open_gaps = saved.gaps.len(),
            "going on from the saved position"
        );
        if !change.is_none() {
            warn!(%change, "the subscription is not the one of the saved position");
        }
    }
}
