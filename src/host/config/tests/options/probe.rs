//! Finds the options that a type reads, by deserializing it from tables with an option that it cannot know.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::StringDeserializer,
};

/// What no type has.
const UNKNOWN: &str = "an option that nothing has";
/// Any name, where names are free.
const FREE: &str = "<name>";
/// No option stands deeper.
const MAX_DEPTH: usize = 10;

/// The paths of all options that a `T` reads; an empty one for a value without options of its own. None for what is read only
/// to be refused.
pub(super) fn options<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    explore(&mut Vec::new(), &mut found, &|given| {
        T::deserialize(given).err().unwrap_or(Found::Nothing)
    });
    found
}

/// A name, and what has to stand beside it.
type Step = (&'static str, Vec<(&'static str, &'static str)>);

/// Looks at the table at a path, and into its options.
fn explore(path: &mut Vec<Step>, found: &mut BTreeSet<String>, ask: &dyn Fn(Given) -> Found) {
    if path.len() > MAX_DEPTH {
        return;
    }
    let at = |path: &[Step], own: Vec<(&'static str, &'static str)>| {
        let leaf = table(&own, UNKNOWN, Given::Number);
        path.iter()
            .rev()
            .fold(leaf, |inner, (name, beside)| table(beside, name, inner))
    };
    // `path` holds, with each name, what has to stand beside it: the tag of a tagged enum.
    let variants = |tag| match ask(at(path, vec![(tag, UNKNOWN)])) {
        Found::Fields(variants) => Some((tag, variants)),
        // It is missing further out.
        _ => None,
    };
    let answer = ask(at(path, Vec::new()));
    let tagged = match answer {
        Found::Missing(name) => variants(name),
        _ => None,
    };
    match (answer, tagged) {
        (Found::Ignored, _) => {}
        (Found::Fields(fields), _) => fields.iter().for_each(|field| {
            path.push((field, Vec::new()));
            explore(path, found, ask);
            path.pop();
        }),
        (_, Some((tag, variants))) => {
            found.insert(joined(path, Some(tag)));
            for variant in variants {
                if let Found::Fields(fields) = ask(at(path, vec![(tag, variant)])) {
                    for field in fields {
                        path.push((field, vec![(tag, variant)]));
                        explore(path, found, ask);
                        path.pop();
                    }
                }
            }
        }
        _ => {
            path.push((FREE, Vec::new()));
            let has_options = matches!(ask(at(path, Vec::new())), Found::Fields(_));
            if has_options {
                explore(path, found, ask);
            }
            path.pop();
            if !has_options {
                found.insert(joined(path, None));
            }
        }
    }
}

fn joined(path: &[Step], last: Option<&'static str>) -> String {
    let names: Vec<&str> = path.iter().map(|(name, _)| *name).chain(last).collect();
    names.join(".")
}

fn table(beside: &[(&'static str, &'static str)], name: &str, inner: Given) -> Given {
    let mut entries: Vec<(String, Given)> = beside
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Given::Text((*text).to_owned())))
        .collect();
    entries.push((name.to_owned(), inner));
    Given::Table(entries)
}

/// What a type is given.
#[derive(Clone, Debug)]
enum Given {
    Number,
    Text(String),
    Table(Vec<(String, Given)>),
}

/// What a type says to it.
#[derive(Debug)]
enum Found {
    /// It takes these names in this place.
    Fields(&'static [&'static str]),
    /// It needs this one.
    Missing(&'static str),
    /// It does not look at the value.
    Ignored,
    /// It has taken everything.
    Nothing,
    /// Something else is wrong.
    Other,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Found {}

impl serde::de::Error for Found {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Fields(expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Fields(expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

impl<'de> Deserializer<'de> for Given {
    type Error = Found;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Found> {
        match self {
            Self::Number => visitor.visit_i64(0),
            Self::Text(text) => visitor.visit_string(text),
            Self::Table(entries) => visitor.visit_map(Entries {
                entries: entries.into_iter(),
                value: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Found> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Found> {
        visitor.visit_newtype_struct(self)
    }

    /// A list of tables has the options of one of them.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Found> {
        visitor.visit_seq(Once(Some(self)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Found> {
        match self {
            Self::Text(text) => visitor.visit_enum(Variant(text)),
            Self::Number | Self::Table(_) => Err(Found::Other),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Found> {
        Err(Found::Ignored)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct identifier
    }
}

struct Entries {
    entries: std::vec::IntoIter<(String, Given)>,
    value: Option<Given>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Found;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Found> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let key: StringDeserializer<Found> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Found> {
        seed.deserialize(self.value.take().unwrap())
    }
}

struct Once(Option<Given>);

impl<'de> SeqAccess<'de> for Once {
    type Error = Found;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Found> {
        self.0
            .take()
            .map(|given| seed.deserialize(given))
            .transpose()
    }
}

struct Variant(String);

impl<'de> EnumAccess<'de> for Variant {
    type Error = Found;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Found> {
        let name: StringDeserializer<Found> = self.0.clone().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> serde::de::VariantAccess<'de> for Variant {
    type Error = Found;

    fn unit_variant(self) -> Result<(), Found> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Found> {
        Err(Found::Other)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Found> {
        Err(Found::Other)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Found> {
        Err(Found::Other)
    }
}
