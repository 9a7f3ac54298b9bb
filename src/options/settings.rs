//! Options that were checked, with environment and defaults filled in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;

use super::topics::{self, TopicFilter};
use super::{DEFAULT_IDLE_TIMEOUT_SECS, Endpoint, KNOWN_TOPICS, StartAt};
use crate::checkpoint::{Folder, FolderError, ReadError};
use crate::shown;
use crate::tls::Tls;

/// Nomad's servers send `{}` this often on a stream without events (`nomad/stream/ndjson.go`).
const HEARTBEAT_SECS: u64 = 30;

/// Options that were checked and completed. Made by [`Options::settings`](super::Options::settings) only.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) topics: Vec<TopicFilter>,
    pub(crate) namespace: String,
    pub(crate) region: Option<String>,
    pub(crate) token: Token,
    pub(crate) tls: Option<Tls>,
    pub(crate) start_at: StartAt,
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the position is saved; nowhere, unless the host says so.
    pub(crate) folder: Option<Folder>,
    pub(crate) redact: bool,
    pub(crate) job_changes: bool,
    pub(crate) multiple_outputs: bool,
    pub(crate) max_line_bytes: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) namespace_refresh: Duration,
    pub(crate) status_interval: Duration,
    pub(crate) stop_timeout: Duration,
}

/// Where the token comes from.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    None,
    Fixed(SecretString),
    File(PathBuf),
}

/// Why no position can be kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The component id is no name of a folder.
    #[error(transparent)]
    Id(#[from] FolderError),
    /// There is no such folder.
    #[error(
        "option `data_dir`: {} is no folder; make it, or name one that is there: the position is saved in it{}",
        shown::path(.0),
        if .0.is_relative() { ". A relative path starts from the working directory" } else { "" }
    )]
    NoFolder(PathBuf),
    /// What was saved cannot be read.
    #[error(transparent)]
    Saved(#[from] ReadError),
}

impl Settings {
    /// Says where the position is saved: in the source's own `data_dir`, otherwise in that of the host, in a folder named by the
    /// component id. Without either it is not saved.
    ///
    /// Looks whether the folder is there and whether what was saved can be read, so that it is told at start. Creates, locks and
    /// mends nothing; blocks on the file system.
    ///
    /// # Errors
    ///
    /// With what, where and what to do.
    pub fn keep_position(
        &mut self,
        host_data_dir: Option<&Path>,
        component_id: &str,
    ) -> Result<(), DataDirError> {
        let Some(data_dir) = self.data_dir.as_deref().or(host_data_dir) else {
            return Ok(());
        };
        let folder = Folder::of(data_dir, component_id)?;
        if !data_dir.is_dir() {
            return Err(DataDirError::NoFolder(data_dir.to_owned()));
        }
        folder.read()?;
        self.folder = Some(folder);
        Ok(())
    }

    /// Where the position is saved, once [`keep_position`](Self::keep_position) has said so.
    #[must_use]
    pub fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }

    /// Whether secrets in payloads are to be replaced.
    #[must_use]
    pub fn redact(&self) -> bool {
        self.redact
    }

    /// The configured region.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Whether Nomad is asked what new versions of jobs have changed.
    #[must_use]
    pub fn job_changes(&self) -> bool {
        self.job_changes
    }

    /// Whether each topic has an output of its own.
    #[must_use]
    pub fn multiple_outputs(&self) -> bool {
        self.multiple_outputs
    }

    /// The named outputs with `multiple_outputs`: one for each subscribed topic, [`NOTICES_OUTPUT`](super::NOTICES_OUTPUT) and
    /// [`UNMATCHED_OUTPUT`](super::UNMATCHED_OUTPUT), however many keys of a topic are subscribed to. `None` when there is one output without a name.
    #[must_use]
    pub fn output_names(&self) -> Option<Vec<String>> {
        let topics = self.topics.iter().map(|filter| filter.topic.as_str());
        self.multiple_outputs.then(|| topics::output_names(topics))
    }

    /// The topics that have an output of their own with `multiple_outputs`, each with its name. A topic of which several keys are
    /// subscribed to comes as often.
    pub fn topic_outputs(&self) -> impl Iterator<Item = (&str, String)> {
        let topics = self.topics.iter().filter(|filter| filter.topic != "*");
        topics
            .filter(|_| self.multiple_outputs)
            .map(|filter| (filter.topic.as_str(), filter.output_name()))
    }

    /// The subscription.
    #[must_use]
    pub fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    /// The bound on text in memory without an answer.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// What can be meant and probably is not, each with its option.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .topics
            .iter()
            .filter(|filter| filter.topic != "*" && !KNOWN_TOPICS.contains(&&*filter.topic))
            .map(|filter| {
                format!(
                    "option `topics`: no Nomad up to 2.0 has the topic {:?}, and a server that does not know it sends nothing of it; it has {}",
                    filter.topic,
                    KNOWN_TOPICS.join(", ")
                )
            })
            .collect();
        if self.idle_timeout.as_secs() <= HEARTBEAT_SECS {
            warnings.push(format!(
                "option `idle_timeout_secs`: Nomad sends a heartbeat every {HEARTBEAT_SECS} s, so a quiet connection will be taken \
                 for dead and made anew each time; {DEFAULT_IDLE_TIMEOUT_SECS} is two heartbeats and some slack"
            ));
        }
        warnings
    }

    /// How long to wait for answers after a request to stop.
    #[must_use]
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    /// The addresses without user information, fit for logs.
    #[must_use]
    pub fn endpoint_names(&self) -> Vec<String> {
        self.endpoints.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Settings {
    /// The effective values, fit for a log: of the token only where it comes from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics: Vec<String> = self.topics.iter().map(ToString::to_string).collect();
        let token = match &self.token {
            Token::None => "none".to_owned(),
            Token::Fixed(_) => "given".to_owned(),
            Token::File(path) => format!("in {}", shown::path(path)),
        };
        let tls = match &self.tls {
            None => "none".to_owned(),
            Some(tls) => tls.to_string(),
        };
        let position = match (&self.folder, &self.data_dir) {
            (Some(folder), _) => format!("in {}", shown::path(folder.path())),
            (None, Some(data_dir)) => format!("in a folder of {}", shown::path(data_dir)),
            (None, None) => "not saved".to_owned(),
        };
        write!(
            f,
            "endpoints {}; topics {}; namespace {}; region {}; token {token}; tls {tls}; start_at {}; position {position}; redact {}; job_changes {}; multiple_outputs {}; \
             max_line_bytes {}; queue_bytes {}; connect_timeout {:?}; idle_timeout {:?}; backoff_max {:?}; \
             namespace_refresh {:?}; status_interval {:?}; stop_timeout {:?}",
            self.endpoint_names().join(", "),
            topics.join(", "),
            self.namespace,
            self.region.as_deref().unwrap_or("the agent's"),
            self.start_at,
            self.redact,
            self.job_changes,
            self.multiple_outputs,
            self.max_line_bytes,
            self.queue_bytes,
            self.connect_timeout,
            self.idle_timeout,
            self.backoff_max,
            self.namespace_refresh,
            self.status_interval,
            self.stop_timeout,
        )
    }
}
