//! Text out of JSON without a copy where that is possible.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// Reads JSON whose text is checked to be UTF-8 once, and not for each string in it again. What is not UTF-8 is no JSON.
pub(crate) fn deserializer(json: &[u8]) -> serde_json::Deserializer<serde_json::de::StrRead<'_>> {
    serde_json::Deserializer::from_str(std::str::from_utf8(json).unwrap_or_default())
}

/// A JSON string: a slice of the text it stands in, unless it has escapes.
///
/// `Cow<str>` itself is always copied when it is a map's key.
pub(crate) struct Text<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, slice: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(slice)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}
