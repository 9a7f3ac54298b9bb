//! From what a probe has learned to what is wrong.
//!
//! Pure. The stream itself says 403 for everything, or from 1.11.2 on nothing at all, so the reason is put together from the
//! answers of ordinary endpoints to the same token. Where these do not show it, that is said, and nothing is guessed.

use super::rights::Right;
use crate::error::{Error, ErrorKind};

/// So many names stand in a message; of the others the number.
const MAX_NAMES: usize = 10;

/// What was subscribed to.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) topics: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) region: Option<String>,
    pub(crate) has_token: bool,
}

/// The answer to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// It was not asked, or time ran out.
    #[default]
    None,
    Yes(T),
    /// 403.
    Denied,
    /// Any other status, with the text.
    Said(u16, String),
    /// No answer, or none that can be read.
    Failed(String),
}

impl<T> Answer<T> {
    /// Goes on with what was answered, if something was.
    pub(super) fn and_then<U>(self, read: impl FnOnce(T) -> Answer<U>) -> Answer<U> {
        match self {
            Self::Yes(value) => read(value),
            Self::None => Answer::None,
            Self::Denied => Answer::Denied,
            Self::Said(status, text) => Answer::Said(status, text),
            Self::Failed(why) => Answer::Failed(why),
        }
    }
}

/// Who the token is, by `/v1/acl/token/self`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// ACLs are off, and any token is as good as none.
    AclsOff,
    Anonymous,
    Management,
    Client,
}

/// Whether the token has a right, in a namespace if it is of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) right: Right,
    pub(crate) namespace: Option<String>,
    /// `None`: the answer did not tell.
    pub(crate) granted: Option<bool>,
}

/// What the server's own configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) enabled: bool,
}

/// Everything that a probe has learned, as far as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) identity: Answer<Identity>,
    /// Whether the server knows of a leader.
    pub(crate) leader: Option<bool>,
    pub(crate) regions: Answer<Vec<String>>,
    /// The namespaces that the token can see.
    pub(crate) namespaces: Answer<Vec<String>>,
    pub(crate) checks: Vec<Check>,
    /// Whether the rights of namespaces are given in one that nobody has named: by a rule for `*`.
    pub(crate) in_any_namespace: Option<bool>,
    /// The token in the agent's own region, if another one is subscribed to.
    pub(crate) at_home: Answer<()>,
    pub(crate) broker: Answer<Broker>,
    /// Whether a line came of a subscription that the token may have; `None`: it was not tried.
    pub(crate) trial: Option<bool>,
    /// Whether a line came of the very subscription that was refused; `None`: it was not tried.
    pub(crate) granted_now: Option<bool>,
    /// Time ran out.
    pub(crate) cut_short: bool,
}

/// What Go's servers answer to a plain request where they speak TLS.
const WANTS_TLS: &str = "HTTP request to an HTTPS server";

/// What kind of failure a status is, with the text that came with it. Nomad has codes for few of its errors, the texts are
/// from `nomad/structs/errors.go` and `client/client.go`.
pub(super) fn kind_of(status: u16, text: &str) -> ErrorKind {
    match status {
        400 if text.contains(WANTS_TLS) => ErrorKind::Tls,
        401 | 403 => ErrorKind::Denied,
        429 => ErrorKind::TooManyConnections,
        500 if text.contains("Permission denied") => ErrorKind::Denied,
        500 if text.contains("No path to region") => ErrorKind::Region,
        500 if text.contains("EventBroker not configured") => ErrorKind::NoEventBroker,
        500 if text.contains("No cluster leader") => ErrorKind::NoLeader,
        500 if text.contains("dial tcp") || text.contains("no servers") => ErrorKind::NoServer,
        _ => ErrorKind::Status,
    }
}

/// Why the subscription was refused.
pub(crate) fn diagnose(asked: &Asked, refused: Error, facts: &Facts) -> Error {
    // Somebody has mended it in the meantime, and what is left to suspect is innocent.
    if facts.granted_now == Some(true) {
        return refused.overtaken();
    }
    let found = identity(asked, facts)
        .or_else(|| missing_rights(asked, facts))
        .or_else(|| server(asked, facts));
    if let Some((kind, text)) = found {
        return Error::found_out(kind, text);
    }
    if let Some(unknown) = not_found_out(facts) {
        return refused.with_remark(&format!("could not find out why: {unknown}"));
    }
    match remainder(asked, facts, refused.kind()) {
        Ok((kind, text)) => Error::found_out(kind, text),
        Err(unknown) => refused.with_remark(&format!("could not find out why: {unknown}")),
    }
}

type Found = (ErrorKind, String);

