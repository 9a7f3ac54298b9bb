//! A payload from text to tree, in one pass: what must not leave is replaced, what nobody wants is not built, and all of it
//! goes into a hash.
//!
//! The hash does not depend on the order of keys, which is random in Nomad's maps: an object's is made of the sum of its
//! entries'. It is over the payload as shipped, after redaction, whether the parts are built or not.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use twox_hash::XxHash3_128;
use vrl::value::value::ObjectMap;
use vrl::value::{KeyString, Value};

use super::mask::{REDACTED, masked};
use super::redact::{Place, Rule, rule};
use super::text::{Text, deserializer};
use super::wanted::Wanted;

/// A value as shipped, and its hash. What was not wanted is `Null`.
pub(super) struct Tree {
    pub(super) value: Value,
    pub(super) hash: u128,
}

/// What is to be done with the secrets in a value.
#[derive(Clone, Copy)]
pub(super) enum Treatment {
    /// All of it is shown.
    Clear,
    /// It is shown by the rules of its place.
    Show(Place),
    /// The same, but its keys are names that users chose.
    Names(Place),
    /// Nothing of it is shown, unless it is empty.
    Hide,
    /// Its keys are shown, or the length of the list.
    HideValues,
    /// As `HideValues`, but `image` and `ports` are shown.
    DriverConfig,
    /// It is shown if it is a scalar or a list of them: an object would be an option of another driver by the same name.
    Plain,
}

/// Reads JSON text. Texts of the tree are slices of it.
///
/// # Errors
///
/// When it is nested deeper than 128 levels, or has a number beyond every range; it has been found to be JSON before.
pub(super) fn read(
    json: &Bytes,
    treatment: Treatment,
    wanted: &Wanted,
) -> Result<Tree, serde_json::Error> {
    let mut deserializer = deserializer(json);
    let reader = Reader {
        json,
        treatment,
        wanted,
    };
    let tree = reader.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(tree)
}

/// What a hash is of; the order is part of every ID. So that `1`, `"1"` and `[1]` differ.
#[derive(Clone, Copy)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Float,
    Text,
    Array,
    Object,
    Entry,
}

fn hash(kind: Kind, bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(kind as u64, bytes)
}

/// The hash of two hashes, in this order.
fn hash_pair(kind: Kind, first: u128, second: u128) -> u128 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&first.to_le_bytes());
    bytes[16..].copy_from_slice(&second.to_le_bytes());
    hash(kind, &bytes)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    json: &'a Bytes,
    treatment: Treatment,
    wanted: &'a Wanted,
}

