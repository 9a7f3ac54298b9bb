//! `prometheus_exporter`: shows the metrics of `internal_metrics` to whoever scrapes them, at `/metrics`.

mod access;
pub(crate) mod exposition;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use jiff::Timestamp;
use metrics::Counter;
use serde::{Deserialize, Deserializer};

use crate::host::listener::{Answer, address, answer};
use crate::host::metrics::registry::{Registry, Sample};
use crate::host::metrics::{delivered_events, received_events};
use access::{Access, Auth};
use exposition::{CONTENT_TYPE, Exposition};

/// The type, as configurations write it.
pub(crate) const TYPE: &str = "prometheus_exporter";

/// A day, as for the other options in seconds.
const MAX_FLUSH_PERIOD_SECS: u64 = 24 * 60 * 60;

/// The options of `prometheus_exporter`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PrometheusExporterConfig {
    /// The address to listen on (default 0.0.0.0:9598).
    #[serde(deserialize_with = "address")]
    pub(crate) address: SocketAddr,
    /// Who may scrape; everybody, unless set.
    auth: Option<Auth>,
    /// How long a series is shown after it was read last (default 60 s).
    #[serde(rename = "flush_period_secs", deserialize_with = "flush_period")]
    pub(crate) flush_period: Duration,
    /// Whether to leave out the time at which a value was read (default no).
    suppress_timestamp: bool,
}

impl Default for PrometheusExporterConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9598)),
            auth: None,
            flush_period: Duration::from_secs(60),
            suppress_timestamp: false,
        }
    }
}

/// The sink. A clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct PrometheusExporter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    access: Access,
    exposition: Mutex<Exposition>,
    received: Counter,
    sent: Counter,
}

impl PrometheusExporter {
    /// Makes the sink, and registers its own metrics.
    ///
    /// # Errors
    ///
    /// Options that Vector has and this program does not.
    pub(crate) fn new(
        id: &str,
        config: &PrometheusExporterConfig,
        registry: &Registry,
    ) -> Result<Self, String> {
        let access = Access::new(config.auth.as_ref())?;
        let (received, sent) = registry
            .component("sink", id, TYPE)
            .within(|| (received_events(), delivered_events()));
        Ok(Self(Arc::new(Inner {
            access,
            exposition: Mutex::new(Exposition::new(
                config.flush_period,
                !config.suppress_timestamp,
            )),
            received,
            sent,
        })))
    }

    /// Shows these values from now on.
    pub(crate) fn take(&self, samples: Vec<Sample>) {
        self.0.received.increment(samples.len() as u64);
        self.exposition()
            .take(samples, Timestamp::now().as_millisecond());
    }

    /// What a scrape shows, and how many series that are.
    pub(crate) fn text(&self) -> (String, usize) {
        let exposition = self.exposition();
        (exposition.to_string(), exposition.len())
    }

    /// Answers a request, as Vector's does.
    pub(crate) fn respond<B>(&self, request: &Request<B>) -> Answer {
        if !self.0.access.allows(request.headers()) {
            let mut refusal = answer(StatusCode::UNAUTHORIZED, "");
            let schemes = HeaderValue::from_static("Basic, Bearer");
            let headers = refusal.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, schemes);
            return refusal;
        }
        if request.method() != Method::GET || request.uri().path() != "/metrics" {
            return answer(StatusCode::NOT_FOUND, "");
        }
        let (text, series) = self.text();
        self.0.sent.increment(series as u64);
        let packed = takes_gzip(request.headers()).then(|| gzip(text.as_bytes()));
        let is_packed = matches!(packed, Some(Ok(_)));
        let mut shown = match packed {
            Some(Ok(packed)) => answer(StatusCode::OK, packed),
            _ => answer(StatusCode::OK, text),
        };
        let headers = shown.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        shown
    }

    fn exposition(&self) -> MutexGuard<'_, Exposition> {
        // Nothing in here panics half way through a change.
        self.0
            .exposition
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the client names gzip among the encodings it takes, and does not rule it out.
fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts
                .filter_map(|part| part.strip_prefix("q="))
                .any(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
            named && !refused
        })
}

fn gzip(text: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish().map(Bytes::from)
}

fn flush_period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let secs = u64::deserialize(deserializer)?;
    if (1..=MAX_FLUSH_PERIOD_SECS).contains(&secs) {
        return Ok(Duration::from_secs(secs));
    }
    Err(serde::de::Error::custom(format_args!(
        "{secs} is not a number of seconds from 1 to {MAX_FLUSH_PERIOD_SECS}"
    )))
}

#[cfg(test)]
mod tests;