/// What is wrong with the token as such, or with the region that it is asked in.
fn identity(asked: &Asked, facts: &Facts) -> Option<Found> {
    match &facts.identity {
        Answer::Said(500, text) if text.contains("No path to region") => {
            let region = asked.region.as_deref().unwrap_or_default();
            let known = match &facts.regions {
                Answer::Yes(known) => format!("it knows {}", names(known)),
                _ => "which ones it knows could not be found out".to_owned(),
            };
            Some((
                ErrorKind::Region,
                format!("the agent knows no region {region:?}; {known}"),
            ))
        }
        Answer::Said(500, text) if text.contains("No cluster leader") => Some(no_leader()),
        Answer::Said(500, text) if text.contains("ACL token expired") => {
            Some((ErrorKind::TokenExpired, "the token has expired".to_owned()))
        }
        // A text that is no ACL token is tried as a workload identity, and how that fails is told as an error of the server.
        Answer::Said(500, _) if asked.has_token && facts.namespaces == Answer::Denied => Some(
            unknown_token("it is neither an ACL token nor a valid workload identity"),
        ),
        Answer::Denied if asked.has_token => {
            Some(unknown_token("wrong, deleted, or of another cluster"))
        }
        Answer::Denied | Answer::Said(401, _) if !asked.has_token => Some((
            ErrorKind::NoToken,
            "requests need a token, and none is set".to_owned(),
        )),
        _ => None,
    }
}

fn unknown_token(remark: &str) -> Found {
    (
        ErrorKind::TokenUnknown,
        format!("the cluster does not know the token ({remark})"),
    )
}

fn no_leader() -> Found {
    (ErrorKind::NoLeader, "the servers have no leader".to_owned())
}

fn missing_rights(asked: &Asked, facts: &Facts) -> Option<Found> {
    let missing: Vec<&Check> = facts
        .checks
        .iter()
        .filter(|check| check.granted == Some(false))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let list = missing_list(asked, &missing);
    if facts.identity == Answer::Yes(Identity::Anonymous) && !asked.has_token {
        return Some((
            ErrorKind::NoToken,
            format!("no token is set, and without one {list} is missing"),
        ));
    }
    // Rights in some namespaces and not in others call for another namespace as much as for another policy.
    let only_of_namespaces = missing.iter().all(|check| check.namespace.is_some());
    let readable: Vec<String> = readable(facts);
    if only_of_namespaces && !readable.is_empty() {
        return Some((
            ErrorKind::Namespace,
            format!("the token lacks {list}; it can read {}", names(&readable)),
        ));
    }
    if only_of_namespaces && asked.namespace != "*" && is_not_seen(&asked.namespace, facts) {
        return Some((
            ErrorKind::Namespace,
            format!(
                "the token lacks {list}: the namespace does not exist, or the token has no right in it; it sees {}",
                match &facts.namespaces {
                    Answer::Yes(seen) if !seen.is_empty() => names(seen),
                    _ => "no namespace".to_owned(),
                }
            ),
        ));
    }
    // Or it would be told after the next attempt, when the operator thinks that all is done.
    let narrow = asked.namespace == "*"
        && facts.in_any_namespace == Some(false)
        && !readable.is_empty()
        && missing.iter().all(|check| check.namespace.is_none());
    let besides = if narrow {
        format!(
            "; besides, it has rights in {} only, and others may exist that it does not see",
            names(&readable)
        )
    } else {
        String::new()
    };
    Some((
        ErrorKind::TokenRights,
        format!("the token lacks {list}{besides}"),
    ))
}

fn is_not_seen(namespace: &str, facts: &Facts) -> bool {
    matches!(&facts.namespaces, Answer::Yes(seen) if !seen.iter().any(|name| name == namespace))
}

/// Namespaces in which every right was found that was asked for.
fn readable(facts: &Facts) -> Vec<String> {
    let mut readable: Vec<String> = Vec::new();
    for check in &facts.checks {
        let Some(namespace) = &check.namespace else {
            continue;
        };
        let all = facts
            .checks
            .iter()
            .filter(|other| other.namespace.as_ref() == Some(namespace))
            .all(|other| other.granted != Some(false));
        if all && check.granted == Some(true) && !readable.contains(namespace) {
            readable.push(namespace.clone());
        }
    }
    readable
}

/// Each missing right once, with the topics that need it and the namespaces in which it is missing.
fn missing_list(asked: &Asked, missing: &[&Check]) -> String {
    let mut rights: Vec<Right> = missing.iter().map(|check| check.right).collect();
    rights.sort_unstable();
    rights.dedup();
    let parts: Vec<String> = rights
        .into_iter()
        .map(|right| {
            let topics: Vec<String> = asked
                .topics
                .iter()
                .filter(|topic| Right::for_topic(topic) == right)
                .cloned()
                .collect();
            let needed_by = if topics.is_empty() {
                " (for `start_at = \"latest\"`)".to_owned()
            } else {
                format!(" (for {})", names(&topics))
            };
            let namespaces: Vec<String> = missing
                .iter()
                .filter(|check| check.right == right)
                .filter_map(|check| check.namespace.clone())
                .collect();
            let place = match namespaces.as_slice() {
                [] => String::new(),
                [one] if one == "*" => " in any namespace".to_owned(),
                some => format!(" in {}", names(some)),
            };
            format!("{}{place}{needed_by}", right.as_str())
        })
        .collect();
    parts.join(", ")
}

