//! Options that the sinks have in common, by Vector's names and with Vector's defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use http::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer};

use super::{BatchLimits, RateLimit, RequestLimits, RetryLimits, RetryRule};
use crate::secrets::basic;
use crate::tls::TlsError;

/// For one attempt.
const REQUEST_TIMEOUT_SECS: u64 = 60;

/// For the check at the start.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that `rate_limit_num` is about.
const RATE_LIMIT_DURATION_SECS: u64 = 1;

/// Options that make no sink. Never quotes a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionError {
    /// A number out of range.
    #[error("`{0}` must be greater than zero")]
    NotPositive(&'static str),
    /// An option, or a value of one, that only Vector has.
    #[error("`{0}` is not supported here: run this configuration with `nomad-vector`")]
    Unsupported(&'static str),
    /// An option that neither has.
    #[error("unknown option `{0}`")]
    Unknown(&'static str),
    /// As Vector has it.
    #[error("`auth`: there are credentials in `{0}` too, remove one of them")]
    TwoCredentials(&'static str),
    /// A token with a line break, for example.
    #[error("`auth`: the credentials cannot be sent in a header")]
    Credentials,
    /// See there.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The options under `auth`.
#[derive(Clone, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum AuthConfig {
    /// User and password.
    Basic {
        user: String,
        password: SecretString,
    },
    /// A token.
    Bearer { token: SecretString },
    /// Vector's; refused.
    Custom(IgnoredAny),
    /// Vector's; refused.
    Aws(IgnoredAny),
}

/// The options under `batch`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchConfig {
    #[serde(default)]
    max_bytes: Option<usize>,
    #[serde(default)]
    max_events: Option<usize>,
    #[serde(default)]
    timeout_secs: Option<f64>,
}

/// The options under `request`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestConfig {
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
    rate_limit_num: Option<u64>,
    #[serde(default)]
    rate_limit_duration_secs: Option<u64>,
    /// Of the sink `http` alone. Values are secrets as often as not.
    #[serde(default)]
    pub(crate) headers: Option<BTreeMap<String, SecretString>>,

    // Vector's, known so that the refusal can say where they work.
    #[serde(default)]
    retry_jitter_mode: Option<IgnoredAny>,
    #[serde(default)]
    adaptive_concurrency: Option<IgnoredAny>,
}

/// A value for which Vector has several forms, of which some are understood here.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Word {
    Number(usize),
    Text(String),
    Other(IgnoredAny),
}

/// `healthcheck = false` and `healthcheck.enabled = false` are the same.
#[derive(Clone, Debug)]
pub(crate) struct Healthcheck(HealthcheckOptions);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthcheckOptions {
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    uri: Option<SecretString>,
    #[serde(default)]
    timeout: Option<f64>,
}

fn yes() -> bool {
    true
}

impl AuthConfig {
    /// The value of the header.
    ///
    /// # Errors
    ///
    /// A strategy that only Vector has.
    fn credentials(&self) -> Result<SecretString, OptionError> {
        match self {
            Self::Basic { user, password } => Ok(basic(user, password.expose_secret())),
            Self::Bearer { token } => Ok(SecretString::from(format!(
                "Bearer {}",
                token.expose_secret()
            ))),
            Self::Custom(_) | Self::Aws(_) => Err(OptionError::Unsupported(
                "auth.strategy` other than `basic`, `bearer",
            )),
        }
    }
}

/// The credentials of `auth`, or those that stand in the URL of the option `url`, as a header.
///
/// # Errors
///
/// Both at once, and what cannot be sent.
pub(crate) fn credentials(
    auth: Option<&AuthConfig>,
    in_url: Option<SecretString>,
    url: &'static str,
) -> Result<Option<HeaderValue>, OptionError> {
    let credentials = match (auth, in_url) {
        (Some(_), Some(_)) => return Err(OptionError::TwoCredentials(url)),
        (Some(auth), None) => auth.credentials()?,
        (None, Some(in_url)) => in_url,
        (None, None) => return Ok(None),
    };
    let mut header =
        HeaderValue::from_str(credentials.expose_secret()).map_err(|_| OptionError::Credentials)?;
    header.set_sensitive(true);
    Ok(Some(header))
}

