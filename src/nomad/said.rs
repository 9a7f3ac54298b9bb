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

/// How a stream goes on behind a refusal: Nomad refuses a parameter that it cannot read, and then follows it all the same.
const STREAM: [&str; 4] = ["HTTP/0.0 ", "{}", "{\"Index\"", "{\"Events\""];

/// The text of a refusal, without events that follow it and without what addresses carry of credentials. The secrets of
/// the request are gone from it already.
pub(super) fn shown(text: &str) -> String {
    let end = STREAM.iter().filter_map(|start| text.find(start)).min();
    let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    masked(text, Kind::Message).unwrap_or_else(|| text.to_owned())
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
            ("Permission denied", "Permission denied"),
            (
                "proxy http://u:hunter2@h?token=hunter2 is \"down\"",
                "proxy http://[REDACTED]@h?[REDACTED] is \"down\"",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown("no"), "no");
        assert_eq!(shown(r#"{"error": "no"}"#), r#"{"error": "no"}"#);
    }

    #[test]
    fn events_behind_a_refusal_are_not_quoted() {
        for text in [
            r#"Invalid wait time{}{"Index":3,"Events":[{"Key":"hunter2"}]}"#,
            r#"Invalid wait time{"Index":3,"Events":[{"Key":"hunter2"}]}"#,
            r#"Invalid wait time{"Events":[{"Key":"hunter2"}],"Index":3}"#,
            r#"Invalid wait timeHTTP/0.0 200 OK{"Key":"hunter2"}"#,
        ] {
            assert_eq!(shown(text), "Invalid wait time");
        }
        assert_eq!(shown(r#"{"Index":3,"Events":[]}"#), "");
    }
}
