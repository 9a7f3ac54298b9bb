//! Where events leave the process.

pub(crate) mod blackhole;
pub(crate) mod console;
pub(crate) mod http;
pub(crate) mod loki;
mod outbound;
pub(crate) mod prometheus_exporter;

use std::future::Future;
use std::pin::Pin;

use super::channel::Receiver;

/// A sink that was configured and checked, ready to run.
pub(crate) trait Sink: Send {
    /// Takes events until the channel ends, then delivers what it still holds, then returns.
    ///
    /// Every event's finalizer is told what became of it before it is dropped. The topology drops the future when the time for
    /// draining is over.
    fn run(self: Box<Self>, input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
