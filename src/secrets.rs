//! Secrets of a request, looked for in what the other side says: servers and proxies like to quote what they refuse, and what
//! they say is logged.
//!
//! A part of a secret is a secret too: of two halves of a token, each in a line of its own, the token can be made again.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use crate::payload::mask::REDACTED;

/// So much of a secret in a row gives it away (bytes). Less is found in any text.
const PART: usize = 6;

/// A shorter secret is not looked for (bytes): it would be found in ordinary words.
const SHORTEST: usize = 4;

/// What must not be repeated. `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// Whole secrets that are shorter than a part, and words.
    whole: BTreeSet<Box<[u8]>>,
    /// Every part of the others.
    parts: BTreeSet<[u8; PART]>,
    /// The others, for what is cut off at the end of a text.
    beginnings: Vec<Box<[u8]>>,
}

impl Secrets {
    /// Those of a request's headers that are marked as sensitive.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let mut secrets = Self::default();
        for (name, value) in headers {
            if value.is_sensitive() {
                secrets.add_header(name, value);
            }
        }
        secrets
    }

    fn add_header(&mut self, name: &HeaderName, value: &HeaderValue) {
        let text = String::from_utf8_lossy(value.as_bytes());
        if name == "x-nomad-token" {
            self.add(&text);
        } else if name == header::AUTHORIZATION {
            // The scheme is no secret, and a word of answers.
            match text.split_once(' ') {
                Some(("Basic", encoded)) => {
                    self.add(encoded);
                    self.add_decoded(encoded);
                }
                Some(("Bearer", token)) => self.add(token),
                _ => self.add(&text),
            }
        } else {
            self.add_words(&text);
        }
    }

    /// The password, or a user who has none. A user with a password is no secret: at Loki it is the tenant, whom answers name.
    fn add_decoded(&mut self, encoded: &str) {
        let decoded = STANDARD.decode(encoded).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded);
        match decoded.split_once(':') {
            Some((user, "")) => self.add(user),
            Some((_, password)) => self.add(password),
            None => {}
        }
    }

    /// Adds a credential: no part of it may be repeated.
    pub(crate) fn add(&mut self, secret: &str) {
        let secret = secret.as_bytes();
        if secret.len() < SHORTEST {
            return;
        }
        if secret.len() < PART {
            self.whole.insert(secret.into());
        }
        self.parts.extend(secret.windows(PART).filter_map(part));
        self.beginnings.push(secret.into());
    }

    /// Adds what may be a secret, such as the path of a webhook: of it the words count. One of small letters alone is probably an
    /// ordinary one, so only the whole of it counts.
    pub(crate) fn add_words(&mut self, text: &str) {
        let words = text
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| word.len() >= PART);
        for word in words {
            if word.bytes().all(|letter| letter.is_ascii_lowercase()) {
                self.whole.insert(word.as_bytes().into());
            } else {
                self.parts
                    .extend(word.as_bytes().windows(PART).filter_map(part));
            }
        }
    }

    /// Whether any of them, or a part of one, is in a text.
    pub(crate) fn are_in(&self, text: &[u8]) -> bool {
        text.windows(PART)
            .filter_map(part)
            .any(|part| self.parts.contains(&part))
            || self
                .whole
                .iter()
                .any(|whole| memchr::memmem::find(text, whole).is_some())
            || self.cut_at_the_end(text).is_some()
    }

    /// The text with `[REDACTED]` where they, or parts of them, are.
    pub(crate) fn mask(&self, text: &str) -> String {
        if !self.are_in(text.as_bytes()) {
            return text.to_owned();
        }
        let bytes = text.as_bytes();
        let mut hidden = vec![false; bytes.len()];
        let mut hide = |from: usize, length: usize| {
            if let Some(hidden) = hidden.get_mut(from..from + length) {
                hidden.fill(true);
            }
        };
        for (at, window) in bytes.windows(PART).enumerate() {
            if part(window).is_some_and(|part| self.parts.contains(&part)) {
                hide(at, PART);
            }
        }
        for whole in &self.whole {
            memchr::memmem::find_iter(bytes, whole).for_each(|at| hide(at, whole.len()));
        }
        if let Some(length) = self.cut_at_the_end(bytes) {
            hide(bytes.len() - length, length);
        }
        let mut masked = String::new();
        let mut was_hidden = false;
        for (at, letter) in text.char_indices() {
            let letters = hidden.get(at..at + letter.len_utf8()).unwrap_or_default();
            let is_hidden = letters.contains(&true);
            match (is_hidden, was_hidden) {
                (false, _) => masked.push(letter),
                (true, false) => masked.push_str(REDACTED),
                (true, true) => {}
            }
            was_hidden = is_hidden;
        }
        masked
    }

    /// Only the beginning of an answer is read, which may end within a secret: how many bytes of one stand at the end.
    fn cut_at_the_end(&self, text: &[u8]) -> Option<usize> {
        let beginnings = self.beginnings.iter();
        beginnings
            .filter_map(|secret| {
                let longest = PART.min(secret.len());
                (SHORTEST..longest)
                    .rev()
                    .find(|length| secret.get(..*length).is_some_and(|cut| text.ends_with(cut)))
            })
            .max()
    }
}

