//! When the list of namespaces is read, beside the stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::agents::Agents;
use crate::error::Error;
use crate::nomad::NamespaceList;

/// Reads the list again and again. State is kept across cancelled waits.
#[derive(Default)]
pub(super) struct NamespaceWatch {
    /// When the next list is to be read; `None`: not before [`wait`](Self::wait).
    due: Option<Instant>,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = Result<NamespaceList, Error>> + Send>>;

impl NamespaceWatch {
    /// Reads the next list in so long, and forgets one that is being read.
    pub(super) fn wait(&mut self, pause: Duration) {
        self.due = Some(Instant::now() + pause);
        self.reading = None;
    }

    /// The next list; for ever not, if none is due. Cancel safe.
    pub(super) async fn next<A: Agents>(
        &mut self,
        agents: &Arc<A>,
        endpoint: usize,
    ) -> Result<NamespaceList, Error> {
        if let Some(due) = self.due {
            tokio::time::sleep_until(due).await;
            self.due = None;
            let agents = Arc::clone(agents);
            self.reading = Some(Box::pin(async move { agents.namespaces(endpoint).await }));
        }
        match &mut self.reading {
            Some(reading) => {
                let list = reading.as_mut().await;
                self.reading = None;
                list
            }
            None => std::future::pending().await,
        }
    }
}
