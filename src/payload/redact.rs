//! What must not leave: values that Nomad sends in clear and that are nobody's business in a log store.
//!
//! Keys stay, values become `"[REDACTED]"`. What is empty stays as it is: it hides nothing. `Meta` stays too, it is meant to be
//! read.
//!
//! What counts as a secret, all of it sent in clear by Nomad 1.0 to 2.0 (`nomad/structs`, seen in recordings):
//! - in a Job, wherever one stands: `Env`; the text of templates; every value of a `Config` but `image` and `ports` (tasks,
//!   sidecars, proxies, secret providers); headers that a gateway sets; headers and options of artifacts; `Header` and `Body`
//!   of checks; mount flags; the dispatch `Payload`; tokens;
//! - `Parameters`, `Context`, `Secrets` and mount flags of volumes, `LeaderACL` of evaluations, the lock ID of variables,
//!   client secrets and private keys of authentication methods (clear before 1.9.7);
//! - anywhere: `SecretID`, and the user information of a URL; in artifact sources and task events its query too (a failed
//!   download quotes the URL in an Allocation, with the options of the artifact).
//!
//! Here are the rules; `tree` applies them while it reads.

/// What stands in the place of a secret.
pub(super) const REDACTED: &str = "[REDACTED]";

/// Whether a payload, as text, may hold something to redact. Quick, and errs on the side of yes.
///
/// Most payloads are those of allocations and evaluations, without a job and without a URL; nothing in them calls for a walk
/// through the tree. A backslash may begin an escape that hides a name or a `://`.
#[must_use]
pub(super) fn may_need_redaction(payload: &[u8]) -> bool {
    const SIGNS: [&[u8]; 9] = [
        b"\\",
        b"://",
        b"?",
        b"\"SecretID\"",
        b"\"AuthMethod\"",
        b"\"Job\"",
        b"\"Volume\"",
        b"\"LeaderACL\"",
        b"\"Lock\"",
    ];
    SIGNS
        .iter()
        .any(|sign| memchr::memmem::find(payload, sign).is_some())
}

/// Where in a payload a value stands, as far as that matters for what is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The payload itself.
    Root,
    Elsewhere,
    Job,
    /// A service check of a job.
    Check,
    /// An artifact of a job.
    Artifact,
    /// What a gateway of a job does to headers.
    HeaderModifiers,
    Volume,
    Evaluation,
    VariableMetadata,
    VariableLock,
    AuthMethod,
    /// The states of an allocation's tasks, whose events quote the URLs of artifacts.
    TaskStates,
}

impl Place {
    /// Whether the query of a URL may hold a credential here, as those of artifacts do.
    pub(super) fn hides_queries(self) -> bool {
        matches!(self, Self::Artifact | Self::TaskStates)
    }
}

/// What to do with the value of a key.
#[derive(Debug)]
pub(super) enum Rule {
    Enter(Place),
    /// The keys are names that users chose, and no rules.
    Names(Place),
    /// Nothing of it is shown.
    Whole,
    /// The keys of the object are shown, or the length of the list.
    Values,
    /// As `Values`, but for `image` and `ports`.
    DriverConfig,
}

