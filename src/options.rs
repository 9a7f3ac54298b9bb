//! The options of the source: one struct, documented once, used by both hosts.
//!
//! [`Options`] is what a user writes, [`Settings`] what the engine needs: checked, with environment and defaults filled in.

mod endpoint;
mod settings;
mod start_at;
mod tls;
mod topics;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::tls::TlsOptions;
use endpoint::BasicAuth;
pub(crate) use endpoint::{Endpoint, Place};
pub(crate) use settings::Token;
pub use settings::{DataDirError, Settings};
pub use start_at::StartAt;
pub(crate) use topics::KNOWN_TOPICS;
pub use topics::{DEFAULT_TOPICS, NOTICES_OUTPUT, TopicFilter, UNMATCHED_OUTPUT};

/// Nomad's own default address.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4646";
/// Default of [`Options::max_line_bytes`]. A line holds a whole Raft write: 4 to 5 KB for each allocation of a plan.
pub const DEFAULT_MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// The least that [`Options::max_line_bytes`] can be: a single allocation takes 4 to 5 KB, so with less nearly nothing came.
pub const MIN_MAX_LINE_BYTES: usize = 4 * 1024;
/// Default of [`Options::queue_bytes`].
pub const DEFAULT_QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// Default of [`Options::connect_timeout_secs`].
pub const DEFAULT_CONNECT_TIMEOUT_SECS: u64 = 10;
/// Default of [`Options::idle_timeout_secs`]: two of Nomad's heartbeats (30 s) and some slack.
pub const DEFAULT_IDLE_TIMEOUT_SECS: u64 = 75;
/// Default of [`Options::backoff_max_secs`].
pub const DEFAULT_BACKOFF_MAX_SECS: u64 = 30;
/// Default of [`Options::namespace_refresh_secs`].
pub const DEFAULT_NAMESPACE_REFRESH_SECS: u64 = 60;
/// Default of [`Options::status_interval_secs`].
pub const DEFAULT_STATUS_INTERVAL_SECS: u64 = 60;
/// Default of [`Options::stop_timeout_secs`]: below Nomad's default `kill_timeout` of 5 s.
pub const DEFAULT_STOP_TIMEOUT_SECS: u64 = 4;

/// The options of the source `nomad_events`, as written in a configuration file.
///
/// An option that is not set falls back to Nomad's own environment variable where there is one, then to the default.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Options {
    /// Addresses of servers or agents of one region, tried in turn: `http://`, `https://` or `unix:///path`
    /// (`NOMAD_ADDR`; default `http://127.0.0.1:4646`).
    #[serde(default)]
    pub endpoints: Option<Vec<String>>,
    /// `"Topic"` or `"Topic:key"`; by default the six topics that a token with `read-job` and `node:read` may read.
    #[serde(default)]
    pub topics: Option<Vec<String>>,
    /// One namespace, or `*` for all (the default). `NOMAD_NAMESPACE` is not looked at: Nomad sets it in every task.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The region to ask for (`NOMAD_REGION`; default: the agent's own). Always sent when set.
    #[serde(default)]
    pub region: Option<String>,
    /// The token (`NOMAD_TOKEN`). Never printed.
    #[serde(default)]
    pub token: Option<SecretString>,
    /// A file that holds the token, read again at every connect. Not together with `token`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// How `https://` endpoints are verified, and our certificate for them (`NOMAD_CACERT`, `NOMAD_CAPATH`,
    /// `NOMAD_CLIENT_CERT`, `NOMAD_CLIENT_KEY`, `NOMAD_TLS_SERVER_NAME`, `NOMAD_SKIP_VERIFY`). Files are read again at every
    /// connect.
    #[serde(default)]
    pub tls: Option<TlsOptions>,
    /// Where to begin without a saved position: `"earliest"` (default: all that the server still has), `"latest"`, or an index.
    #[serde(default)]
    pub start_at: StartAt,
    /// The folder in which the position is saved, in one of its own named by the component id (default: the host's own `data_dir`).
    /// It has to be there.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// Replace secrets in payloads by `[REDACTED]` (default true).
    #[serde(default)]
    pub redact: Option<bool>,
    /// Ask Nomad what each new version of a job has changed, and add it to the first event that shows it (default false).
    #[serde(default)]
    pub job_changes: bool,
    /// One named output per subscribed topic, `notices`, and `_unmatched`, instead of a single output (default false).
    #[serde(default)]
    pub multiple_outputs: bool,
    /// A longer line is discarded while it is read, and counted (bytes, 4096 at least).
    #[serde(default, deserialize_with = "line_bytes")]
    pub max_line_bytes: Option<NonZeroUsize>,
    /// Text in memory that no sink has answered for yet (bytes). When it is full, reading stops.
    #[serde(default)]
    pub queue_bytes: Option<NonZeroUsize>,
    /// Limit for a connection and its first answer.
    #[serde(default, deserialize_with = "positive_secs")]
    pub connect_timeout_secs: Option<u64>,
    /// Without a byte for this long, a connection is dead.
    #[serde(default, deserialize_with = "positive_secs")]
    pub idle_timeout_secs: Option<u64>,
    /// Longest pause between two attempts to connect.
    #[serde(default, deserialize_with = "positive_secs")]
    pub backoff_max_secs: Option<u64>,
    /// Time between two looks at the list of namespaces, give or take a tenth. A new one is followed from then on.
    #[serde(default, deserialize_with = "positive_secs")]
    pub namespace_refresh_secs: Option<u64>,
    /// Time between two `Status` notices.
    #[serde(default, deserialize_with = "positive_secs")]
    pub status_interval_secs: Option<u64>,
    /// How long to wait for answers after a request to stop.
    #[serde(default, deserialize_with = "positive_secs")]
    pub stop_timeout_secs: Option<u64>,
}

