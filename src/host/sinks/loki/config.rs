//! The options of the sink, by Vector's names and with Vector's defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Method, Request};
use rand::rngs::StdRng;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::host::encoding::{EncodingConfig, EncodingError};
use crate::host::sinks::Sink;
use crate::host::sinks::outbound::{
    AddressError, AuthConfig, BatchConfig, BatchLimits, Health, Healthcheck, HttpTransport,
    OptionError, RequestConfig, RetryRule, Telemetry as SharedTelemetry, Transport, UriSecrecy,
    Word, credentials, split_credentials,
};
use crate::host::template::{Template, TemplateError};
use crate::shown;
use crate::tls::{NameRule, Tls, TlsOptions};

use super::LokiSink;
use super::record::{LokiFormat, RecordOptions};
use super::request::{Compression, Push};
use super::telemetry::Telemetry;

/// Requests under way at the same time, unless `request.concurrency` says otherwise. Vector adapts the number to the answers.
const CONCURRENCY: usize = 4;

/// Vector's for this sink.
const BATCH: BatchLimits = BatchLimits {
    max_bytes: 1_000_000,
    max_events: 100_000,
    timeout: Duration::from_secs(1),
};

/// The options under a sink of `type = "loki"`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LokiConfig {
    /// The base URL of Loki. May hold a user and a password: it is not to be logged.
    pub(crate) endpoint: String,
    #[serde(default = "push_path")]
    path: String,
    encoding: EncodingConfig,
    labels: BTreeMap<String, Template>,
    #[serde(default)]
    remove_label_fields: bool,
    #[serde(default)]
    structured_metadata: BTreeMap<String, Template>,
    #[serde(default)]
    remove_structured_metadata_fields: bool,
    #[serde(default = "yes")]
    remove_timestamp: bool,
    #[serde(default)]
    compression: Option<Word>,
    #[serde(default)]
    out_of_order_action: OutOfOrderAction,
    #[serde(default)]
    auth: Option<AuthConfig>,
    #[serde(default)]
    batch: BatchConfig,
    #[serde(default)]
    request: RequestConfig,
    #[serde(default)]
    healthcheck: Healthcheck,
    #[serde(default)]
    tenant_id: Option<Template>,
    #[serde(default)]
    tls: Option<TlsOptions>,

    // Vector's, known so that the refusal can say where it works.
    #[serde(default)]
    proxy: Option<IgnoredAny>,
}

/// Options that make no sink. Never quotes a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LokiConfigError {
    /// As Vector has it.
    #[error("`labels` must include at least one label")]
    NoLabels,
    /// As Vector has it.
    #[error("`labels`: invalid label name {:?}", shown::name(.0))]
    LabelName(String),
    /// A name in `labels` or `structured_metadata` is no template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// See there.
    #[error("`encoding`: {0}")]
    Encoding(#[from] EncodingError),
    /// With a reason.
    #[error("`endpoint`: {0}")]
    Endpoint(#[from] AddressError),
    /// `endpoint` and `path` together make no URL.
    #[error("`path`: cannot be appended to `endpoint`: {0}")]
    Path(http::uri::InvalidUri),
    /// See there.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// `drop` and `rewrite_timestamp` falsify or lose events that Loki has long accepted.
    #[error(
        "`out_of_order_action`: only `accept` is supported here, and Loki takes events out of order since 2.4: remove the option, \
         or run this configuration with `nomad-vector`"
    )]
    OutOfOrder,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutOfOrderAction {
    #[default]
    Accept,
    RewriteTimestamp,
    Drop,
}

fn push_path() -> String {
    "/loki/api/v1/push".to_owned()
}

fn yes() -> bool {
    true
}

impl LokiConfig {
    /// Checks the options, reads the files under `tls`, and makes a sink of them. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`LokiConfigError`] names the option and says what to do.
    pub(crate) fn build(&self, id: &str) -> Result<Box<dyn Sink>, LokiConfigError> {
        let sink = self.sink(id, |tls, connections| {
            HttpTransport::new(tls, connections, UriSecrecy::Public)
        })?;
        Ok(Box::new(sink))
    }

    /// The same with a transport of choice, which is told the settings of TLS and how many requests there are at a time.
    pub(super) fn sink<T: Transport>(
        &self,
        id: &str,
        transport: impl FnOnce(Option<Tls>, usize) -> T,
    ) -> Result<LokiSink<T>, LokiConfigError> {
        self.refuse_unsupported()?;
        let request = self.request.limits(CONCURRENCY, RetryRule::Loki)?;
        let (push, tls) = self.push()?;
        let health = self.health(&push)?;
        let options = RecordOptions {
            tenant_id: self.tenant_id.clone(),
            labels: self.labels()?,
            structured_metadata: templates(&self.structured_metadata)?,
            encoder: self.encoding.build()?,
            remove_label_fields: self.remove_label_fields,
            remove_structured_metadata_fields: self.remove_structured_metadata_fields,
            remove_timestamp: self.remove_timestamp,
        };
        let telemetry = SharedTelemetry::new(id, "loki");
        Ok(LokiSink {
            format: LokiFormat::new(push, options, Telemetry::new(telemetry.clone())),
            batch: self.batch.limits(BATCH)?,
            health,
            transport: transport(tls, request.concurrency),
            request,
            telemetry,
            random: rand::make_rng::<StdRng>(),
        })
    }

