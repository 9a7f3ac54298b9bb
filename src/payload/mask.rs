//! Addresses in texts, without what they carry of credentials: the user information of a URL, and the query where it may hold
//! one.
//!
//! Where a URL ends in a message is a guess. In doubt more is masked and not less.

/// What stands in the place of a secret.
pub(crate) const REDACTED: &str = "[REDACTED]";

/// A piece of a masked credential is looked for elsewhere in the same message only if it is at least so long (bytes): shorter
/// ones are words like `git`.
const SHORTEST_ECHO: usize = 4;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything, perhaps with URLs in it: their user information goes.
    Text,
    /// What was said about a failure, with quoted URLs: their queries go too, and what repeats a part of a credential.
    Message,
    /// One address, from its first character to its last: user information and query go.
    Address,
}

/// Masks credentials in a text. `None` where there is nothing to mask.
pub(crate) fn masked(text: &str, kind: Kind) -> Option<String> {
    let mut credentials = Vec::new();
    let users = masked_users(text, kind, &mut credentials);
    if kind == Kind::Text {
        return users;
    }
    let queries = masked_queries(users.as_deref().unwrap_or(text), kind, &mut credentials);
    let mut masked = queries.or(users)?;
    if kind == Kind::Message {
        mask_echoes(&mut masked, &credentials);
    }
    Some(masked)
}

fn masked_users(text: &str, kind: Kind, credentials: &mut Vec<String>) -> Option<String> {
    let mut masked = String::new();
    // Up to here `text` is in `masked`.
    let mut copied = 0;
    for (scheme_end, _) in text.match_indices("://") {
        let start = scheme_end + "://".len();
        // Also where it is masked up to here: an empty one behind it is a part of it.
        if start <= copied {
            continue;
        }
        let rest = &text[start..];
        let url = &rest[..url_length(&text[..scheme_end], rest, kind)];
        let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
        // A password may hold a raw `@`: the last one ends the user information. Or another character that it should not,
        // even one that ends the URL, and then what stands before that is no host with a port.
        let at = match authority.rfind('@') {
            None if !is_host(authority) => url.rfind('@').or_else(|| rest.find('@')),
            at => at,
        };
        if let Some(at) = at {
            let user = &rest[..at];
            credentials.push(
                user.split_once(':')
                    .map_or(user, |(_, word)| word)
                    .to_owned(),
            );
            masked.push_str(&text[copied..start]);
            masked.push_str(REDACTED);
            copied = start + at;
        }
    }
    finished(text, masked, copied)
}