/// What is wrong with an option, and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("option `{option}`: {problem}")]
pub struct OptionError {
    /// The option's name, or the environment variable it came from.
    pub option: String,
    /// The problem and its remedy.
    pub problem: String,
}

impl OptionError {
    fn new(option: &str, problem: impl Into<String>) -> Self {
        Self {
            option: option.to_owned(),
            problem: problem.into(),
        }
    }
}

impl Options {
    /// Checks the options and fills in Nomad's environment variables and the defaults.
    ///
    /// `env` looks a variable up; use [`process_env`] for those of this process.
    ///
    /// Reads the certificates that `https://` endpoints need, so that a wrong one is told at start.
    ///
    /// # Errors
    ///
    /// The first option whose value cannot be used, with the reason.
    pub fn settings(&self, env: impl Fn(&str) -> Option<String>) -> Result<Settings, OptionError> {
        // An empty variable counts as unset, as Nomad's own client has it.
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let endpoints = self.resolve_endpoints(&env)?;
        let tls = tls::resolve(self.tls.as_ref(), &endpoints, &env)?;
        let topics = topics::parse(self.topics.as_deref())?;
        Ok(Settings {
            tls,
            endpoints,
            namespace: self.resolve_namespace()?,
            region: self.resolve_region(&env)?,
            token: self.resolve_token(&env)?,
            start_at: self.resolve_start_at()?,
            data_dir: self.resolve_data_dir()?,
            folder: None,
            redact: self.redact.unwrap_or(true),
            job_changes: self.resolve_job_changes(&topics)?,
            topics,
            multiple_outputs: self.multiple_outputs,
            max_line_bytes: self.resolve_max_line_bytes()?,
            queue_bytes: self
                .queue_bytes
                .map_or(DEFAULT_QUEUE_BYTES, NonZeroUsize::get),
            connect_timeout: secs(
                "connect_timeout_secs",
                self.connect_timeout_secs,
                DEFAULT_CONNECT_TIMEOUT_SECS,
            )?,
            idle_timeout: secs(
                "idle_timeout_secs",
                self.idle_timeout_secs,
                DEFAULT_IDLE_TIMEOUT_SECS,
            )?,
            backoff_max: secs(
                "backoff_max_secs",
                self.backoff_max_secs,
                DEFAULT_BACKOFF_MAX_SECS,
            )?,
            namespace_refresh: secs(
                "namespace_refresh_secs",
                self.namespace_refresh_secs,
                DEFAULT_NAMESPACE_REFRESH_SECS,
            )?,
            status_interval: secs(
                "status_interval_secs",
                self.status_interval_secs,
                DEFAULT_STATUS_INTERVAL_SECS,
            )?,
            stop_timeout: secs(
                "stop_timeout_secs",
                self.stop_timeout_secs,
                DEFAULT_STOP_TIMEOUT_SECS,
            )?,
        })
    }

