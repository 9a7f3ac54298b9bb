//! A scripted fake of a Nomad agent: its event stream to the byte, its lists as far as a client of the stream needs them.
//!
//! It speaks HTTP on a free port of the loopback interface, with the framing of the [`Version`] asked for, and follows Nomad's
//! rules for topics, namespaces, indexes and its buffer, traps included. It is driven three ways: lines are
//! [appended](FakeNomad::append), connections go wrong by [`Script`] or by hand through a [`StreamHandle`], and tests look at the
//! [requests](FakeNomad::requests) and wait for what they need.
//!
//! It does not imitate: compression, blocking queries, pagination and filters of the lists, lists that a token sees a part of (but
//! for the namespaces), workload identities, and what a real agent makes of parameters that its shared parser refuses (a negative `index`
//! is a plain 400 here). Its sockets are real, so they are not for a paused clock, which would run ahead of them;
//! [connections in memory](FakeNomad::connect_in_memory) are.
//!
//! # Examples
//!
//! ```
//! use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad, Version};
//! use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = FakeNomad::builder().version(Version::V1_11_3).start().await?;
//! fake.append_batch(&BatchText::new(7).event(EventText::new("Job", "JobRegistered", "web")))?;
//!
//! let mut socket = BufReader::new(tokio::net::TcpStream::connect(fake.address()).await?);
//! socket.write_all(b"GET /v1/event/stream?index=7 HTTP/1.1\r\n\r\n").await?;
//! let mut lines = socket.lines();
//! assert_eq!(lines.next_line().await?.as_deref(), Some("HTTP/1.1 200 OK"));
//! while lines.next_line().await?.is_some_and(|header| !header.is_empty()) {}
//! assert_eq!(lines.next_line().await?.as_deref(), Some("{}"));
//! assert!(lines.next_line().await?.is_some_and(|line| line.starts_with(r#"{"Index":7,"#)));
//! # Ok(())
//! # }
//! ```

mod access;
mod builder;
mod cluster;
mod handle;
mod history;
mod line;
mod lists;
mod request;
mod script;
mod server;
mod shuffle;
mod socket;
mod state;
mod stream;
mod subscription;
#[cfg(test)]
mod tests;
mod version;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::testing::DeadlinePassed;
use socket::Listeners;
use state::Shared;

pub use access::Access;
pub use builder::FakeNomadBuilder;
pub use handle::StreamHandle;
pub use line::{BatchText, EventText, KeyOrder, LineError};
pub use lists::{ClusterSnapshot, ListFault};
pub use request::SeenRequest;
pub use script::{Fault, Point, Script};
pub use version::Version;

/// The path of the event stream.
pub const STREAM_PATH: &str = "/v1/event/stream";

/// The namespace that every cluster has, and that a request without one means.
pub(in crate::testing) const DEFAULT_NAMESPACE: &str = "default";

/// So many bytes are on their way in a connection in memory.
const MEMORY_BYTES: usize = 64 << 10;

/// The region of an agent that was given none.
const DEFAULT_REGION: &str = "global";

/// What the agent believes of its servers' leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Whether there is one; without, lists are answered only to requests with `stale`.
    pub known: bool,
    /// How long ago it was heard.
    pub last_contact: Duration,
}

impl Default for Leader {
    fn default() -> Self {
        Self {
            known: true,
            last_contact: Duration::ZERO,
        }
    }
}

/// A running fake. Dropping it closes its port and its connections.
///
/// All methods may be called from anywhere at any time; those that change the history take effect on open streams at once.
pub struct FakeNomad {
    shared: Arc<Shared>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    connect: mpsc::UnboundedSender<DuplexStream>,
    task: JoinHandle<()>,
}

impl FakeNomad {
    /// Options of a fake to be started.
    #[must_use]
    pub fn builder() -> FakeNomadBuilder {
        FakeNomadBuilder::default()
    }

