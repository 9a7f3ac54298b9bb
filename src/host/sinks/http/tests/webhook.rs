//! A server that remembers what it was sent, to the byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// A running server; it stops when it is dropped.
pub(super) struct Webhook {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    answers: Mutex<std::vec::IntoIter<(u16, &'static str)>>,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Webhook {
    /// Gives these answers, then 200 with `ok`, as Slack does.
    pub(super) async fn answering(answers: Vec<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            answers: Mutex::new(answers.into_iter()),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared))).abort_handle();
        Self {
            address,
            shared,
            task,
        }
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        open.spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            // How a connection ends is the client's business.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    shared.received.lock().unwrap().push(Received {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body,
    });
    let next = shared.answers.lock().unwrap().next();
    let (status, text) = next.unwrap_or((200, "ok"));
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(answer)
}