    /// The named outputs with `multiple_outputs`, as [`Settings::output_names`] has them. Of options that
    /// [`settings`](Self::settings) refuses, those that were probably meant.
    #[must_use]
    pub fn output_names(&self) -> Option<Vec<String>> {
        let named: Vec<&str> = match &self.topics {
            Some(topics) => topics.iter().map(String::as_str).collect(),
            None => DEFAULT_TOPICS.to_vec(),
        };
        let topics = named
            .iter()
            .map(|text| text.split(':').next().unwrap_or_default());
        self.multiple_outputs
            .then(|| topics::output_names(topics.filter(|topic| !topic.is_empty())))
    }

    fn resolve_endpoints(
        &self,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Endpoint>, OptionError> {
        let (option, texts) = match (&self.endpoints, env("NOMAD_ADDR")) {
            (Some(texts), _) => ("endpoints", texts.clone()),
            (None, Some(text)) => ("NOMAD_ADDR", vec![text]),
            (None, None) => ("endpoints", vec![DEFAULT_ENDPOINT.to_owned()]),
        };
        if texts.is_empty() {
            return Err(OptionError::new(
                option,
                format!(
                    "the list is empty; give at least one address, such as \"{DEFAULT_ENDPOINT}\""
                ),
            ));
        }
        let auth = env("NOMAD_HTTP_AUTH").map(|text| BasicAuth::parse(&text));
        texts
            .iter()
            .map(|text| Ok(Endpoint::parse(option, text)?.or_auth(auth.as_ref())))
            .collect()
    }

    fn resolve_max_line_bytes(&self) -> Result<usize, OptionError> {
        let Some(bytes) = self.max_line_bytes.map(NonZeroUsize::get) else {
            return Ok(DEFAULT_MAX_LINE_BYTES);
        };
        match wrong_line_bytes(bytes) {
            Some(problem) => Err(OptionError::new("max_line_bytes", problem)),
            None => Ok(bytes),
        }
    }

    fn resolve_start_at(&self) -> Result<StartAt, OptionError> {
        match self.start_at {
            StartAt::Index(index) if !index.can_be_asked_for() => Err(OptionError::new(
                "start_at",
                format!("{index} is larger than any index that Nomad reads"),
            )),
            start_at => Ok(start_at),
        }
    }

    fn resolve_data_dir(&self) -> Result<Option<PathBuf>, OptionError> {
        match &self.data_dir {
            Some(path) if path.as_os_str().is_empty() => Err(OptionError::new(
                "data_dir",
                "it is empty; name a folder, or leave it out to use the one of the host",
            )),
            path => Ok(path.clone()),
        }
    }

    fn resolve_job_changes(&self, topics: &[TopicFilter]) -> Result<bool, OptionError> {
        let has_jobs = (topics.iter()).any(|filter| ["*", "Job"].contains(&&*filter.topic));
        if self.job_changes && !has_jobs {
            return Err(OptionError::new(
                "job_changes",
                "it needs the topic Job, which `topics` has not; add it there, or leave this option out",
            ));
        }
        Ok(self.job_changes)
    }

    fn resolve_namespace(&self) -> Result<String, OptionError> {
        match self.namespace.as_deref() {
            None => Ok("*".to_owned()),
            Some("") => Err(OptionError::new(
                "namespace",
                "it is empty; name one namespace, or \"*\" for all",
            )),
            Some(name) if name != "*" && name.contains('*') => Err(OptionError::new(
                "namespace",
                format!(
                    "Nomad knows no patterns here, so {name:?} matches nothing; name one namespace, or \"*\" for all"
                ),
            )),
            Some(name) => Ok(name.to_owned()),
        }
    }

    fn resolve_region(
        &self,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, OptionError> {
        match &self.region {
            Some(region) if region.is_empty() => Err(OptionError::new(
                "region",
                "it is empty; leave it out to use the agent's own region",
            )),
            Some(region) => Ok(Some(region.clone())),
            None => Ok(env("NOMAD_REGION")),
        }
    }

    fn resolve_token(&self, env: &impl Fn(&str) -> Option<String>) -> Result<Token, OptionError> {
        match (&self.token, &self.token_file) {
            (Some(_), Some(_)) => Err(OptionError::new(
                "token_file",
                "it is set together with `token`; keep one of them",
            )),
            (Some(token), None) => {
                check_token("token", token.expose_secret())?;
                Ok(Token::Fixed(token.clone()))
            }
            (None, Some(path)) => Ok(Token::File(path.clone())),
            (None, None) => match env("NOMAD_TOKEN") {
                Some(token) => {
                    check_token("NOMAD_TOKEN", &token)?;
                    Ok(Token::Fixed(SecretString::from(token)))
                }
                None => Ok(Token::None),
            },
        }
    }
}

impl fmt::Debug for Options {
    /// Everything but the addresses as written, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoints,
            topics,
            namespace,
            region,
            token,
            token_file,
            tls,
            start_at,
            data_dir,
            redact,
            job_changes,
            multiple_outputs,
            max_line_bytes,
            queue_bytes,
            connect_timeout_secs,
            idle_timeout_secs,
            backoff_max_secs,
            namespace_refresh_secs,
            status_interval_secs,
            stop_timeout_secs,
        } = self;
        f.debug_struct("Options")
            .field("endpoints", &endpoints.as_ref().map(Vec::len))
            .field("topics", topics)
            .field("namespace", namespace)
            .field("region", region)
            .field("token", token)
            .field("token_file", token_file)
            .field("tls", tls)
            .field("start_at", start_at)
            .field("data_dir", data_dir)
            .field("redact", redact)
            .field("job_changes", job_changes)
            .field("multiple_outputs", multiple_outputs)
            .field("max_line_bytes", max_line_bytes)
            .field("queue_bytes", queue_bytes)
            .field("connect_timeout_secs", connect_timeout_secs)
            .field("idle_timeout_secs", idle_timeout_secs)
            .field("backoff_max_secs", backoff_max_secs)
            .field("namespace_refresh_secs", namespace_refresh_secs)
            .field("status_interval_secs", status_interval_secs)
            .field("stop_timeout_secs", stop_timeout_secs)
            .finish()
    }
}