    async fn start(shared: Shared) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let fake = Self {
            shared: Arc::new(shared),
            address: listener.local_addr()?,
            running: Mutex::new(None),
        };
        fake.run(listener)?;
        Ok(fake)
    }

    fn run(&self, tcp: TcpListener) -> io::Result<()> {
        let (connect, memory) = mpsc::unbounded_channel();
        let listeners = Listeners::new(tcp, self.shared.settings.unix_socket.as_ref(), memory)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server::run(listeners, Arc::clone(&self.shared), stopped));
        *self.running() = Some(Running {
            stop,
            connect,
            task,
        });
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `http://127.0.0.1:PORT`, or `https://`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.shared.settings.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens. The port stays the same over [`restart`](Self::restart).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects without a socket and without TLS, for tests with a paused clock.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ConnectionRefused`] while it is [stopped](Self::stop).
    pub fn connect_in_memory(&self) -> io::Result<DuplexStream> {
        let (client, server) = tokio::io::duplex(MEMORY_BYTES);
        let running = self.running();
        let connected = running
            .as_ref()
            .map(|running| running.connect.send(server).is_ok());
        match connected {
            Some(true) => Ok(client),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Stops listening and closes every connection, as a killed agent: from then on connections are refused.
    ///
    /// History and settings stay. For a polite end, [inject](Self::inject) [`Fault::SubscriptionClosed`] first.
    pub async fn stop(&self) {
        let running = self.running().take();
        if let Some(Running { stop, task, .. }) = running {
            // Either it listens for this, or it has ended already.
            let _ = stop.send(());
            let _ = task.await;
        }
    }

    /// Listens again, on the same port, after [`stop`](Self::stop). Does nothing when it listens already.
    ///
    /// # Errors
    ///
    /// Another process has taken the port meanwhile.
    pub async fn start_again(&self) -> io::Result<()> {
        if self.running().is_none() {
            self.run(TcpListener::bind(self.address).await?)?;
        }
        Ok(())
    }

    /// [Stops](Self::stop) and [starts again](Self::start_again), with the same history.
    ///
    /// # Errors
    ///
    /// Another process has taken the port meanwhile.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        self.start_again().await
    }

    /// Changes the token that requests need, a management token; `None` is a cluster without ACLs. Open streams go on.
    pub fn set_token(&self, token: Option<&str>) {
        self.shared.change(|state| {
            state.acls = None;
            if let Some(token) = token {
                state.grant_access(token, Access::management());
            }
        });
    }

    /// Gives a token these rights, in place of those it had. Turns ACLs on. Open streams go on.
    pub fn grant(&self, token: &str, access: Access) {
        self.shared
            .change(|state| state.grant_access(token, access));
    }

    /// Deletes a token. Open streams go on.
    pub fn revoke(&self, token: &str) {
        self.shared.change(|state| {
            if let Some(acls) = &mut state.acls {
                acls.remove(token);
            }
        });
    }

    /// Sets what requests without a token may do. Turns ACLs on.
    pub fn set_anonymous(&self, access: Access) {
        self.shared
            .change(|state| state.acls.get_or_insert_default().anonymous = access);
    }

    /// Refuses this path to everybody, as to a token without the right: `/v1/nodes`, [`STREAM_PATH`].
    pub fn deny(&self, path: &str) {
        self.shared
            .change(|state| state.denied.insert(path.to_owned()));
    }

    /// Takes [`deny`](Self::deny) back.
    pub fn allow(&self, path: &str) {
        self.shared.change(|state| state.denied.remove(path));
    }

    /// Says whether there is a leader, and when it was heard last.
    pub fn set_leader(&self, leader: Leader) {
        self.shared.change(|state| state.lists.leader = leader);
    }

    /// Queues a script; each request of the stream takes the oldest one.
    pub fn script(&self, script: Script) {
        self.shared.change(|state| state.scripts.push_back(script));
    }

    /// Lets a fault happen to every open stream, at once.
    pub fn inject(&self, fault: &Fault) {
        for stream in self.streams().iter().filter(|stream| stream.is_open()) {
            stream.inject(fault.clone());
        }
    }

    /// Every stream that was granted since the start, oldest first; of the ended ones, the newest thousand.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamHandle> {
        let state = self.shared.state();
        let streams = state.streams.iter();
        streams
            .map(|(&id, stream)| {
                StreamHandle::new(id, stream.commands.clone(), Arc::clone(&self.shared))
            })
            .collect()
    }

    /// How many streams are open, refused ones not counted. One that its client has closed, even by half, is not open.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.shared.state().open_streams()
    }

    /// The requests read so far, oldest first; the newest ten thousand.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.state().requests.iter().cloned().collect()
    }

    /// The requests of the event stream among them.
    #[must_use]
    pub fn stream_requests(&self) -> Vec<SeenRequest> {
        let mut requests = self.requests();
        requests.retain(SeenRequest::is_stream);
        requests
    }

    /// Waits until exactly `count` streams are open.
    ///
    /// # Errors
    ///
    /// They were not, `within` that time.
    pub async fn wait_for_streams(
        &self,
        count: usize,
        within: Duration,
    ) -> Result<(), DeadlinePassed> {
        let what = format!("{count} open streams");
        self.shared
            .wait(what, within, |state| state.open_streams() == count)
            .await
    }

    /// Waits until so many requests have been read that `wanted` says yes to the list of them.
    ///
    /// # Errors
    ///
    /// It did not, `within` that time.
    pub async fn wait_for_requests(
        &self,
        within: Duration,
        wanted: impl Fn(&[SeenRequest]) -> bool,
    ) -> Result<(), DeadlinePassed> {
        let what = "requests".to_owned();
        self.shared
            .wait(what, within, |state| {
                let (older, newer) = state.requests.as_slices();
                if newer.is_empty() {
                    wanted(older)
                } else {
                    wanted(&[older, newer].concat())
                }
            })
            .await
    }

    /// Waits until some stream has sent every line up to `index` that its filter lets through.
    ///
    /// Sent is handed to the socket. `index` has to be reached by the history too. It counts for the whole life of the fake: a line
    /// that was sent to a stream long ended is sent.
    ///
    /// # Errors
    ///
    /// None had, `within` that time.
    pub async fn wait_until_sent(
        &self,
        index: u64,
        within: Duration,
    ) -> Result<(), DeadlinePassed> {
        let what = format!("index {index} to be sent");
        self.shared
            .wait(what, within, |state| {
                let end = state.history.end_of_index(index);
                end.is_some_and(|end| state.sent_through >= end)
            })
            .await
    }
}

impl Drop for FakeNomad {
    fn drop(&mut self) {
        if let Some(running) = self.running().take() {
            running.task.abort();
        }
    }
}

impl std::fmt::Debug for FakeNomad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeNomad")
            .field("address", &self.address)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}
