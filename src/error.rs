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
    /// 401 or 403, and why could not be found out.
    Denied,
    /// ACLs are on, no token is set, and the anonymous policy does not suffice.
    NoToken,
    /// The cluster does not know the token.
    TokenUnknown,
    /// The token has expired.
    TokenExpired,
    /// The token lacks a right that a subscribed topic needs.
    TokenRights,
    /// The token lacks a right in a subscribed namespace, or the namespace does not exist.
    Namespace,
    /// The agent knows no such region.
    Region,
    /// The server's event broker is off, or everything else is in order.
    NoEventBroker,
    /// The servers have no leader.
    NoLeader,
    /// The agent is a client that reaches no server.
    NoServer,
    /// 429: too many connections from this address.
    TooManyConnections,
    /// Any other status but 200.
    Status,
    /// 200, and then the end, or silence, before the first line; why could not be found out.
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
    pub const ALL: [Self; 22] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Protocol,
        Self::TokenFile,
        Self::Denied,
        Self::NoToken,
        Self::TokenUnknown,
        Self::TokenExpired,
        Self::TokenRights,
        Self::Namespace,
        Self::Region,
        Self::NoEventBroker,
        Self::NoLeader,
        Self::NoServer,
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
            Self::NoToken => "no_token",
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired => "token_expired",
            Self::TokenRights => "token_rights",
            Self::Namespace => "namespace",
            Self::Region => "region",
            Self::NoEventBroker => "no_event_broker",
            Self::NoLeader => "no_leader",
            Self::NoServer => "no_server",
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
            Self::NoToken => "set `token`, `token_file` or NOMAD_TOKEN",
            Self::TokenUnknown => {
                "check `token`, `token_file` or NOMAD_TOKEN: it is the SecretID, not the AccessorID, of a token of this cluster"
            }
            Self::TokenExpired => "create a new token, or use `token_file` and renew what is in it",
            Self::TokenRights => {
                "add what is missing to a policy of the token, or leave the topics out; config/nomad-events.policy.hcl has \
                 what the default topics need"
            }
            Self::Namespace => {
                "set `namespace` to one that the token can read, or widen its policy: `namespace \"*\"` also covers those \
                 that are created later, and a rule for a namespace by its name hides it"
            }
            Self::Region => "set `region` to one of them, or leave it out for the agent's own",
            Self::NoEventBroker => {
                "set `enable_event_broker = true` in the `server` block of every server (the default), and restart them"
            }
            Self::NoLeader => {
                "look at the servers: `nomad server members`, `nomad operator raft list-peers`"
            }
            Self::NoServer => {
                "check the agent's connection to the servers: `nomad node status -self`, `nomad server members`"
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
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    reason: Reason,
}

/// What is known of why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The context says how it showed.
    Unknown,
    /// The context says why: another context is another cause.
    FoundOut,
    /// When it was asked for, there was none any more.
    Gone,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            reason: Reason::Unknown,
        }
    }

    /// A cause that was looked for and found.
    pub(crate) fn found_out(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            reason: Reason::FoundOut,
            ..Self::new(kind, context)
        }
    }

    /// The same failure, with what was learned about it.
    pub(crate) fn with_remark(self, remark: &str) -> Self {
        Self {
            context: format!("{}; {remark}", self.context),
            ..self
        }
    }

    /// The same refusal, of what is granted by now.
    pub(crate) fn overtaken(self) -> Self {
        Self {
            reason: Reason::Gone,
            ..self.with_remark("it is granted now")
        }
    }

    /// Whether an operator who has read of the other one learns nothing from this.
    pub(crate) fn is_same_cause(&self, other: &Self) -> bool {
        match self.reason {
            Reason::Unknown => self.kind == other.kind,
            Reason::FoundOut => self.kind == other.kind && self.context == other.context,
            // It was the last refusal for what was told, and that has been mended.
            Reason::Gone => self.kind == other.kind || other.reason == Reason::FoundOut,
        }
    }

    /// Whether this is how a refusal looks, whose reason can be asked for.
    pub(crate) fn is_refusal(&self) -> bool {
        self.reason == Reason::Unknown
            && matches!(
                self.kind,
                ErrorKind::Denied | ErrorKind::Region | ErrorKind::NoFirstLine
            )
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

    /// What happened, without the remedy.
    pub(crate) fn context(&self) -> &str {
        &self.context
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

/// An error and what is behind it, which the texts of hyper's errors leave out.
pub(crate) fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_of_its_own_and_a_remedy_in_one_line() {
        let mut words: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            let remedy = kind.remedy();
            assert!(remedy.len() > 10 && !remedy.ends_with('.'), "{remedy}");
            assert!(!remedy.contains("  ") && !remedy.contains('\n'), "{remedy}");
        }
    }
}
