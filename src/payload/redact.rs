//! What must not leave: values that Nomad sends in clear and that are nobody's business in a log store.
//!
//! Keys stay, values become `"[REDACTED]"`. What is empty stays as it is: it hides nothing. `Meta` stays too, it is meant to be
//! read.
//!
//! What counts as a secret, all of it sent in clear by Nomad 1.0 to 2.0 (`nomad/structs`, seen in recordings):
//! - in a Job, wherever one stands: `Env`; the text of templates; every value of a `Config` but `image` and `ports` (tasks,
//!   sidecars, proxies, secret providers); headers and options of artifacts; `Header` and `Body` of checks; mount flags; the
//!   dispatch `Payload`; tokens;
//! - `Parameters`, `Context`, `Secrets` and mount flags of volumes, `LeaderACL` of evaluations, the lock ID of variables;
//! - anywhere: the user information of a URL; in artifact sources and task events its query too (a failed download quotes the
//!   URL in an Allocation).
//!
//! Here are the rules; `tree` applies them while it reads.

/// What stands in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Whether a payload, as text, may hold something to redact. Quick, and errs on the side of yes.
///
/// Most payloads are those of allocations and evaluations, without a job and without a URL; nothing in them calls for a walk
/// through the tree. A backslash may begin an escape that hides a name or a `://`.
#[must_use]
pub(super) fn may_need_redaction(payload: &[u8]) -> bool {
    const SIGNS: [&[u8]; 6] = [
        b"\\",
        b"://",
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
    Volume,
    Evaluation,
    VariableMetadata,
    VariableLock,
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
        // A Job stands alone in its own events, and in others wherever a version of Nomad may embed one.
        (_, "Job") => Rule::Enter(Place::Job),
        (_, "TaskStates") => Rule::Enter(Place::TaskStates),
        (Place::Root, "Volume") => Rule::Enter(Place::Volume),
        (Place::Root, "Evaluation") => Rule::Enter(Place::Evaluation),
        (Place::Root, "Metadata") => Rule::Enter(Place::VariableMetadata),
        (Place::Root, _) => Rule::Enter(Place::Elsewhere),
        // Its keys are the user's own words, and may be any of those below.
        (_, "Meta") => Rule::Enter(Place::Elsewhere),
        (Place::Job | Place::Check, "Env") => Rule::Values,
        (Place::Job, "Config") => Rule::DriverConfig,
        (Place::Job, "EmbeddedTmpl" | "Payload" | "ConsulToken" | "VaultToken" | "MountFlags") => {
            Rule::Whole
        }
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
        // Inside a check or an artifact nothing else of a job's can follow.
        _ => Rule::Enter(place),
    }
}

/// Masks the user information of every URL in a text, and the query too if asked to. `None` where there is nothing to mask.
pub(super) fn masked_urls(text: &str, queries: bool) -> Option<String> {
    let mut masked = String::new();
    // Up to here `text` is in `masked`.
    let mut copied = 0;
    for (scheme_end, _) in text.match_indices("://") {
        let start = scheme_end + "://".len();
        if start < copied {
            continue;
        }
        let rest = &text[start..];
        let end = start + rest.find(ends_url).unwrap_or(rest.len());
        let url = &text[start..end];
        let authority_end = start + url.find(['/', '?', '#']).unwrap_or(url.len());
        // A password may hold a raw `@`: the last one ends the user information.
        if let Some(at) = text[start..authority_end].rfind('@') {
            masked.push_str(&text[copied..start]);
            masked.push_str(REDACTED);
            copied = start + at;
        }
        if queries && let Some(question) = url.find('?') {
            let question = start + question + 1;
            if question < end {
                masked.push_str(&text[copied..question]);
                masked.push_str(REDACTED);
                copied = end;
            }
        }
    }
    if copied == 0 {
        return None;
    }
    masked.push_str(&text[copied..]);
    Some(masked)
}

/// What cannot stand in a URL, and in messages stands after one.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`')
}

#[cfg(test)]
mod tests;
