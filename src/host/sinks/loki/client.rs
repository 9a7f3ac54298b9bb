//! Sends a body to Loki over HTTP, once.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::request::Compression;

/// To open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An idle connection is closed after this time. Loki closes its side after two minutes by default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// To check the server's health at the start.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read. A connection whose answer is longer is not used again.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Bytes of an answer that are shown.
const SHOWN_ANSWER_BYTES: usize = 200;

/// Loki's JSON parser quotes the request between these signs; what comes behind is not shown, it can be a line.
const PARSER_QUOTES: &str = "|";

const AGENT: &str = concat!("nomad-events/", env!("CARGO_PKG_VERSION"));

/// What Loki said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The beginning of its text, fit to be logged.
    pub(super) text: String,
}

/// Loki said nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The connection could not be opened, or broke.
    #[error("{0}")]
    Transport(String),
    /// `request.timeout_secs` passed.
    #[error("request timed out")]
    Timeout,
}

/// The way to Loki, so that tests can do without a network.
pub(super) trait Transport: Send + Sync + 'static {
    /// Makes one attempt to push a body.
    fn push(&self, body: Bytes) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// Asks once whether Loki is ready.
    fn ready(&self) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// Where to send requests, and what to show there.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) push: Uri,
    pub(super) ready: Uri,
    pub(super) root: Uri,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) compression: Compression,
    /// For a push, from the start to the end of the answer.
    pub(super) timeout: Duration,
}

/// A client with a pool of kept-alive connections.
pub(super) struct HttpTransport {
    client: Client<HttpConnector, Full<Bytes>>,
    target: Target,
}

impl HttpTransport {
    /// Opens nothing yet. Keeps at most `connections` idle ones.
    pub(super) fn new(target: Target, connections: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(connections)
            .build(connector);
        Self { client, target }
    }

    async fn send(
        &self,
        method: Method,
        uri: &Uri,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let is_push = method == Method::POST;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = &self.target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if is_push {
            let compression = self.target.compression;
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static(compression.content_type()),
            );
            if let Some(encoding) = compression.content_encoding() {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
        }
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| Failure::Transport(chain(&error)))?;
            let status = response.status();
            Ok(Answer {
                status,
                text: shown(&beginning(response.into_body()).await),
            })
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(Failure::Timeout))
    }
}

impl Transport for HttpTransport {
    async fn push(&self, body: Bytes) -> Result<Answer, Failure> {
        let timeout = self.target.timeout;
        self.send(Method::POST, &self.target.push, body, timeout)
            .await
    }

    async fn ready(&self) -> Result<Answer, Failure> {
        let get = |uri| self.send(Method::GET, uri, Bytes::new(), HEALTHCHECK_TIMEOUT);
        let answer = get(&self.target.ready).await?;
        if answer.status == StatusCode::NOT_FOUND {
            // Gateways in front of Loki often route the API alone.
            return get(&self.target.root).await;
        }
        Ok(answer)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status.as_u16())?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

// The authorization is a secret.
impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("push", &self.target.push)
            .finish_non_exhaustive()
    }
}

/// Reads an answer to its end, so that the connection can be used again, unless it is too long.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            if read.len() + data.len() > MAX_ANSWER_BYTES {
                break;
            }
            read.extend_from_slice(data);
        }
    }
    read
}

/// What may be logged of an answer: one short line. It can quote labels, never lines.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut line: String = text
        .split(PARSER_QUOTES)
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if line.len() > SHOWN_ANSWER_BYTES {
        line.truncate(line.floor_char_boundary(SHOWN_ANSWER_BYTES));
    }
    line
}

/// An error with its causes, which hold the interesting part ("connection refused").
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_shown_short_and_without_lines() {
        let table: [(&[u8], &str); 5] = [
            (b"", ""),
            (
                b"entry for stream '{a=\"b\"}' has timestamp too old\n",
                "entry for stream '{a=\"b\"}' has timestamp too old",
            ),
            (
                br#"skipThreeBytes: expect ull, error found in #9 byte of ...|"secret line"|..., bigger context ...|x|..."#,
                "skipThreeBytes: expect ull, error found in #9 byte of ...",
            ),
            (b"two\nlines\x1b[31m\xff", "two lines [31m\u{fffd}"),
            (b"  \r\n ", ""),
        ];
        for (body, expected) in table {
            assert_eq!(shown(body), expected);
        }
        let long = "é".repeat(300);
        assert_eq!(shown(long.as_bytes()).len(), 200);
        let odd = format!("x{long}");
        assert_eq!(shown(odd.as_bytes()).len(), 199);
    }

    #[test]
    fn answer_reads_as_one_line() {
        let answer = |status, text: &str| Answer {
            status,
            text: text.to_owned(),
        };
        assert_eq!(answer(StatusCode::NO_CONTENT, "").to_string(), "status 204");
        assert_eq!(
            answer(StatusCode::BAD_REQUEST, "no").to_string(),
            "status 400: no"
        );
    }
}
