//! What must not leave: values that Nomad sends in clear and that are nobody's business in a log store.
//!
//! Keys stay, values become `"[REDACTED]"`. What is empty stays as it is: it hides nothing. `Meta` stays too, it is meant to be
//! read.

use std::borrow::Cow;

use bytes::Bytes;
use vrl::value::Value;
use vrl::value::value::ObjectMap;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// How deep the walk goes. Nomad's payloads have some twenty levels, and the parser refuses more than 128.
const MAX_DEPTH: usize = 128;

/// Replaces the secrets in a payload (`{"Job": {...}}`, `{"Allocation": {...}}`, ...).
///
/// What counts as one, all of it sent in clear by Nomad 1.0 to 2.0 (`nomad/structs`, seen in recordings):
/// - in a Job, wherever one stands: `Env`; the text of templates; every value of a `Config` but `image` and `ports` (tasks,
///   sidecars, proxies, secret providers); headers that a gateway sets; headers and options of artifacts; `Header` and `Body`
///   of checks; mount flags; the dispatch `Payload`; tokens;
/// - `Parameters`, `Context`, `Secrets` and mount flags of volumes, `LeaderACL` of evaluations, the lock ID of variables,
///   client secrets and private keys of authentication methods (clear before 1.9.7);
/// - anywhere: `SecretID`, and the user information of a URL; in artifact sources and task events its query too (a failed
///   download quotes the URL in an Allocation, with the options of the artifact).
pub fn redact(payload: &mut Value) {
    let Value::Object(objects) = payload else {
        walk(payload, Place::Elsewhere, 0);
        return;
    };
    for (name, object) in objects.iter_mut() {
        let place = match name.as_str() {
            "Job" => Place::Job,
            "Volume" => Place::Volume,
            "Evaluation" => Place::Evaluation,
            "Metadata" => Place::VariableMetadata,
            "AuthMethod" => Place::AuthMethod,
            _ => Place::Elsewhere,
        };
        walk(object, place, 0);
    }
}

/// Where in a payload a value stands, as far as that matters for what is secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
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

/// What to do with the value of a key.
enum Rule {
    Enter(Place),
    /// The keys are names that users chose, and no rules.
    Names,
    /// Nothing of it is shown.
    Whole,
    /// The keys of the object are shown, or the length of the list.
    Values,
    /// As `Values`, but for `image` and `ports`.
    DriverConfig,
}

fn rule(place: Place, key: &str) -> Rule {
    match (place, key) {
        // The first keys are the names of tasks.
        (Place::TaskStates, _) => Rule::Enter(Place::TaskStates),
        // A Job stands alone in its own events, and in others wherever a version of Nomad may embed one.
        (_, "Job") => Rule::Enter(Place::Job),
        (_, "TaskStates") => Rule::Enter(Place::TaskStates),
        (_, "Meta" | "CanaryMeta") | (Place::Job, "Volumes") => Rule::Names,
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

fn walk(value: &mut Value, place: Place, depth: usize) {
    if depth > MAX_DEPTH {
        hide(value);
        return;
    }
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match rule(place, key) {
                    Rule::Enter(place) => walk(value, place, depth + 1),
                    Rule::Names => match value {
                        Value::Object(named) => {
                            for value in named.values_mut() {
                                walk(value, place, depth + 1);
                            }
                        }
                        other => walk(other, place, depth + 1),
                    },
                    Rule::Whole => hide(value),
                    Rule::Values => hide_values(value, |_| false),
                    Rule::DriverConfig => {
                        hide_values(value, |key| matches!(key, "image" | "ports"))
                    }
                }
            }
        }
        Value::Array(array) => {
            for value in array {
                walk(value, place, depth + 1);
            }
        }
        Value::Bytes(text) => mask_urls(text, matches!(place, Place::Artifact | Place::TaskStates)),
        _ => {}
    }
}

fn hide(value: &mut Value) {
    if !is_empty(value) {
        *value = Value::Bytes(Bytes::from_static(REDACTED.as_bytes()));
    }
}

fn hide_values(value: &mut Value, kept: impl Fn(&str) -> bool) {
    match value {
        Value::Object(object) => hide_entries(object, kept),
        Value::Array(array) => array.iter_mut().for_each(hide),
        // `Env` of an identity or of a Vault block: whether there is a variable, not which.
        Value::Boolean(_) => {}
        other => hide(other),
    }
}

fn hide_entries(object: &mut ObjectMap, kept: impl Fn(&str) -> bool) {
    for (key, value) in object.iter_mut() {
        if kept(key) {
            walk(value, Place::Elsewhere, 0);
        } else {
            hide(value);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bytes(text) => text.is_empty(),
        Value::Array(array) => array.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Masks the user information of every URL in a text, and every query too if asked to.
fn mask_urls(text: &mut Bytes, queries: bool) {
    let queries = queries && memchr::memchr(b'?', text).is_some();
    if !queries && memchr::memmem::find(text, b"://").is_none() {
        return;
    }
    let Ok(readable) = std::str::from_utf8(text) else {
        // JSON text is UTF-8; anything else has not come from a payload.
        return;
    };
    if let Cow::Owned(masked) = masked_urls(readable, queries) {
        *text = Bytes::from(masked);
    }
}

fn masked_urls(text: &str, queries: bool) -> Cow<'_, str> {
    let masked = masked_users(text);
    if !queries {
        return masked;
    }
    match masked_queries(&masked) {
        Cow::Owned(both) => Cow::Owned(both),
        Cow::Borrowed(_) => masked,
    }
}

fn masked_users(text: &str) -> Cow<'_, str> {
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
fn masked_queries(text: &str) -> Cow<'_, str> {
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

fn finished(text: &str, mut masked: String, copied: usize) -> Cow<'_, str> {
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[copied..]);
    Cow::Owned(masked)
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
