//! Texts with gaps that each event fills: `{{ path }}` is a field, `%Y` and the like are the event's time.
//!
//! What a template means and what it renders to is Vector's (`src/template.rs` at 0.56.0).

use std::fmt::{self, Write as _};

use chrono::Utc;
use chrono::format::{Item, StrftimeItems};
use serde::Deserialize;
use vrl::path::{OwnedTargetPath, PathPrefix, parse_target_path};
use vrl::value::Value;

use super::event::LogEvent;

/// The field with an event's time, as Vector's `log_schema` has it by default.
pub(crate) const TIMESTAMP: &str = "timestamp";

/// A template, parsed once.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Time(Vec<Item<'static>>),
    Field { name: String, path: OwnedTargetPath },
}

/// A text that is not a template. Quotes nothing of it: a text in the wrong place can be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// What stands between the braces is no path.
    #[error("not a template: what stands between `{{{{` and `}}}}` is no path of a field")]
    Path,
    /// A `%` with something behind it that is no time format.
    #[error("not a template: there is a `%` that begins no time format")]
    Time,
}

/// The event lacks fields that the template asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingFields<'a>(Vec<&'a str>);

impl fmt::Display for MissingFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("missing fields on event: ")?;
        for (at, name) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for a path or a time format that does not parse.
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some((before, inside, after)) = next_reference(rest) {
            if !before.is_empty() {
                parts.push(literal(before)?);
            }
            let name = inside.trim();
            let path = parse_target_path(name).map_err(|_| TemplateError::Path)?;
            parts.push(Part::Field {
                name: name.to_owned(),
                path,
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(literal(rest)?);
        }
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }

    /// The text as written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether events can make a difference to what it renders to.
    pub(crate) fn is_dynamic(&self) -> bool {
        // Literals are never neighbours, so a template of one literal is the only one without a gap.
        !matches!(self.parts.as_slice(), [] | [Part::Literal(_)])
    }

    /// The fields that it asks for, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &OwnedTargetPath> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field { path, .. } => Some(path),
            Part::Literal(_) | Part::Time(_) => None,
        })
    }

    /// Appends the text for `event` to `out`.
    ///
    /// # Errors
    ///
    /// [`MissingFields`] names every field that the event lacks; `out` is then as it was.
    pub(crate) fn render(
        &self,
        event: &LogEvent,
        out: &mut String,
    ) -> Result<(), MissingFields<'_>> {
        let start = out.len();
        let mut missing = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Time(items) => {
                    let time = timestamp(&event.value).copied().unwrap_or_else(Utc::now);
                    // Writing into a `String` fails only if an item cannot be formatted, and none of those parses.
                    let _ = write!(out, "{}", time.format_with_items(items.iter()));
                }
                Part::Field { name, path } => match get(event, path) {
                    Some(value) => push_value(value, out),
                    None => missing.push(name.as_str()),
                },
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        out.truncate(start);
        Err(MissingFields(missing))
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(source: String) -> Result<Self, Self::Error> {
        Self::parse(&source)
    }
}

/// The event's own time, if it has one that is a time.
pub(crate) fn timestamp(event: &Value) -> Option<&chrono::DateTime<Utc>> {
    event.as_object()?.get(TIMESTAMP)?.as_timestamp()
}

/// A field of the event, or of its metadata.
pub(crate) fn get<'a>(event: &'a LogEvent, path: &OwnedTargetPath) -> Option<&'a Value> {
    match path.prefix {
        PathPrefix::Event => event.value.get(&path.path),
        PathPrefix::Metadata => event.metadata.get(&path.path),
    }
}

/// Takes a field out of the event, or out of its metadata.
pub(crate) fn remove(event: &mut LogEvent, path: &OwnedTargetPath) {
    let side = match path.prefix {
        PathPrefix::Event => &mut event.value,
        PathPrefix::Metadata => &mut event.metadata,
    };
    side.remove(&path.path, false);
}

fn push_value(value: &Value, out: &mut String) {
    match value {
        // The usual case, without the detour over a `Cow`.
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => out.push_str(text),
            Err(_) => out.push_str(&value.to_string_lossy()),
        },
        other => out.push_str(&other.to_string_lossy()),
    }
}

/// Splits at the first `{{...}}`, whose inside has at least one character and no `}`: what stands before it, in it, behind it.
fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find("{{") {
        let open = from + found;
        let inside = text.get(open + 2..)?;
        let close = inside.find('}')?;
        if close > 0 && inside.get(close..)?.starts_with("}}") {
            return Some((
                text.get(..open)?,
                inside.get(..close)?,
                inside.get(close + 2..)?,
            ));
        }
        from = open + 1;
    }
    None
}

fn literal(text: &str) -> Result<Part, TemplateError> {
    let items = StrftimeItems::new(text)
        .parse_to_owned()
        .map_err(|_| TemplateError::Time)?;
    let is_time = items
        .iter()
        .any(|item| matches!(item, Item::Fixed(_) | Item::Numeric(..)));
    Ok(if is_time {
        Part::Time(items)
    } else {
        // As written: `%%` stays two signs where nothing else makes the text a time format.
        Part::Literal(text.to_owned())
    })
}

#[cfg(test)]
mod tests;
