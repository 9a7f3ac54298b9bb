//! `blackhole`: takes events and drops them, for tests and measurements.

use std::future::Future;
use std::pin::Pin;

use serde::Deserialize;

use super::Sink;
use crate::host::channel::Receiver;
use crate::host::metrics::ComponentMetrics;
use crate::position::Delivery;

/// The options of `blackhole`: none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlackholeConfig {}

/// The sink.
#[derive(Debug)]
pub(crate) struct Blackhole {
    metrics: ComponentMetrics,
}

impl Blackhole {
    /// Makes the sink.
    pub(crate) fn new(id: &str, _config: &BlackholeConfig) -> Self {
        Self {
            metrics: ComponentMetrics::new("sink", id, "blackhole"),
        }
    }
}

impl Sink for Blackhole {
    fn run(self: Box<Self>, mut input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            while let Some(events) = input.recv().await {
                for event in &events {
                    event.finalizer.note(Delivery::Delivered);
                }
                self.metrics.add_sent(events.len());
            }
        })
    }
}
