//! A document, and how its tables become structs: every mistake is found, with its line, and no value is repeated.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::nearest::did_you_mean;
use super::problem::Problem;
use super::tree::Tree;
use super::vector_options;
use crate::host::USE_VECTOR;
use crate::shown;

/// Who owns a table: what it is called in messages, and where Vector's own names for it are looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'t> {
    /// `source`, `transform` or `sink`; empty for the file as a whole.
    pub(super) kind: &'static str,
    /// The component id.
    pub(super) id: &'t str,
    /// The component type.
    pub(super) component_type: &'t str,
}

impl Owner<'_> {
    /// A problem of the component, or of the file.
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        if self.kind.is_empty() {
            Problem::general(message)
        } else {
            Problem::of(component_name(self.kind, self.id), message)
        }
    }
}

/// What a component is called in messages.
pub(crate) fn component_name(kind: &str, id: &str) -> String {
    format!("{kind} \"{id}\"")
}

/// A table with its place in the text.
#[derive(Clone, Debug)]
pub(super) struct Table<'t> {
    pub(super) entries: DeTable<'t>,
    pub(super) span: Range<usize>,
}

/// The file that messages point into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'t> {
    source: Source<'t>,
}

/// What the ranges of values count.
#[derive(Clone, Copy, Debug)]
enum Source<'t> {
    /// TOML: bytes of this text.
    Text(&'t str),
    /// YAML or JSON: values of this tree.
    Tree(&'t Tree),
}

impl<'t> Document<'t> {
    /// A text in TOML.
    pub(super) fn toml(text: &'t str) -> Self {
        Self {
            source: Source::Text(text),
        }
    }

    /// What YAML or JSON were read into.
    pub(super) fn tree(tree: &'t Tree) -> Self {
        Self {
            source: Source::Tree(tree),
        }
    }

    /// The table at the top.
    ///
    /// # Errors
    ///
    /// Every place that is no TOML. The parser's own rendering would quote the line, which may hold a token.
    pub(super) fn parse(self) -> Result<Table<'t>, Vec<Problem>> {
        let text = match self.source {
            Source::Text(text) => text,
            Source::Tree(tree) => {
                let (entries, span) = tree.table()?;
                return Ok(Table { entries, span });
            }
        };
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Table {
                span: root.span(),
                entries: root.into_inner(),
            });
        }
        Err(errors
            .iter()
            .map(|error| {
                let problem = Problem::general(format!("not TOML: {}", error.message()));
                match error.span() {
                    Some(span) => problem
                        .at(self.line(span.start))
                        .in_column(column(text, span.start)),
                    None => problem,
                }
            })
            .collect())
    }

    /// The line of a place, from 1.
    pub(super) fn line(self, at: usize) -> usize {
        match self.source {
            Source::Text(text) => {
                let before = text.as_bytes().get(..at).unwrap_or_default();
                1 + memchr::memchr_iter(b'\n', before).count()
            }
            Source::Tree(tree) => tree.place(at).map_or(1, |place| place.line),
        }
    }

    /// Takes a value for a table, or says that it is none.
    pub(super) fn table(
        self,
        owner: Owner<'_>,
        key: &str,
        value: Spanned<DeValue<'t>>,
    ) -> Result<Table<'t>, Problem> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(entries) => Ok(Table { entries, span }),
            other => Err(owner
                .problem(format!(
                    "`{key}` must be a table, found {}",
                    a(other.type_str())
                ))
                .at(self.line(span.start))),
        }
    }

    /// Reads one entry of a table and takes it out.
    pub(super) fn take<T: Deserialize<'t>>(
        self,
        owner: Owner<'_>,
        table: &mut Table<'t>,
        key: &str,
    ) -> Result<Option<T>, Problem> {
        #[cfg(test)]
        super::tests::options::note::<T>(owner.kind, owner.component_type, Some(key));
        let Some((name, value)) = table.entries.remove_entry(key) else {
            return Ok(None);
        };
        let fallback = value.span();
        T::deserialize(ValueDeserializer::from(value.clone()))
            .map(Some)
            .map_err(|error| {
                let mut alone = DeTable::new();
                alone.insert(name, value);
                let span = error.span().unwrap_or(fallback);
                let path = path_to(&alone, &span).unwrap_or_else(|| vec![key.to_owned()]);
                self.problem(owner, &error, &path, span.start)
            })
    }

    /// Reads a whole table.
    ///
    /// # Errors
    ///
    /// Every entry that does not fit. Deserialization stops at the first one, so it is repeated without what was found.
    pub(super) fn read<T: Deserialize<'t>>(
        self,
        owner: Owner<'_>,
        table: Table<'t>,
    ) -> Result<T, Vec<Problem>> {
        #[cfg(test)]
        super::tests::options::note::<T>(owner.kind, owner.component_type, None);
        let Table { mut entries, span } = table;
        let mut problems = Vec::new();
        loop {
            let value = Spanned::new(span.clone(), DeValue::Table(entries.clone()));
            let error = match T::deserialize(ValueDeserializer::from(value)) {
                Ok(result) if problems.is_empty() => return Ok(result),
                Ok(_) => return Err(problems),
                Err(error) => error,
            };
            let path = error
                .span()
                .and_then(|span| path_to(&entries, &span))
                .unwrap_or_default();
            let at = error.span().map_or(span.start, |span| span.start);
            let removed = path
                .first()
                .is_some_and(|key| entries.remove(key.as_str()).is_some());
            if removed {
                problems.push(self.problem(owner, &error, &path, at));
                continue;
            }
            // An option may be missing only because it was found wrong before.
            if problems.is_empty() || !error.message().starts_with("missing field") {
                problems.push(self.problem(owner, &error, &path, at));
            }
            return Err(problems);
        }
    }

    fn problem(
        self,
        owner: Owner<'_>,
        error: &toml::de::Error,
        path: &[String],
        at: usize,
    ) -> Problem {
        owner
            .problem(explain(owner, error.message(), path))
            .at(self.line(at))
    }
}