/// The variable of this process, for [`Options::settings`].
#[must_use]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A token as an HTTP header can carry it. The text itself never gets into the message.
pub(crate) fn check_token(option: &str, token: &str) -> Result<(), OptionError> {
    if token.is_empty() {
        return Err(OptionError::new(option, "the token is empty"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(OptionError::new(
            option,
            "the token has a blank or a character that no Nomad token has; check for line ends and quotes",
        ));
    }
    Ok(())
}

fn secs(option: &str, value: Option<u64>, default: u64) -> Result<Duration, OptionError> {
    let value = value.unwrap_or(default);
    match wrong_secs(value) {
        Some(problem) => Err(OptionError::new(option, problem)),
        None => Ok(Duration::from_secs(value)),
    }
}

fn wrong_secs(value: u64) -> Option<String> {
    (value == 0 || value > MAX_SECS)
        .then(|| format!("{value} is not a number of seconds from 1 to {MAX_SECS}"))
}

/// A day is longer than any of these waits makes sense, and keeps sums of instants far from overflow.
const MAX_SECS: u64 = 24 * 60 * 60;

fn wrong_line_bytes(bytes: usize) -> Option<String> {
    (bytes < MIN_MAX_LINE_BYTES).then(|| {
        format!(
            "{bytes} bytes are less than one allocation takes; at least {MIN_MAX_LINE_BYTES}, and {DEFAULT_MAX_LINE_BYTES} where \
             nothing is set"
        )
    })
}

fn line_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NonZeroUsize>, D::Error> {
    // Refused here already, where a file's line is known.
    let bytes = usize::deserialize(deserializer)?;
    wrong_line_bytes(bytes).map_or(Ok(NonZeroUsize::new(bytes)), |problem| {
        Err(serde::de::Error::custom(problem))
    })
}

fn positive_secs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    // Refused here already, where a file's line is known.
    let value = u64::deserialize(deserializer)?;
    wrong_secs(value).map_or(Ok(Some(value)), |problem| {
        Err(serde::de::Error::custom(problem))
    })
}

#[cfg(test)]
mod tests;
