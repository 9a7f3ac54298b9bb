//! The tables' indexes, asked for beside a stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::agents::Agents;
use crate::error::{Error, ErrorKind};
use crate::nomad::Tables;
use crate::options::TopicFilter;

/// The lists of all topics together take no longer.
const TABLES_TIMEOUT: Duration = Duration::from_secs(30);

/// One question at a time. State is kept across cancelled waits.
#[derive(Default)]
pub(super) struct Asking(Option<Answer>);

type Answer = Pin<Box<dyn Future<Output = Result<Tables, Error>> + Send>>;

impl Asking {
    /// Asks, instead of what was asked before.
    pub(super) fn begin<A: Agents>(
        &mut self,
        agents: &Arc<A>,
        endpoint: usize,
        topics: &Arc<[TopicFilter]>,
    ) {
        let (agents, topics) = (Arc::clone(agents), Arc::clone(topics));
        self.0 = Some(Box::pin(async move {
            let tables = agents.tables(endpoint, &topics);
            tokio::time::timeout(TABLES_TIMEOUT, tables)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::List, "no list in time")))
        }));
    }

    /// Nobody wants to know any more.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// Waits for the answer; for ever, if nothing is asked. Cancel safe.
    pub(super) async fn answer(&mut self) -> Result<Tables, Error> {
        match &mut self.0 {
            Some(answer) => {
                let answer = answer.as_mut().await;
                self.0 = None;
                answer
            }
            None => std::future::pending().await,
        }
    }
}
