//! What identifies an event's stream, and what is attached to its line.

mod expansion;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::host::event::LogEvent;
use crate::host::template::{MissingFields, Template};
use crate::loki_push::Pair;

use super::telemetry::Telemetry;
use expansion::Fields;

/// Sets of labels remembered. A configuration that makes more has too many streams for Loki anyway; then all are forgotten and
/// built again.
const MAX_CACHED_SETS: usize = 4096;

/// Bytes of the length that follows each rendered value in a cache key: 7 bits each.
const LENGTH_DIGITS: usize = 5;

/// The length that stands for a missing field. No value is that long.
const MISSING: usize = (1 << (7 * LENGTH_DIGITS)) - 1;

/// A label that Loki and promtail reserve; Vector's protobuf encoder leaves it out.
const RESERVED: &str = "__tenant_id__";

/// A set of labels, ready to be sent.
#[derive(Debug)]
pub(super) struct LabelSet {
    /// Sorted by name.
    pub(super) pairs: BTreeMap<String, String>,
    /// As LogQL writes it.
    pub(super) text: String,
    /// Nothing was left of the configured labels, so Vector's replacement stands in.
    unlabeled: bool,
}

/// Builds the labels of events, each distinct set once.
#[derive(Debug)]
pub(super) struct Labels {
    templates: Vec<(Template, Template)>,
    /// By what the templates rendered to.
    cache: HashMap<Box<str>, Arc<LabelSet>>,
    /// The cache key of the event at hand, and where in it the keys and values are.
    rendered: String,
    places: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

/// Builds the structured metadata of events.
#[derive(Debug)]
pub(super) struct Metadata {
    templates: Vec<(Template, Template)>,
    /// The names, when none of them is a template and none expands: the usual case, in which pairs cannot collide.
    plain_names: Option<Vec<Bytes>>,
    rendered: String,
}

impl Labels {
    pub(super) fn new(templates: Vec<(Template, Template)>) -> Self {
        Self {
            templates,
            cache: HashMap::new(),
            rendered: String::new(),
            places: Vec::new(),
        }
    }

    /// The labels of `event`. Pairs that cannot be rendered are left out with a warning.
    pub(super) fn of(&mut self, event: &LogEvent, telemetry: &Telemetry) -> Arc<LabelSet> {
        self.rendered.clear();
        self.places.clear();
        for (key, value) in &self.templates {
            let start = self.rendered.len();
            let found = render_counted(key, event, &mut self.rendered)
                .and_then(|key| Ok((key, render_counted(value, event, &mut self.rendered)?)));
            match found {
                Ok((key, value)) => self.places.push(Place { key, value }),
                Err(missing) => {
                    self.rendered.truncate(start);
                    push_length(MISSING, &mut self.rendered);
                    telemetry.pair_failed("label", key.source(), value.source(), &missing);
                }
            }
        }
        let set = match self.cache.get(self.rendered.as_str()) {
            Some(set) => Arc::clone(set),
            None => self.build(telemetry),
        };
        if set.unlabeled {
            telemetry.unlabeled();
        }
        set
    }

