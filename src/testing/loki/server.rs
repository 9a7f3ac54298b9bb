//! Answers requests.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::decode::{self, MAX_BODY_BYTES};
use super::faults::{Fault, Script};
use super::store::{Arrivals, PushRecord, Store};
use super::{Authorization, Entry, FakeLokiOptions};

/// Entries that a slow reader of arrivals may be behind before it misses some.
const ARRIVALS_KEPT: usize = 65_536;

/// What the handle and the connections share.
pub(super) struct Shared {
    store: Mutex<Store>,
    script: Mutex<Script>,
    /// Told about every change of the store.
    changed: watch::Sender<()>,
    arrivals: broadcast::Sender<Arc<Entry>>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    ready_requests: AtomicUsize,
    ready: bool,
    authorization: Option<Authorization>,
}

/// The connection is to be cut without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script cuts the connection")
    }
}

impl std::error::Error for Cut {}

type Answer = Response<Full<Bytes>>;

impl Shared {
    pub(super) fn new(options: FakeLokiOptions) -> Self {
        Self {
            store: Mutex::new(Store::new(options.kept_entries)),
            script: Mutex::default(),
            changed: watch::Sender::new(()),
            arrivals: broadcast::Sender::new(ARRIVALS_KEPT),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            ready_requests: AtomicUsize::new(0),
            ready: options.ready,
            authorization: options.authorization,
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_afterwards(&self, fault: Option<Fault>) {
        self.script().afterwards = fault;
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn arrivals(&self) -> Arrivals {
        Arrivals::new(self.arrivals.subscribe())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn ready_requests(&self) -> usize {
        self.ready_requests.load(Ordering::Relaxed)
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.authorization else {
            return true;
        };
        let shown = text(headers, &AUTHORIZATION).unwrap_or_default();
        match wanted {
            Authorization::Bearer(token) => {
                shown.strip_prefix("Bearer ") == Some(token.expose_secret())
            }
            Authorization::Basic(user, password) => shown
                .strip_prefix("Basic ")
                .and_then(|encoded| STANDARD.decode(encoded).ok())
                .is_some_and(|decoded| {
                    decoded == format!("{user}:{}", password.expose_secret()).as_bytes()
                }),
        }
    }
}

/// Takes connections until the task is aborted.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Aborting this task drops the set, which aborts the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An error here is about one connection (reset before it was taken), never about the listener.
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(request, &shared));
                    // A connection that ends with an error was cut, by the script or by the other side.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Cut> {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/ready") => {
            shared.ready_requests.fetch_add(1, Ordering::Relaxed);
            Ok(if shared.ready {
                plain(StatusCode::OK, "ready\n")
            } else {
                plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
            })
        }
        (&Method::POST, "/loki/api/v1/push") => {
            let _counted = InFlight::count(shared);
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
            // The sender went away in the middle of its body.
            let body = body.map_err(|_| Cut)?.to_bytes();
            push(&head.headers, &body, shared).await
        }
        _ => Ok(plain(StatusCode::NOT_FOUND, "404 page not found\n")),
    }
}

async fn push(headers: &HeaderMap, body: &Bytes, shared: &Shared) -> Result<Answer, Cut> {
    let content_type = text(headers, &CONTENT_TYPE).unwrap_or_default();
    let content_encoding = text(headers, &CONTENT_ENCODING);
    let tenant = text(headers, &HeaderName::from_static("x-scope-orgid"));
    let keeps_entries = shared.store().keeps_entries();

    let mut counted = None;
    let mut read = None;
    if keeps_entries {
        read = Some(decode::push(content_type, content_encoding, body));
    } else {
        counted = decode::count(content_type, body);
        if counted.is_none() {
            read = Some(decode::push(content_type, content_encoding, body));
        }
    }
    let counts = counted.or_else(|| Some(read.as_ref()?.as_ref().ok()?.counts()));
    shared.store().begin(PushRecord {
        content_type: content_type.to_owned(),
        content_encoding: content_encoding.map(ToOwned::to_owned),
        body_bytes: body.len(),
        streams: counts.map_or(0, |counts| counts.streams),
        entries: counts.map_or(0, |counts| counts.entries),
    });
    shared.changed.send_replace(());

    let fault = shared.script().take();
    match &fault {
        Fault::Status { status, body } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::IM_A_TEAPOT);
            return Ok(plain(status, body));
        }
        Fault::Close => return Err(Cut),
        Fault::Delay(time) => tokio::time::sleep(*time).await,
        Fault::Hold(gate) => gate.passed().await,
        Fault::WrittenButFailed | Fault::WrittenThenClosed | Fault::None => {}
    }

    if !shared.allows(headers) {
        return Ok(plain(StatusCode::UNAUTHORIZED, "no credentials\n"));
    }
    match read {
        Some(Err(error)) => return Ok(plain(StatusCode::BAD_REQUEST, &error)),
        Some(Ok(read)) if keeps_entries => {
            let entries = read.into_entries(tenant);
            shared.store().write(&entries);
            for entry in entries {
                // Nobody listens: an error that is none.
                let _ = shared.arrivals.send(entry);
            }
        }
        _ => {
            if let Some(counts) = counts {
                shared.store().count(counts.entries, counts.line_bytes);
            }
        }
    }
    shared.changed.send_replace(());
    match fault {
        Fault::WrittenButFailed => Ok(plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "written, but reported failed",
        )),
        Fault::WrittenThenClosed => Err(Cut),
        _ => Ok(plain(StatusCode::NO_CONTENT, "")),
    }
}

fn plain(status: StatusCode, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// One push under way.
struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn count(shared: &'a Shared) -> Self {
        let now = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_in_flight.fetch_max(now, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
