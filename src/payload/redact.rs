//! What must not leave: values that Nomad sends in clear and that are nobody's business in a log store.
//!
//! Keys stay, values become `"[REDACTED]"`. What is empty stays as it is: it hides nothing. `Meta` stays too, it is meant to be
//! read.
//!
//! A value is a secret because of the place where it stands, never because of what it looks like. Every place that Nomad 1.11
//! has is listed in `tests/fixtures/fields.tsv`, with what becomes of it and why; a test holds these rules to that table.
//! Rules go by the names of fields and not by whole paths, so that they hold for other versions and wherever a job may stand.
//!
//! Names are matched exactly: the server writes them from its structs, whatever a user had typed.
//!
//! Here are the rules; `tree` applies them while it reads.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::mask::Kind;

/// Whether a payload, as text, may hold something to redact. Quick, and errs on the side of yes.
///
/// Most payloads are those of allocations and evaluations, without a job and without a URL; nothing in them calls for a walk
/// through the tree. A backslash may begin an escape that hides a name or a `://`.
#[must_use]
pub(super) fn may_need_redaction(payload: &[u8]) -> bool {
    static SIGNS: LazyLock<[Finder<'static>; 9]> = LazyLock::new(|| {
        [
            "://",
            "\"SecretID\"",
            "\"SignedIdentities\"",
            "\"CNI\"",
            "\"AuthMethod\"",
            "\"Job\"",
            "\"Volume\"",
            "\"LeaderACL\"",
            "\"Lock\"",
        ]
        .map(Finder::new)
    });
    memchr::memchr2(b'\\', b'?', payload).is_some()
        || SIGNS.iter().any(|sign| sign.find(payload).is_some())
}

/// Where in a payload a value stands, as far as that matters for what is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The payload itself.
    Root,
    Elsewhere,
    Job,
    /// A secret provider or a proxy of a job, whose `Config` is not that of a task's driver.
    Provider,
    /// A service check of a job.
    Check,
    /// The path that a check asks for.
    CheckPath,
    /// An artifact of a job.
    Artifact,
    /// What a gateway of a job does to headers.
    HeaderModifiers,
    /// What the plugins of a container's network are given, in jobs and allocations.
    NetworkPlugins,
    Volume,
    Evaluation,
    VariableMetadata,
    VariableLock,
    AuthMethod,
    /// The states of an allocation's tasks, whose events quote the URLs of artifacts.
    TaskStates,
}

impl Place {
    /// How a text is to be read that stands here.
    pub(super) fn texts(self) -> Kind {
        match self {
            Self::Artifact | Self::CheckPath => Kind::Address,
            Self::TaskStates => Kind::Message,
            _ => Kind::Text,
        }
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
        (_, "SecretID") => Rule::Whole,
        // Tokens of workloads. Servers take them out, from 1.9.6 on wherever they stand.
        (_, "SignedIdentities") => Rule::Values,
        (Place::Root, "Volume") => Rule::Enter(Place::Volume),
        (Place::Root, "Evaluation") => Rule::Enter(Place::Evaluation),
        (Place::Root, "Metadata") => Rule::Enter(Place::VariableMetadata),
        (Place::Root, "AuthMethod") => Rule::Enter(Place::AuthMethod),
        (Place::Root, _) => Rule::Enter(Place::Elsewhere),
        (_, "Meta" | "CanaryMeta" | "TaggedAddresses" | "EnvoyGatewayBindAddresses")
        // By task and by group, outside of jobs; there these are lists, for which it makes no difference.
        | (_, "Tasks" | "TaskResources" | "ResourcesExhausted" | "FailedTGAllocs")
        | (Place::Job, "Volumes") => Rule::Names(place),
        (_, "CNI") => Rule::Enter(Place::NetworkPlugins),
        (Place::NetworkPlugins, "Args") => Rule::Values,
        // Its `Payload` says whether one is required.
        (Place::Job, "ParameterizedJob") => Rule::Enter(Place::Elsewhere),
        (Place::Job, "Secrets" | "Proxy") => Rule::Enter(Place::Provider),
        (Place::Provider, "Config") | (Place::Job | Place::Provider, "Env") => Rule::Values,
        (Place::Job, "Config") => Rule::DriverConfig,
        // Of actions and of scripts that run when a template changes; the command itself says what is done.
        (Place::Job | Place::Check, "Args") => Rule::Values,
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
        (Place::Check, "Path") => Rule::Enter(Place::CheckPath),
        (Place::Volume, "Parameters" | "Context" | "Secrets") => Rule::Values,
        (Place::Volume, "MountFlags") => Rule::Whole,
        (Place::Evaluation, "LeaderACL") => Rule::Whole,
        (Place::VariableMetadata, "Lock") => Rule::Enter(Place::VariableLock),
        (Place::VariableLock, "ID") => Rule::Whole,
        (Place::AuthMethod, "OIDCClientSecret" | "ClientSecret" | "PemKey") => Rule::Whole,
        (Place::AuthMethod, "ExtraHeaders") => Rule::Values,
        // Inside a check or an artifact nothing else of a job's can follow.
        _ => Rule::Enter(place),
    }
}

#[cfg(test)]
mod tests;
