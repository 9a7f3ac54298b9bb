//! What YAML and JSON are read into, and how it becomes the same tables as TOML.
//!
//! Vector turns every file into a TOML table before it looks at anything, so the three forms mean the same. Here too: one
//! reader of tables, one set of messages. What TOML has no word for (`null`, keys that are no strings, numbers above 63 bits)
//! is refused as Vector refuses it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use crate::shown;

/// Tables and lists stand at most this deep in each other; no option stands deeper than ten.
pub(super) const MAX_DEPTH: usize = 64;
/// A file has at most so many values, those that aliases repeat included. The shipped configurations have 100.
pub(super) const MAX_VALUES: usize = 100_000;

/// A place in the text, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    /// As TOML writes it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// A document whose values are numbered in the order of the text, so that a range of numbers stands for a place, as a range of
/// bytes does in TOML. (Values that came through an alias have the place of what they repeat, so bytes would not do.)
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Vec<(Key, Node)>,
    places: Vec<Place>,
}

impl Node {
    fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing (null)",
            Value::Boolean(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Table(_) => "a mapping",
        }
    }
}

impl Tree {
    /// Takes a document.
    ///
    /// # Errors
    ///
    /// A document that is no table; a key that stands twice; `null`.
    pub(super) fn new(root: Node) -> Result<Self, Vec<Problem>> {
        let place = root.place;
        let entries = match root.value {
            Value::Table(entries) => entries,
            // A file of comments.
            Value::Null => Vec::new(),
            _ => {
                return Err(vec![at(
                    place,
                    format!(
                        "the file must hold `sources`, `transforms` and `sinks`, found {}",
                        root.kind()
                    ),
                )]);
            }
        };
        let mut problems = Vec::new();
        check_table(&entries, &mut Vec::new(), &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut places = Vec::new();
        number_table(&entries, &mut places);
        Ok(Self {
            root: entries,
            places,
        })
    }

    /// The place of a number.
    pub(super) fn place(&self, number: usize) -> Option<Place> {
        self.places.get(number).copied()
    }

    /// The document as TOML's table.
    ///
    /// # Errors
    ///
    /// Numbers that TOML does not have.
    pub(super) fn table(&self) -> Result<(DeTable<'_>, Range<usize>), Vec<Problem>> {
        let mut next = 0;
        let table = convert_table(&self.root, &mut next)?;
        Ok((table, 0..next))
    }
}

pub(super) fn at(place: Place, message: impl Into<String>) -> Problem {
    Problem::general(message)
        .at(place.line)
        .in_column(place.column)
}

/// The whole name of an option, as far as its keys look like names.
fn shown(path: &[&str]) -> String {
    let names: Vec<Cow<'_, str>> = path.iter().map(|key| shown::name(key)).collect();
    names.join(".")
}

fn check_table<'n>(
    entries: &'n [(Key, Node)],
    path: &mut Vec<&'n str>,
    problems: &mut Vec<Problem>,
) {
    let mut seen = BTreeSet::new();
    for (key, node) in entries {
        path.push(&key.text);
        if !seen.insert(&key.text) {
            problems.push(at(
                key.place,
                format!("`{}` stands here twice; keep one of them", shown(path)),
            ));
        }
        check(node, path, problems);
        path.pop();
    }
}

fn check<'n>(node: &'n Node, path: &mut Vec<&'n str>, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Null => problems.push(at(
            node.place,
            format!(
                "`{}` is empty (null); give it a value, or leave it out",
                shown(path)
            ),
        )),
        Value::List(items) => {
            for item in items {
                check(item, path, problems);
            }
        }
        Value::Table(entries) => check_table(entries, path, problems),
        Value::Boolean(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

/// Gives numbers in the same order as [`convert_table`].
fn number_table(entries: &[(Key, Node)], places: &mut Vec<Place>) {
    for (key, node) in entries {
        places.push(key.place);
        number(node, places);
    }
}

fn number(node: &Node, places: &mut Vec<Place>) {
    places.push(node.place);
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| number(item, places)),
        Value::Table(entries) => number_table(entries, places),
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

fn convert_table<'n>(
    entries: &'n [(Key, Node)],
    next: &mut usize,
) -> Result<DeTable<'n>, Vec<Problem>> {
    let mut table = DeTable::new();
    for (key, node) in entries {
        let key = Spanned::new(*next..*next + 1, Cow::Borrowed(key.text.as_str()));
        *next += 1;
        table.insert(key, convert(node, next)?);
    }
    Ok(table)
}

fn convert<'n>(node: &'n Node, next: &mut usize) -> Result<Spanned<DeValue<'n>>, Vec<Problem>> {
    let start = *next;
    *next += 1;
    let value = match &node.value {
        // Refused by `check`; an empty text would not be wrong in a worse way.
        Value::Null => DeValue::String(Cow::Borrowed("")),
        Value::Boolean(value) => DeValue::Boolean(*value),
        Value::Number(text) => DeValue::parse(text)
            .map_err(|_| vec![at(node.place, "a number that TOML does not have")])?
            .into_inner(),
        Value::Text(text) => DeValue::String(Cow::Borrowed(text)),
        Value::List(items) => DeValue::Array(
            items
                .iter()
                .map(|item| convert(item, next))
                .collect::<Result<_, _>>()?,
        ),
        Value::Table(entries) => DeValue::Table(convert_table(entries, next)?),
    };
    Ok(Spanned::new(start..*next, value))
}