/// The column of a byte, from 1, in characters.
fn column(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or(before);
    1 + line.chars().count()
}

/// The keys that lead to a place.
fn path_to(entries: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    entries.iter().find_map(|(key, value)| {
        let name = || key.get_ref().clone().into_owned();
        if within(&key.span(), span) {
            return Some(vec![name()]);
        }
        // The span of a table is that of its header; its entries may stand elsewhere.
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(rest) = path_to(inner, span)
        {
            return Some(std::iter::once(name()).chain(rest).collect());
        }
        within(&value.span(), span).then(|| vec![name()])
    })
}

fn within(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Says in our words what the deserializer found, without the values it quotes: they may be secrets.
fn explain(owner: Owner<'_>, message: &str, path: &[String]) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (name, expected) = split_quoted(rest);
        let table: Vec<&str> = match path {
            [table @ .., last] if last == name => table.iter().map(String::as_str).collect(),
            table => table.iter().map(String::as_str).collect(),
        };
        let near = did_you_mean(name, expected.split('`').skip(1).step_by(2));
        let known = vector_options::option(owner.kind, owner.component_type, &table, name);
        let last = if known || !near.is_empty() {
            Cow::Borrowed(name)
        } else {
            shown::name(name)
        };
        let full = joined(table.iter().copied(), &last);
        return if known {
            format!(
                "option `{full}`: Vector has it, this program does not; remove it, or {USE_VECTOR}"
            )
        } else if expected.starts_with("expected") {
            format!("unknown option `{full}`{near}, {expected}")
        } else {
            format!("unknown option `{full}`: there are none here")
        };
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        let (name, _) = split_quoted(rest);
        let full = joined(path.iter().map(String::as_str), name);
        return format!("option `{full}` is missing");
    }
    let option = if path.is_empty() {
        String::new()
    } else {
        let names: Vec<Cow<'_, str>> = path.iter().map(|name| shown::name(name)).collect();
        format!("option `{}`: ", names.join("."))
    };
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (name, expected) = split_quoted(rest);
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        return if vector_options::option(owner.kind, owner.component_type, &keys, name) {
            format!(
                "{option}Vector has `{name}`, this program does not, {expected}; or {USE_VECTOR}"
            )
        } else {
            let near = did_you_mean(name, expected.split('`').skip(1).step_by(2));
            let name = if near.is_empty() {
                shown::name(name)
            } else {
                Cow::Borrowed(name)
            };
            format!("{option}unknown value `{name}`{near}, {expected}")
        };
    }
    for prefix in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(prefix)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let is_long = found.ends_with("128");
            let found = found.split([' ', '`', '"']).next().unwrap_or_default();
            let found = match (prefix, found) {
                (_, "integer") if is_long => "a larger one than there is".to_owned(),
                (_, "sequence") => "an array".to_owned(),
                (_, "map") => "a table".to_owned(),
                (_, "floating") => "a number with a fraction".to_owned(),
                ("invalid value: ", "integer") => "a number outside of that".to_owned(),
                ("invalid value: ", kind) => format!("another {kind}"),
                (_, kind) => a(kind),
            };
            let expected = match expected {
                "a sequence" => "an array",
                "a map" => "a table",
                "path string" => "a path",
                "f64" | "f32" => "a number",
                "u64" | "u32" | "u16" | "usize" => "a whole number from 0",
                "i64" | "i32" => "a whole number",
                "a nonzero u64" | "a nonzero u32" | "a nonzero usize" => "a whole number from 1",
                other => other,
            };
            return format!("{option}expected {expected}, found {found}");
        }
    }
    format!("{option}{message}")
}

/// The whole name of an option. The keys that lead to it may be the user's own.
fn joined<'n>(table: impl Iterator<Item = &'n str>, last: &str) -> String {
    let mut full = String::new();
    for key in table {
        full.push_str(&shown::name(key));
        full.push('.');
    }
    full + last
}

/// Splits `` `name`, rest `` into name and rest.
fn split_quoted(text: &str) -> (&str, &str) {
    let text = text.strip_prefix('`').unwrap_or(text);
    match text.split_once('`') {
        Some((name, rest)) => (name, rest.trim_start_matches(", ")),
        None => (text, ""),
    }
}

fn a(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}
