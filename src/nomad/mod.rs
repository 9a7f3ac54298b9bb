//! The HTTP client: one connection for each request, made by ourselves.
//!
//! A stream occupies its connection for as long as it lives, so there is nothing to pool, and the connection's first bytes are
//! ours to mend. No redirects are followed: the token would go with them.

mod connection;
mod diagnosis;
mod mend;
mod namespaces;
mod probe;
mod request;
mod rights;
mod tables;

use std::sync::Arc;

use http::StatusCode;
use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::options::{Settings, Token, check_token, endpoint_name};
use connection::Connection;
pub(crate) use diagnosis::diagnose;
pub(crate) use namespaces::{MAX_NAMESPACES, Namespace, NamespaceList};
pub(crate) use probe::Purpose;
pub(crate) use rights::concerns_namespaces;

/// Longest token file that is read.
const MAX_TOKEN_FILE_BYTES: u64 = 16 * 1024;

/// Asks one region's agents, with the settings' token.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    settings: Arc<Settings>,
    /// Held by whoever reads the token file: a file system that does not answer keeps one thread waiting, not one for each
    /// attempt.
    reading: Arc<Semaphore>,
}

/// An accepted subscription: the body of the answer, and the connection that it comes through.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) body: Incoming,
    _connection: Connection,
}

impl Client {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            reading: Arc::new(Semaphore::new(1)),
        }
    }

    /// Subscribes from `index` on, inclusive. Returns when the head of the answer is there, and says 200.
    ///
    /// # Errors
    ///
    /// When no connection can be made, within `connect_timeout_secs`, or the answer is another status.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn subscribe(
        &self,
        endpoint: usize,
        index: RaftIndex,
    ) -> Result<Subscription, Error> {
        let target = request::stream_target(&self.settings, index);
        let (status, body, connection) = self.get(endpoint, &target).await?;
        if status == StatusCode::OK {
            return Ok(Subscription {
                body,
                _connection: connection,
            });
        }
        Err(self
            .refused(endpoint, "the event stream", status, body)
            .await)
    }

    /// The newest index of the tables behind the subscribed topics: where `start_at = "latest"` begins.
    ///
    /// # Errors
    ///
    /// When one of the lists cannot be read.
    pub(crate) async fn latest_index(&self, endpoint: usize) -> Result<RaftIndex, Error> {
        let mut latest = None;
        let mut missing = None;
        for target in tables::targets(&self.settings) {
            let (status, body, connection) = self.get(endpoint, &target.uri).await?;
            if status != StatusCode::OK {
                let refused = self.refused(endpoint, target.name, status, body).await;
                // 4xx: there is no such table here, or it is not for us.
                if target.optional && status.is_client_error() {
                    missing = Some(refused);
                    continue;
                }
                return Err(refused);
            }
            let index = connection.index().ok_or_else(|| {
                Error::new(
                    ErrorKind::List,
                    format!(
                        "{} has no X-Nomad-Index at {}",
                        target.name,
                        self.name(endpoint)
                    ),
                )
            })?;
            latest = latest.max(Some(index));
        }
        latest.ok_or_else(|| {
            missing.unwrap_or_else(|| Error::new(ErrorKind::List, "there is no list to read"))
        })
    }

    /// The address of that number, fit for logs.
    pub(crate) fn name(&self, endpoint: usize) -> String {
        self.url(endpoint).map_or_else(String::new, endpoint_name)
    }

    fn url(&self, endpoint: usize) -> Option<&Url> {
        self.settings.endpoints.get(endpoint)
    }

    async fn get(
        &self,
        endpoint: usize,
        target: &str,
    ) -> Result<(StatusCode, Incoming, Connection), Error> {
        let Some(url) = self.url(endpoint) else {
            return Err(Error::new(ErrorKind::Connect, "there is no such address"));
        };
        let limit = self.settings.connect_timeout;
        let token = tokio::time::timeout(limit, self.token())
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::TokenFile,
                    format!("not read within {} s", limit.as_secs()),
                ))
            })?;
        let request = request::get(url, target, token.as_ref())?;
        tokio::time::timeout(limit, connection::send(url, request))
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::ConnectTimeout,
                    format!(
                        "no answer from {} within {} s",
                        endpoint_name(url),
                        limit.as_secs()
                    ),
                ))
            })
    }

    /// The token, from its file each time: workload identities are rewritten at half of their life.
    async fn token(&self) -> Result<Option<SecretString>, Error> {
        match &self.settings.token {
            Token::None => Ok(None),
            Token::Fixed(token) => Ok(Some(token.clone())),
            Token::File(path) => {
                let shown = path.display().to_string();
                let path = path.clone();
                let alone = Arc::clone(&self.reading).acquire_owned().await;
                let read = move || {
                    let _alone = alone;
                    read_bounded(&path)
                };
                let text = tokio::task::spawn_blocking(read)
                    .await
                    .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                    .map_err(|error| {
                        Error::new(ErrorKind::TokenFile, format!("{shown}: {error}"))
                    })?;
                let token = SecretString::from(text.trim());
                check_token("token_file", token.expose_secret()).map_err(|error| {
                    Error::new(ErrorKind::TokenFile, format!("{shown}: {}", error.problem))
                })?;
                Ok(Some(token))
            }
        }
    }

    async fn refused(
        &self,
        endpoint: usize,
        what: &str,
        status: StatusCode,
        body: Incoming,
    ) -> Error {
        let said = connection::short_text(body, self.settings.connect_timeout).await;
        self.refusal(endpoint, what, status.as_u16(), &said)
    }

    /// What another status than 200 means. Nomad's error bodies are short plain text.
    fn refusal(&self, endpoint: usize, what: &str, status: u16, said: &str) -> Error {
        let path = what.split('?').next().unwrap_or_default();
        let said_so = if said.is_empty() {
            String::new()
        } else {
            format!(" {said:?}")
        };
        Error::new(
            diagnosis::kind_of(status, said),
            format!(
                "{} answered {status}{said_so} for {path}",
                self.name(endpoint)
            ),
        )
    }
}

fn read_bounded(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_TOKEN_FILE_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}
