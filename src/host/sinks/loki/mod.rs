//! The sink `loki`: pushes events to Loki as Vector 0.56.0 would.

mod batch;
mod config;
mod labels;
mod record;
mod request;
mod telemetry;

use record::LokiFormat;

use super::outbound::Outbound;

pub(crate) use config::LokiConfig;

/// The sink, ready to run.
type LokiSink<T> = Outbound<LokiFormat, T>;

#[cfg(test)]
mod tests;
