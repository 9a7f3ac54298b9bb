//! Events to bytes: the option `encoding` of the sinks.
//!
//! Codecs and transformations are those of Vector 0.56.0 (`lib/codecs/src/encoding`), so the same event gives the same text.
//! An encoded event has no newline behind it: `console` writes one after each, Loki gets none, `http` does what `framing` says.

use bytes::BufMut;
use serde::Deserialize;
use vrl::path::OwnedValuePath;
use vrl::value::{ObjectMap, Value};

/// The field that the codec `text` writes, as Vector's `log_schema` has it by default.
const MESSAGE: &str = "message";

/// The options under `encoding`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncodingConfig {
    codec: Codec,
    #[serde(default)]
    json: Option<JsonOptions>,
    #[serde(default)]
    only_fields: Option<Vec<OwnedValuePath>>,
    #[serde(default)]
    except_fields: Option<Vec<OwnedValuePath>>,
    #[serde(default)]
    timestamp_format: Option<TimestampFormat>,
}

/// How an event becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Codec {
    /// The whole event as JSON.
    Json,
    /// The field `message` alone; nothing for an event without one.
    Text,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonOptions {
    #[serde(default)]
    pretty: bool,
}

/// How timestamps are written, wherever in the event they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TimestampFormat {
    Unix,
    UnixMs,
    UnixUs,
    UnixNs,
    UnixFloat,
    Rfc3339,
}

/// The options under `framing`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FramingConfig {
    method: FramingMethod,
    #[serde(default)]
    character_delimited: Option<CharacterDelimited>,
}

/// The methods that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FramingMethod {
    Bytes,
    CharacterDelimited,
    NewlineDelimited,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CharacterDelimited {
    delimiter: char,
}

/// What stands between the events of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Nothing.
    Bytes,
    /// A character behind each event.
    Character(u8),
    /// A newline behind each event.
    Newline,
}

/// A combination of options that makes no encoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodingError {
    /// Vector refuses it with the same reason.
    #[error("`except_fields` and `only_fields` should be mutually exclusive, both have `{0}`")]
    BothOnlyAndExcept(OwnedValuePath),
    /// An option of one codec beside another codec, which would be ignored.
    #[error("`encoding.json` needs `encoding.codec = \"json\"`")]
    JsonOptionsForText,
    /// As Vector has it.
    #[error("`framing.character_delimited.delimiter` must be a character of ASCII")]
    Delimiter,
    /// The method without its option, or the option without its method.
    #[error(
        "`framing.method = \"character_delimited\"` and `framing.character_delimited.delimiter` go together"
    )]
    DelimiterAlone,
}

/// Turns events into bytes.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    codec: Codec,
    pretty: bool,
    only_fields: Option<Vec<OwnedValuePath>>,
    except_fields: Vec<OwnedValuePath>,
    /// `None` when timestamps stay as the codec writes them.
    timestamps: Option<TimestampFormat>,
}

impl EncodingConfig {
    /// Checks the options together.
    ///
    /// # Errors
    ///
    /// [`EncodingError`] when they contradict each other.
    pub(crate) fn build(&self) -> Result<Encoder, EncodingError> {
        let except_fields = self.except_fields.clone().unwrap_or_default();
        if let Some(both) = self
            .only_fields
            .iter()
            .flatten()
            .find(|path| except_fields.contains(path))
        {
            return Err(EncodingError::BothOnlyAndExcept(both.clone()));
        }
        if self.json.is_some() && self.codec != Codec::Json {
            return Err(EncodingError::JsonOptionsForText);
        }
        Ok(Encoder {
            codec: self.codec,
            pretty: self.json.unwrap_or_default().pretty,
            only_fields: self.only_fields.clone(),
            except_fields,
            timestamps: self
                .timestamp_format
                .filter(|format| *format != TimestampFormat::Rfc3339),
        })
    }
}

