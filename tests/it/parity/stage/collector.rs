//! A server that takes every request and remembers it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::GzDecoder;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::record::Record;

/// The headers that belong to what a sink has to say, beside those that begin with `x-`.
const HEADERS: [&str; 3] = ["authorization", "content-encoding", "content-type"];

type Requests = Arc<Mutex<Vec<Record>>>;

/// The running server. It stops when it is dropped.
pub(super) struct Collector {
    address: SocketAddr,
    requests: Requests,
    server: AbortHandle,
}

impl Collector {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port on loopback");
        let requests = Requests::default();
        let kept = Arc::clone(&requests);
        let address = listener.local_addr().expect("a bound socket");
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client may go away whenever it likes.
                tokio::spawn(serve(socket, Arc::clone(&kept)));
            }
        });
        Self {
            address,
            requests,
            server: server.abort_handle(),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far, in the order in which they ended.
    pub(super) fn requests(&self) -> Vec<Record> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers the requests of a connection.
async fn serve(socket: TcpStream, requests: Requests) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut first = String::new();
        if socket.read_line(&mut first).await? == 0 {
            return Ok(());
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            socket.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or("0", String::as_str);
        let mut body = vec![0; length.parse().expect("a length")];
        socket.read_exact(&mut body).await?;
        if headers.get("content-encoding").is_some_and(|c| c == "gzip") {
            let mut text = Vec::new();
            GzDecoder::new(&body[..]).read_to_end(&mut text)?;
            body = text;
        }
        headers.retain(|name, _| HEADERS.contains(&name.as_str()) || name.starts_with("x-"));
        let record = Record::Request {
            path: path.to_owned(),
            method: method.to_owned(),
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(record);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await?;
    }
}
