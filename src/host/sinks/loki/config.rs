//! The options of the sink, by Vector's names and with Vector's defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use percent_encoding::percent_decode_str;
use rand::rngs::StdRng;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer};

use crate::host::encoding::{EncodingConfig, EncodingError};
use crate::host::sinks::Sink;
use crate::host::template::{Template, TemplateError};

use super::LokiSink;
use super::batch::BatchLimits;
use super::client::{HttpTransport, Target, Transport};
use super::record::RecordOptions;
use super::request::Compression;
use super::retry::RetryLimits;

/// Requests under way at the same time, unless `request.concurrency` says otherwise. Vector adapts the number to the answers.
const CONCURRENCY: usize = 4;

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

    // Vector's, known so that the refusal can say where they work.
    #[serde(default)]
    tenant_id: Option<IgnoredAny>,
    #[serde(default)]
    tls: Option<IgnoredAny>,
    #[serde(default)]
    proxy: Option<IgnoredAny>,
    #[serde(default)]
    buffer: Option<IgnoredAny>,
}

/// Options that make no sink. Never quotes a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LokiConfigError {
    /// As Vector has it.
    #[error("`labels` must include at least one label")]
    NoLabels,
    /// As Vector has it.
    #[error("`labels`: invalid label name {0:?}")]
    LabelName(String),
    /// A name in `labels` or `structured_metadata` is no template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// See there.
    #[error("`encoding`: {0}")]
    Encoding(#[from] EncodingError),
    /// With a reason.
    #[error("`endpoint`: {0}")]
    Endpoint(&'static str),
    /// `endpoint` and `path` together make no URL.
    #[error("`path`: cannot be appended to `endpoint`: {0}")]
    Path(http::uri::InvalidUri),
    /// As Vector has it.
    #[error("`auth`: there are credentials in `endpoint` too, remove one of them")]
    TwoCredentials,
    /// A token with a line break, for example.
    #[error("`auth`: the credentials cannot be sent in a header")]
    Credentials,
    /// `drop` and `rewrite_timestamp` falsify or lose events that Loki has long accepted.
    #[error(
        "`out_of_order_action`: only `accept` is supported here, and Loki takes events out of order since 2.4: remove the option, \
         or run this configuration with `nomad-vector`"
    )]
    OutOfOrder,
    /// A number out of range.
    #[error("`{0}` must be greater than zero")]
    NotPositive(&'static str),
    /// An option, or a value of one, that only Vector has.
    #[error("`{0}` is not supported here: run this configuration with `nomad-vector`")]
    Unsupported(&'static str),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutOfOrderAction {
    #[default]
    Accept,
    RewriteTimestamp,
    Drop,
}

#[derive(Clone, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
enum AuthConfig {
    Basic {
        user: String,
        password: SecretString,
    },
    Bearer {
        token: SecretString,
    },
    Custom(IgnoredAny),
    Aws(IgnoredAny),
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchConfig {
    #[serde(default)]
    max_bytes: Option<usize>,
    #[serde(default)]
    max_events: Option<usize>,
    #[serde(default)]
    timeout_secs: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestConfig {
    #[serde(default)]
    timeout_secs: Option<u64>,
    #[serde(default)]
    retry_attempts: Option<usize>,
    #[serde(default)]
    retry_initial_backoff_secs: Option<NonZeroU64>,
    #[serde(default)]
    retry_max_duration_secs: Option<NonZeroU64>,
    #[serde(default)]
    concurrency: Option<Word>,
    #[serde(default)]
    retry_jitter_mode: Option<IgnoredAny>,
    #[serde(default)]
    rate_limit_num: Option<IgnoredAny>,
    #[serde(default)]
    rate_limit_duration_secs: Option<IgnoredAny>,
    #[serde(default)]
    adaptive_concurrency: Option<IgnoredAny>,
}

/// A value for which Vector has several forms, of which some are understood here.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Word {
    Number(usize),
    Text(String),
    Other(IgnoredAny),
}

/// `healthcheck = false` and `healthcheck.enabled = false` are the same.
#[derive(Clone, Debug)]
struct Healthcheck(HealthcheckOptions);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthcheckOptions {
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    uri: Option<IgnoredAny>,
    #[serde(default)]
    timeout: Option<IgnoredAny>,
}

fn push_path() -> String {
    "/loki/api/v1/push".to_owned()
}

fn yes() -> bool {
    true
}

impl LokiConfig {
    /// Checks the options and makes a sink of them. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`LokiConfigError`] names the option and says what to do.
    pub(crate) fn build(&self, id: &str) -> Result<Box<dyn Sink>, LokiConfigError> {
        let sink = self.sink(id, HttpTransport::new)?;
        Ok(Box::new(sink))
    }

    /// The same with a transport of choice, which is told where to send and how many requests there are at a time.
    pub(super) fn sink<T: Transport>(
        &self,
        id: &str,
        transport: impl FnOnce(Target, usize) -> T,
    ) -> Result<LokiSink<T>, LokiConfigError> {
        self.refuse_unsupported()?;
        let concurrency = self.request.concurrency()?;
        let compression = self.compression()?;
        let target = self.target(compression)?;
        Ok(LokiSink {
            component_id: id.to_owned(),
            records: RecordOptions {
                labels: self.labels()?,
                structured_metadata: templates(&self.structured_metadata)?,
                encoder: self.encoding.build()?,
                remove_label_fields: self.remove_label_fields,
                remove_structured_metadata_fields: self.remove_structured_metadata_fields,
                remove_timestamp: self.remove_timestamp,
            },
            limits: self.batch.limits()?,
            concurrency,
            retry: self.request.retry(),
            compression,
            healthcheck: self.healthcheck.0.enabled,
            transport: transport(target, concurrency),
            random: rand::make_rng::<StdRng>(),
        })
    }

    fn refuse_unsupported(&self) -> Result<(), LokiConfigError> {
        let request = &self.request;
        let given = [
            ("tenant_id", self.tenant_id.is_some()),
            ("tls", self.tls.is_some()),
            ("proxy", self.proxy.is_some()),
            ("buffer", self.buffer.is_some()),
            (
                "request.retry_jitter_mode",
                request.retry_jitter_mode.is_some(),
            ),
            ("request.rate_limit_num", request.rate_limit_num.is_some()),
            (
                "request.rate_limit_duration_secs",
                request.rate_limit_duration_secs.is_some(),
            ),
            (
                "request.adaptive_concurrency",
                request.adaptive_concurrency.is_some(),
            ),
            ("healthcheck.uri", self.healthcheck.0.uri.is_some()),
            ("healthcheck.timeout", self.healthcheck.0.timeout.is_some()),
        ];
        for (option, is_given) in given {
            if is_given {
                return Err(LokiConfigError::Unsupported(option));
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
            Some(_) => Err(LokiConfigError::Unsupported(
                "compression` other than `snappy`, `gzip`, `none",
            )),
        }
    }

    fn target(&self, compression: Compression) -> Result<Target, LokiConfigError> {
        let (base, in_endpoint) = split_endpoint(&self.endpoint)?;
        let credentials = match (&self.auth, in_endpoint) {
            (Some(_), Some(_)) => return Err(LokiConfigError::TwoCredentials),
            (None, in_endpoint) => in_endpoint,
            (Some(AuthConfig::Basic { user, password }), None) => {
                Some(basic(user, password.expose_secret()))
            }
            (Some(AuthConfig::Bearer { token }), None) => Some(SecretString::from(format!(
                "Bearer {}",
                token.expose_secret()
            ))),
            (Some(AuthConfig::Custom(_) | AuthConfig::Aws(_)), None) => {
                return Err(LokiConfigError::Unsupported(
                    "auth.strategy` other than `basic`, `bearer",
                ));
            }
        };
        let authorization = credentials.as_ref().map(header).transpose()?;
        let append = |path: &str| {
            let base = base.trim_end_matches('/');
            let url = format!("{base}/{}", path.trim_start_matches('/'));
            url.parse::<Uri>().map_err(LokiConfigError::Path)
        };
        let timeout = match self.request.timeout_secs {
            Some(0) => return Err(LokiConfigError::NotPositive("request.timeout_secs")),
            secs => Duration::from_secs(secs.unwrap_or(60)),
        };
        Ok(Target {
            push: append(&self.path)?,
            ready: append("ready")?,
            root: append("")?,
            authorization,
            compression,
            timeout,
        })
    }
}

/// Splits an endpoint into the URL without credentials, and the credentials as a header value.
fn split_endpoint(endpoint: &str) -> Result<(String, Option<SecretString>), LokiConfigError> {
    let uri: Uri = endpoint
        .parse()
        .map_err(|_| LokiConfigError::Endpoint("not a URL"))?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) if *scheme == Scheme::HTTPS => {
            return Err(LokiConfigError::Endpoint(
                "https is not supported here yet: run this configuration with `nomad-vector`",
            ));
        }
        _ => return Err(LokiConfigError::Endpoint("must start with http://")),
    }
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    let Some((user_info, host)) = authority.rsplit_once('@') else {
        return Ok((uri.to_string(), None));
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    let credentials = basic(&decoded(user), &decoded(password));
    Ok((format!("http://{host}{path}"), Some(credentials)))
}

fn header(credentials: &SecretString) -> Result<HeaderValue, LokiConfigError> {
    let mut header = HeaderValue::from_str(credentials.expose_secret())
        .map_err(|_| LokiConfigError::Credentials)?;
    header.set_sensitive(true);
    Ok(header)
}

fn basic(user: &str, password: &str) -> SecretString {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    SecretString::from(format!("Basic {encoded}"))
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

impl BatchConfig {
    fn limits(self) -> Result<BatchLimits, LokiConfigError> {
        let max_bytes = self.max_bytes.unwrap_or(1_000_000);
        let max_events = self.max_events.unwrap_or(100_000);
        let timeout = Duration::try_from_secs_f64(self.timeout_secs.unwrap_or(1.0))
            .ok()
            .filter(|timeout| !timeout.is_zero());
        if max_bytes == 0 {
            return Err(LokiConfigError::NotPositive("batch.max_bytes"));
        }
        if max_events == 0 {
            return Err(LokiConfigError::NotPositive("batch.max_events"));
        }
        Ok(BatchLimits {
            max_bytes,
            max_events,
            timeout: timeout.ok_or(LokiConfigError::NotPositive("batch.timeout_secs"))?,
        })
    }
}

impl RequestConfig {
    fn retry(&self) -> RetryLimits {
        let secs = |option: Option<NonZeroU64>, default| {
            Duration::from_secs(option.map_or(default, NonZeroU64::get))
        };
        RetryLimits {
            attempts: self.retry_attempts.unwrap_or(usize::MAX),
            initial: secs(self.retry_initial_backoff_secs, 1),
            max: secs(self.retry_max_duration_secs, 30),
        }
    }

    fn concurrency(&self) -> Result<usize, LokiConfigError> {
        match &self.concurrency {
            None => Ok(CONCURRENCY),
            Some(Word::Number(0)) => Err(LokiConfigError::NotPositive("request.concurrency")),
            Some(Word::Number(requests)) => Ok(*requests),
            Some(Word::Text(name)) if name == "none" => Ok(1),
            Some(_) => Err(LokiConfigError::Unsupported(
                "request.concurrency` other than a number or `none",
            )),
        }
    }
}

impl Default for Healthcheck {
    fn default() -> Self {
        Self::enabled(true)
    }
}

impl Healthcheck {
    fn enabled(enabled: bool) -> Self {
        Self(HealthcheckOptions {
            enabled,
            uri: None,
            timeout: None,
        })
    }
}

impl<'de> Deserialize<'de> for Healthcheck {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoolOrTable;

        impl<'de> Visitor<'de> for BoolOrTable {
            type Value = Healthcheck;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a table with `enabled`")
            }

            fn visit_bool<E>(self, enabled: bool) -> Result<Healthcheck, E> {
                Ok(Healthcheck::enabled(enabled))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Healthcheck, A::Error> {
                HealthcheckOptions::deserialize(MapAccessDeserializer::new(map)).map(Healthcheck)
            }
        }

        deserializer.deserialize_any(BoolOrTable)
    }
}

// The endpoint can hold a password, so it is shown without its user info, or not at all.
impl fmt::Debug for LokiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = split_endpoint(&self.endpoint);
        f.debug_struct("LokiConfig")
            .field(
                "endpoint",
                &endpoint.map_or_else(|_| "?".to_owned(), |(url, _)| url),
            )
            .field("labels", &self.labels.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
