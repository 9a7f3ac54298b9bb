//! Stands between a host and a real Loki, and remembers what Loki has said it has.
//!
//! A Loki that is killed can lose what it has acknowledged: when it reads its log again it drops what it takes for repeats
//! (`loki_ingester_wal_duplicate_entries_total`; seen with 3.7.8). What a host has delivered is judged by this.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nomad_events::testing::loki::FakeLoki;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::crashes::verdict::of_loki;
use crate::servers::http;
use crate::servers::loki::Entry;

/// Headers that say what a push is.
const HEADERS: [&str; 2] = ["content-type", "content-encoding"];

/// Passes requests on until it is dropped.
pub(super) struct Witness {
    address: SocketAddr,
    /// Understands pushes, and has each that was answered well.
    acknowledged: Arc<FakeLoki>,
    server: AbortHandle,
}

impl Witness {
    /// Stands before the Loki at this address.
    pub(super) async fn before(loki: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let acknowledged = Arc::new(FakeLoki::start().await.expect("a free port"));
        let server = tokio::spawn(serve(listener, loki, Arc::clone(&acknowledged)));
        Self {
            address,
            acknowledged,
            server: server.abort_handle(),
        }
    }

    /// What a host takes as its Loki.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What Loki has acknowledged, repeats once.
    pub(super) fn acknowledged(&self) -> Vec<Entry> {
        let entries = self.acknowledged.distinct();
        entries.into_iter().map(of_loki).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, loki: SocketAddr, acknowledged: Arc<FakeLoki>) {
    while let Ok((socket, _)) = listener.accept().await {
        let acknowledged = acknowledged.address();
        tokio::spawn(async move {
            let service = service_fn(|request| pass_on(request, loki, acknowledged));
            // A host that is killed closes its connections anywhere.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn pass_on(
    request: Request<Incoming>,
    loki: SocketAddr,
    acknowledged: SocketAddr,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let answered = match body.collect().await {
        Err(error) => Err(io::Error::other(error)),
        Ok(body) => {
            let body = body.to_bytes();
            let passed = tokio::task::spawn_blocking(move || {
                let headers: Vec<(&str, &str)> = (HEADERS.into_iter())
                    .filter_map(|name| Some((name, head.headers.get(name)?.to_str().ok()?)))
                    .collect();
                let send =
                    |to| http::request(to, head.method.as_str(), head.uri.path(), &headers, &body);
                let reply = send(loki)?;
                if reply.status == 204 {
                    // Before the host hears of it: what it takes for done is here.
                    send(acknowledged)?;
                }
                Ok((reply.status, reply.body))
            });
            passed.await.unwrap_or_else(|error| Err(error.into()))
        }
    };
    let mut response = Response::default();
    match answered {
        Ok((status, body)) => {
            *response.status_mut() = StatusCode::from_u16(status).expect("a status of Loki");
            *response.body_mut() = Full::from(body);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_GATEWAY,
    }
    Ok(response)
}
