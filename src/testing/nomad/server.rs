//! Accepts connections and reads their requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::lists::ListFault;
use super::request::{self, SeenRequest};
use super::socket::{Accepted, Listeners, Socket};
use super::state::Shared;
use super::stream;
use super::version::Answer;

/// So many connections are served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Pause after a failed accept, which means that the process is short of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Serves until `stop`, then closes the listener and every connection before it returns.
pub(super) async fn run(
    mut listeners: Listeners,
    shared: Arc<Shared>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listeners.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok(accepted) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move { serve(accepted, &shared).await });
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listeners);
    connections.shutdown().await;
}

async fn serve(accepted: Accepted, shared: &Shared) {
    let Ok(Some(socket)) = accepted.open(shared.settings.tls.as_ref()).await else {
        return;
    };
    let server_name = socket.server_name();
    let has_client_certificate = socket.has_client_certificate();
    let (reader, writer) = tokio::io::split(socket);
    let mut connection = Connection {
        reader,
        writer,
        buffer: BytesMut::new(),
    };
    loop {
        let request = match request::read(&mut connection.reader, &mut connection.buffer).await {
            Ok(Some(request)) => request.over(server_name.clone(), has_client_certificate),
            Ok(None) => return,
            Err(_) => {
                let text =
                    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = connection.writer.write_all(text).await;
                return;
            }
        };
        shared.note_request(request.clone());
        let after = if request.is_stream() {
            stream::serve(&mut connection, shared, &request).await
        } else {
            match ordinary(shared, &request) {
                Some(answer) => connection.answer(&answer, &request).await,
                None => connection.hang().await,
            }
        };
        match after {
            After::KeepOpen => {}
            After::Close => return,
            After::Reset => {
                // The writing half would say a proper goodbye if it were dropped by itself.
                connection.reader.unsplit(connection.writer).reset();
                return;
            }
        }
    }
}

/// The answer of an ordinary endpoint; nothing where there is to be none.
fn ordinary(shared: &Shared, request: &SeenRequest) -> Option<Answer> {
    let once = shared.state().lists.take_once(&request.path);
    if let Some(answer) = once.or_else(|| shared.refusal(request)) {
        return Some(answer);
    }
    let fault = shared.state().lists.fault(request).cloned();
    match fault {
        Some(ListFault::Hang) => None,
        Some(ListFault::Error(status, text)) => Some(Answer::error(status, text)),
        None => Some(shared.answer(request)),
    }
}

/// A client's connection.
pub(super) struct Connection {
    pub(super) reader: ReadHalf<Socket>,
    pub(super) writer: WriteHalf<Socket>,
    buffer: BytesMut,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    KeepOpen,
    Close,
    Reset,
}

impl Connection {
    /// Writes a whole answer.
    pub(super) async fn answer(&mut self, answer: &Answer, request: &SeenRequest) -> After {
        let keep = request.keeps_alive();
        let bytes = answer.to_bytes(&request.http_version, keep);
        let written = async {
            self.writer.write_all(&bytes).await?;
            self.writer.flush().await
        };
        match written.await {
            Ok(()) if keep => After::KeepOpen,
            _ => After::Close,
        }
    }

    /// Writes a head, and then nothing for `delay`, unless the client leaves.
    pub(super) async fn answer_and_hang(&mut self, head: &[u8], delay: Duration) -> After {
        if self.writer.write_all(head).await.is_ok() && self.writer.flush().await.is_ok() {
            let _ = timeout(delay, self.hang()).await;
        }
        After::Close
    }

    /// Writes nothing, until the client leaves or the fake stops.
    async fn hang(&mut self) -> After {
        let mut piece = [0; 64];
        while matches!(self.reader.read(&mut piece).await, Ok(1..)) {}
        After::Close
    }
}
