//! The sink `http`: sends events as the bodies of requests, as Vector 0.56.0 would.
//!
//! Made for alerts: the address of a webhook is a secret, so neither it nor a header is ever shown.

mod config;
mod format;

use format::HttpFormat;

use super::outbound::Outbound;

pub(crate) use config::HttpConfig;

/// The sink, ready to run.
type HttpSink<T> = Outbound<HttpFormat, T>;

#[cfg(test)]
mod tests;