impl Reader<'_> {
    fn builds(self) -> bool {
        *self.wanted != Wanted::Nothing
    }

    fn hides_scalars(self) -> bool {
        !matches!(
            self.treatment,
            Treatment::Clear | Treatment::Show(_) | Treatment::Names(_) | Treatment::Plain
        )
    }

    fn redacted(self) -> Tree {
        Tree {
            value: Value::Bytes(Bytes::from_static(REDACTED.as_bytes())),
            hash: hash(Kind::Text, REDACTED.as_bytes()),
        }
    }

    fn scalar(self, kind: Kind, bytes: &[u8], value: Value) -> Tree {
        if self.hides_scalars() {
            return self.redacted();
        }
        Tree {
            value,
            hash: hash(kind, bytes),
        }
    }

    /// A text; `slice` gives it without a copy, if it stands in the JSON as it is.
    fn text(self, text: &str, slice: impl FnOnce() -> Bytes) -> Tree {
        if self.hides_scalars() && !text.is_empty() {
            return self.redacted();
        }
        let kind = match self.treatment {
            Treatment::Show(place) | Treatment::Names(place) => Some(place.texts()),
            Treatment::Plain => Some(Place::Elsewhere.texts()),
            _ => None,
        };
        if let Some(kind) = kind
            && let Some(masked) = masked(text, kind)
        {
            return Tree {
                hash: hash(Kind::Text, masked.as_bytes()),
                value: Value::Bytes(Bytes::from(masked)),
            };
        }
        Tree {
            hash: hash(Kind::Text, text.as_bytes()),
            value: if self.builds() {
                Value::Bytes(slice())
            } else {
                Value::Null
            },
        }
    }

    fn element(self) -> Self {
        let treatment = match self.treatment {
            Treatment::HideValues | Treatment::DriverConfig => Treatment::Hide,
            Treatment::Names(place) => Treatment::Show(place),
            other => other,
        };
        // Paths by field name lead to nothing in a list.
        let wanted = match self.wanted {
            Wanted::All => &Wanted::All,
            _ => &Wanted::Nothing,
        };
        Self {
            treatment,
            wanted,
            ..self
        }
    }

    fn entry(self, name: &str) -> Self {
        let treatment = match self.treatment {
            Treatment::Show(place) => match rule(place, name) {
                Rule::Enter(place) => Treatment::Show(place),
                Rule::Names(place) => Treatment::Names(place),
                Rule::Whole => Treatment::Hide,
                Rule::Values => Treatment::HideValues,
                Rule::DriverConfig => Treatment::DriverConfig,
            },
            Treatment::Names(place) => Treatment::Show(place),
            Treatment::DriverConfig if matches!(name, "image" | "ports") => Treatment::Plain,
            Treatment::HideValues | Treatment::DriverConfig => Treatment::Hide,
            other => other,
        };
        Self {
            treatment,
            wanted: self.wanted.of(name),
            ..self
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree {
            value: Value::Null,
            hash: hash(Kind::Null, &[]),
        })
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Tree, E> {
        let shown = match self.treatment {
            // `Env` of an identity or of a Vault block says whether there is a variable, not which.
            Treatment::HideValues | Treatment::DriverConfig => Treatment::Clear,
            other => other,
        };
        let reader = Self {
            treatment: shown,
            ..self
        };
        Ok(reader.scalar(Kind::Boolean, &[u8::from(yes)], Value::Boolean(yes)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(self.scalar(Kind::Integer, &number.to_le_bytes(), Value::Integer(number)))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Tree, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            // Its digits: a float would round it.
            Err(_) => Ok(self.text(&number.to_string(), || Bytes::from(number.to_string()))),
        }
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        let bytes = number.to_bits().to_le_bytes();
        Ok(self.scalar(Kind::Float, &bytes, Value::from_f64_or_zero(number)))
    }

    fn visit_borrowed_str<E>(self, slice: &'de str) -> Result<Tree, E> {
        Ok(self.text(slice, || self.json.slice_ref(slice.as_bytes())))
    }

    fn visit_str<E>(self, unescaped: &str) -> Result<Tree, E> {
        Ok(self.text(unescaped, || Bytes::copy_from_slice(unescaped.as_bytes())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        if matches!(self.treatment, Treatment::Hide) && seq.next_element::<IgnoredAny>()?.is_some()
        {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(self.redacted());
        }
        let element = self.element();
        let mut array = Vec::new();
        let mut whole = hash(Kind::Array, &[]);
        while let Some(tree) = seq.next_element_seed(element)? {
            whole = hash_pair(Kind::Array, whole, tree.hash);
            if element.builds() {
                array.push(tree.value);
            }
        }
        Ok(Tree {
            value: Value::Array(array),
            hash: whole,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        if matches!(self.treatment, Treatment::Hide | Treatment::Plain)
            && map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some()
        {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(self.redacted());
        }
        // A tree built from all entries at once is denser, and sooner done, than one grown entry by entry.
        let mut entries: Vec<(KeyString, Value)> = Vec::new();
        let mut sum: u128 = 0;
        while let Some(Text(name)) = map.next_key()? {
            let entry = self.entry(&name);
            let tree = map.next_value_seed(entry)?;
            let name_hash = hash(Kind::Text, name.as_bytes());
            sum = sum.wrapping_add(hash_pair(Kind::Entry, name_hash, tree.hash));
            if entry.builds() {
                entries.push((KeyString::from(name), tree.value));
            }
        }
        Ok(Tree {
            value: Value::Object(ObjectMap::from_iter(entries)),
            hash: hash(Kind::Object, &sum.to_le_bytes()),
        })
    }
}
