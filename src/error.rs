//! Why a stream ended or could not be opened, and what an operator should do about it.
//!
//! One table: every kind has a word for metrics, a remedy for people, and none ends the source. A source that gave up would
//! leave a cluster unobserved without a word, so it goes on trying, with a growing and bounded pause.

use std::fmt;

/// A kind of failure. Closed set, fit for the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The address could not be resolved or connected to.
    Connect,
    /// No answer to the connection or the request in time.
    ConnectTimeout,
    /// No TLS came about: a certificate of the server or of ours, or one side speaks plain HTTP.
    Tls,
    /// The answer was not HTTP, or broke its rules.
    Protocol,
    /// The token file could not be read, or holds no token.
    TokenFile,
    /// 401 or 403.
    Denied,
    /// 429: too many connections from this address.
    TooManyConnections,
    /// Any other status but 200.
    Status,
    /// 200, and then the end, or silence, before the first line.
    NoFirstLine,
    /// The stream ended cleanly.
    Closed,
    /// The connection broke.
    Broken,
    /// No byte, or no complete line, for too long.
    Idle,
    /// A list could not be read from the ordinary API.
    List,
}

impl ErrorKind {
    /// Every kind, for tests and for metrics that show zeros.
    pub const ALL: [Self; 13] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Protocol,
        Self::TokenFile,
        Self::Denied,
        Self::TooManyConnections,
        Self::Status,
        Self::NoFirstLine,
        Self::Closed,
        Self::Broken,
        Self::Idle,
        Self::List,
    ];

    /// The word for labels and for the field `cause`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::TokenFile => "token_file",
            Self::Denied => "denied",
            Self::TooManyConnections => "too_many_connections",
            Self::Status => "status",
            Self::NoFirstLine => "no_first_line",
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::List => "list",
        }
    }

    /// What an operator should look at, when it does not mend itself.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Connect => {
                "check that a Nomad agent listens there; set `endpoints` or NOMAD_ADDR"
            }
            Self::ConnectTimeout => {
                "check the address, the network and the agent's load; `connect_timeout_secs` sets the limit"
            }
            Self::Tls => {
                "check `tls.*` (or NOMAD_CACERT and its companions) against the agent's block `tls`"
            }
            Self::Protocol => {
                "check that the address is a Nomad agent's HTTP address, with http:// or https:// as the agent has it"
            }
            Self::TokenFile => "check that `token_file` exists, is readable and holds one token",
            Self::Denied => {
                "give a token with `read-job` (and `list-jobs` for `start_at = \"latest\"`) in every subscribed namespace, \
                 and `node:read` for the topic Node; other topics than the default ones need more"
            }
            Self::TooManyConnections => {
                "the agent serves so many connections of one machine (`limits.http_max_conns_per_client`, 100 unless set): \
                 raise it, or close others from this machine; up to Nomad 1.11.1 every open stream counts"
            }
            Self::Status => "look at the agent's log at that time",
            Self::NoFirstLine => {
                "from Nomad 1.11.2 on this is how a refusal looks: check the token's rights, the region, and \
                 `enable_event_broker` in the server's configuration"
            }
            Self::Closed | Self::Broken => {
                "nothing, if it is rare: the server stopped, a token or policy changed, or we read too slowly"
            }
            Self::Idle => {
                "nothing, if it is rare: Nomad sends a heartbeat every 30 s, so the connection or the server is dead"
            }
            Self::List => {
                "check that the token may list what it is subscribed to (`list-jobs`, `node:read`)"
            }
        }
    }
}

/// A failure with its circumstances. Holds no secret and no byte of an event.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
        }
    }

    /// The same end, of a stream that never began.
    pub(crate) fn before_first_line(self) -> Self {
        match self.kind {
            ErrorKind::Closed | ErrorKind::Broken | ErrorKind::Idle => Self::new(
                ErrorKind::NoFirstLine,
                format!("200, and then, before any line: {}", self.context),
            ),
            _ => self,
        }
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.context, self.kind.remedy())
    }
}

impl std::error::Error for Error {}
