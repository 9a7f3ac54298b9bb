//! A Loki that takes pushes, remembers them and fails on demand.
//!
//! It listens on a free loopback port and understands both forms of the push API, protobuf in snappy and JSON. What arrives is
//! taken apart by code of its own, so that a mistake in a sink cannot hide behind the same mistake here. Faults are scripted:
//! each push takes the next one from a queue.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use nomad_events::testing::loki::{Fault, FakeLoki};
//!
//! let loki = FakeLoki::start().await?;
//! loki.script([Fault::status(429, "slow down"), Fault::WrittenButFailed]);
//! println!("push to {}/loki/api/v1/push", loki.url());
//! assert!(loki.entries().is_empty());
//! # Ok(())
//! # }
//! ```

mod decode;
mod faults;
mod labels;
mod server;
mod store;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use faults::{Fault, Gate};
pub use store::{Arrivals, Entry, PushRecord};

use server::Shared;

/// Entries kept by default; what arrives beyond is counted only.
pub const DEFAULT_KEPT_ENTRIES: usize = 1_000_000;

/// How a [`FakeLoki`] behaves apart from its script.
#[derive(Debug)]
#[non_exhaustive]
pub struct FakeLokiOptions {
    /// How many entries to remember, repeats included. 0 counts only and reads no labels: for benchmarks.
    pub kept_entries: usize,
    /// Whether `GET /ready` says 200 rather than 503.
    pub ready: bool,
    /// Where to listen; `None` is a free loopback port.
    pub address: Option<SocketAddr>,
    authorization: Option<Authorization>,
}

/// What a push has to show.
enum Authorization {
    Basic(String, SecretString),
    Bearer(SecretString),
}

/// A running fake. It stops, and cuts its connections, when it is dropped.
pub struct FakeLoki {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
}

/// What was waited for did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{arrived} of {wanted} entries arrived within {waited:?}")]
pub struct Shortfall {
    /// Distinct entries that were there at the deadline.
    pub arrived: usize,
    /// Distinct entries waited for.
    pub wanted: usize,
    /// How long.
    pub waited: Duration,
}

impl FakeLoki {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    ///
    /// When the port cannot be opened.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(FakeLokiOptions::default()).await
    }

    /// Starts one with options, on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// When the port cannot be opened.
    pub async fn start_with(options: FakeLokiOptions) -> io::Result<Self> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(options.address.unwrap_or(any_port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// The base URL, without a path: what a sink takes as `endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Appends faults to the script. Each push takes the next one, in the order in which their bodies have arrived.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.script().extend(faults);
    }

    /// What every push gets while the script is empty; `None`, as at the start, is an ordinary answer.
    pub fn afterwards(&self, fault: Option<Fault>) {
        self.shared.set_afterwards(fault);
    }

    /// Faults of the script that no push has taken yet.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.shared.script().len()
    }

    /// Everything that was stored, in order of arrival, repeats included.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.shared.store().entries()
    }

    /// What a real Loki would show: exact repeats (same tenant, labels, time, line and structured metadata) once.
    #[must_use]
    pub fn distinct(&self) -> BTreeSet<Entry> {
        self.shared.store().distinct()
    }

    /// Entries stored since the start, repeats included, also those that are counted only.
    #[must_use]
    pub fn pushed(&self) -> usize {
        self.shared.store().pushed()
    }

    /// Bytes of lines stored since the start, repeats included.
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        self.shared.store().line_bytes()
    }

    /// The pushes since the start, at most the last 10,000, whatever became of them.
    #[must_use]
    pub fn pushes(&self) -> Vec<PushRecord> {
        self.shared.store().pushes()
    }

    /// How many pushes are under way at this moment: begun, and neither answered nor given up.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight()
    }

    /// The most pushes that were under way at the same time.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight()
    }

    /// How often `GET /ready` was asked for.
    #[must_use]
    pub fn ready_requests(&self) -> usize {
        self.shared.ready_requests()
    }

    /// Waits until `wanted` distinct entries are stored, and returns everything stored, repeats included. When entries are
    /// counted only, repeats count too and nothing is returned.
    ///
    /// # Errors
    ///
    /// [`Shortfall`] when the deadline passes first.
    pub async fn wait_for(
        &self,
        wanted: usize,
        deadline: Duration,
    ) -> Result<Vec<Entry>, Shortfall> {
        let mut changes = self.shared.changes();
        let enough = changes.wait_for(|()| self.shared.store().distinct_len() >= wanted);
        let arrived = tokio::time::timeout(deadline, enough).await;
        match arrived {
            Ok(_) => Ok(self.entries()),
            Err(_) => Err(Shortfall {
                arrived: self.shared.store().distinct_len(),
                wanted,
                waited: deadline,
            }),
        }
    }

    /// Waits until `wanted` pushes have begun: their bodies have arrived, an answer may be outstanding.
    ///
    /// # Errors
    ///
    /// The number that had begun when the deadline passed.
    pub async fn wait_for_pushes(&self, wanted: usize, deadline: Duration) -> Result<(), usize> {
        let mut changes = self.shared.changes();
        let enough = changes.wait_for(|()| self.shared.store().begun() >= wanted);
        match tokio::time::timeout(deadline, enough).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.shared.store().begun()),
        }
    }

    /// The entries that are stored from now on, as they arrive, repeats included.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        self.shared.arrivals()
    }
}

impl FakeLokiOptions {
    /// Sets how many entries are remembered, repeats included; 0 counts only.
    #[must_use]
    pub fn with_kept_entries(mut self, entries: usize) -> Self {
        self.kept_entries = entries;
        self
    }

    /// Sets whether `GET /ready` says 200 rather than 503.
    #[must_use]
    pub fn with_ready(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }

    /// Sets where to listen: for a Loki that comes back at the address of an earlier one.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Answers 401 to whoever does not show this user and password.
    #[must_use]
    pub fn with_basic_auth(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(Authorization::Basic(user.to_owned(), password.into()));
        self
    }

    /// Answers 401 to whoever does not show this token.
    #[must_use]
    pub fn with_bearer_auth(mut self, token: &str) -> Self {
        self.authorization = Some(Authorization::Bearer(token.into()));
        self
    }
}

impl Default for FakeLokiOptions {
    fn default() -> Self {
        Self {
            kept_entries: DEFAULT_KEPT_ENTRIES,
            ready: true,
            address: None,
            authorization: None,
        }
    }
}

impl Drop for FakeLoki {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for FakeLoki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeLoki")
            .field("address", &self.address)
            .field("pushed", &self.pushed())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic(..) => "Basic",
            Self::Bearer(_) => "Bearer",
        })
    }
}

#[cfg(test)]
mod tests;