    fn build(&mut self, telemetry: &Telemetry) -> Arc<LabelSet> {
        let mut pairs = Merged::default();
        for place in &self.places {
            let text = |range: &Range<usize>| self.rendered.get(range.clone()).unwrap_or_default();
            pairs.add(text(&place.key), text(&place.value), telemetry);
        }
        let set = Arc::new(LabelSet::new(pairs.finish(telemetry)));
        if self.cache.len() >= MAX_CACHED_SETS {
            self.cache.clear();
        }
        self.cache
            .insert(self.rendered.as_str().into(), Arc::clone(&set));
        set
    }
}

impl LabelSet {
    fn new(mut pairs: BTreeMap<String, String>) -> Self {
        let unlabeled = pairs.is_empty();
        if unlabeled {
            pairs.insert("agent".to_owned(), "vector".to_owned());
        }
        let text = text(&pairs);
        Self {
            pairs,
            text,
            unlabeled,
        }
    }
}

// Equal texts are one stream at Loki.
impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.text == other.text
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Metadata {
    pub(super) fn new(templates: Vec<(Template, Template)>) -> Self {
        let plain_names = templates
            .iter()
            .map(|(key, _)| {
                let plain = !key.is_dynamic() && !key.source().ends_with('*');
                plain.then(|| Bytes::copy_from_slice(key.source().as_bytes()))
            })
            .collect();
        Self {
            templates,
            plain_names,
            rendered: String::new(),
        }
    }

    /// The structured metadata of `event`, sorted by name, its text in `arena`. Pairs that cannot be rendered are left out with a
    /// warning.
    pub(super) fn of(
        &mut self,
        event: &LogEvent,
        arena: &mut BytesMut,
        telemetry: &Telemetry,
    ) -> Vec<Pair> {
        let Some(names) = &self.plain_names else {
            return self.merged(event, arena, telemetry);
        };
        let mut pairs = Vec::with_capacity(names.len());
        for ((key, value), name) in self.templates.iter().zip(names) {
            self.rendered.clear();
            match value.render(event, &mut self.rendered) {
                Ok(()) => pairs.push(Pair {
                    name: name.clone(),
                    value: keep(&self.rendered, arena),
                }),
                Err(missing) => left_out(key, value, &missing, telemetry),
            }
        }
        pairs
    }

    fn merged(
        &mut self,
        event: &LogEvent,
        arena: &mut BytesMut,
        telemetry: &Telemetry,
    ) -> Vec<Pair> {
        let mut pairs = Merged::default();
        for (key, value) in &self.templates {
            self.rendered.clear();
            let rendered = key
                .render(event, &mut self.rendered)
                .map(|()| self.rendered.len())
                .and_then(|end| value.render(event, &mut self.rendered).map(|()| end));
            match rendered {
                Ok(end) => {
                    let (key, value) = self.rendered.split_at(end);
                    pairs.add(key, value, telemetry);
                }
                Err(missing) => left_out(key, value, &missing, telemetry),
            }
        }
        pairs
            .finish(telemetry)
            .iter()
            .map(|(name, value)| Pair {
                name: keep(name, arena),
                value: keep(value, arena),
            })
            .collect()
    }
}

/// A pair of structured metadata cannot be rendered.
fn left_out(key: &Template, value: &Template, missing: &MissingFields<'_>, telemetry: &Telemetry) {
    telemetry.pair_failed("structured_metadata", key.source(), value.source(), missing);
}

/// Copies a text into the buffer that the lines of a batch share. A copy, because a slice of the event would keep the whole line
/// alive that the event was read from.
pub(super) fn keep(text: &str, arena: &mut BytesMut) -> Bytes {
    arena.extend_from_slice(text.as_bytes());
    arena.split().freeze()
}

/// Renders a template behind what is in `out`, and its length behind it, so that no two lists of values look alike.
fn render_counted<'a>(
    template: &'a Template,
    event: &LogEvent,
    out: &mut String,
) -> Result<Range<usize>, MissingFields<'a>> {
    let start = out.len();
    template.render(event, out)?;
    let end = out.len();
    push_length(end - start, out);
    Ok(start..end)
}

fn push_length(length: usize, out: &mut String) {
    for digit in 0..LENGTH_DIGITS {
        // Seven bits are one ASCII character.
        let bits = (length >> (7 * digit)) & 0x7f;
        out.push(char::from(u8::try_from(bits).unwrap_or_default()));
    }
}

/// Pairs under construction, by Vector's rules for names that come more than once.
#[derive(Debug, Default)]
struct Merged {
    /// Named in full.
    named: BTreeMap<String, String>,
    /// Made of an object's fields by a name that ends with `*`.
    expanded: BTreeMap<String, String>,
}

impl Merged {
    fn add(&mut self, key: &str, value: &str, telemetry: &Telemetry) {
        let Some(prefix) = key.strip_suffix('*') else {
            self.named.insert(key.to_owned(), value.to_owned());
            return;
        };
        let fields: Fields = match serde_json::from_str(value) {
            Ok(fields) => fields,
            Err(_) => {
                telemetry.expansion_failed(key);
                return;
            }
        };
        for (name, value) in fields.0 {
            // Vector drops what reads like its own rendering of null, be it null or that very text.
            let value = value.to_string_lossy();
            if value != "<null>" {
                self.expanded
                    .insert(slug(prefix, &name), value.into_owned());
            }
        }
    }

    /// A name given in full wins over an expanded one.
    fn finish(mut self, telemetry: &Telemetry) -> BTreeMap<String, String> {
        for (name, value) in self.named {
            if self.expanded.contains_key(&name) {
                telemetry.overridden(&name);
            }
            self.expanded.insert(name, value);
        }
        self.expanded
    }
}

fn slug(prefix: &str, name: &str) -> String {
    prefix
        .chars()
        .chain(name.chars())
        .map(|letter| match letter {
            '0'..='9' | 'A'..='Z' | 'a'..='z' | '_' => letter.to_ascii_lowercase(),
            _ => '_',
        })
        .collect()
}

fn text(pairs: &BTreeMap<String, String>) -> String {
    let mut text = String::from("{");
    for (name, value) in pairs {
        if name == RESERVED {
            continue;
        }
        if text.len() > 1 {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push_str("=\"");
        push_escaped(value, &mut text);
        text.push('"');
    }
    text.push('}');
    text
}

/// Go's escapes, which Loki undoes. Vector writes values as they are: one with a quote makes Loki refuse the whole request, one
/// with a backslash arrives as another value.
fn push_escaped(value: &str, out: &mut String) {
    for letter in value.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
