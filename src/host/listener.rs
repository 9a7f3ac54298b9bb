//! A small HTTP server for scrapes and health checks, which no client can keep busy.
//!
//! One request for a connection, few connections at a time, and a deadline for each: whoever sends its head byte by byte, or
//! does not read its answer, is cut off, and the next one waits no longer than that.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Deserializer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// So many connections are served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take for the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last. Prometheus gives up after 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest head of a request (bytes). A scrape has a few hundred.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Pause after a failed accept, which means that the process is short of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// What a server answers.
pub(crate) type Answer = Response<Full<Bytes>>;

impl Listener {
    /// Begins to listen. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// What keeps the address from being listened on, with what to do about it.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, String> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bound.await.map_err(|error: io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
                io::ErrorKind::AddrNotAvailable => {
                    "choose an address of this machine, or 0.0.0.0 for all"
                }
                io::ErrorKind::PermissionDenied => "choose a port from 1024 on",
                _ => "choose another address",
            };
            format!("cannot listen on {address}: {error}; {remedy}")
        })
    }

    /// The address, with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests by `respond`, for ever. Dropping the future closes the port and every connection.
    pub(crate) async fn serve<F>(self, respond: F)
    where
        F: Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static,
    {
        let respond = Arc::new(respond);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.socket.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(stream, Arc::clone(&respond)));
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }
}

async fn connection<F>(stream: TcpStream, respond: Arc<F>)
where
    F: Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let answer = respond(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    // What a client does wrong is its own business.
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "connection ended early"),
        Err(_) => debug!("connection cut off, it took too long"),
    }
}

/// Reads an address with a port.
pub(crate) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Not repeated: whoever puts a URL here may have put a password into it.
    text.parse().map_err(|_| {
        serde::de::Error::custom(
            "it is no IP address with a port, such as \"127.0.0.1:9598\" or \"[::1]:9598\"",
        )
    })
}

/// An answer with a text, or without one.
pub(crate) fn answer(status: http::StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests;