impl FramingConfig {
    /// Checks the options together.
    ///
    /// # Errors
    ///
    /// [`EncodingError`] when they contradict each other.
    pub(crate) fn build(&self) -> Result<Framing, EncodingError> {
        match (self.method, self.character_delimited) {
            (FramingMethod::CharacterDelimited, Some(options)) => {
                let delimiter = options.delimiter;
                let byte = u8::try_from(delimiter).ok().filter(u8::is_ascii);
                byte.map(Framing::Character).ok_or(EncodingError::Delimiter)
            }
            (FramingMethod::CharacterDelimited, None) | (_, Some(_)) => {
                Err(EncodingError::DelimiterAlone)
            }
            (FramingMethod::Bytes, None) => Ok(Framing::Bytes),
            (FramingMethod::NewlineDelimited, None) => Ok(Framing::Newline),
        }
    }
}

impl Framing {
    /// What Vector takes for messages where `framing` says nothing: events of JSON become an array.
    pub(crate) fn of_messages(codec: Codec) -> Self {
        match codec {
            Codec::Json => Self::Character(b','),
            Codec::Text => Self::Newline,
        }
    }

    /// Appends what stands behind an event.
    pub(crate) fn end_event(self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes => {}
            Self::Character(character) => out.push(character),
            Self::Newline => out.push(b'\n'),
        }
    }
}

impl Encoder {
    /// How an event becomes text.
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Appends the encoded event to `out`. The event is changed by the transformations and is of no further use.
    ///
    /// With the codec `text`, bytes that are no UTF-8 stay as they are; with `json` they become U+FFFD.
    ///
    /// # Errors
    ///
    /// None is known: every value has a form in JSON, and `out` grows.
    pub(crate) fn encode(
        &self,
        event: &mut Value,
        out: &mut impl BufMut,
    ) -> Result<(), serde_json::Error> {
        for path in &self.except_fields {
            event.remove(path, false);
        }
        if let Some(only) = &self.only_fields {
            keep_only(event, only);
        }
        if let Some(format) = self.timestamps {
            format_timestamps(event, format);
        }
        match self.codec {
            Codec::Json if self.pretty => serde_json::to_writer_pretty(out.writer(), event),
            Codec::Json => serde_json::to_writer(out.writer(), event),
            Codec::Text => {
                if let Some(message) = event.as_object().and_then(|fields| fields.get(MESSAGE)) {
                    out.put(message.coerce_to_bytes());
                }
                Ok(())
            }
        }
    }
}

impl TryFrom<String> for Codec {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(format!(
                "codec `{other}` is none of `json`, `text`; run this configuration with `nomad-vector` if it is one of Vector's"
            )),
        }
    }
}

fn keep_only(event: &mut Value, only: &[OwnedValuePath]) {
    let mut all = std::mem::replace(event, Value::Object(ObjectMap::new()));
    for path in only {
        // Pruned, so that a parent named later in the list is not put back as an empty shell.
        if let Some(value) = all.remove(path, true) {
            event.insert(path, value);
        }
    }
}

fn format_timestamps(value: &mut Value, format: TimestampFormat) {
    match value {
        Value::Object(fields) => {
            for field in fields.values_mut() {
                format_timestamps(field, format);
            }
        }
        Value::Array(items) => {
            for item in items {
                format_timestamps(item, format);
            }
        }
        Value::Timestamp(time) => {
            let formatted = match format {
                TimestampFormat::Unix => Some(Value::Integer(time.timestamp())),
                TimestampFormat::UnixMs => Some(Value::Integer(time.timestamp_millis())),
                TimestampFormat::UnixUs => Some(Value::Integer(time.timestamp_micros())),
                // Vector panics on a time that does not fit; here it stays text.
                TimestampFormat::UnixNs => time.timestamp_nanos_opt().map(Value::Integer),
                TimestampFormat::UnixFloat => Some(seconds(time.timestamp_micros())),
                TimestampFormat::Rfc3339 => None,
            };
            if let Some(formatted) = formatted {
                *value = formatted;
            }
        }
        _ => {}
    }
}

/// Microseconds as seconds, with what a 64-bit float keeps of them.
fn seconds(micros: i64) -> Value {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the format is a float, as in Vector"
    )]
    Value::from_f64_or_zero(micros as f64 / 1e6)
}

#[cfg(test)]
mod tests;
