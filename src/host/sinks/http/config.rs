//! The options of the sink, by Vector's names and with Vector's defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Method, Request};
use rand::rngs::StdRng;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::host::encoding::{EncodingConfig, EncodingError, Framing, FramingConfig};
use crate::host::sinks::Sink;
use crate::host::sinks::outbound::{
    AddressError, AuthConfig, BatchConfig, BatchLimits, Health, Healthcheck, HttpTransport,
    OptionError, RequestConfig, RetryRule, Telemetry, Transport, UriSecrecy, Word, credentials,
    split_credentials,
};
use crate::host::template::Template;
use crate::shown;
use crate::tls::{NameRule, Tls, TlsOptions};

use super::HttpSink;
use super::format::{HttpFormat, Shape, Target};

/// Requests under way at the same time, unless `request.concurrency` says otherwise: one, so that events arrive in order. Vector
/// begins with one and adapts the number to the answers.
const CONCURRENCY: usize = 1;

/// Vector's for this sink.
const BATCH: BatchLimits = BatchLimits {
    max_bytes: 10_000_000,
    max_events: usize::MAX,
    timeout: Duration::from_secs(1),
};

/// The options under a sink of `type = "http"`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpConfig {
    /// A template. Who knows the address of a webhook can use it: never shown.
    uri: SecretString,
    #[serde(default)]
    method: HttpMethod,
    encoding: EncodingConfig,
    #[serde(default)]
    framing: Option<FramingConfig>,
    #[serde(default)]
    payload_prefix: String,
    #[serde(default)]
    payload_suffix: String,
    #[serde(default)]
    compression: Option<Word>,
    #[serde(default)]
    auth: Option<AuthConfig>,
    #[serde(default)]
    batch: BatchConfig,
    #[serde(default)]
    request: RequestConfig,
    #[serde(default)]
    retry_strategy: RetryStrategy,
    #[serde(default)]
    healthcheck: Healthcheck,
    #[serde(default)]
    tls: Option<TlsOptions>,

    // Vector's, known so that the refusal can say where it works.
    #[serde(default)]
    proxy: Option<IgnoredAny>,
}

/// The values of `method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HttpMethod {
    Get,
    Head,
    #[default]
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Patch,
}

/// The options under `retry_strategy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum RetryStrategy {
    None,
    #[default]
    Default,
    All,
    Custom {
        status_codes: Vec<u16>,
    },
}

/// Options that make no sink. Never quotes a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpConfigError {
    /// With the reason, and without the text.
    #[error("`uri`: {0}")]
    Uri(#[from] AddressError),
    /// The same for one with gaps.
    #[error("`uri`: not a template: a path between `{{{{` and `}}}}`, or a time format, is wrong")]
    UriTemplate,
    /// The same for the check at the start.
    #[error("`healthcheck.uri`: {0}")]
    HealthcheckUri(AddressError),
    /// See there.
    #[error("{0}")]
    Encoding(#[from] EncodingError),
    /// As Vector has it.
    #[error(
        "`payload_prefix` and `payload_suffix`: with `{{}}` in between they must be an object of JSON"
    )]
    Payload,
    /// As Vector has it.
    #[error("`request.headers`: {:?} is no name of a header", shown::name(.0))]
    HeaderName(String),
    /// The same for its value, which is not shown.
    #[error("`request.headers`: the value of {:?} cannot be sent", shown::name(.0))]
    HeaderValue(String),
    /// As Vector has it.
    #[error("`request.headers`: `authorization` and `auth` cannot both be set, remove one of them")]
    TwoAuthorizations,
    /// No status has this number.
    #[error("`retry_strategy.status_codes`: {0} is no status")]
    Status(u16),
    /// See there.
    #[error(transparent)]
    Option(#[from] OptionError),
}

impl HttpConfig {
    /// Checks the options, reads the files under `tls`, and makes a sink of them. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`HttpConfigError`] names the option and says what to do.
    pub(crate) fn build(&self, id: &str) -> Result<Box<dyn Sink>, HttpConfigError> {
        let sink = self.sink(id, |tls, connections| {
            HttpTransport::new(tls, connections, UriSecrecy::Secret)
        })?;
        Ok(Box::new(sink))
    }

    /// The same with a transport of choice, which is told the settings of TLS and how many requests there are at a time.
    pub(super) fn sink<T: Transport>(
        &self,
        id: &str,
        transport: impl FnOnce(Option<Tls>, usize) -> T,
    ) -> Result<HttpSink<T>, HttpConfigError> {
        if self.proxy.is_some() {
            return Err(OptionError::Unsupported("proxy").into());
        }
        let request = self.request.limits(CONCURRENCY, self.rule()?)?;
        let telemetry = Telemetry::new(id, "http");
        let shape = self.shape()?;
        let health = self.health()?;
        let tls = self.tls(&shape.target, &health)?;
        Ok(HttpSink {
            format: HttpFormat {
                shape: Arc::new(shape),
                encoder: self.encoding.build()?,
                telemetry: telemetry.clone(),
            },
            batch: self.batch.limits(BATCH)?,
            health,
            transport: transport(tls, request.concurrency),
            request,
            telemetry,
            random: rand::make_rng::<StdRng>(),
        })
    }

