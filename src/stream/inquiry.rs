//! Why an address refuses us: asked beside the retries, which it never delays.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::agents::Agents;
use crate::error::Error;
use crate::nomad::Purpose;

/// One inquiry at a time: a refusal of another address meanwhile is asked about when it comes again.
#[derive(Default)]
pub(super) struct Inquiry(Option<Running>);

struct Running {
    endpoint: usize,
    /// What is told if the address accepts us before the reason is known.
    refused: Error,
    /// Refusals of the address since the inquiry began.
    refusals: u64,
    reason: Pin<Box<dyn Future<Output = Error> + Send>>,
}

/// A refusal, with its reason.
pub(super) struct Explained {
    pub(super) endpoint: usize,
    pub(super) error: Error,
    pub(super) refusals: u64,
}

/// What became of a refusal that is to be asked about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Began {
    /// It is told when its reason is known.
    Asking,
    /// Another address is being asked.
    Busy,
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
        if let Some(running) = &mut self.0 {
            if running.endpoint != endpoint {
                return Began::Busy;
            }
            running.refusals += 1;
            return Began::Asking;
        }
        let agents = Arc::clone(agents);
        let asked = refused.clone();
        self.0 = Some(Running {
            endpoint,
            refused: refused.clone(),
            refusals: 1,
            reason: Box::pin(async move { agents.explain(endpoint, purpose, asked).await }),
        });
        Began::Asking
    }

    /// Waits for the reason; for ever, if none is asked for. Cancel safe.
    pub(super) async fn explained(&mut self) -> Explained {
        let Some(running) = &mut self.0 else {
            return std::future::pending().await;
        };
        let error = running.reason.as_mut().await;
        let explained = Explained {
            endpoint: running.endpoint,
            error,
            refusals: running.refusals,
        };
        self.0 = None;
        explained
    }

    /// The address has accepted us: the reason is no news any more.
    pub(super) fn overtaken(&mut self, endpoint: usize) -> Option<Explained> {
        let running = self.0.take_if(|running| running.endpoint == endpoint)?;
        Some(Explained {
            endpoint,
            error: running.refused,
            refusals: running.refusals,
        })
    }
}
