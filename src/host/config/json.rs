//! JSON, read as Vector reads it (by serde_json), with the place of every value.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::problem::Problem;
use super::tree::{Key, MAX_DEPTH, MAX_VALUES, Node, Place, Tree, Value, at};

/// Reads a text in which variables are put in already.
///
/// # Errors
///
/// The first place that is no JSON; or everything that JSON has and TOML has not.
pub(super) fn parse(text: &str) -> Result<Tree, Vec<Problem>> {
    let reader = Reader::new(text);
    let root: &RawValue = serde_json::from_str(text).map_err(|error| {
        // The parser's messages are fixed texts: they repeat nothing of the file.
        let place = Place {
            line: error.line().max(1),
            column: error.column().max(1),
        };
        vec![at(place, format!("not JSON: {}", without_place(&error)))]
    })?;
    let mut left = MAX_VALUES;
    Tree::new(reader.node(root, 0, &mut left)?)
}

struct Reader<'t> {
    text: &'t str,
    /// Where each line but the first begins, in bytes.
    lines: Vec<usize>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            lines: memchr::memchr_iter(b'\n', text.as_bytes())
                .map(|end| end + 1)
                .collect(),
        }
    }

    /// Reads a value and what is in it. Every level is scanned once more, which the bound on levels bounds.
    fn node(
        &self,
        raw: &'t RawValue,
        depth: usize,
        left: &mut usize,
    ) -> Result<Node, Vec<Problem>> {
        let place = self.place(raw);
        let refuse = |message: String| vec![at(place, message)];
        if depth > MAX_DEPTH {
            return Err(refuse(format!(
                "nested more than {MAX_DEPTH} levels deep; no option is"
            )));
        }
        *left = left
            .checked_sub(1)
            .ok_or_else(|| refuse(format!("more than {MAX_VALUES} values in one file")))?;
        let json = raw.get();
        let wrong =
            |error: serde_json::Error| refuse(format!("not JSON: {}", without_place(&error)));
        let value = match json.as_bytes().first() {
            Some(b'{') => {
                let Entries(entries) = serde_json::from_str(json).map_err(wrong)?;
                let entries = entries.into_iter().map(|(key, value)| {
                    let key = Key {
                        place: self.place(key),
                        text: serde_json::from_str(key.get()).map_err(wrong)?,
                    };
                    Ok((key, self.node(value, depth + 1, left)?))
                });
                Value::Table(entries.collect::<Result<_, Vec<Problem>>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(json).map_err(wrong)?;
                let items = items
                    .into_iter()
                    .map(|item| self.node(item, depth + 1, left));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::Text(serde_json::from_str(json).map_err(wrong)?),
            Some(b't') => Value::Boolean(true),
            Some(b'f') => Value::Boolean(false),
            Some(b'n') | None => Value::Null,
            Some(_) => {
                let number: serde_json::Number = serde_json::from_str(json).map_err(wrong)?;
                match (number.as_i64(), number.is_u64(), number.as_f64()) {
                    (Some(integer), _, _) => Value::Number(integer.to_string()),
                    (None, false, Some(float)) => Value::Number(format!("{float:?}")),
                    _ => {
                        return Err(refuse(format!(
                            "a number above {}, the largest here",
                            i64::MAX
                        )));
                    }
                }
            }
        };
        Ok(Node { place, value })
    }

    fn place(&self, raw: &RawValue) -> Place {
        // A raw value is a part of the text.
        let start = raw.get().as_ptr().addr() - self.text.as_ptr().addr();
        let before = self.lines.partition_point(|line| *line <= start);
        let line_start = before
            .checked_sub(1)
            .and_then(|before| self.lines.get(before))
            .copied()
            .unwrap_or(0);
        let column = self
            .text
            .get(line_start..start)
            .map_or(0, |text| text.chars().count());
        Place {
            line: 1 + before,
            column: 1 + column,
        }
    }
}

/// The message alone; the place is said in our own way.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

/// The entries of an object as they stand, each with its text.
struct Entries<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
