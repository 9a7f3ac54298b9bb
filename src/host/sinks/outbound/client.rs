//! Makes requests over HTTP, once each.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::Connector;
use crate::error::with_sources;
use crate::secrets::Secrets;
use crate::tls::{self, Tls};

/// An idle connection is closed after this time. Loki closes its side after two minutes by default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Bytes of an answer that are read. A connection whose answer is longer is not used again.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Bytes of an answer that are shown.
const SHOWN_ANSWER_BYTES: usize = 200;

/// Loki's JSON parser quotes the request between these signs; what comes behind is not shown, it can be a line.
const PARSER_QUOTES: &str = "|";

/// Stands for an answer that repeats what must not be logged.
const NOT_SHOWN: &str = "(the answer repeats the request and is not shown)";

const AGENT: &str = concat!("nomad-events/", env!("CARGO_PKG_VERSION"));

/// The longest wait that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The beginning of its text, fit to be logged.
    pub(crate) text: String,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// The server said nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection could not be opened, or broke.
    #[error("{0}")]
    Transport(String),
    /// `request.timeout_secs` passed.
    #[error("request timed out")]
    Timeout,
    /// No attempt can succeed.
    #[error("{0}")]
    Impossible(&'static str),
}

impl Failure {
    /// Whether another attempt may go better.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Timeout => true,
            Self::Impossible(_) => false,
        }
    }
}

/// The way to the server, so that tests can do without a network.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Makes one attempt. Without a limit in time of its own.
    fn send(&self, request: Request<Bytes>)
    -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// Whether the URIs of requests may be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UriSecrecy {
    /// They are addresses and nothing more.
    Public,
    /// Who knows them can push, as with the webhooks of Slack.
    Secret,
}

/// A client with a pool of kept-alive connections.
pub(crate) struct HttpTransport {
    client: Client<Connector, Full<Bytes>>,
    tls: Option<Tls>,
    secrecy: UriSecrecy,
}

impl HttpTransport {
    /// Opens nothing yet. Keeps at most `connections` idle ones to a server. Without `tls`, `https` is refused.
    pub(crate) fn new(tls: Option<Tls>, connections: usize, secrecy: UriSecrecy) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(connections)
            .build(Connector::new(tls.clone()));
        Self {
            client,
            tls,
            secrecy,
        }
    }

    /// A failure with its causes, in words; TLS knows better ones than rustls.
    fn explain(&self, uri: &Uri, error: &(dyn StdError + 'static)) -> String {
        match (&self.tls, tls::failure(error)) {
            (Some(tls), Some(failure)) => {
                let host = match self.secrecy {
                    UriSecrecy::Public => uri.host().unwrap_or_default(),
                    UriSecrecy::Secret => "the server",
                };
                tls.explain(host, failure)
            }
            _ => with_sources(error),
        }
    }
}

impl Transport for HttpTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Answer, Failure> {
        if self.tls.is_none() && request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
            return Err(Failure::Impossible("there are no settings for https"));
        }
        let mut request = request.map(Full::new);
        let headers = request.headers_mut();
        for (name, value) in [(USER_AGENT, AGENT), (ACCEPT_ENCODING, "identity")] {
            headers
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
        let uri = request.uri().clone();
        let sent = request.headers().clone();
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| Failure::Transport(self.explain(&uri, &error)))?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let body = beginning(response.into_body()).await;
        Ok(Answer {
            status,
            // Most answers are empty, and then there is nothing to look for.
            text: if body.is_empty() {
                String::new()
            } else if secrets_of(&sent, &uri, self.secrecy).are_in(&body) {
                NOT_SHOWN.to_owned()
            } else {
                shown(&body)
            },
            retry_after,
        })
    }
}

/// What of a request an answer must not repeat in a log: error pages like to quote the address and the credentials.
fn secrets_of(headers: &HeaderMap, uri: &Uri, secrecy: UriSecrecy) -> Secrets {
    let mut secrets = Secrets::of_headers(headers);
    if secrecy == UriSecrecy::Secret
        && let Some(path) = uri.path_and_query()
    {
        secrets.add_words(path.as_str());
    }
    secrets
}

/// What a server asks for, in whole seconds; a date is not looked at.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs: u64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(secs).min(MAX_RETRY_AFTER))
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
            retry_after: None,
        };
        assert_eq!(answer(StatusCode::NO_CONTENT, "").to_string(), "status 204");
        assert_eq!(
            answer(StatusCode::BAD_REQUEST, "no").to_string(),
            "status 400: no"
        );
    }

    #[test]
    fn secrets_of_a_request_are_found_in_an_answer() {
        let mut token = HeaderValue::from_static("Bearer abcdef-123456");
        token.set_sensitive(true);
        let request =
            Request::post("https://hooks.example/services/T00000/B11111/x0SECRET0x?key=v1")
                .header("authorization", token)
                .header("x-public", "ordinary")
                .body(())
                .unwrap();
        let secret = secrets_of(request.headers(), request.uri(), UriSecrecy::Secret);
        for body in [
            "no such place: /services/T00000/B11111/x0SECRET0x",
            "&#x2F;x0SECRET0x was not found",
            "bad token abcdef",
        ] {
            assert!(secret.are_in(body.as_bytes()), "{body}");
        }
        for body in [
            "invalid_payload",
            "ordinary",
            "key missing at hooks.example",
        ] {
            assert!(!secret.are_in(body.as_bytes()), "{body}");
        }
        let public = secrets_of(request.headers(), request.uri(), UriSecrecy::Public);
        assert!(!public.are_in(b"/services/T00000/B11111/x0SECRET0x"));
        assert!(public.are_in(b"bad token 123456"));
    }

    #[test]
    fn a_wait_is_taken_from_the_answer_within_bounds() {
        for (value, expected) in [
            ("30", Some(30)),
            (" 1 ", Some(1)),
            ("999999", Some(300)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("-1", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(
                retry_after(&headers),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