/// The rule for the value of a key in an object at that place.
pub(super) fn rule(place: Place, key: &str) -> Rule {
    match (place, key) {
        // The first keys are the names of tasks.
        (Place::TaskStates, _) => Rule::Enter(Place::TaskStates),
        // A Job stands alone in its own events, and in others wherever a version of Nomad may embed one.
        (_, "Job") => Rule::Enter(Place::Job),
        (_, "TaskStates") => Rule::Enter(Place::TaskStates),
        (Place::Root, "Volume") => Rule::Enter(Place::Volume),
        (Place::Root, "Evaluation") => Rule::Enter(Place::Evaluation),
        (Place::Root, "Metadata") => Rule::Enter(Place::VariableMetadata),
        (Place::Root, "AuthMethod") => Rule::Enter(Place::AuthMethod),
        (Place::Root, _) => Rule::Enter(Place::Elsewhere),
        (_, "Meta" | "CanaryMeta") | (Place::Job, "Volumes") => Rule::Names(place),
        (_, "SecretID") => Rule::Whole,
        // Its `Payload` says whether one is required.
        (Place::Job, "ParameterizedJob") => Rule::Enter(Place::Elsewhere),
        (Place::Job | Place::Check, "Env") => Rule::Values,
        (Place::Job, "Config") => Rule::DriverConfig,
        (Place::Job, "EmbeddedTmpl" | "Payload" | "ConsulToken" | "VaultToken" | "MountFlags") => {
            Rule::Whole
        }
        (Place::Job, "RequestHeaders" | "ResponseHeaders") => Rule::Enter(Place::HeaderModifiers),
        (Place::HeaderModifiers, "Add" | "Set") => Rule::Values,
        (Place::Job, "Artifacts") => Rule::Enter(Place::Artifact),
        (Place::Artifact, "GetterHeaders" | "GetterOptions") => Rule::Values,
        (Place::Job, "Checks") => Rule::Enter(Place::Check),
        (Place::Check, "Header") => Rule::Values,
        (Place::Check, "Body") => Rule::Whole,
        (Place::Volume, "Parameters" | "Context" | "Secrets") => Rule::Values,
        (Place::Volume, "MountFlags") => Rule::Whole,
        (Place::Evaluation, "LeaderACL") => Rule::Whole,
        (Place::VariableMetadata, "Lock") => Rule::Enter(Place::VariableLock),
        (Place::VariableLock, "ID") => Rule::Whole,
        (Place::AuthMethod, "OIDCClientSecret" | "ClientSecret" | "PemKey") => Rule::Whole,
        // Inside a check or an artifact nothing else of a job's can follow.
        _ => Rule::Enter(place),
    }
}

/// Masks the user information of every URL in a text, and every query too if asked to. `None` where there is nothing to mask.
pub(super) fn masked_urls(text: &str, queries: bool) -> Option<String> {
    let users = masked_users(text);
    if !queries {
        return users;
    }
    masked_queries(users.as_deref().unwrap_or(text)).or(users)
}

fn masked_users(text: &str) -> Option<String> {
    let mut masked = String::new();
    // Up to here `text` is in `masked`.
    let mut copied = 0;
    for (scheme_end, _) in text.match_indices("://") {
        let start = scheme_end + "://".len();
        if start < copied {
            continue;
        }
        let rest = &text[start..];
        let url = &rest[..rest.find(ends_url).unwrap_or(rest.len())];
        let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
        // A password may hold a raw `@`: the last one ends the user information. Or another character that it should not,
        // and then what stands before that is no host with a port.
        let at = match authority.rfind('@') {
            None if !is_host(authority) => url.rfind('@'),
            at => at,
        };
        if let Some(at) = at {
            masked.push_str(&text[copied..start]);
            masked.push_str(REDACTED);
            copied = start + at;
        }
    }
    finished(text, masked, copied)
}

/// Masks what follows a question mark. Artifact sources need no scheme: `git@github.com:...?sshkey=...` is one.
fn masked_queries(text: &str) -> Option<String> {
    let mut masked = String::new();
    let mut copied = 0;
    for (question, _) in text.match_indices('?') {
        let start = question + 1;
        if start < copied {
            continue;
        }
        let rest = &text[start..];
        let length = rest.find(ends_url).unwrap_or(rest.len());
        if length > 0 {
            masked.push_str(&text[copied..start]);
            masked.push_str(REDACTED);
            copied = start + length;
        }
    }
    finished(text, masked, copied)
}

fn finished(text: &str, mut masked: String, copied: usize) -> Option<String> {
    if copied == 0 {
        return None;
    }
    masked.push_str(&text[copied..]);
    Some(masked)
}

/// Whether it may be a host, with or without a port.
fn is_host(authority: &str) -> bool {
    authority.ends_with(']')
        || authority
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What cannot stand in a URL, and in messages stands after one.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`')
}

#[cfg(test)]
mod tests;
