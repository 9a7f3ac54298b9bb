//! The HTTP client: one connection for each request, made by ourselves.
//!
//! A stream occupies its connection for as long as it lives, so there is nothing to pool, and the connection's first bytes are
//! ours to mend. No redirects are followed: the token would go with them.

mod connection;
mod diagnosis;
mod dial;
#[cfg(test)]
#[cfg(feature = "testing")]
pub(crate) mod memory;
mod mend;
mod namespaces;
mod probe;
mod request;
mod rights;
pub(crate) mod said;
mod tables;
mod versions;

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::bounded_file;
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::options::{Endpoint, Settings, Token, TopicFilter, check_token};
use crate::shown;
use crate::tls::Tls;
use connection::{Connection, Within};
pub(crate) use diagnosis::diagnose;
pub(crate) use dial::{Dial, Network};
pub(crate) use namespaces::{MAX_NAMESPACES, Namespace, NamespaceList};
pub(crate) use probe::Purpose;
pub(crate) use rights::concerns_namespaces;
pub(crate) use tables::Tables;

/// Longest token file that is read.
const MAX_TOKEN_FILE_BYTES: u64 = 16 * 1024;

/// Asks one region's agents, with the settings' token.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    settings: Arc<Settings>,
    dial: Arc<dyn Dial>,
    /// As the certificates were at the last connect.
    tls: Option<Arc<Mutex<Tls>>>,
    /// Held by whoever reads the token file or certificates: a file system that does not answer keeps one thread waiting,
    /// not one for each attempt.
    reading: Arc<Semaphore>,
}

/// An accepted subscription: the body of the answer, and the connection that it comes through.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) body: Incoming,
    _connection: Connection,
}

/// What a server says of a table.
enum Table {
    /// Its newest write.
    At(RaftIndex),
    /// Another status than 200, and what was said with it.
    Refused(StatusCode, Error),
}

impl Client {
    pub(crate) fn new(settings: Arc<Settings>, dial: Arc<dyn Dial>) -> Self {
        let tls = settings.tls.clone();
        if let Some(tls) = &tls {
            tls.warn_of_what_is_not_verified();
        }
        Self {
            tls: tls.map(|tls| Arc::new(Mutex::new(tls))),
            settings,
            dial,
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
        let said = self.said(body, &connection).await;
        Err(refusal("the event stream", status.as_u16(), &said))
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
            match self.table(endpoint, &target).await? {
                Table::At(index) => latest = latest.max(Some(index)),
                // 4xx: there is no such table here, or it is not for us.
                Table::Refused(status, refused) if target.optional && status.is_client_error() => {
                    missing = Some(refused);
                }
                Table::Refused(_, refused) => return Err(refused),
            }
        }
        latest.ok_or_else(|| {
            missing.unwrap_or_else(|| Error::new(ErrorKind::List, "there is no list to read"))
        })
    }

    /// What the tables of these topics say: how far the region has come, whatever the server of the stream knows of it. Asks the
    /// leader, since a server that lags would pass for a cluster that begins anew.
    ///
    /// # Errors
    ///
    /// When a list fails otherwise than by a refusal.
    pub(crate) async fn tables(
        &self,
        endpoint: usize,
        topics: &[TopicFilter],
    ) -> Result<Tables, Error> {
        let (targets, mut complete) = tables::written_with(&self.settings, topics);
        let mut newest = None;
        for target in targets {
            match self.table(endpoint, &target).await? {
                Table::At(index) => newest = newest.max(Some(index)),
                Table::Refused(StatusCode::FORBIDDEN, _) => complete = false,
                // There is no such table here.
                Table::Refused(
                    StatusCode::BAD_REQUEST
                    | StatusCode::NOT_FOUND
                    | StatusCode::METHOD_NOT_ALLOWED,
                    _,
                ) if target.optional => {}
                Table::Refused(_, refused) => return Err(refused),
            }
        }
        Ok(Tables {
            complete: complete && newest.is_some(),
            newest: newest.unwrap_or_default(),
        })
    }