/// Masks what follows a question mark. Artifact sources need no scheme: `git@github.com:...?sshkey=...` is one.
fn masked_queries(text: &str, kind: Kind, credentials: &mut Vec<String>) -> Option<String> {
    let mut masked = String::new();
    let mut copied = 0;
    for (question, _) in text.match_indices('?') {
        let start = question + 1;
        if start < copied {
            continue;
        }
        let rest = &text[start..];
        let length = url_length(&text[..question], rest, kind);
        if length > 0 {
            // What stands behind an unquoted URL is taken for a part of it.
            let query = rest[..length].trim_end_matches([':', ',', ';', '.', '\'', ')']);
            let values = query.split('&').filter_map(|pair| pair.split_once('='));
            credentials.extend(values.map(|(_, value)| value.to_owned()));
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

/// Errors repeat parts of a URL without the rest of it: Go's parser quotes what it took for a port, `git` says the password.
fn mask_echoes(text: &mut String, credentials: &[String]) {
    const PORT: &str = "invalid port \"";
    for credential in credentials {
        if credential.len() >= SHORTEST_ECHO && text.contains(credential.as_str()) {
            *text = text.replace(credential.as_str(), REDACTED);
        }
    }
    if let Some(place) = text.find(PORT)
        && !credentials.is_empty()
    {
        let start = place + PORT.len();
        let end = start + closing_quote(&text[start..]);
        text.replace_range(start..end, REDACTED);
    }
}

/// How much of `rest` belongs to a URL that has begun in `before`.
fn url_length(before: &str, rest: &str, kind: Kind) -> usize {
    if kind == Kind::Address {
        return rest.len();
    }
    // A quoted URL goes on to the quote, whatever is in it.
    let quoted = before
        .rfind(ends_url)
        .is_some_and(|place| before[place..].starts_with('"'));
    if quoted {
        closing_quote(rest)
    } else {
        rest.find(ends_url).unwrap_or(rest.len())
    }
}

/// Where the quote is that closes what Go's `%q` has opened; the end of the text, if there is none.
fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (place, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place,
            _ => {}
        }
    }
    text.len()
}

/// Whether it may be a host, with or without a port.
fn is_host(authority: &str) -> bool {
    let after_name = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']').map_or(address, |(_, port)| port),
        None => authority.find(':').map_or("", |colon| &authority[colon..]),
    };
    after_name.is_empty()
        || after_name.strip_prefix(':').is_some_and(|port| {
            port.len() <= "65535".len() && port.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// What cannot stand in a URL, and in messages stands after one. An apostrophe can.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, table: &[(&str, &str)]) {
        for (text, expected) in table {
            let shown = masked(text, kind);
            assert_eq!(shown.as_deref().unwrap_or(text), *expected);
            // Once is enough.
            assert_eq!(
                masked(expected, kind).as_deref().unwrap_or(expected),
                *expected
            );
        }
    }

    #[test]
    fn user_information_of_urls_is_masked_whole() {
        check(
            Kind::Text,
            &[
                ("no url", "no url"),
                ("http://host/path", "http://host/path"),
                ("http://host/@scope/pkg", "http://host/@scope/pkg"),
                ("http://u@host", "http://[REDACTED]@host"),
                ("http://u:p@ss@host/x", "http://[REDACTED]@host/x"),
                (
                    "a http://u:p@h b https://v:q@i/ c",
                    "a http://[REDACTED]@h b https://[REDACTED]@i/ c",
                ),
                ("://@", "://[REDACTED]@"),
                // A URL in the user information was masked again behind it.
                ("://:://@", "://[REDACTED]@"),
                ("s3://k:ö@h/ü", "s3://[REDACTED]@h/ü"),
                // A query says something where no artifact is spoken of.
                ("http://h/x?a=b", "http://h/x?a=b"),
                // Passwords that ought to have been encoded.
                ("http://u:p/s@h/x", "http://[REDACTED]@h/x"),
                ("http://u:p?s@h/x", "http://[REDACTED]@h/x"),
                ("http://u:p#s@h/x", "http://[REDACTED]@h/x"),
                ("http://u:p s@h/x", "http://[REDACTED]@h/x"),
                ("http://u:p\"s@h/x", "http://[REDACTED]@h/x"),
                ("http://u:p's@h/x", "http://[REDACTED]@h/x"),
                ("http://u:1234567/s@h/x", "http://[REDACTED]@h/x"),
                ("http://u:p:/s@h/x", "http://[REDACTED]@h/x"),
                ("http://[u:p/s@h/x", "http://[REDACTED]@h/x"),
                ("http://h:80/@scope/pkg", "http://h:80/@scope/pkg"),
                ("http://[::1]:80/@scope", "http://[::1]:80/@scope"),
                ("http://[::1]/@scope", "http://[::1]/@scope"),
            ],
        );
    }

    #[test]
    fn queries_in_messages_are_masked_with_all_that_belongs_to_them() {
        check(
            Kind::Message,
            &[
                (
                    "x http://u@h/p?a=1&b=2 y http://h?c z",
                    "x http://[REDACTED]@h/p?[REDACTED] y http://h?[REDACTED] z",
                ),
                ("http://h/p?", "http://h/p?"),
                ("was it ok? No", "was it ok? No"),
                (
                    r#"artifact "git@h:o/r?sshkey=a b'c\"d&e": exit status 1, why?"#,
                    r#"artifact "git@h:o/r?[REDACTED]": exit status 1, why?"#,
                ),
                (
                    "artifact 'git@h:o/r?sshkey=a'b' failed",
                    "artifact 'git@h:o/r?[REDACTED] failed",
                ),
            ],
        );
    }

    /// Go's parser, and the programs that fetch artifacts, say parts of a URL again.
    #[test]
    fn what_a_message_repeats_of_a_credential_is_masked_too() {
        check(
            Kind::Message,
            &[
                (
                    r#"parse "http://u:hunt/er2@h": invalid port ":hunt" after host"#,
                    r#"parse "http://[REDACTED]@h": invalid port "[REDACTED]" after host"#,
                ),
                (
                    "clone https://u:hunter2@h/x: password hunter2 is wrong",
                    "clone https://[REDACTED]@h/x: password [REDACTED] is wrong",
                ),
                (
                    "git@h:x?depth=1&sshkey=hunter2: cannot use hunter2",
                    "git@h:x?[REDACTED] cannot use [REDACTED]",
                ),
                // Nobody's secret.
                (
                    r#"parse "http://h:x": invalid port ":x""#,
                    r#"parse "http://h:x": invalid port ":x""#,
                ),
            ],
        );
    }

    #[test]
    fn an_address_is_one_to_its_end() {
        check(
            Kind::Address,
            &[
                (
                    "s3.amazonaws.com/b/k?a=x y\"z",
                    "s3.amazonaws.com/b/k?[REDACTED]",
                ),
                ("/health?token=a b", "/health?[REDACTED]"),
                (
                    "https://u:p w\"d@h/x?a",
                    "https://[REDACTED]@h/x?[REDACTED]",
                ),
                ("https://registry/@scope/p", "https://registry/@scope/p"),
            ],
        );
    }
}
