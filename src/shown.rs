//! Names and paths out of a configuration, fit for messages.
//!
//! People paste a token into the wrong place: as a key, as the path of a file, as the name of a header. What does not look like
//! what should stand there is not shown; the message has the line.

use std::borrow::Cow;
use std::path::Path;

/// No option, and no word that an option takes, is longer (bytes).
#[cfg(any(test, feature = "host"))]
const MAX_NAME_BYTES: usize = 48;

/// Names have no more digits than this; tokens have more (`sha512` has three).
const MAX_DIGITS: usize = 3;

/// A longer path is not shown when nothing says that it is one (bytes).
const MAX_PATH_BYTES: usize = 64;

/// An ending that says that a text is a path has at most so many letters: `.toml`.
const MAX_ENDING: usize = 5;

/// The name of an option, a header or a label, or a word of a list; or that it is not shown.
#[cfg(any(test, feature = "host"))]
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    if looks_like_a_name(text, MAX_NAME_BYTES) {
        Cow::Borrowed(text)
    } else {
        Cow::Borrowed("(not shown)")
    }
}

/// A path, or that it is not shown.
pub(crate) fn path(path: &Path) -> Cow<'_, str> {
    let Some(text) = path.to_str() else {
        return path.to_string_lossy();
    };
    let is_path = !text.contains(char::is_control)
        && (text.starts_with(['/', '~'])
            || text.starts_with("./")
            || text.starts_with("../")
            || has_ending(path)
            || looks_like_a_name(text, MAX_PATH_BYTES));
    if is_path {
        Cow::Borrowed(text)
    } else {
        Cow::Borrowed("(a text that is hardly a path, not shown)")
    }
}

fn looks_like_a_name(text: &str, longest: usize) -> bool {
    let is_of_a_name =
        |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'-' | b'.' | b'/');
    let mixed = text.bytes().any(|letter| letter.is_ascii_lowercase())
        && text
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .any(|word| {
                word.bytes()
                    .skip(1)
                    .any(|letter| letter.is_ascii_uppercase())
                    && word.bytes().any(|letter| letter.is_ascii_lowercase())
            });
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() <= longest && digits <= MAX_DIGITS && !mixed && text.bytes().all(is_of_a_name)
}

fn has_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| {
        ending.len() <= MAX_ENDING && ending.as_encoded_bytes().iter().all(u8::is_ascii_lowercase)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_and_what_is_none_is_not() {
        for shown in [
            "topcis",
            "retry_max_duration_secs",
            "x-scope",
            "loki.main",
            "Job",
            "TOKEN",
            "",
        ] {
            assert_eq!(name(shown), shown);
        }
        for hidden in [
            "3f1c5fda-1e2d-4a5b-9c8d-7e6f5a4b3c2d",
            "Bearer hunter2",
            "hQvTzKwPmN",
            "http://u:p@h",
            "a=b",
            "pass\nword",
            &"a".repeat(49),
        ] {
            assert_eq!(name(hidden), "(not shown)");
        }
    }

    #[test]
    fn paths_are_shown_and_what_is_none_is_not() {
        for shown in [
            "/secrets/9f8e7d6c5b4a",
            "./8765432",
            "token",
            "secrets/token",
            "certs/CA-20261122.pem",
            "~/nomad.token",
        ] {
            assert_eq!(path(Path::new(shown)), shown);
        }
        for hidden in [
            "3f1c5fda-1e2d-4a5b-9c8d-7e6f5a4b3c2d",
            "eyJhbGciOiJSUzI1NiJ9.eyJub21hZCI6MX0.c2lnbmF0dXJl",
            "hQvTzKwPmN",
            "/-----BEGIN\nhunter2",
        ] {
            assert!(path(Path::new(hidden)).contains("not shown"), "{hidden}");
        }
    }
}
