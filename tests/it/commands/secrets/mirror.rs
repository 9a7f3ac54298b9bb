//! A server that takes nothing, and quotes in each refusal another secret of the request, whole or in part.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::super::request::{Request, header};

/// Quotes of a request, in turn.
const QUOTES: usize = 8;

/// Refuses until it is dropped.
pub(super) struct Mirror {
    pub(super) address: String,
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    requests: usize,
    bodies: String,
}

impl Mirror {
    /// Refuses with these statuses, in turn.
    pub(super) async fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(refuse(stream, statuses, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            seen,
            task: task.abort_handle(),
        }
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().unwrap().requests
    }

    /// Whether every secret was quoted in every way, with every status.
    pub(super) fn has_quoted_all(&self, statuses: &[u16]) -> bool {
        self.requests() > QUOTES * statuses.len()
    }

    /// What was sent to it.
    pub(super) fn bodies(&self) -> String {
        self.seen.lock().unwrap().bodies.clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request.
async fn refuse(mut stream: TcpStream, statuses: &[u16], seen: Arc<Mutex<Seen>>) {
    let Some(request) = Request::read(&mut stream).await else {
        return;
    };
    let head = &request.head;
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.bodies += &request.body;
        seen.requests += 1;
        seen.requests - 1
    };
    let status = statuses[(number / QUOTES) % statuses.len()];
    let text = quote(head, number % QUOTES);
    let body = if head.starts_with("HEAD ") { "" } else { &text };
    let answer = format!(
        "HTTP/1.1 {status} Refused\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        text.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What is said of a request: of each of its secrets the same quote.
fn quote(head: &str, how: usize) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let decoded = header(head, "authorization")
        .and_then(|value| STANDARD.decode(value.strip_prefix("Basic ")?).ok())
        .map(|decoded| String::from_utf8_lossy(&decoded).into_owned());
    let secrets = [
        header(head, "x-nomad-token").map(str::to_owned),
        decoded,
        header(head, "authorization").map(str::to_owned),
        header(head, "x-key").map(str::to_owned),
        header(head, "x-team").map(str::to_owned),
        path.starts_with("/services").then(|| path.to_owned()),
    ];
    let quotes = secrets.into_iter().flatten().map(|secret| {
        let (length, half) = (secret.len(), secret.len() / 2);
        match how {
            0 => secret,
            1 => format!("{}...", &secret[..half]),
            2 => format!("...{}", &secret[half..]),
            3 => format!("...{}", &secret[length.saturating_sub(7)..]),
            4 => secret.replace(['/', ':'], "&#x2F;"),
            5 => format!("\"{secret}\" <b>{secret}</b>"),
            6 => format!("<http://user:{secret}@proxy/?{secret}>"),
            _ => secret.replace('-', "\n"),
        }
    });
    let quotes: Vec<String> = quotes.collect();
    format!("no: {}", quotes.join(" | "))
}
