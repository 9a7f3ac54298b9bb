//! YAML, read as Vector 0.56.0 reads it (by serde_yaml 0.9): what a plain word means, aliases, and `<<`.
//!
//! The grammar is the parser's (YAML 1.2). What a word means is decided here, since Vector's crate is no longer maintained and
//! its rules are neither those of YAML 1.1 nor quite those of 1.2:
//!
//! | text | is |
//! |---|---|
//! | `true`, `True`, `TRUE`, and the same of `false` | a boolean; `yes`, `no`, `on`, `off` are strings |
//! | `17`, `+17`, `-17`, `0x1f`, `0o17`, `0b11` | an integer; `017` and `1_000` are strings |
//! | `1.5`, `.5`, `1e3`, `.inf`, `-.inf`, `.nan` | a float |
//! | nothing, `~`, `null`, `Null`, `NULL` | nothing, which no option takes |
//! | `2026-01-31`, and anything else | a string |

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::problem::Problem;
use super::tree::{Key, MAX_DEPTH, MAX_VALUES, Node, Place, Tree, Value, at};

/// What stands further to the right is not looked at: it is no indentation, and looking costs time for each value of a line.
const MAX_INDENT: usize = 1024;

/// The key that merges other mappings into the one it stands in.
const MERGE: &str = "<<";

/// Reads a text in which variables are put in already.
///
/// # Errors
///
/// The first place that is no YAML; or everything that YAML has and TOML has not.
pub(super) fn parse(text: &str) -> Result<Tree, Vec<Problem>> {
    let mut composer = Composer {
        lines: text.lines().collect(),
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        left: MAX_VALUES,
    };
    let mut root = composer.document().map_err(|problem| vec![problem])?;
    merge(&mut root)?;
    Tree::new(root)
}

struct Composer<'t> {
    lines: Vec<&'t str>,
    parser: Parser<'t, StrInput<'t>>,
    /// What each anchor stands for, by the parser's number for it.
    anchors: HashMap<usize, Node>,
    /// How many values there may still be.
    left: usize,
}

impl<'t> Composer<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Place), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(span))),
            Some(Err(error)) => Err(not_yaml(&error)),
            None => Ok((Event::StreamEnd, Place::default())),
        }
    }

    /// The one document of the file.
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(at(
                        place,
                        "a second document begins here (`---`), and Vector reads one per file; give each a file of its own",
                    ));
                }
                Event::StreamEnd => {
                    return Ok(root.unwrap_or(Node {
                        place: Place { line: 1, column: 1 },
                        value: Value::Null,
                    }));
                }
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                event => root = Some(self.node(event, place, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Node, Problem> {
        if depth > MAX_DEPTH {
            return Err(at(
                place,
                format!("nested more than {MAX_DEPTH} levels deep; no option is"),
            ));
        }
        self.count(1, place)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref(), place)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), place)?;
                self.refuse_tab(place)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), place)?;
                (self.table(place, depth)?, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    at(
                        place,
                        "an alias (`*name`) stands inside of what it repeats; it would have no end",
                    )
                })?;
                let (values, levels) = size(&node);
                self.count(values, place)?;
                if depth + levels > MAX_DEPTH {
                    return Err(at(
                        place,
                        format!("nested more than {MAX_DEPTH} levels deep; no option is"),
                    ));
                }
                return Ok(node);
            }
            _ => {
                return Err(at(place, "not YAML: a value was expected here"));
            }
        };
        let node = Node { place, value };
        if anchor > 0 {
            // The copy that is kept counts too.
            self.count(size(&node).0, place)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn table(&mut self, start: Place, depth: usize) -> Result<Value, Problem> {
        let mut entries = Vec::new();
        let is_block = self
            .text_from(start)
            .is_none_or(|text| !text.starts_with('{'));
        loop {
            let (event, place) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Table(entries));
            }
            if is_block {
                self.refuse_tab(place)?;
            }
            let key = match self.node(event, place, depth + 1)? {
                Node {
                    value: Value::Text(text),
                    place,
                } => Key { place, text },
                Node {
                    value: Value::Table(_),
                    ..
                } => {
                    return Err(at(
                        place,
                        "a brace begins a mapping, and none can be a key; put a template into quotes, as in \"{{ field }}\"",
                    ));
                }
                _ => {
                    return Err(at(
                        place,
                        "a key must be a string; put it into quotes if it is meant as one",
                    ));
                }
            };
            let (event, place) = self.next()?;
            entries.push((key, self.node(event, place, depth + 1)?));
        }
    }

    /// The rest of a line.
    fn text_from(&self, place: Place) -> Option<&'t str> {
        if place.column > MAX_INDENT {
            return None;
        }
        let line = self.lines.get(place.line.checked_sub(1)?)?;
        let (start, _) = line.char_indices().nth(place.column.checked_sub(1)?)?;
        line.get(start..)
    }

    /// Tabs that indent. YAML forbids them, this parser takes some, and Vector's takes none.
    fn refuse_tab(&self, place: Place) -> Result<(), Problem> {
        let Some(text) = self.text_from(place) else {
            return Ok(());
        };
        let line = self
            .lines
            .get(place.line.wrapping_sub(1))
            .copied()
            .unwrap_or_default();
        let before = line.strip_suffix(text).unwrap_or_default();
        if !text.starts_with(['{', '[']) && before.contains('\t') && before.trim().is_empty() {
            return Err(at(place, "a tab stands before this; indent by blanks"));
        }
        Ok(())
    }

    fn count(&mut self, values: usize, place: Place) -> Result<(), Problem> {
        self.left = self.left.checked_sub(values).ok_or_else(|| {
            at(
                place,
                format!(
                    "more than {MAX_VALUES} values in one file, those that aliases repeat included"
                ),
            )
        })?;
        Ok(())
    }
}