    fn refuse_unsupported(&self) -> Result<(), LokiConfigError> {
        if self.request.headers.is_some() {
            return Err(OptionError::Unknown("request.headers").into());
        }
        for (option, is_given) in [
            ("proxy", self.proxy.is_some()),
            ("healthcheck.uri", self.healthcheck.uri().is_some()),
        ] {
            if is_given {
                return Err(OptionError::Unsupported(option).into());
            }
        }
        if self.out_of_order_action != OutOfOrderAction::Accept {
            return Err(LokiConfigError::OutOfOrder);
        }
        Ok(())
    }

    fn labels(&self) -> Result<Vec<(Template, Template)>, LokiConfigError> {
        if self.labels.is_empty() {
            return Err(LokiConfigError::NoLabels);
        }
        let labels = templates(&self.labels)?;
        for (name, _) in &labels {
            if !name.is_dynamic() && !is_label_name(name.source()) {
                return Err(LokiConfigError::LabelName(name.source().to_owned()));
            }
        }
        Ok(labels)
    }

    fn compression(&self) -> Result<Compression, LokiConfigError> {
        match &self.compression {
            None => Ok(Compression::default()),
            Some(Word::Text(name)) if name == "snappy" => Ok(Compression::Snappy),
            Some(Word::Text(name)) if name == "gzip" => Ok(Compression::Gzip),
            Some(Word::Text(name)) if name == "none" => Ok(Compression::None),
            Some(_) => Err(OptionError::Unsupported(
                "compression` other than `snappy`, `gzip`, `none",
            )
            .into()),
        }
    }

    /// Where to push, and the settings of TLS if that needs any.
    fn push(&self) -> Result<(Push, Option<Tls>), LokiConfigError> {
        let (base, in_endpoint) = split_credentials(&self.endpoint)?;
        let uri = append(&base, &self.path)?;
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let tls = (secure || self.tls.is_some())
            .then(|| Tls::build(&self.tls.clone().unwrap_or_default(), NameRule::Host))
            .transpose()
            .map_err(OptionError::from)?;
        let push = Push {
            uri,
            authorization: credentials(self.auth.as_ref(), in_endpoint, "endpoint")?,
            compression: self.compression()?,
        };
        Ok((push, tls))
    }

    /// Asks Loki itself, or else whatever stands in front of it.
    fn health(&self, push: &Push) -> Result<Health, LokiConfigError> {
        let timeout = self.healthcheck.timeout()?;
        let mut requests = Vec::new();
        if self.healthcheck.is_enabled() {
            let (base, _) = split_credentials(&self.endpoint)?;
            for path in ["ready", ""] {
                let uri = append(&base, path)?;
                requests.push(get(uri, push.authorization.as_ref()));
            }
        }
        Ok(Health { requests, timeout })
    }
}

fn append(base: &Uri, path: &str) -> Result<Uri, LokiConfigError> {
    let base = base.to_string();
    let url = format!(
        "{}/{}",
        base.trim_end_matches('/'),
        path.trim_start_matches('/')
    );
    url.parse().map_err(LokiConfigError::Path)
}

fn get(uri: Uri, authorization: Option<&HeaderValue>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    if let Some(authorization) = authorization {
        request
            .headers_mut()
            .insert(AUTHORIZATION, authorization.clone());
    }
    request
}

fn templates(
    options: &BTreeMap<String, Template>,
) -> Result<Vec<(Template, Template)>, LokiConfigError> {
    options
        .iter()
        .map(|(key, value)| Ok((Template::parse(key)?, value.clone())))
        .collect()
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, with a `*` at the end if an object's fields are to be expanded; or that `*` alone.
fn is_label_name(name: &str) -> bool {
    let name = name.trim();
    let prefix = name.strip_suffix('*').unwrap_or(name);
    let mut letters = prefix.chars();
    match letters.next() {
        None => name == "*",
        Some(first) => {
            (first.is_ascii_alphabetic() || first == '_')
                && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        }
    }
}

// The endpoint can hold a password, so it is shown without its user info, or not at all.
impl fmt::Debug for LokiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = split_credentials(&self.endpoint);
        f.debug_struct("LokiConfig")
            .field(
                "endpoint",
                &endpoint.map_or_else(|_| "?".to_owned(), |(url, _)| url.to_string()),
            )
            .field("labels", &self.labels.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
