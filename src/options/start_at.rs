//! Where a source begins that has no saved position.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::event::RaftIndex;

/// Where to begin without a saved position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// With the oldest line that the server still has.
    #[default]
    Earliest,
    /// With what happens once a server has accepted the subscription.
    Latest,
    /// With this index, or the next one that exists.
    Index(RaftIndex),
}

impl fmt::Display for StartAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Index(index) => index.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = StartAt;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"earliest\", \"latest\" or a Raft index")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<StartAt, E> {
                match text {
                    "earliest" => Ok(StartAt::Earliest),
                    "latest" => Ok(StartAt::Latest),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: serde::de::Error>(self, index: u64) -> Result<StartAt, E> {
                let start = RaftIndex(index);
                if !start.can_be_asked_for() {
                    return Err(E::invalid_value(
                        serde::de::Unexpected::Unsigned(index),
                        &self,
                    ));
                }
                Ok(StartAt::Index(start))
            }

            fn visit_i64<E: serde::de::Error>(self, index: i64) -> Result<StartAt, E> {
                match u64::try_from(index) {
                    Ok(index) => self.visit_u64(index),
                    Err(_) => Err(E::invalid_value(
                        serde::de::Unexpected::Signed(index),
                        &self,
                    )),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