    /// How far the table of a list has come.
    async fn table(&self, endpoint: usize, target: &tables::Target) -> Result<Table, Error> {
        let (status, body, connection) = self.get(endpoint, &target.uri).await?;
        if status != StatusCode::OK {
            let said = self.said(body, &connection).await;
            let refused = refusal(target.name, status.as_u16(), &said);
            return Ok(Table::Refused(status, refused));
        }
        let index = connection.index().ok_or_else(|| {
            Error::new(
                ErrorKind::List,
                format!("{} has no X-Nomad-Index", target.name),
            )
        })?;
        Ok(Table::At(index))
    }

    /// The address of that number, fit for logs.
    pub(crate) fn name(&self, endpoint: usize) -> String {
        self.endpoint(endpoint)
            .map_or_else(String::new, ToString::to_string)
    }

    fn endpoint(&self, endpoint: usize) -> Option<&Endpoint> {
        self.settings.endpoints.get(endpoint)
    }

    async fn get(
        &self,
        endpoint: usize,
        target: &str,
    ) -> Result<(StatusCode, Incoming, Connection), Error> {
        let Some(endpoint) = self.endpoint(endpoint) else {
            return Err(Error::new(ErrorKind::Connect, "there is no such address"));
        };
        // One limit for all of it, files included: what hangs at one address must not keep us from the next.
        let limit = self.settings.connect_timeout;
        let deadline = Instant::now() + limit;
        let secs = limit.as_secs();
        let late = |kind, what: &str| Error::new(kind, format!("{what} within {secs} s"));
        let token = timeout_at(deadline, self.token())
            .await
            .unwrap_or_else(|_| Err(late(ErrorKind::TokenFile, "not read")))?;
        let tls = match &self.tls {
            Some(tls) if endpoint.is_tls() => {
                let read = timeout_at(deadline, self.certificates(tls));
                Some(
                    read.await
                        .unwrap_or_else(|_| Err(late(ErrorKind::Tls, "certificates not read")))?,
                )
            }
            _ => None,
        };
        let request = request::get(endpoint, target, token.as_ref())?;
        let within = Within { deadline, limit };
        connection::send(&*self.dial, tls.as_ref(), endpoint, request, within).await
    }

    /// TLS with the certificates as they are now: whoever renews them need not restart us.
    async fn certificates(&self, tls: &Arc<Mutex<Tls>>) -> Result<Tls, Error> {
        let kept = || tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = kept();
        let changed = self
            .alone(move || known.read_again())
            .await
            .map_err(|error| Error::new(ErrorKind::Tls, error.to_string()))?
            .map_err(|error| Error::new(ErrorKind::Tls, error.to_string()))?;
        if let Some(changed) = changed {
            *tls.lock().unwrap_or_else(PoisonError::into_inner) = changed;
        }
        Ok(kept())
    }

    /// Runs what blocks, one at a time.
    async fn alone<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<T> {
        let alone = Arc::clone(&self.reading).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let _alone = alone;
            read()
        })
        .await
        .map_err(std::io::Error::other)
    }

    /// The token, from its file each time: workload identities are rewritten at half of their life.
    async fn token(&self) -> Result<Option<SecretString>, Error> {
        match &self.settings.token {
            Token::None => Ok(None),
            Token::Fixed(token) => Ok(Some(token.clone())),
            Token::File(path) => {
                let shown = shown::path(path).into_owned();
                let path = path.clone();
                let text = self
                    .alone(move || read_token(&path))
                    .await
                    .flatten()
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

    /// The short text of a refusal, fit for messages: it may quote the request, so what is secret in that is not in it.
    async fn said(&self, body: Incoming, connection: &Connection) -> String {
        let limit = self.settings.connect_timeout;
        let text = connection::short_text(body, connection, limit).await;
        said::shown(&text)
    }
}

/// What a status other than 200 means. Nomad's error bodies are short plain text.
fn refusal(what: &str, status: u16, said: &str) -> Error {
    let shown = if said.is_empty() {
        String::new()
    } else {
        format!(" {said:?}")
    };
    let kind = diagnosis::kind_of(status, said);
    let advice = match kind {
        ErrorKind::Tls => "; write the address with https://",
        _ => "",
    };
    let path = what.split('?').next().unwrap_or_default();
    Error::new(kind, format!("answered {status}{shown} for {path}{advice}"))
}

fn read_token(path: &std::path::Path) -> std::io::Result<String> {
    let bytes = bounded_file::read(path, MAX_TOKEN_FILE_BYTES)?;
    String::from_utf8(bytes).map_err(|_| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "stream did not contain valid UTF-8",
        )
    })
}
