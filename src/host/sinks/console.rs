//! `console`: writes events to the standard output or error, one a line.

use std::future::Future;
use std::io;
use std::pin::Pin;

use serde::Deserialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::Sink;
use crate::host::channel::Receiver;
use crate::host::encoding::{Encoder, EncodingConfig, EncodingError};
use crate::host::event::{Finalizer, LogEvent};
use crate::host::metrics::ComponentMetrics;
use crate::position::Delivery;

/// A block is written when it is this long (bytes), or when no event waits.
const BLOCK_BYTES: usize = 64 * 1024;

/// The options of `console`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleConfig {
    /// Where to write (default `stdout`).
    #[serde(default)]
    pub(crate) target: Target,
    /// How to write an event.
    pub(crate) encoding: EncodingConfig,
}

/// The stream to write to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// The standard output.
    #[default]
    Stdout,
    /// The standard error.
    Stderr,
}

/// The sink.
#[derive(Debug)]
pub(crate) struct Console {
    target: Target,
    encoder: Encoder,
    metrics: ComponentMetrics,
}

impl Console {
    /// Makes the sink.
    ///
    /// # Errors
    ///
    /// Options under `encoding` that contradict each other.
    pub(crate) fn new(id: &str, config: &ConsoleConfig) -> Result<Self, EncodingError> {
        Ok(Self {
            target: config.target,
            encoder: config.encoding.build()?,
            metrics: ComponentMetrics::new("sink", id, "console"),
        })
    }

    /// Writes events until the channel ends or the stream breaks. What is left then is noted as rejected.
    async fn write(&self, mut input: Receiver, mut stream: impl AsyncWrite + Unpin) {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let mut waiting: Vec<Finalizer> = Vec::new();
        while let Some(events) = input.recv().await {
            self.add(events, &mut block, &mut waiting);
            // Takes what is there already, without waiting for more.
            while block.len() < BLOCK_BYTES {
                let more = tokio::select! {
                    biased;
                    more = input.recv() => more,
                    () = std::future::ready(()) => None,
                };
                match more {
                    Some(events) => self.add(events, &mut block, &mut waiting),
                    None => break,
                }
            }
            // Tokio's streams report a failed write at the next call, so only a flush tells that the block is out.
            let written = match stream.write_all(&block).await {
                Ok(()) => stream.flush().await,
                failed => failed,
            };
            let delivery = match &written {
                Ok(()) => Delivery::Delivered,
                Err(_) => Delivery::Rejected,
            };
            for finalizer in &waiting {
                finalizer.note(delivery);
            }
            match written {
                Ok(()) => self.metrics.add_sent(waiting.len()),
                // Nobody reads any more, as with `| head`: no error, but nothing more to do here.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.metrics.add_lost(waiting.len());
                    return;
                }
                Err(error) => {
                    self.metrics.write_failed(waiting.len(), &error);
                    return;
                }
            }
            waiting.clear();
            block.clear();
        }
    }

    fn add(&self, events: Vec<LogEvent>, block: &mut Vec<u8>, waiting: &mut Vec<Finalizer>) {
        for mut event in events {
            let start = block.len();
            match self.encoder.encode(&mut event.value, block) {
                Ok(()) => {
                    block.push(b'\n');
                    waiting.push(event.finalizer);
                }
                Err(error) => {
                    block.truncate(start);
                    event.finalizer.note(Delivery::Rejected);
                    self.metrics.write_failed(1, &error);
                }
            }
        }
    }
}

impl Sink for Console {
    fn run(self: Box<Self>, input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            match self.target {
                Target::Stdout => self.write(input, tokio::io::stdout()).await,
                Target::Stderr => self.write(input, tokio::io::stderr()).await,
            }
        })
    }
}

#[cfg(test)]
mod tests;
