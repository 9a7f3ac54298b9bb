//! Writes the maps of a line in another order each time, as Go does.

use std::fmt;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The line and its events are no maps in Nomad: their keys have a fixed order. Below them all objects are taken for maps.
const FIXED_LEVELS: u32 = 2;

/// A JSON value, one level of it taken apart.
enum Node<'a> {
    Object(Vec<(&'a RawValue, &'a RawValue)>),
    Array(Vec<&'a RawValue>),
    Leaf,
}

/// The line with the keys of every object inside its payloads in a random order. What is no JSON stays as it is.
pub(super) fn shuffled(line: &Bytes, random: &mut StdRng) -> Bytes {
    let mut text = Vec::with_capacity(line.len());
    match serde_json::from_slice(line) {
        Ok(root) => write(root, 0, random, &mut text),
        Err(_) => return line.clone(),
    }
    text.into()
}

fn write(value: &RawValue, level: u32, random: &mut StdRng, text: &mut Vec<u8>) {
    match Node::of(value) {
        Node::Leaf => text.extend_from_slice(value.get().as_bytes()),
        Node::Array(items) => {
            text.push(b'[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                write(item, level, random, text);
            }
            text.push(b']');
        }
        Node::Object(mut members) => {
            if level >= FIXED_LEVELS {
                members.shuffle(random);
            }
            text.push(b'{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(key.get().as_bytes());
                text.push(b':');
                write(value, level + 1, random, text);
            }
            text.push(b'}');
        }
    }
}

impl<'a> Node<'a> {
    fn of(value: &'a RawValue) -> Self {
        let is_nested = value.get().starts_with(['{', '[']);
        // It is JSON already, so this fails for a leaf only.
        is_nested
            .then(|| serde_json::from_str(value.get()).ok())
            .flatten()
            .unwrap_or(Self::Leaf)
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneLevel;
        impl<'de> Visitor<'de> for OneLevel {
            type Value = Node<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or an array")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Object(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::Array(items))
            }
        }
        deserializer.deserialize_any(OneLevel)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;
    use serde_json::Value;

    use super::*;
    use crate::testing::recording::Recording;

    #[test]
    fn the_order_differs_and_the_content_does_not() {
        let mut random = StdRng::seed_from_u64(1);
        for line in Recording::sample().batches() {
            let before: Value = serde_json::from_slice(&line).unwrap();
            let texts: BTreeSet<Bytes> = (0..4).map(|_| shuffled(&line, &mut random)).collect();
            for text in &texts {
                assert_eq!(serde_json::from_slice::<Value>(text).unwrap(), before);
                assert!(text.starts_with(br#"{"Index":"#));
            }
            let has_payload = !before["Events"][0]["Payload"].is_null();
            assert!(texts.len() > 1 || !has_payload, "always the same");
        }
    }

    #[test]
    fn numbers_and_texts_stay_to_the_byte_and_what_is_no_json_too() {
        let mut random = StdRng::seed_from_u64(1);
        for text in [
            r#"{"Index":7,"Events":[{"Payload":{"a\"":18446744073709551615.0e1}}]}"#,
            r#"{"Index":7,"Events":[{"Payload":{"b":"\u003c\n"}}]}"#,
            r#"{"Index":7,"Events":null}"#,
            "NaN",
        ] {
            let line = Bytes::from_static(text.as_bytes());
            assert_eq!(shuffled(&line, &mut random), line);
        }
    }
}