/// How many values a node is, and how many levels deep.
fn size(node: &Node) -> (usize, usize) {
    let children: Vec<&Node> = match &node.value {
        Value::List(items) => items.iter().collect(),
        Value::Table(entries) => entries.iter().map(|(_, node)| node).collect(),
        _ => return (1, 0),
    };
    children
        .into_iter()
        .map(size)
        .fold((1, 1), |(values, levels), (more, deeper)| {
            (values + more, levels.max(deeper + 1))
        })
}

/// Puts what stands under `<<` beside it, in one pass from the outside, as `apply_merge` of Vector's crate does: what stands
/// there already wins, and a `<<` that comes in by a merge is not followed.
fn merge(node: &mut Node) -> Result<(), Vec<Problem>> {
    match &mut node.value {
        Value::Table(entries) => {
            if let Some(place) = entries.iter().position(|(key, _)| key.text == MERGE) {
                let (key, merged) = entries.remove(place);
                if let Some((second, _)) = entries.iter().find(|(key, _)| key.text == MERGE) {
                    return Err(vec![at(
                        second.place,
                        "`<<` stands here twice; name all in one list: `<<: [*first, *second]`",
                    )]);
                }
                let sources = match merged.value {
                    Value::List(items) => items,
                    _ => vec![merged],
                };
                for source in sources {
                    let Value::Table(more) = source.value else {
                        return Err(vec![at(
                            key.place,
                            "`<<` takes a mapping or a list of mappings, such as `<<: *name`",
                        )]);
                    };
                    for (key, value) in more {
                        if key.text == MERGE {
                            return Err(vec![at(
                                key.place,
                                "this `<<` is merged in by another one, and Vector does not follow it; name both there: \
                                 `<<: [*first, *second]`",
                            )]);
                        }
                        if !entries.iter().any(|(present, _)| present.text == key.text) {
                            entries.push((key, value));
                        }
                    }
                }
            }
            for (_, value) in entries {
                merge(value)?;
            }
        }
        Value::List(items) => {
            for item in items {
                merge(item)?;
            }
        }
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) => {}
    }
    Ok(())
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    place: Place,
) -> Result<Value, Problem> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            return Ok(Value::Text(text.to_owned()));
        }
        tag => refuse_tag(tag, place)?,
    }
    if style != ScalarStyle::Plain {
        return Ok(Value::Text(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Boolean(true),
        "false" | "False" | "FALSE" => Value::Boolean(false),
        _ => match integer(text) {
            Some(integer) => {
                let integer = i64::try_from(integer).map_err(|_| {
                    at(
                        place,
                        format!("a number above {}, the largest here", i64::MAX),
                    )
                })?;
                Value::Number(integer.to_string())
            }
            None => match float(text) {
                Some(float) if float.is_nan() => Value::Number("nan".to_owned()),
                Some(float) => Value::Number(format!("{float:?}")),
                None => Value::Text(text.to_owned()),
            },
        },
    })
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(prefix, radix)| Some((*radix, digits.strip_prefix(prefix)?)));
    let (radix, digits) = prefixed.unwrap_or((10, digits));
    // A sign behind the sign or the prefix, and a leading zero, make it a word.
    if digits.starts_with(['+', '-']) || (radix == 10 && has_leading_zero(digits)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn float(text: &str) -> Option<f64> {
    let digits = match text.strip_prefix('+') {
        Some(digits) if digits.starts_with(['+', '-']) => return None,
        Some(digits) => digits,
        None => text,
    };
    match (digits, text) {
        (".inf" | ".Inf" | ".INF", _) => return Some(f64::INFINITY),
        (_, "-.inf" | "-.Inf" | "-.INF") => return Some(f64::NEG_INFINITY),
        (_, ".nan" | ".NaN" | ".NAN") => return Some(f64::NAN),
        _ => {}
    }
    if has_leading_zero(text.strip_prefix(['-', '+']).unwrap_or(text)) {
        return None;
    }
    // `inf` and `nan` without a dot are words.
    digits.parse().ok().filter(|float: &f64| float.is_finite())
}

/// `007`, but not `0` and not `0.5`.
fn has_leading_zero(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn refuse_tag(tag: Option<&Tag>, place: Place) -> Result<(), Problem> {
    match tag {
        None => Ok(()),
        Some(_) => Err(at(
            place,
            "tags (`!name`) are not understood here, but for `!!str`; remove it",
        )),
    }
}

fn place(span: Span) -> Place {
    of(&span.start)
}

fn of(marker: &Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

fn not_yaml(error: &ScanError) -> Problem {
    // The parser's messages are fixed texts, but for one that shows a single character.
    at(of(error.marker()), format!("not YAML: {}", error.info()))
}

#[cfg(test)]
mod tests;
