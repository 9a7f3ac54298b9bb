//! As much of an HTTP client as the tests need to talk to a server on loopback.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;
use url::form_urlencoded;

/// Longest wait for a part of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a server's API is, and how it is entered.
#[derive(Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    token: Option<String>,
    tls: Option<Arc<ClientConfig>>,
}

impl From<SocketAddr> for Api {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
            tls: None,
        }
    }
}

/// What goes to a server and comes from it.
pub(super) trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

impl Api {
    /// With a token of Nomad.
    pub(crate) fn with_token(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    /// Over TLS, to a server whose certificate is for `localhost`.
    pub(crate) fn with_tls(self, tls: Arc<ClientConfig>) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request.
    ///
    /// It asks in HTTP/1.0, so that the body comes as it is and ends with the connection. Also gives the socket below, by
    /// which another thread can end the connection.
    pub(super) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<(Box<dyn Connection>, TcpStream)> {
        let socket = TcpStream::connect(self.address)?;
        let below = socket.try_clone()?;
        let mut connection: Box<dyn Connection> = match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let session = ClientConnection::new(Arc::clone(tls), name);
                Box::new(StreamOwned::new(session.map_err(io::Error::other)?, socket))
            }
        };
        let mut head = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n", self.address);
        let token = self.token.iter().map(|token| ("X-Nomad-Token", &**token));
        for (name, value) in headers.iter().copied().chain(token) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        connection.write_all(head.as_bytes())?;
        connection.write_all(body)?;
        Ok((connection, below))
    }

    /// Sends a request and reads the answer.
    pub(super) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let (mut connection, socket) = self.send(method, target, headers, body)?;
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        parse(&answer)
            .ok_or_else(|| io::Error::other(format!("no whole answer to {method} {target}")))
    }
}

/// An answer, read to its end.
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Sends a request over plain HTTP, without a token, and reads the answer.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    Api::from(address).request(method, target, headers, body)
}

/// Reads something over plain HTTP; says with which status it was answered.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<u16> {
    request(address, "GET", path, &[], b"").map(|reply| reply.status)
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let body = answer[end + 4..].to_vec();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let announced = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, length)| length.trim().parse::<usize>());
    match announced {
        Some(Ok(length)) if length == body.len() => Some(Reply { status, body }),
        None => Some(Reply { status, body }),
        Some(_) => None,
    }
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// The status and the body, when the request was refused or the body is something else.
    pub(super) fn json(&self) -> Result<Value, String> {
        if self.status != 200 {
            return Err(format!("status {}: {}", self.status, self.text()));
        }
        serde_json::from_slice(&self.body).map_err(|error| format!("{error}: {}", self.text()))
    }

    /// The body as text, for messages.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A path with a query string.
pub(super) fn target(path: &str, query: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    format!("{path}?{query}")
}
