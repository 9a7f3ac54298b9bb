//! Why an address refuses us: asked beside the retries, which it never delays.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::agents::Agents;
use crate::error::{Error, ErrorKind};
use crate::nomad::Purpose;

/// For so many times as long as an answer took, nothing is asked of its address: an inquiry can be dozens of requests, and a
/// refusal comes again with every retry, for days if nobody looks.
const REST: u32 = 9;

/// One inquiry at a time: a refusal of another address meanwhile is asked about when it comes again.
#[derive(Default)]
pub(super) struct Inquiry {
    running: Option<Running>,
    /// By address.
    known: BTreeMap<usize, Known>,
}

struct Running {
    endpoint: usize,
    /// What is told if the address accepts us before the reason is known.
    refused: Error,
    /// Refusals of the address since the inquiry began.
    refusals: u64,
    begun: Instant,
    reason: Pin<Box<dyn Future<Output = Error> + Send>>,
}

/// The answer to the last inquiry, which holds for a while for refusals of the same kind.
struct Known {
    refused: ErrorKind,
    reason: Error,
    until: Instant,
}

/// A refusal, with its reason.
pub(super) struct Explained {
    pub(super) endpoint: usize,
    pub(super) error: Error,
    pub(super) refusals: u64,
}

/// What became of a refusal that is to be asked about.
#[derive(Debug)]
pub(super) enum Began {
    /// It is told when its reason is known.
    Asking,
    /// Another address is being asked.
    Busy,
    /// It was asked about a moment ago, and this was the reason.
    Known(Error),
}

impl Inquiry {
    /// Asks for the reason of a refusal, unless that is being done.
    pub(super) fn begin<A: Agents>(
        &mut self,
        agents: &Arc<A>,
        endpoint: usize,
        purpose: Purpose,
        refused: &Error,
    ) -> Began {
        if let Some(running) = &mut self.running {
            if running.endpoint != endpoint {
                return Began::Busy;
            }
            running.refusals += 1;
            return Began::Asking;
        }
        let begun = Instant::now();
        if let Some(known) = self.known.get(&endpoint)
            && begun < known.until
            && known.refused == refused.kind()
        {
            return Began::Known(known.reason.clone());
        }
        let agents = Arc::clone(agents);
        let asked = refused.clone();
        self.running = Some(Running {
            endpoint,
            refused: refused.clone(),
            refusals: 1,
            begun,
            reason: Box::pin(async move { agents.explain(endpoint, purpose, asked).await }),
        });
        Began::Asking
    }

    /// Waits for the reason; for ever, if none is asked for. Cancel safe.
    pub(super) async fn explained(&mut self) -> Explained {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let error = running.reason.as_mut().await;
        self.known.insert(
            running.endpoint,
            Known {
                refused: running.refused.kind(),
                reason: error.clone(),
                until: Instant::now() + running.begun.elapsed() * REST,
            },
        );
        let explained = Explained {
            endpoint: running.endpoint,
            error,
            refusals: running.refusals,
        };
        self.running = None;
        explained
    }

    /// The address has accepted us: the reason is no news any more.
    pub(super) fn overtaken(&mut self, endpoint: usize) -> Option<Explained> {
        self.known.remove(&endpoint);
        let running = self
            .running
            .take_if(|running| running.endpoint == endpoint)?;
        Some(Explained {
            endpoint,
            error: running.refused.overtaken(),
            refusals: running.refusals,
        })
    }
}