/// What is wrong with the server.
fn server(asked: &Asked, facts: &Facts) -> Option<Found> {
    if facts.leader == Some(false) {
        return Some(no_leader());
    }
    let unknown_at_home = match &facts.at_home {
        Answer::Denied => true,
        // Of a workload identity; but an agent that is in trouble, or a proxy's word, tells nothing of the token.
        Answer::Said(500, text) => kind_of(500, text) == ErrorKind::Status,
        _ => false,
    };
    if let Some(region) = &asked.region
        && unknown_at_home
    {
        return Some((
            ErrorKind::TokenUnknown,
            format!(
                "the token is known in region {region:?}, but not in the agent's own, where the event stream checks it \
                 first: use an agent in {region:?}, or a global token"
            ),
        ));
    }
    match facts.broker {
        Answer::Yes(Broker { enabled: false }) => Some((
            ErrorKind::NoEventBroker,
            "the server's configuration has `enable_event_broker = false`".to_owned(),
        )),
        _ => None,
    }
}

/// Why nothing can be said for certain, if that is so.
fn not_found_out(facts: &Facts) -> Option<String> {
    if facts.cut_short {
        return Some("the agent did not answer in time".to_owned());
    }
    match &facts.identity {
        Answer::None => Some("the agent was not asked".to_owned()),
        Answer::Failed(why) => Some(why.clone()),
        // 404 is a workload identity, or a server that is older than the question.
        Answer::Said(status, text) if *status != 404 => Some(format!(
            "asked for the token, the agent answered {status} {text:?}"
        )),
        _ => None,
    }
}

/// Everything that could be looked at is in order. What is left?
fn remainder(asked: &Asked, facts: &Facts, refused: ErrorKind) -> Result<Found, String> {
    let unlimited = matches!(
        facts.identity,
        Answer::Yes(Identity::AclsOff | Identity::Management)
    );
    let broker_is_on =
        facts.broker == Answer::Yes(Broker { enabled: true }) || facts.trial == Some(true);
    if facts.trial == Some(false) {
        if broker_is_on {
            return Err("the event broker is on, and even a subscription that the token may have brings no line; is there \
                        a proxy between, which holds answers back?"
                .to_owned());
        }
        return Ok((
            ErrorKind::NoEventBroker,
            "a subscription that the token may have brings no line either, so the event broker is off (or a proxy between \
             holds answers back)"
                .to_owned(),
        ));
    }
    let hidden = !unlimited
        && asked.namespace == "*"
        && facts.checks.iter().any(|check| check.namespace.is_some());
    if hidden && facts.in_any_namespace == Some(false) {
        return Ok((
            ErrorKind::Namespace,
            format!(
                "the token has rights in {} only, and there are namespaces that it does not see",
                names(&readable(facts))
            ),
        ));
    }
    let mut suspects = Vec::new();
    if hidden {
        suspects.push((
            ErrorKind::Namespace,
            "a rule for a namespace by its name, which hides the one for `*` and the namespace itself",
        ));
    }
    if facts.checks.iter().any(|check| check.granted.is_none()) {
        suspects.push((
            ErrorKind::TokenRights,
            "`csi-read-volume`, of which the API does not tell",
        ));
    }
    // Up to 1.11.1 a broker that is off is no 403.
    if !broker_is_on && refused == ErrorKind::NoFirstLine {
        suspects.push((ErrorKind::NoEventBroker, "an event broker that is off"));
    }
    match suspects.as_slice() {
        [] => Err(
            "the token, its rights, the region, the leader and the event broker look right"
                .to_owned(),
        ),
        [(kind, suspect)] => Ok((
            *kind,
            format!("everything else is in order, so what is left is {suspect}"),
        )),
        several => {
            let several: Vec<&str> = several.iter().map(|(_, suspect)| *suspect).collect();
            Err(format!(
                "everything that this token can check is in order; what is left is {}",
                several.join(", or ")
            ))
        }
    }
}

fn names(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(MAX_NAMES)
        .map(|name| name.chars().filter(|c| !c.is_control()).take(128).collect())
        .collect::<Vec<String>>()
        .join(", ");
    if names.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMES));
    }
    text
}

#[cfg(test)]
mod tests;
