//! Proofs: what shows that a stream goes on where it stopped.
//!
//! Two reads of one event differ as text, because Nomad prints its maps in random order. A proof is a hash that does not
//! depend on that order, so an event that is sent again can be known again, and nothing but that event can.
//!
//! Pure; computed only for the events of the index at which a stream is resumed.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hasher;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::envelope::RawEvent;
use crate::event::Event;
use crate::payload::text::{Text, deserializer};

/// How many proofs are kept for one index. What is beyond is repeated after a reconnect, never dropped.
pub const MAX_PROOFS: usize = 65_536;

/// Keys the hash, so that a proof betrays nothing of an event to whoever reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProofKey(u64, u64);

impl ProofKey {
    /// A key of 128 random bits.
    #[must_use]
    pub fn new(random: u128) -> Self {
        let [low, high] = [random & u128::from(u64::MAX), random >> 64];
        // Neither half is more than 64 bits.
        Self(
            u64::try_from(low).unwrap_or_default(),
            u64::try_from(high).unwrap_or_default(),
        )
    }

    /// The 128 bits, to be saved. With them proofs can be guessed, so they go nowhere else.
    pub(crate) fn bits(self) -> u128 {
        u128::from(self.1) << 64 | u128::from(self.0)
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(..)")
    }
}

/// The hash of one event: index, topic, type, namespace, key, and the payload's paths and scalars as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proof(u128);

/// The proofs taken at one index. `Debug` shows how many.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proofs(HashSet<Proof>);

impl Proofs {
    /// Adds a proof, unless there are [`MAX_PROOFS`] already.
    pub fn add(&mut self, proof: Proof) {
        if self.0.len() < MAX_PROOFS {
            self.0.insert(proof);
        }
    }

    /// Adds others, as long as there is room.
    pub fn extend(&mut self, others: Self) {
        for proof in others.0 {
            self.add(proof);
        }
    }

    /// Whether the event was taken.
    #[must_use]
    pub fn contains(&self, proof: Proof) -> bool {
        self.0.contains(&proof)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Proof> {
        self.0.iter().copied()
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proofs({})", self.0.len())
    }
}

impl Proof {
    /// Computes the proof of an event at `index`.
    #[must_use]
    pub fn of(key: ProofKey, index: u64, event: &RawEvent) -> Self {
        let names = [
            &event.topic,
            &event.event_type,
            &event.namespace,
            &event.key,
        ];
        Self::compute(key, index, names, &event.payload)
    }

    /// The same, of an event that was handed on.
    pub(crate) fn of_event(key: ProofKey, event: &Event) -> Self {
        let names = [
            &event.topic,
            &event.event_type,
            &event.namespace,
            &event.key,
        ];
        Self::compute(key, event.index.0, names, &event.payload)
    }

    fn compute(key: ProofKey, index: u64, names: [&ByteString; 4], payload: &Bytes) -> Self {
        let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
        hasher.write_u64(index);
        for name in names {
            hasher.write_u64(name.len() as u64);
            hasher.write(name.as_bytes());
        }
        let mut deserializer = deserializer(payload);
        match (Unordered { key }).deserialize(&mut deserializer) {
            Ok(payload) => hasher.write_u128(payload),
            // Too deep to follow: then the text itself, which at worst repeats the event.
            Err(_) => hasher.write(payload),
        }
        Self(hasher.finish128().as_u128())
    }

