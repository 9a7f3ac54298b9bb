//! Options of the fake.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::access::Access;
use super::cluster::parse_all;
use super::state::{Settings, Shared};
use super::version::Version;
use super::{DEFAULT_REGION, FakeNomad};
use crate::testing::tls::ServerTls;

/// Options of a [`FakeNomad`], with the defaults of an agent without ACLs.
pub struct FakeNomadBuilder {
    settings: Settings,
    tokens: Vec<(String, Access)>,
    lines: Vec<Bytes>,
    namespaces: Vec<(String, u64)>,
}

impl Default for FakeNomadBuilder {
    fn default() -> Self {
        Self {
            settings: Settings {
                version: Version::default(),
                buffer_size: 100,
                heartbeat: Duration::from_secs(30),
                eof_delay: Duration::from_secs(2),
                write_timeout: Duration::from_secs(40),
                region: DEFAULT_REGION.to_owned(),
                event_broker: true,
                tls: None,
                unix_socket: None,
                map_order: None,
            },
            tokens: Vec::new(),
            lines: Vec::new(),
            namespaces: Vec::new(),
        }
    }
}

impl FakeNomadBuilder {
    /// Imitates this version; 1.11.3 otherwise.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.settings.version = version;
        self
    }

    /// Has these lines in its history from the start; heartbeats are passed over. Of more than the buffer holds the oldest are gone.
    #[must_use]
    pub fn lines(mut self, lines: impl IntoIterator<Item = Bytes>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// Nomad's `event_buffer_size`, 100 otherwise; one line more is kept, as Nomad does.
    ///
    /// A stream whose client reads too slowly for it is dropped. With a buffer larger than the history nobody is.
    #[must_use]
    pub fn buffer_size(mut self, lines: usize) -> Self {
        self.settings.buffer_size = lines;
        self
    }

    /// Time between two `{}`, 30 s otherwise. The first comes at once.
    #[must_use]
    pub fn heartbeat(mut self, period: Duration) -> Self {
        self.settings.heartbeat = period;
        self
    }

    /// Turns ACLs on: requests need this token, a management token.
    ///
    /// Without it they get 403 `Permission denied`; streams of the versions that hijack get 200, no line, and after
    /// [`eof_delay`](Self::eof_delay) their end.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.tokens.push((token.to_owned(), Access::management()));
        self
    }

    /// Turns ACLs on, with a token of these rights. Several may be given.
    #[must_use]
    pub fn token_with(mut self, token: &str, access: Access) -> Self {
        self.tokens.push((token.to_owned(), access));
        self
    }

    /// How long the versions that hijack leave the socket of a refused or ended stream open; 2 s otherwise.
    ///
    /// On real servers that is up to the garbage collector: 0.1 s when busy, 108 s were seen on an idle one.
    #[must_use]
    pub fn eof_delay(mut self, delay: Duration) -> Self {
        self.settings.eof_delay = delay;
        self
    }

    /// How long a write of the versions that hijack waits for a client that does not read; 40 s otherwise. Then the line stays cut
    /// where it is and the socket closes.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// The agent's region, `global` otherwise. Requests for another one fail.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.settings.region);
        self
    }

    /// Adds a namespace that no line mentions, made at this index.
    #[must_use]
    pub fn namespace(mut self, name: &str, create_index: u64) -> Self {
        self.namespaces.push((name.to_owned(), create_index));
        self
    }

    /// Sets `enable_event_broker = false`: there is no stream to be had.
    #[must_use]
    pub fn without_event_broker(mut self) -> Self {
        self.settings.event_broker = false;
        self
    }

    /// Speaks TLS on its port. To a plain request it answers as Go's server does: 400, and a text that says so.
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// Listens on a socket of the file system, too, without TLS: Nomad's Task API, where every request needs a
    /// [`token`](Self::token), if there is one.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.unix_socket = Some(path.into());
        self
    }

    /// Writes the maps inside payloads in another order each time that a line is sent, as Nomad does.
    ///
    /// The same seed gives the same orders, as long as lines are sent in the same order.
    #[must_use]
    pub fn maps_in_random_order(mut self, seed: u64) -> Self {
        self.settings.map_order = Some(seed);
        self
    }

    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// There is no port to be had, or a line is not a batch ([`io::ErrorKind::InvalidData`]).
    pub async fn start(self) -> io::Result<FakeNomad> {
        let lines = parse_all(self.lines)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let shared = Shared::new(self.settings);
        shared.change(|state| {
            for (token, access) in self.tokens {
                state.grant_access(&token, access);
            }
            for (name, create_index) in &self.namespaces {
                state.lists.add_namespace(name, *create_index);
            }
            for line in lines {
                state.append(line);
            }
        });
        FakeNomad::start(shared).await
    }
}

impl std::fmt::Debug for FakeNomadBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeNomadBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
