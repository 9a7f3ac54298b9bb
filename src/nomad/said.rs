//! What a server says about a failure, fit for logs and notices.
//!
//! It is the server's text and not ours: a proxy may quote the request with its token, an address may hold a password, and what
//! stands at the end of a broken stream may be a piece of an event.

use crate::payload::mask::{Kind, masked};

/// What Nomad says at the end of a stream (`nomad/stream`, `nomad/structs/errors.go`; up to 1.11.1).
const LAST_WORDS: [&str; 13] = [
    "event dropped from buffer",
    "subscription closed by server, client should resubscribe",
    "subscription closed",
    "invalid next item",
    "event broker disabled",
    "Permission denied",
    "ACL token not found",
    "ACL token expired",
    "ACL token is invalid",
    "No cluster leader",
    "No path to region",
    "Not ready to serve consistent reads",
    "rpc error",
];

/// The server's last words, if they are known ones. Never a byte of what it sent.
pub(crate) fn last_words(text: &str) -> Option<&'static str> {
    LAST_WORDS.into_iter().find(|words| text.contains(words))
}

/// The text of a refusal, in quotes, without what addresses carry of credentials. The secrets of the request are gone from it
/// already.
pub(super) fn quoted(text: &str) -> String {
    let shown = masked(text, Kind::Message);
    format!("{:?}", shown.as_deref().unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_last_words_are_repeated() {
        for (text, expected) in [
            (
                "event dropped from buffer",
                Some("event dropped from buffer"),
            ),
            (
                "rpc error: rpc error: Permission denied hunter2",
                Some("Permission denied"),
            ),
            ("hunter2", None),
            (r#""Env":{"PW":"hunter2"}}]"#, None),
            ("", None),
        ] {
            assert_eq!(last_words(text), expected);
        }
    }

    #[test]
    fn a_refusal_is_quoted_without_what_addresses_carry() {
        for (text, expected) in [
            ("Permission denied", r#""Permission denied""#),
            (
                "proxy http://u:hunter2@h?token=hunter2 is \"down\"",
                r#""proxy http://[REDACTED]@h?[REDACTED] is \"down\"""#,
            ),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
