//! Builds the request of a push.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, InvalidHeaderValue,
};
use http::{Request, Uri};
use prost::Message as _;
use serde::ser::{SerializeMap as _, SerializeTuple as _};
use serde::{Serialize, Serializer};

use crate::loki_push::{Entry, Pair, PushRequest, Stream};

use super::batch::BatchStream;

/// The form of the body and how it is compressed: the two go together, as in Vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Compression {
    /// Protobuf in a snappy block.
    #[default]
    Snappy,
    /// JSON in gzip.
    Gzip,
    /// JSON.
    None,
}

/// Whose entries a push holds, at a Loki with several tenants.
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Where to push, and how.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) uri: Uri,
    /// Marked as sensitive.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) compression: Compression,
}

/// A batch that does not become a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// Larger than a snappy block can be (4 GiB).
    #[error("cannot compress the request: {0}")]
    Snappy(#[from] snap::Error),
    #[error("cannot compress the request: {0}")]
    Gzip(#[from] std::io::Error),
    #[error("cannot write the request: {0}")]
    Json(#[from] serde_json::Error),
    /// A line break, for example. Vector panics there.
    #[error("the tenant cannot be sent in a header")]
    Tenant(#[from] InvalidHeaderValue),
}

impl Push {
    /// Builds the request; the streams are used up.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; with bounded batches only that of the tenant is known to happen.
    pub(super) fn request(
        &self,
        tenant: Option<&str>,
        streams: Vec<BatchStream>,
    ) -> Result<Request<Bytes>, RequestError> {
        let tenant = tenant
            .map(|tenant| HeaderValue::from_bytes(tenant.as_bytes()))
            .transpose()?;
        let mut request = Request::new(self.compression.body(streams)?);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        let content_type = HeaderValue::from_static(self.compression.content_type());
        let content_encoding = self.compression.content_encoding();
        let headers = [
            (CONTENT_TYPE, Some(content_type)),
            (
                CONTENT_ENCODING,
                content_encoding.map(HeaderValue::from_static),
            ),
            (AUTHORIZATION, self.authorization.clone()),
            (TENANT, tenant),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                request.headers_mut().insert(name, value);
            }
        }
        Ok(request)
    }
}

impl Compression {
    fn content_type(self) -> &'static str {
        match self {
            Self::Snappy => "application/x-protobuf",
            Self::Gzip | Self::None => "application/json",
        }
    }

    fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Snappy => Some("snappy"),
            Self::Gzip => Some("gzip"),
            Self::None => None,
        }
    }

    /// Builds the body; the streams are used up, so that a request keeps nothing but the body while it is retried.
    fn body(self, streams: Vec<BatchStream>) -> Result<Bytes, RequestError> {
        match self {
            Self::Snappy => {
                let plain = protobuf(streams).encode_to_vec();
                Ok(snap::raw::Encoder::new().compress_vec(&plain)?.into())
            }
            Self::Gzip => {
                let plain = serde_json::to_vec(&JsonPush(&streams))?;
                let mut zip = GzEncoder::new(Vec::new(), Level::default());
                zip.write_all(&plain)?;
                Ok(zip.finish()?.into())
            }
            Self::None => Ok(serde_json::to_vec(&JsonPush(&streams))?.into()),
        }
    }
}

fn protobuf(streams: Vec<BatchStream>) -> PushRequest {
    let streams = streams.into_iter().map(|stream| Stream {
        labels: stream.labels.text.clone(),
        entries: stream.entries,
    });
    PushRequest {
        streams: streams.collect(),
    }
}

/// `{"streams":[...]}`.
struct JsonPush<'a>(&'a [BatchStream]);

/// `{"stream":{labels},"values":[...]}`.
struct JsonStream<'a>(&'a BatchStream);

/// `["nanoseconds","line",{structured metadata}]`.
struct JsonEntry<'a>(&'a Entry);

struct JsonPairs<'a>(&'a [Pair]);

impl Serialize for JsonPush<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("streams", &Each(self.0, JsonStream))?;
        map.end()
    }
}

impl Serialize for JsonStream<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("stream", &self.0.labels.pairs)?;
        map.serialize_entry("values", &Each(&self.0.entries, JsonEntry))?;
        map.end()
    }
}

impl Serialize for JsonEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&self.0.nanos().to_string())?;
        tuple.serialize_element(&text(&self.0.line))?;
        tuple.serialize_element(&JsonPairs(&self.0.structured_metadata))?;
        tuple.end()
    }
}

impl Serialize for JsonPairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|pair| (text(&pair.name), text(&pair.value))),
        )
    }
}

/// A list whose items are serialized through a wrapper.
struct Each<'a, T, F>(&'a [T], F);

impl<'a, T, W, F> Serialize for Each<'a, T, F>
where
    W: Serialize,
    F: Fn(&'a T) -> W,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(&self.1))
    }
}

/// Lines and pairs are UTF-8 when they get here; this only says so to the compiler.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Several times as fast as the lossy conversion alone.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}