    /// One that was saved.
    pub(crate) fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits, to be saved.
    pub(crate) fn bits(self) -> u128 {
        self.0
    }
}

/// Hashes JSON text so that the order of keys does not matter: an object is the sum of its entries.
#[derive(Clone, Copy)]
struct Unordered {
    key: ProofKey,
}

impl Unordered {
    fn scalar(self, tag: u8, bytes: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u8(tag);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }
}

impl<'de> DeserializeSeed<'de> for Unordered {
    type Value = u128;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u128, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unordered {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<u128, E> {
        Ok(self.scalar(0, &[]))
    }

    fn visit_bool<E>(self, yes: bool) -> Result<u128, E> {
        Ok(self.scalar(1, &[u8::from(yes)]))
    }

    fn visit_i64<E>(self, number: i64) -> Result<u128, E> {
        Ok(self.scalar(2, &number.to_le_bytes()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<u128, E> {
        Ok(self.scalar(3, &number.to_le_bytes()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<u128, E> {
        Ok(self.scalar(4, &number.to_bits().to_le_bytes()))
    }

    fn visit_str<E>(self, text: &str) -> Result<u128, E> {
        Ok(self.scalar(5, text.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<u128, A::Error> {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u8(6);
        while let Some(element) = seq.next_element_seed(self)? {
            hasher.write_u128(element);
        }
        Ok(hasher.finish128().as_u128())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u128, A::Error> {
        let mut sum: u128 = 0;
        while let Some(Text(name)) = map.next_key()? {
            let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
            hasher.write_u8(7);
            hasher.write_u64(name.len() as u64);
            hasher.write(name.as_bytes());
            hasher.write_u128(map.next_value_seed(self)?);
            sum = sum.wrapping_add(hasher.finish128().as_u128());
        }
        Ok(self.scalar(8, &sum.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(index: u64, key: &'static str, payload: &'static str) -> Proof {
        let event = RawEvent {
            topic: "Job".into(),
            event_type: "JobRegistered".into(),
            key: key.into(),
            namespace: "default".into(),
            filter_keys: None,
            payload: Bytes::from_static(payload.as_bytes()),
        };
        Proof::of(ProofKey::new(1 << 70 | 5), index, &event)
    }

    #[test]
    fn only_the_order_of_keys_does_not_matter() {
        let base = proof(
            7,
            "web",
            r#"{"Job":{"Meta":{"a":"1","b":"2"},"Groups":[1,2]}}"#,
        );
        assert_eq!(
            base,
            proof(
                7,
                "web",
                r#"{"Job":{"Groups":[1,2],"Meta":{"b":"2","a":"1"}}}"#
            )
        );
        for other in [
            proof(
                8,
                "web",
                r#"{"Job":{"Meta":{"a":"1","b":"2"},"Groups":[1,2]}}"#,
            ),
            proof(
                7,
                "wea",
                r#"{"Job":{"Meta":{"a":"1","b":"2"},"Groups":[1,2]}}"#,
            ),
            proof(
                7,
                "web",
                r#"{"Job":{"Meta":{"a":"2","b":"1"},"Groups":[1,2]}}"#,
            ),
            proof(
                7,
                "web",
                r#"{"Job":{"Meta":{"a":"1","b":"2"},"Groups":[2,1]}}"#,
            ),
            proof(
                7,
                "web",
                r#"{"Job":{"Meta":{"a":"1"},"b":"2","Groups":[1,2]}}"#,
            ),
            proof(
                7,
                "web",
                r#"{"Job":{"Meta":{"a":"1","b":2},"Groups":[1,2]}}"#,
            ),
            proof(
                7,
                "web",
                r#"{"Job":{"Meta":{"a":"1","b":"2"},"Groups":[[1],2]}}"#,
            ),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_told_apart_by_its_text() {
        let deep = |leaf: &str| -> &'static str {
            Box::leak(format!("{}{leaf}{}", "[".repeat(300), "]".repeat(300)).into_boxed_str())
        };
        assert_eq!(proof(1, "k", deep("1")), proof(1, "k", deep("1")));
        assert_ne!(proof(1, "k", deep("1")), proof(1, "k", deep("2")));
    }

    #[test]
    fn another_key_gives_another_proof() {
        let event = RawEvent {
            topic: "Job".into(),
            event_type: "x".into(),
            key: "k".into(),
            namespace: "".into(),
            filter_keys: None,
            payload: Bytes::from_static(b"{}"),
        };
        assert_ne!(
            Proof::of(ProofKey::new(1), 1, &event),
            Proof::of(ProofKey::new(1 << 64), 1, &event)
        );
    }

    #[test]
    fn proofs_are_bounded() {
        let mut proofs = Proofs::default();
        for number in 0..=MAX_PROOFS {
            proofs.add(Proof(number as u128));
        }
        assert!(proofs.contains(Proof(MAX_PROOFS as u128 - 1)));
        assert!(!proofs.contains(Proof(MAX_PROOFS as u128)));
    }
}
