//! The text of an object, whose fields become labels or structured metadata.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use vrl::value::{KeyString, ObjectMap, Value};

/// The fields of a JSON object in the order of the text, which decides between names that become alike. One that comes twice has
/// its later value, in the place of the first.
pub(super) struct Fields(pub(super) Vec<(String, Value)>);

/// A value as Vector reads it here, by way of serde_json's own: an integer that only an unsigned one can hold is the text of its
/// digits, where it would otherwise become a float.
struct Read(Value);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields: Vec<(String, Value)> = Vec::new();
                let mut places: HashMap<String, usize> = HashMap::new();
                while let Some((name, Read(value))) = map.next_entry::<String, Read>()? {
                    match places.entry(name) {
                        Entry::Occupied(place) => {
                            if let Some(field) = fields.get_mut(*place.get()) {
                                field.1 = value;
                            }
                        }
                        Entry::Vacant(place) => {
                            fields.push((place.key().clone(), value));
                            place.insert(fields.len() - 1);
                        }
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Read;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of JSON")
            }

            fn visit_unit<E>(self) -> Result<Read, E> {
                Ok(Read(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
                Ok(Read(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Read, E> {
                Ok(Read(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Read, E> {
                let signed = i64::try_from(value).map(Value::Integer);
                Ok(Read(signed.unwrap_or_else(|_| value.to_string().into())))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Read, E> {
                Ok(Read(Value::from_f64_or_zero(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Read, E> {
                Ok(Read(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
                let mut array = Vec::new();
                while let Some(Read(item)) = items.next_element()? {
                    array.push(item);
                }
                Ok(Read(Value::Array(array)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
                let mut object = ObjectMap::new();
                while let Some((name, Read(value))) = map.next_entry::<KeyString, Read>()? {
                    object.insert(name, value);
                }
                Ok(Read(Value::Object(object)))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, String)> {
        let Fields(fields) = serde_json::from_str(text).unwrap();
        fields
            .into_iter()
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect()
    }

    #[test]
    fn an_expanded_number_beyond_63_bits_keeps_its_digits() {
        let text = r#"{"most":9223372036854775807,"more":18446744073709551615,"in":[18446744073709551615],"beyond":18446744073709551616}"#;
        let expected = [
            ("most", "9223372036854775807"),
            ("more", "18446744073709551615"),
            ("in", r#"["18446744073709551615"]"#),
            ("beyond", "18446744073709552000"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(text), expected);
    }

    #[test]
    fn a_field_that_comes_twice_has_its_later_value_in_the_place_of_the_first() {
        let expected = [("a", "3"), ("A", "2")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(r#"{"a":1,"A":2,"a":3}"#), expected);
    }
}
