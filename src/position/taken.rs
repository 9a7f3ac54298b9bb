//! How much of an index was taken, as it is saved. Pure.

use serde::{Deserialize, Serialize};

use super::proof::Proofs;

/// How much of the position's own index was taken. What is below was taken, what is above was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// Nothing: a start mark of `earliest` or of an index.
    Nothing,
    /// All of it: a start mark of `latest`.
    All,
    /// The events that these prove. Only they can show that a stream goes on where it stopped.
    Proofs(#[serde(with = "proofs_as_hex")] Proofs),
}

/// 128 bits in hexadecimal, as 32 digits: JSON's numbers are no place for them.
pub(crate) fn to_hex(bits: u128) -> String {
    format!("{bits:032x}")
}

/// The bits of exactly what [`to_hex`] writes.
pub(crate) fn from_hex(text: &str) -> Option<u128> {
    let is_ours = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_ours
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

mod proofs_as_hex {
    use std::borrow::Cow;
    use std::fmt;

    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    use super::{Proofs, from_hex, to_hex};
    use crate::position::proof::{MAX_PROOFS, Proof};

    /// Sorted, so that equal states are equal files.
    pub(super) fn serialize<S: Serializer>(
        proofs: &Proofs,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut bits: Vec<u128> = proofs.iter().map(Proof::bits).collect();
        bits.sort_unstable();
        serializer.collect_seq(bits.into_iter().map(to_hex))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Proofs, D::Error> {
        struct Hex;
        impl<'de> Visitor<'de> for Hex {
            type Value = Proofs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("proofs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Proofs, A::Error> {
                let mut proofs = Proofs::default();
                while let Some(text) = seq.next_element::<Cow<'_, str>>()? {
                    if proofs.len() == MAX_PROOFS {
                        return Err(A::Error::custom("more proofs than are ever kept"));
                    }
                    let bits = from_hex(&text).ok_or_else(|| A::Error::custom("no proof"))?;
                    proofs.add(Proof::from_bits(bits));
                }
                Ok(proofs)
            }
        }
        deserializer.deserialize_seq(Hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_hexadecimal_is_read() {
        for bits in [0, 1, u128::MAX, 1 << 127] {
            assert_eq!(from_hex(&to_hex(bits)), Some(bits));
        }
        for wrong in [
            "",
            "+0000000000000000000000000000001",
            "0000000000000000000000000000000A",
            "00000000000000000000000000000000a",
            "0000000000000000000000000000001",
            "éééééééééééééééé",
        ] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
