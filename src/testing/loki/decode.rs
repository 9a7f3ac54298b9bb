//! Takes the body of a push apart.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;

use super::labels;
use super::store::Entry;
use crate::loki_push::{Pair, PushRequest};

/// Bytes of a body, also after decompression; beyond, the answer is an error.
pub(super) const MAX_BODY_BYTES: usize = 256 << 20;

/// A push, read.
pub(super) struct Push {
    streams: Vec<(BTreeMap<String, String>, Vec<Line>)>,
}

/// What is in a push, without reading it closely.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) streams: usize,
    pub(super) entries: usize,
    pub(super) line_bytes: u64,
}

struct Line {
    nanos: i64,
    text: String,
    structured_metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct JsonPush {
    streams: Vec<JsonStream>,
}

#[derive(Deserialize)]
struct JsonStream {
    stream: BTreeMap<String, String>,
    values: Vec<JsonLine>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonLine {
    Plain(String, String),
    WithMetadata(String, String, BTreeMap<String, String>),
}

/// Reads a push of either form.
///
/// # Errors
///
/// What a real Loki would answer with status 400, in other words.
pub(super) fn push(
    content_type: &str,
    content_encoding: Option<&str>,
    body: &Bytes,
) -> Result<Push, String> {
    let streams = match content_type.split(';').next().map(str::trim) {
        Some("application/json") => json(content_encoding, body)?,
        Some("application/x-protobuf") => protobuf(content_encoding, body)?,
        _ => return Err(format!("content type {content_type:?} is not supported")),
    };
    for (labels, _) in &streams {
        if labels.is_empty() {
            return Err("at least one label is needed for a stream".to_owned());
        }
    }
    Ok(Push { streams })
}

/// Counts what is in a push in protobuf; `None` for any other.
pub(super) fn count(content_type: &str, body: &Bytes) -> Option<Counts> {
    if content_type != "application/x-protobuf" {
        return None;
    }
    let request = unsnap(body).ok()?;
    let entries = || request.streams.iter().flat_map(|stream| &stream.entries);
    Some(Counts {
        streams: request.streams.len(),
        entries: entries().count(),
        line_bytes: entries().map(|entry| entry.line.len() as u64).sum(),
    })
}

impl Push {
    pub(super) fn counts(&self) -> Counts {
        let lines = || self.streams.iter().flat_map(|(_, lines)| lines);
        Counts {
            streams: self.streams.len(),
            entries: lines().count(),
            line_bytes: lines().map(|line| line.text.len() as u64).sum(),
        }
    }

    pub(super) fn into_entries(self, tenant: Option<&str>) -> Vec<Arc<Entry>> {
        self.streams
            .into_iter()
            .flat_map(|(labels, lines)| {
                lines.into_iter().map(move |line| {
                    Arc::new(Entry {
                        tenant: tenant.map(ToOwned::to_owned),
                        labels: labels.clone(),
                        timestamp_nanos: line.nanos,
                        line: line.text,
                        structured_metadata: line.structured_metadata,
                    })
                })
            })
            .collect()
    }
}

type Streams = Vec<(BTreeMap<String, String>, Vec<Line>)>;

fn unsnap(body: &Bytes) -> Result<PushRequest, String> {
    let length = snap::raw::decompress_len(body).map_err(|error| error.to_string())?;
    if length > MAX_BODY_BYTES {
        return Err("request is too large".to_owned());
    }
    let plain = snap::raw::Decoder::new()
        .decompress_vec(body)
        .map_err(|error| error.to_string())?;
    PushRequest::decode(Bytes::from(plain)).map_err(|error| error.to_string())
}

fn protobuf(content_encoding: Option<&str>, body: &Bytes) -> Result<Streams, String> {
    if !matches!(content_encoding, None | Some("snappy")) {
        return Err(format!(
            "content encoding {content_encoding:?} is not supported"
        ));
    }
    let mut streams = Vec::new();
    for stream in unsnap(body)?.streams {
        let labels = labels::parse(&stream.labels)
            .map_err(|error| format!("could not parse labels {:?}: {error}", stream.labels))?;
        let mut lines = Vec::with_capacity(stream.entries.len());
        for entry in stream.entries {
            let timestamp = entry.timestamp.ok_or("entry without a time")?;
            if !(0..1_000_000_000).contains(&timestamp.nanos) {
                return Err("nanoseconds out of range".to_owned());
            }
            lines.push(Line {
                nanos: timestamp.nanos().ok_or("time out of range")?,
                text: text(&entry.line)?,
                structured_metadata: pairs(&entry.structured_metadata)?,
            });
        }
        streams.push((labels, lines));
    }
    Ok(streams)
}

fn pairs(pairs: &[Pair]) -> Result<BTreeMap<String, String>, String> {
    let mut map = BTreeMap::new();
    for pair in pairs {
        let name = text(&pair.name)?;
        if map.insert(name.clone(), text(&pair.value)?).is_some() {
            return Err(format!("structured metadata {name} twice"));
        }
    }
    Ok(map)
}

fn text(bytes: &Bytes) -> Result<String, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("text is not UTF-8".to_owned()),
    }
}

fn json(content_encoding: Option<&str>, body: &Bytes) -> Result<Streams, String> {
    let unzipped;
    let plain: &[u8] = match content_encoding {
        None => body,
        Some("gzip") => {
            let mut limited =
                flate2::read::GzDecoder::new(&body[..]).take(MAX_BODY_BYTES as u64 + 1);
            let mut bytes = Vec::new();
            limited
                .read_to_end(&mut bytes)
                .map_err(|error| error.to_string())?;
            if bytes.len() > MAX_BODY_BYTES {
                return Err("request is too large".to_owned());
            }
            unzipped = bytes;
            &unzipped
        }
        Some(other) => return Err(format!("content encoding {other:?} is not supported")),
    };
    let push: JsonPush = serde_json::from_slice(plain).map_err(|error| error.to_string())?;
    let mut streams = Vec::new();
    for stream in push.streams {
        let lines = stream
            .values
            .into_iter()
            .map(|value| {
                let (nanos, text, structured_metadata) = match value {
                    JsonLine::Plain(nanos, text) => (nanos, text, BTreeMap::new()),
                    JsonLine::WithMetadata(nanos, text, metadata) => (nanos, text, metadata),
                };
                Ok(Line {
                    nanos: nanos
                        .parse()
                        .map_err(|_| format!("{nanos:?} is no time in nanoseconds"))?,
                    text,
                    structured_metadata,
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        streams.push((stream.stream, lines));
    }
    Ok(streams)
}
