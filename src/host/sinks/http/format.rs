//! Requests of events: the body as `encoding` and `framing` have it, `uri` and headers as their templates say.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    InvalidHeaderValue,
};
use http::{Method, Request, Uri};
use tracing::error;

use crate::host::encoding::{Codec, Encoder, Framing};
use crate::host::event::LogEvent;
use crate::host::sinks::outbound::{
    AddressError, AuthConfig, Batch, Cause, Format, OptionError, Packed, Telemetry, Unsettled,
    credentials, split_credentials,
};
use crate::host::template::{MissingFields, Template};
use crate::position::Delivery;

/// What every request of the sink shares. Not to be shown.
pub(super) struct Shape {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) auth: Option<AuthConfig>,
    /// Those whose values are no templates.
    pub(super) headers: HeaderMap,
    pub(super) templates: Vec<(HeaderName, Template)>,
    pub(super) codec: Codec,
    pub(super) framing: Framing,
    pub(super) prefix: String,
    pub(super) suffix: String,
    pub(super) gzip: bool,
}

/// Where requests go.
pub(super) enum Target {
    /// Always there, with these credentials.
    Fixed(Uri, Option<HeaderValue>),
    /// Where the event says.
    Template(Template),
}

/// Packs events one after the other.
pub(super) struct HttpFormat {
    pub(super) shape: Arc<Shape>,
    pub(super) encoder: Encoder,
    pub(super) telemetry: Telemetry,
}

/// What the events of a request have in common: what the templates render to. Not to be shown.
#[derive(PartialEq, Eq)]
pub(super) struct Destination {
    /// Empty for a fixed one.
    uri: String,
    /// The values, in the order of the templates.
    headers: Vec<String>,
}

/// A body in the making.
pub(super) struct Body {
    shape: Arc<Shape>,
    bytes: Vec<u8>,
}

/// A batch that does not become a request. Quotes nothing of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// What the template of `uri` rendered to.
    #[error("`uri` renders to what is {0}")]
    Address(#[from] AddressError),
    /// The same, about the credentials in it.
    #[error(transparent)]
    Credentials(#[from] OptionError),
    /// A line break, for example.
    #[error("a header renders to what cannot be sent")]
    Header(#[from] InvalidHeaderValue),
    /// None is known.
    #[error("cannot compress the request: {0}")]
    Gzip(#[from] std::io::Error),
}

impl Shape {
    /// Whether a body is an array of JSON.
    pub(super) fn is_array(&self) -> bool {
        self.codec == Codec::Json && self.framing == Framing::Character(b',')
    }

    fn content_type(&self) -> Option<&'static str> {
        match (self.codec, self.framing) {
            (Codec::Text, _) => Some("text/plain"),
            (Codec::Json, Framing::Newline) => Some("application/x-ndjson"),
            (Codec::Json, Framing::Character(b',')) => Some("application/json"),
            (Codec::Json, _) => None,
        }
    }

    fn headers(&self, rendered: &[String]) -> Result<HeaderMap, RequestError> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = self.content_type() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        for ((name, _), value) in self.templates.iter().zip(rendered) {
            let mut value = HeaderValue::from_bytes(value.as_bytes())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

impl HttpFormat {
    fn destination(&self, event: &LogEvent) -> Result<Destination, (&'static str, String)> {
        let rendered = |option, template: &Template| {
            let mut text = String::new();
            match template.render(event, &mut text) {
                Ok(()) => Ok(text),
                Err(missing) => Err((option, MissingFields::to_string(&missing))),
            }
        };
        let uri = match &self.shape.target {
            Target::Fixed(..) => String::new(),
            Target::Template(template) => rendered("uri", template)?,
        };
        let templates = self.shape.templates.iter();
        let headers = templates.map(|(_, template)| rendered("request.headers", template));
        Ok(Destination {
            uri,
            headers: headers.collect::<Result<_, _>>()?,
        })
    }
}

impl Format for HttpFormat {
    type Key = Destination;
    /// The event, with what stands behind it.
    type Record = Vec<u8>;
    type Batch = Body;

    fn open(&self) -> Body {
        Body {
            shape: Arc::clone(&self.shape),
            bytes: Vec::new(),
        }
    }

    fn pack(&mut self, mut event: LogEvent) -> Option<Packed<Destination, Vec<u8>>> {
        let finalizer = Unsettled::new(std::mem::take(&mut event.finalizer));
        let key = match self.destination(&event) {
            Ok(key) => key,
            Err((option, missing)) => {
                finalizer.settle(Delivery::Rejected);
                self.telemetry.metrics().add_lost(1);
                self.telemetry.template_failed(|held_back| {
                    error!(
                        component_id = self.telemetry.id(),
                        option,
                        error = missing,
                        held_back,
                        "event dropped: template cannot be rendered"
                    );
                });
                return None;
            }
        };
        let mut record = Vec::new();
        if let Err(error) = self.encoder.encode(&mut event.value, &mut record) {
            finalizer.settle(Delivery::Rejected);
            self.telemetry.rejected(1, Cause::Encoding, &error);
            return None;
        }
        self.shape.framing.end_event(&mut record);
        Some(Packed {
            key,
            record,
            finalizer,
        })
    }
}

impl Batch for Body {
    type Record = Vec<u8>;
    type Key = Destination;
    type Error = RequestError;

    fn growth(&self, record: &Vec<u8>) -> usize {
        record.len()
    }

    fn push(&mut self, record: Vec<u8>) {
        if self.bytes.is_empty() && self.shape.is_array() {
            self.bytes.extend_from_slice(self.shape.prefix.as_bytes());
            self.bytes.push(b'[');
        }
        self.bytes.extend_from_slice(&record);
    }

    fn into_request(mut self, destination: Destination) -> Result<Request<Bytes>, RequestError> {
        let shape = &self.shape;
        if shape.is_array() {
            // The comma behind the last event.
            self.bytes.pop();
            self.bytes.push(b']');
            self.bytes.extend_from_slice(shape.suffix.as_bytes());
        } else if shape.codec == Codec::Json && shape.framing == Framing::Newline {
            self.bytes.pop();
        }
        let (uri, authorization) = match &shape.target {
            Target::Fixed(uri, authorization) => (uri.clone(), authorization.clone()),
            Target::Template(_) => {
                let (uri, in_uri) = split_credentials(&destination.uri)?;
                (uri, credentials(shape.auth.as_ref(), in_uri, "uri")?)
            }
        };
        let mut headers = shape.headers(&destination.headers)?;
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let body = if shape.gzip {
            let mut zip = GzEncoder::new(Vec::new(), Level::default());
            zip.write_all(&self.bytes)?;
            zip.finish()?
        } else {
            self.bytes
        };
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = shape.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