/// The value of a header `Authorization` for a user with a password.
pub(crate) fn basic(user: &str, password: &str) -> SecretString {
    let text = SecretString::from(format!("{user}:{password}"));
    let encoded = STANDARD.encode(text.expose_secret());
    SecretString::from(format!("Basic {encoded}"))
}

fn part(window: &[u8]) -> Option<[u8; PART]> {
    window.try_into().ok()
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Secrets {
        let headers = pairs.iter().map(|(name, value)| {
            let mut value = HeaderValue::from_str(value).unwrap();
            value.set_sensitive(true);
            (HeaderName::from_static(name), value)
        });
        Secrets::of_headers(&headers.collect())
    }

    #[test]
    fn credentials_are_masked_whole_and_in_part() {
        let basic = format!("Basic {}", STANDARD.encode("tenant-1:pass-of-loki"));
        let alone = format!("Basic {}", STANDARD.encode("user-alone:"));
        let encoded = &basic["Basic ".len()..];
        for (name, value, text, expected) in [
            (
                "x-nomad-token",
                "hunter2-token",
                "no: hunter2-token, go away",
                "no: [REDACTED], go away",
            ),
            (
                "x-nomad-token",
                "hunter2-token",
                "the token hunter2... is unknown",
                "the token [REDACTED]... is unknown",
            ),
            (
                "x-nomad-token",
                "hunter2-token",
                "hunter2-token hunter",
                "[REDACTED] [REDACTED]",
            ),
            // Five bytes at the end of what was read, and in the middle.
            (
                "x-nomad-token",
                "hunter2-token",
                "bad hunte",
                "bad [REDACTED]",
            ),
            ("x-nomad-token", "hunter2-token", "bad hunte.", "bad hunte."),
            ("x-nomad-token", "abcd", "xabcdx", "x[REDACTED]x"),
            ("x-nomad-token", "abc", "abc", "abc"),
            (
                "x-nomad-token",
                "hunter2-token",
                "é hunter2é",
                "é [REDACTED]é",
            ),
            (
                "authorization",
                "Bearer abc-def-ghi",
                "Bearer c-def-",
                "Bearer [REDACTED]",
            ),
            ("authorization", &basic, encoded, "[REDACTED]"),
            (
                "authorization",
                &basic,
                "limit exceeded for user tenant-1",
                "limit exceeded for user tenant-1",
            ),
            (
                "authorization",
                &basic,
                "password of-loki wrong",
                "password [REDACTED] wrong",
            ),
            (
                "authorization",
                &alone,
                "no user-alone here",
                "no [REDACTED] here",
            ),
        ] {
            let secrets = of(&[(name, value)]);
            assert_eq!(secrets.mask(text), expected, "{value}");
            assert_eq!(secrets.are_in(text.as_bytes()), text != expected, "{value}");
        }
        assert_eq!(format!("{:?}", of(&[("x-key", "hunter2")])), "Secrets");
    }

    #[test]
    fn ordinary_words_of_a_path_count_as_a_whole() {
        let mut secrets = Secrets::default();
        secrets.add_words("/services/T00000/x0SECRET0x?key=v1");
        for (text, expected) in [
            ("/services/x", true),
            ("no_service", false),
            ("&#x2F;0SECRET was not found", true),
            ("key v1 T0000", false),
        ] {
            assert_eq!(secrets.are_in(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_marked_is_no_secret() {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-public"),
            HeaderValue::from_static("ordinary-1"),
        )]);
        assert!(!Secrets::of_headers(&headers).are_in(b"ordinary-1"));
    }
}