    fn shape(&self) -> Result<Shape, HttpConfigError> {
        let codec = self.encoding.build()?.codec();
        let framing = match &self.framing {
            Some(framing) => framing.build()?,
            None => Framing::of_messages(codec),
        };
        let (headers, templates) = self.headers()?;
        let shape = Shape {
            method: self.method.into(),
            target: self.target()?,
            auth: self.auth.clone(),
            headers,
            templates,
            codec,
            framing,
            prefix: self.payload_prefix.clone(),
            suffix: self.payload_suffix.clone(),
            gzip: self.gzip()?,
        };
        let payload = format!("{}{{}}{}", shape.prefix, shape.suffix);
        if shape.is_array() && serde_json::from_str::<IgnoredAny>(&payload).is_err() {
            return Err(HttpConfigError::Payload);
        }
        Ok(shape)
    }

    fn target(&self) -> Result<Target, HttpConfigError> {
        let uri = self.uri.expose_secret();
        // The error of a template quotes it, so it is not passed on.
        let template = Template::parse(uri).map_err(|_| HttpConfigError::UriTemplate)?;
        if template.is_dynamic() {
            // What cannot work with any event is said at once.
            credentials(self.auth.as_ref(), None, "uri")?;
            return Ok(Target::Template(template));
        }
        let (uri, in_uri) = split_credentials(uri)?;
        let authorization = credentials(self.auth.as_ref(), in_uri, "uri")?;
        Ok(Target::Fixed(uri, authorization))
    }

    /// Values that are templates apart from those that are not. A value that does not parse as a template is sent as it is.
    fn headers(&self) -> Result<(HeaderMap, Vec<(HeaderName, Template)>), HttpConfigError> {
        let mut headers = HeaderMap::new();
        let mut templates = Vec::new();
        for (name, value) in self.request.headers.iter().flatten() {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| HttpConfigError::HeaderName(name.clone()))?;
            if header == AUTHORIZATION && self.auth.is_some() {
                return Err(HttpConfigError::TwoAuthorizations);
            }
            let value = value.expose_secret();
            let mut fixed = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| HttpConfigError::HeaderValue(name.clone()))?;
            fixed.set_sensitive(true);
            match Template::parse(value) {
                Ok(template) if template.is_dynamic() => templates.push((header, template)),
                _ => {
                    headers.insert(header, fixed);
                }
            }
        }
        Ok((headers, templates))
    }

    fn gzip(&self) -> Result<bool, HttpConfigError> {
        match &self.compression {
            None => Ok(false),
            Some(Word::Text(name)) if name == "none" => Ok(false),
            Some(Word::Text(name)) if name == "gzip" => Ok(true),
            Some(_) => {
                Err(OptionError::Unsupported("compression` other than `gzip`, `none").into())
            }
        }
    }

    fn rule(&self) -> Result<RetryRule, HttpConfigError> {
        Ok(match &self.retry_strategy {
            RetryStrategy::None => RetryRule::Never,
            RetryStrategy::Default => RetryRule::Default,
            RetryStrategy::All => RetryRule::All,
            RetryStrategy::Custom { status_codes } => {
                let wrong = status_codes
                    .iter()
                    .find(|code| http::StatusCode::from_u16(**code).is_err());
                if let Some(code) = wrong {
                    return Err(HttpConfigError::Status(*code));
                }
                RetryRule::Custom(status_codes.clone())
            }
        })
    }

    /// As in Vector, nothing is asked unless it is said where.
    fn health(&self) -> Result<Health, HttpConfigError> {
        let timeout = self.healthcheck.timeout()?;
        let mut requests = Vec::new();
        if self.healthcheck.is_enabled()
            && let Some(uri) = self.healthcheck.uri()
        {
            let (uri, in_uri) =
                split_credentials(uri.expose_secret()).map_err(HttpConfigError::HealthcheckUri)?;
            let mut request = Request::new(Bytes::new());
            *request.method_mut() = Method::HEAD;
            *request.uri_mut() = uri;
            if let Some(value) = credentials(self.auth.as_ref(), in_uri, "healthcheck.uri")? {
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            requests.push(request);
        }
        Ok(Health { requests, timeout })
    }

    /// The settings of TLS where there is a use for them. Where an event decides, one with a fixed scheme `http` has none.
    fn tls(&self, target: &Target, health: &Health) -> Result<Option<Tls>, HttpConfigError> {
        let secure = |uri: &http::Uri| uri.scheme() == Some(&Scheme::HTTPS);
        let wanted = self.tls.is_some()
            || health.requests.iter().any(|request| secure(request.uri()))
            || match target {
                Target::Fixed(uri, _) => secure(uri),
                Target::Template(template) => !template.source().starts_with("http://"),
            };
        Ok(wanted
            .then(|| Tls::build(&self.tls.clone().unwrap_or_default(), NameRule::Host))
            .transpose()
            .map_err(OptionError::from)?)
    }
}

impl From<HttpMethod> for Method {
    fn from(method: HttpMethod) -> Self {
        match method {
            HttpMethod::Get => Self::GET,
            HttpMethod::Head => Self::HEAD,
            HttpMethod::Post => Self::POST,
            HttpMethod::Put => Self::PUT,
            HttpMethod::Delete => Self::DELETE,
            HttpMethod::Options => Self::OPTIONS,
            HttpMethod::Trace => Self::TRACE,
            HttpMethod::Patch => Self::PATCH,
        }
    }
}

// Everything else can be a secret, or hold one.
impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}
