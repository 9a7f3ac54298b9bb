//! One TCP connection, one request, one answer.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tracing::Instrument;
use url::Url;

use super::mend::Mended;
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::options::endpoint_name;

/// How much of an error's text is kept.
const MAX_SAID_BYTES: usize = 256;

/// A connection whose answer is being read. Closed when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    task: JoinHandle<()>,
    index: Option<RaftIndex>,
    leader: Option<bool>,
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

/// Connects, sends the request, and waits for the head of the answer. Without a limit of its own.
pub(super) async fn send(
    url: &Url,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Incoming, Connection), Error> {
    let fail = |kind, error: &dyn std::fmt::Display| {
        Error::new(kind, format!("{}: {error}", endpoint_name(url)))
    };

    let host = url.host_str().unwrap_or_default();
    // An IPv6 address stands in brackets in a URL, and without them in a socket address.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| fail(ErrorKind::Connect, &error))?;
    // A subscription is one small write, which must not wait for more.
    stream
        .set_nodelay(true)
        .map_err(|error| fail(ErrorKind::Connect, &error))?;

    let (mut sender, connection) = http1::handshake(TokioIo::new(Mended::new(stream)))
        .await
        .map_err(|error| fail(ErrorKind::Protocol, &error))?;
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
    };

    let response = sender
        .send_request(request)
        .await
        .map_err(|error| fail(ErrorKind::Protocol, &error))?;
    connection.index = response
        .headers()
        .get("X-Nomad-Index")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(RaftIndex);
    connection.leader = response
        .headers()
        .get("X-Nomad-KnownLeader")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let (head, body) = response.into_parts();
    Ok((head.status, body, connection))
}

/// The beginning of an error's body, for people: printable, short, and read within `limit`.
pub(super) async fn short_text(mut body: Incoming, limit: Duration) -> String {
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
    String::from_utf8_lossy(&text)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}
