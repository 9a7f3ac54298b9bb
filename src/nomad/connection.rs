//! One connection, one request, one answer.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use url::Url;

use super::dial::Dial;
use super::mend::{Abrupt, Mended};
use crate::error::{Error, ErrorKind, with_sources};
use crate::event::RaftIndex;
use crate::options::{Endpoint, Place};
use crate::secrets::Secrets;
use crate::tls::{self, Tls};

/// How much of an error's text is kept.
const MAX_SAID_BYTES: usize = 256;

/// Longest head of an answer, about: it is measured before a read, and one read may be as long again.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Until when a connection and its answer's head have to be there, and the limit to tell if they are not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within {
    pub(super) deadline: Instant,
    pub(super) limit: Duration,
}

/// A connection whose answer is being read. Closed when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    task: JoinHandle<()>,
    index: Option<RaftIndex>,
    leader: Option<bool>,
    /// Of the request.
    secrets: Secrets,
}

impl Connection {
    /// `X-Nomad-KnownLeader` of the answer.
    pub(super) fn leader(&self) -> Option<bool> {
        self.leader
    }

    /// `X-Nomad-Index` of the answer.
    pub(super) fn index(&self) -> Option<RaftIndex> {
        self.index
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects, sends the request, and waits for the head of the answer, all within that time.
///
/// An answer of 200 is known not to be compressed, and not to be a page for people.
pub(super) async fn send(
    dial: &dyn Dial,
    tls: Option<&Tls>,
    endpoint: &Endpoint,
    request: Request<Empty<Bytes>>,
    within: Within,
) -> Result<(StatusCode, Incoming, Connection), Error> {
    let Within { deadline, limit } = within;
    let late = |what: &str| {
        let secs = limit.as_secs();
        Error::new(ErrorKind::ConnectTimeout, format!("{what} within {secs} s"))
    };
    let wire = timeout_at(deadline, dial.dial(endpoint))
        .await
        .map_err(|_| late("no connection"))?
        .map_err(|error| Error::new(ErrorKind::Connect, error.to_string()))?;
    match (&endpoint.place, tls) {
        (
            Place::Tcp {
                host, tls: true, ..
            },
            Some(tls),
        ) => {
            let failed = |error: std::io::Error| match tls::failure(&error) {
                Some(failure) => Error::new(ErrorKind::Tls, tls.explain(host, failure)),
                None => Error::new(
                    ErrorKind::Tls,
                    format!("the connection broke within TLS's handshake: {error}"),
                ),
            };
            let wire = timeout_at(deadline, tls.connect(host, wire))
                .await
                .map_err(|_| late("no answer to TLS's handshake (is its address http://?)"))?
                .map_err(failed)?;
            let explain = |failure: &rustls::Error| tls.explain(host, failure);
            timeout_at(deadline, exchange(Abrupt::new(wire), request, &explain)).await
        }
        _ => timeout_at(deadline, exchange(wire, request, &ToString::to_string)).await,
    }
    .unwrap_or_else(|_| Err(late("no answer")))
}

async fn exchange<T>(
    wire: T,
    request: Request<Empty<Bytes>>,
    explain: &(dyn Fn(&rustls::Error) -> String + Sync),
) -> Result<(StatusCode, Incoming, Connection), Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| match tls::failure(&error) {
        // Of TLS 1.3: the server looks at our certificate when we believe that we are through.
        Some(failure) => Error::new(ErrorKind::Tls, explain(failure)),
        None => unanswered(&error),
    };
    let secrets = Secrets::of_headers(request.headers());
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(Mended::new(wire)))
        .await
        .map_err(failed)?;
    // How the connection ends is seen by whoever reads the body.
    let task = tokio::spawn(
        async move {
            let _ = connection.await;
        }
        .in_current_span(),
    );
    let mut connection = Connection {
        task,
        index: None,
        leader: None,
        secrets,
    };

    let response = sender.send_request(request).await.map_err(failed)?;
    let (head, body) = response.into_parts();
    if head.status == StatusCode::OK {
        refuse_other_content(&head.headers)?;
    }
    if head.status.is_redirection() {
        return Err(redirected(head.status, &head.headers));
    }
    connection.index = head
        .headers
        .get("X-Nomad-Index")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(RaftIndex);
    connection.leader = head
        .headers
        .get("X-Nomad-KnownLeader")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((head.status, body, connection))
}

/// Why there is no answer.
fn unanswered(error: &hyper::Error) -> Error {
    if error.is_parse() {
        return Error::new(
            ErrorKind::Protocol,
            format!(
                "the answer is not HTTP that can be read: {} (its head may have {MAX_HEAD_BYTES} bytes and 100 headers)",
                with_sources(error)
            ),
        );
    }
    Error::new(
        ErrorKind::Broken,
        format!(
            "the connection broke before an answer: {}",
            with_sources(error)
        ),
    )
}

/// Nomad compresses nothing that we ask for, and never answers with a page; a proxy or a login page before it does.
fn refuse_other_content(headers: &HeaderMap) -> Result<(), Error> {
    let value = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().trim().to_ascii_lowercase()
    };
    let encoding = value(header::CONTENT_ENCODING);
    if !encoding.is_empty() && encoding != "identity" {
        return Err(Error::new(
            ErrorKind::Protocol,
            format!(
                "the answer is compressed ({encoding:?}), though we asked for it as it is; a proxy between us and Nomad \
                 has to leave it alone"
            ),
        ));
    }
    let kind = value(header::CONTENT_TYPE);
    if kind.split(';').next().map(str::trim) == Some("text/html") {
        return Err(Error::new(
            ErrorKind::Protocol,
            "the answer is an HTML page, not Nomad's; a proxy or its login page is in between, or the address is another \
             program's",
        ));
    }
    Ok(())
}

fn redirected(status: StatusCode, headers: &HeaderMap) -> Error {
    // Without path and query, which may hold a token.
    let target = headers
        .get(header::LOCATION)
        .and_then(|value| Url::parse(value.to_str().ok()?).ok())
        .map_or_else(String::new, |url| {
            format!(" to {}", url.origin().ascii_serialization())
        });
    Error::new(
        ErrorKind::Status,
        format!(
            "answered {status}, a redirect{target}, which is not followed because the token would go with it; \
             set the address that it leads to"
        ),
    )
}

/// The beginning of an error's body, for people: printable, short, read within `limit`, and without the secrets of the request
/// that it answers.
pub(super) async fn short_text(
    mut body: Incoming,
    connection: &Connection,
    limit: Duration,
) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(limit, async {
        while text.len() < MAX_SAID_BYTES {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        text.extend_from_slice(&data);
                    }
                }
                _ => break,
            }
        }
    })
    .await;
    text.truncate(MAX_SAID_BYTES);
    let text: String = String::from_utf8_lossy(&text)
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    connection.secrets.mask(&text)
}
