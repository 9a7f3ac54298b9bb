//! `${VAR}` in a configuration file, read as Vector 0.56.0 reads it: on the whole text, comments included.
//!
//! | text | result |
//! |---|---|
//! | `$NAME`, `${NAME}` | the value; an error without one |
//! | `${NAME:-text}`, `${NAME-text}` | `text` where the variable is not set; with `:`, also where it is empty |
//! | `${NAME:?text}`, `${NAME?text}` | an error with `text` in the same cases |
//! | `$$` | a literal `$` |
//!
//! Names are made of ASCII letters, digits, `_` and `.`. What looks like none of these stays as it is. `text` ends at the first
//! `}` and is taken literally, so nothing nests. A value with a line break is refused, even where there is a default.

use secrecy::{ExposeSecret as _, SecretString};

/// A shorter value is not looked for in messages (bytes): it is no secret.
const MIN_HIDDEN_BYTES: usize = 3;

/// A shorter value is looked for as a word of its own only (bytes): it would be found in ordinary words.
const MIN_PART_BYTES: usize = 6;

/// Values that are no secrets, and are words of messages.
const NO_SECRETS: [&str; 2] = ["true", "false"];

/// A text with its variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Interpolated {
    pub(super) text: String,
    /// What the environment has put in.
    pub(super) hidden: Hidden,
}

/// The values that came from the environment: any of them may be a secret, and none is to be seen in a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden(Vec<(String, SecretString)>);

impl Hidden {
    /// The text with `${NAME}` where it held the value.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.0 {
            let value = value.expose_secret();
            let shown = format!("${{{name}}}");
            // A message may have it in the form of a text of Rust or JSON.
            let debugged = format!("{value:?}");
            let debugged = debugged.trim_matches('"');
            for value in [value, debugged] {
                if value.len() >= MIN_PART_BYTES {
                    text = text.replace(value, &shown);
                } else {
                    text = with_word(&text, value, &shown);
                }
            }
        }
        text
    }

    /// Takes the values of another file too.
    pub(super) fn extend(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.add(&name, value.expose_secret());
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        let known = self.0.iter().any(|(known, _)| known == name);
        if value.len() < MIN_HIDDEN_BYTES || NO_SECRETS.contains(&value) || known {
            return;
        }
        self.0.push((name.to_owned(), value.into()));
        // One value may be a part of another.
        self.0
            .sort_by_key(|(_, value)| std::cmp::Reverse(value.expose_secret().len()));
    }
}

/// The text with `shown` in the place of `word`, where that is no part of a longer word.
fn with_word(text: &str, word: &str, shown: &str) -> String {
    let is_of_a_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut result = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        let (before, after) = (&text[..at], &text[end..]);
        if !before.ends_with(is_of_a_word) && !after.starts_with(is_of_a_word) {
            result.push_str(&text[copied..at]);
            result.push_str(shown);
            copied = end;
        }
    }
    result.push_str(&text[copied..]);
    result
}

/// A variable that could not be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Where the `$` stands, in bytes.
    pub(super) at: usize,
    /// What is wrong and what to do. Never holds a value.
    pub(super) message: String,
}

