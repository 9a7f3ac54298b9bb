//! Programs as diagnostics may show them: without what stands between quotes.
//!
//! A diagnostic shows the lines that it is about, and a line may hold a password. Places stay what they are, so whoever has the
//! file finds everything.

use std::ops::Range;

use crate::shown;

/// Shorter texts stay (bytes): a separator is no secret, and diagnostics are about it as often as not.
const SHORTEST: usize = 4;

/// A program's texts, regular expressions and comments, by their places.
#[derive(Debug)]
pub(super) struct Literals<'p> {
    program: &'p str,
    /// What stands between quotes.
    quoted: Vec<Range<usize>>,
    comments: Vec<Range<usize>>,
}

impl<'p> Literals<'p> {
    /// Finds them. In a program that does not compile, what is open stays open to its end.
    pub(super) fn of(program: &'p str) -> Self {
        let mut found = Self {
            program,
            quoted: Vec::new(),
            comments: Vec::new(),
        };
        let bytes = program.as_bytes();
        let at = |place: usize| bytes.get(place).copied().unwrap_or_default();
        let before = |place: usize, back: usize| place.checked_sub(back).map_or(0, at);
        let mut place = 0;
        while place < bytes.len() {
            let letter = at(place);
            let ends_a_name = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
            match letter {
                b'#' => {
                    let rest = bytes.get(place..).unwrap_or_default();
                    let end = place + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                    found.comments.push(place + 1..end);
                    place = end;
                }
                b'"' | b'\'' => {
                    let end = end_of(bytes, place + 1, letter);
                    let is_text = match letter {
                        // `."@timestamp"` names a field.
                        b'"' => before(place, 1) != b'.',
                        // `s'text'` and `r'expression'`; what `t` begins is a time.
                        _ => {
                            matches!(before(place, 1), b's' | b'r')
                                && !ends_a_name(before(place, 2))
                        }
                    };
                    if is_text {
                        found.quoted.push(place + 1..end);
                    }
                    place = end + 1;
                }
                _ => place += 1,
            }
        }
        found.quoted.retain(|range| range.len() >= SHORTEST);
        found
    }

    /// The program with stars in their places: as long as before, with the same lines.
    pub(super) fn starred(&self) -> String {
        let mut bytes = self.program.as_bytes().to_vec();
        for range in self.quoted.iter().chain(&self.comments) {
            for byte in bytes.get_mut(range.clone()).unwrap_or_default() {
                if *byte != b'\n' {
                    *byte = b'*';
                }
            }
        }
        // Quotes and line ends are characters of their own, so nothing is cut through.
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// A text about the program, without what it repeats of it.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for range in &self.quoted {
            let written = self.program.get(range.clone()).unwrap_or_default();
            let meant = unescaped(written);
            let debugged = format!("{meant:?}");
            let debugged = debugged.trim_matches('"');
            let lines = written.lines().chain(meant.lines());
            for part in lines
                .chain([debugged])
                .filter(|part| part.len() >= SHORTEST)
            {
                let stars = "*".repeat(part.chars().count());
                if shown::name(part) == part {
                    // Such a word may stand in the text by itself.
                    for quote in ['"', '\'', '`'] {
                        shown = shown.replace(
                            &format!("{quote}{part}{quote}"),
                            &format!("{quote}{stars}{quote}"),
                        );
                    }
                } else {
                    shown = shown.replace(part, &stars);
                }
            }
        }
        shown
    }
}

/// Where the quote ends that begins before `place`.
fn end_of(bytes: &[u8], mut place: usize, quote: u8) -> usize {
    while let Some(letter) = bytes.get(place) {
        match letter {
            b'\\' => place += 2,
            letter if *letter == quote => return place,
            _ => place += 1,
        }
    }
    bytes.len()
}

/// The text that is meant by one with escapes.
fn unescaped(text: &str) -> String {
    let mut meant = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('n') => meant.push('\n'),
                Some('t') => meant.push('\t'),
                Some('r') => meant.push('\r'),
                Some(other) => meant.push(other),
                None => meant.push('\\'),
            },
            (letter, false) => meant.push(letter),
        }
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_quotes_is_starred_and_nothing_else() {
        for (program, expected) in [
            (r#".a = "secret" + .b"#, r#".a = "******" + .b"#),
            (r#".a = "se\"cret" + .b"#, r#".a = "********" + .b"#),
            (
                r#"."@timestamp" = t'2026-01-01T00:00:00Z'"#,
                r#"."@timestamp" = t'2026-01-01T00:00:00Z'"#,
            ),
            (
                "x = s'se\"cret'; y = r'sec.*'",
                "x = s'*******'; y = r'*****'",
            ),
            ("keys'secret'", "keys'secret'"),
            (r#"split(.a, ",")"#, r#"split(.a, ",")"#),
            ("a # a \"secret\nb \"open", "a #**********\nb \"****"),
            ("\"one\ntwo\"", "\"***\n***\""),
            ("\"é2345\\", "\"*******"),
        ] {
            let starred = Literals::of(program).starred();
            assert_eq!(starred, expected);
            assert_eq!(starred.len(), program.len());
        }
    }

    #[test]
    fn a_text_about_a_program_repeats_nothing_of_it() {
        let literals = Literals::of(r#".a = "hunter2" + "pass word\"3" + "string""#);
        assert_eq!(
            literals.hide(
                r#"or write .a, err = "hunter2" + "pass word\"3" (received pass word"3, expected a string)"#
            ),
            r#"or write .a, err = "*******" + "************" (received ***********, expected a string)"#
        );
    }
}