impl BatchConfig {
    /// The limits, with the sink's own defaults.
    ///
    /// # Errors
    ///
    /// A number that is not above zero.
    pub(crate) fn limits(self, defaults: BatchLimits) -> Result<BatchLimits, OptionError> {
        let max_bytes = self.max_bytes.unwrap_or(defaults.max_bytes);
        let max_events = self.max_events.unwrap_or(defaults.max_events);
        let timeout = match self.timeout_secs {
            None => defaults.timeout,
            Some(secs) => seconds(secs, "batch.timeout_secs")?,
        };
        if max_bytes == 0 {
            return Err(OptionError::NotPositive("batch.max_bytes"));
        }
        if max_events == 0 {
            return Err(OptionError::NotPositive("batch.max_events"));
        }
        Ok(BatchLimits {
            max_bytes,
            max_events,
            timeout,
        })
    }
}

impl RequestConfig {
    /// The limits, with the sink's own number of requests at a time and its rule for retries.
    ///
    /// # Errors
    ///
    /// A number that is not above zero, and what only Vector has.
    pub(crate) fn limits(
        &self,
        concurrency: usize,
        rule: RetryRule,
    ) -> Result<RequestLimits, OptionError> {
        for (option, is_given) in [
            (
                "request.retry_jitter_mode",
                self.retry_jitter_mode.is_some(),
            ),
            (
                "request.adaptive_concurrency",
                self.adaptive_concurrency.is_some(),
            ),
        ] {
            if is_given {
                return Err(OptionError::Unsupported(option));
            }
        }
        let secs = |option: Option<NonZeroU64>, default| {
            Duration::from_secs(option.map_or(default, NonZeroU64::get))
        };
        let timeout = match self.timeout_secs {
            Some(0) => return Err(OptionError::NotPositive("request.timeout_secs")),
            given => Duration::from_secs(given.unwrap_or(REQUEST_TIMEOUT_SECS)),
        };
        Ok(RequestLimits {
            concurrency: self.concurrency(concurrency)?,
            timeout,
            retry: RetryLimits {
                attempts: self.retry_attempts.unwrap_or(usize::MAX),
                initial: secs(self.retry_initial_backoff_secs, 1),
                max: secs(self.retry_max_duration_secs, 30),
            },
            rule,
            rate: self.rate()?,
        })
    }

    fn rate(&self) -> Result<Option<RateLimit>, OptionError> {
        let window = match self.rate_limit_duration_secs {
            Some(0) => return Err(OptionError::NotPositive("request.rate_limit_duration_secs")),
            given => Duration::from_secs(given.unwrap_or(RATE_LIMIT_DURATION_SECS)),
        };
        match self.rate_limit_num {
            None => Ok(None),
            Some(0) => Err(OptionError::NotPositive("request.rate_limit_num")),
            Some(requests) => Ok(Some(RateLimit { requests, window })),
        }
    }

    fn concurrency(&self, default: usize) -> Result<usize, OptionError> {
        match &self.concurrency {
            None => Ok(default),
            Some(Word::Number(0)) => Err(OptionError::NotPositive("request.concurrency")),
            Some(Word::Number(requests)) => Ok(*requests),
            Some(Word::Text(name)) if name == "none" => Ok(1),
            Some(_) => Err(OptionError::Unsupported(
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

    /// Whether to ask at the start.
    pub(crate) fn is_enabled(&self) -> bool {
        self.0.enabled
    }

    /// Where to ask, if another place was given.
    pub(crate) fn uri(&self) -> Option<&SecretString> {
        self.0.uri.as_ref()
    }

    /// How long to wait for an answer.
    ///
    /// # Errors
    ///
    /// A number that is not above zero.
    pub(crate) fn timeout(&self) -> Result<Duration, OptionError> {
        match self.0.timeout {
            None => Ok(HEALTHCHECK_TIMEOUT),
            Some(secs) => seconds(secs, "healthcheck.timeout"),
        }
    }
}

fn seconds(secs: f64, option: &'static str) -> Result<Duration, OptionError> {
    Duration::try_from_secs_f64(secs)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or(OptionError::NotPositive(option))
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