/// What follows the name in braces.
#[derive(Clone, Copy)]
enum Rule<'t> {
    Required,
    Default { text: &'t str, also_empty: bool },
    Refuse { text: &'t str, also_empty: bool },
}

/// Puts variables in.
///
/// # Errors
///
/// Every variable that is missing or unfit, in the order of the text.
pub(super) fn interpolate(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Interpolated, Vec<Missing>> {
    let mut hidden = Hidden::default();
    let mut result = String::with_capacity(text.len());
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(place);
        result.push_str(before);
        let at = text.len() - from_dollar.len();
        let after = &from_dollar[1..];
        if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, rule, after)) = reference(after) {
            match resolve(name, rule, env) {
                Ok(Value::Variable(value)) => {
                    hidden.add(name, &value);
                    result.push_str(&value);
                }
                Ok(Value::Default(text)) => result.push_str(text),
                Err(message) => missing.push(Missing { at, message }),
            }
            rest = after;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    if missing.is_empty() {
        Ok(Interpolated {
            text: result,
            hidden,
        })
    } else {
        Err(missing)
    }
}

/// Reads what follows a `$`: the name, the rule, and the text behind. `None` when it is no reference.
fn reference(text: &str) -> Option<(&str, Rule<'_>, &str)> {
    let Some(inner) = text.strip_prefix('{') else {
        let (name, after) = split_name(text)?;
        return Some((name, Rule::Required, after));
    };
    let (name, inner) = split_name(inner)?;
    if let Some(after) = inner.strip_prefix('}') {
        return Some((name, Rule::Required, after));
    }
    let (also_empty, inner) = match inner.strip_prefix(':') {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    let mut chars = inner.chars();
    let operator = chars.next()?;
    let (text, after) = chars.as_str().split_once('}')?;
    let rule = match operator {
        '-' => Rule::Default { text, also_empty },
        '?' => Rule::Refuse { text, also_empty },
        _ => return None,
    };
    Some((name, rule, after))
}

fn split_name(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What is put in, and where it comes from.
enum Value<'t> {
    Variable(String),
    Default(&'t str),
}

fn resolve<'t>(
    name: &str,
    rule: Rule<'t>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Value<'t>, String> {
    let value = env(name);
    if value.as_deref().is_some_and(|v| v.contains(['\n', '\r'])) {
        return Err(format!(
            "environment variable {name} contains a line break, which a configuration file cannot take; put the value into a \
             file and use an option that reads files"
        ));
    }
    match (rule, value) {
        (Rule::Required, Some(value)) => Ok(Value::Variable(value)),
        (Rule::Required, None) => Err(format!(
            "environment variable {name} is not set; set it, write ${{{name}:-default}}, or $$ for a literal $"
        )),
        (Rule::Default { also_empty, .. } | Rule::Refuse { also_empty, .. }, Some(value))
            if !(also_empty && value.is_empty()) =>
        {
            Ok(Value::Variable(value))
        }
        (Rule::Default { text, .. }, _) => Ok(Value::Default(text)),
        (Rule::Refuse { text, also_empty }, _) => {
            let state = if also_empty {
                "is not set, or empty"
            } else {
                "is not set"
            };
            Err(format!("environment variable {name} {state}: {text}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value"),
            "SETTER" => Some("longer"),
            "JAVA.NAME" => Some("dotted"),
            "EMPTY" => Some(""),
            "LINES" => Some("one\ntwo"),
            "RETURN" => Some("one\rtwo"),
            _ => None,
        }
        .map(str::to_owned)
    }

    #[test]
    fn forms_give_what_vector_gives() {
        for (text, expected) in [
            ("${SET}", "value"),
            ("$SET", "value"),
            ("a${SET}b", "avalueb"),
            ("$SET=x", "value=x"),
            ("$SETTER ${SETTER}", "longer longer"),
            ("${JAVA.NAME} $JAVA.NAME", "dotted dotted"),
            ("${UNSET:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${UNSET-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${UNSET:-}", ""),
            ("${UNSET:-dogs and cats}", "dogs and cats"),
            ("${SET:-d}", "value"),
            ("${SET:?no}", "value"),
            ("${SET?no}", "value"),
            ("${EMPTY?no}", ""),
            ("$$SET", "$SET"),
            ("$${SET}", "${SET}"),
            ("$$$SET", "$value"),
            // Not nested: the default ends at the first brace.
            ("${UNSET:-${SET}}", "${SET}"),
            ("$ x", "$ x"),
            ("${SET x", "${SET x"),
            ("${SET:+x}", "${SET:+x}"),
            ("${}", "${}"),
            ("${:-x}", "${:-x}"),
            ("$", "$"),
            ("ä$SET", "ävalue"),
            ("${UNSET:-ü}", "ü"),
        ] {
            assert_eq!(
                interpolate(text, &env).map(|done| done.text).as_deref(),
                Ok(expected),
                "for {text}"
            );
        }
    }

    #[test]
    fn what_the_environment_gave_is_hidden_in_messages() {
        let env = |name: &str| {
            Some(match name {
                "LONG" => "hunter2-and-more".to_owned(),
                "SHORT" => "1234".to_owned(),
                _ => "hunter2".to_owned(),
            })
        };
        let done = interpolate("$SECRET ${LONG:-d} $SHORT ${GONE:-default-text}", &|name| {
            (name != "GONE").then(|| env(name)).flatten()
        })
        .unwrap();
        assert_eq!(
            done.hidden
                .hide("a hunter2 and a hunter2-and-more, 1234, 12345, default-text"),
            "a ${SECRET} and a ${LONG}, ${SHORT}, 12345, default-text"
        );
        assert!(
            !format!("{done:?}")
                .replace(&done.text, "")
                .contains("hunter2")
        );
    }

    #[test]
    fn every_unfit_variable_is_named() {
        for (text, name, part) in [
            ("$UNSET", "UNSET", "is not set; set it"),
            ("${UNSET}", "UNSET", "${UNSET:-default}"),
            ("x$SETy", "SETy", "is not set"),
            ("$NOT-SET", "NOT", "is not set"),
            ("${UNSET:?give one}", "UNSET", "give one"),
            ("${UNSET?give one}", "UNSET", "give one"),
            ("${EMPTY:?give one}", "EMPTY", "not set, or empty: give one"),
            ("$LINES", "LINES", "line break"),
            ("${RETURN:-d}", "RETURN", "line break"),
            ("# ${UNSET} in a comment", "UNSET", "is not set"),
        ] {
            let missing = interpolate(text, &env).unwrap_err();
            assert_eq!(missing.len(), 1, "for {text}");
            assert!(
                missing[0].message.contains(name) && missing[0].message.contains(part),
                "for {text}: {}",
                missing[0].message
            );
            assert!(!missing[0].message.contains("one\n"), "shows a value");
        }
        let missing = interpolate("a $A\nb ${B}", &env).unwrap_err();
        assert_eq!(missing.iter().map(|m| m.at).collect::<Vec<_>>(), vec![2, 7]);
    }
}
