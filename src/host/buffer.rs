//! The option `buffer` of a sink: how much waits in front of it, and what happens when that is full.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

use super::USE_VECTOR;

/// Vector's number of events in a buffer in memory.
const MAX_EVENTS: usize = 500;

/// The options under `buffer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferConfig {
    size: Size,
    /// What happens to events for which there is no room.
    pub(crate) when_full: WhenFull,
}

/// What becomes of events for which a buffer has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenFull {
    /// They wait, and whoever sends them waits with them.
    #[default]
    Block,
    /// They are dropped and counted; nobody waits.
    DropNewest,
}

/// What a buffer holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Events.
    pub(crate) events: usize,
    /// Bytes, as the events' `weight` counts them.
    pub(crate) bytes: usize,
}

#[cfg(test)]
impl Capacity {
    /// Bounded in bytes alone.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        Self {
            events: usize::MAX,
            bytes,
        }
    }
}

/// The size as it is configured: one of the two, as in Vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Events(usize),
    Bytes(usize),
}

impl Default for Size {
    fn default() -> Self {
        Self::Events(MAX_EVENTS)
    }
}

impl BufferConfig {
    /// What the buffer may hold. `hard_bytes` is never exceeded, whatever is configured: it bounds the memory of the program.
    pub(crate) fn capacity(&self, hard_bytes: usize) -> Capacity {
        match self.size {
            Size::Events(events) => Capacity {
                events,
                bytes: hard_bytes,
            },
            Size::Bytes(bytes) => Capacity {
                events: usize::MAX,
                bytes: bytes.min(hard_bytes),
            },
        }
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, rename = "type")]
    kind: Kind,
    #[serde(default)]
    max_events: Option<NonZeroUsize>,
    #[serde(default)]
    max_size: Option<NonZeroU64>,
    #[serde(default)]
    when_full: WhenFull,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Memory,
    /// In `max_size` it would be read as the size of another kind of buffer, so it is known in order to be refused.
    Disk,
}

impl Written {
    fn check(self) -> Result<BufferConfig, String> {
        match self.kind {
            Kind::Memory => {}
            Kind::Disk => {
                return Err(format!(
                    "Vector has `type = \"disk\"`, this program has only `memory`; {USE_VECTOR}"
                ));
            }
        }
        let size = match (self.max_events, self.max_size) {
            (Some(_), Some(_)) => {
                return Err("`max_events` and `max_size` are both set; keep one of them".to_owned());
            }
            (Some(events), None) => Size::Events(events.get()),
            (None, Some(bytes)) => Size::Bytes(usize::try_from(bytes.get()).unwrap_or(usize::MAX)),
            (None, None) => Size::default(),
        };
        Ok(BufferConfig {
            size,
            when_full: self.when_full,
        })
    }
}

impl<'de> Deserialize<'de> for BufferConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableOnly;

        impl<'de> Visitor<'de> for TableOnly {
            type Value = BufferConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BufferConfig, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                written.check().map_err(de::Error::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<BufferConfig, A::Error> {
                Err(de::Error::custom(format!(
                    "Vector takes several buffers in a row, this program takes one; {USE_VECTOR}"
                )))
            }
        }

        deserializer.deserialize_any(TableOnly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BufferConfig, String> {
        #[derive(Deserialize)]
        struct Sink {
            #[serde(default)]
            buffer: BufferConfig,
        }
        toml::from_str::<Sink>(text)
            .map(|sink| sink.buffer)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn sizes_are_vectors_within_the_hard_bound() {
        let capacity = |text: &str| {
            let capacity = parse(text).unwrap().capacity(1000);
            (capacity.events, capacity.bytes)
        };
        for (text, expected) in [
            ("", (500, 1000)),
            ("buffer = {}", (500, 1000)),
            ("buffer.type = 'memory'", (500, 1000)),
            ("buffer.max_events = 7", (7, 1000)),
            ("buffer.max_size = 200", (usize::MAX, 200)),
            ("buffer.max_size = 2000", (usize::MAX, 1000)),
        ] {
            assert_eq!(capacity(text), expected, "{text}");
        }
    }

    #[test]
    fn when_full_is_read() {
        for (text, expected) in [
            ("", WhenFull::Block),
            ("buffer.when_full = 'block'", WhenFull::Block),
            ("buffer.when_full = 'drop_newest'", WhenFull::DropNewest),
        ] {
            assert_eq!(parse(text).unwrap().when_full, expected, "{text}");
        }
    }

    #[test]
    fn what_only_vector_has_is_refused() {
        for (text, expected) in [
            (
                "buffer = { type = 'disk', max_size = 268435488 }",
                "Vector has `type = \"disk\"`",
            ),
            (
                "buffer.when_full = 'overflow'",
                "unknown variant `overflow`",
            ),
            (
                "[[buffer]]\ntype = 'memory'\nwhen_full = 'overflow'",
                "several buffers in a row",
            ),
            (
                "buffer = { max_events = 1, max_size = 1 }",
                "keep one of them",
            ),
            ("buffer.max_events = 0", "expected a nonzero usize"),
            ("buffer.max_bytes = 1", "unknown field `max_bytes`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
