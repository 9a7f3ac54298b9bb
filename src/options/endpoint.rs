//! Where agents are: `http://`, `https://` and `unix://` addresses.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{DEFAULT_ENDPOINT, OptionError};
use crate::secrets::basic;

/// The address of an agent, checked.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) place: Place,
    /// The user information of the address, or of `NOMAD_HTTP_AUTH`.
    pub(crate) auth: Option<BasicAuth>,
    /// Host and port as they are written in a URL.
    authority: String,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A host, without brackets around an IPv6 address.
    Tcp { host: String, port: u16, tls: bool },
    /// A socket of the file system: Nomad's Task API.
    Unix(PathBuf),
}

/// The value of the header `Authorization`, for a proxy before Nomad. Never shown.
#[derive(Clone, Debug)]
pub(crate) struct BasicAuth(SecretString);

impl BasicAuth {
    fn new(user: &str, password: &str) -> Self {
        Self(basic(user, password))
    }

    /// As Nomad's client reads `NOMAD_HTTP_AUTH`: `user:password`, or a user alone.
    pub(super) fn parse(text: &str) -> Self {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Self::new(user, password)
    }

    /// `Basic ...`.
    pub(crate) fn header(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Endpoint {
    pub(super) fn parse(option: &str, text: &str) -> Result<Self, OptionError> {
        let fail = |problem: String| Err(OptionError::new(option, problem));
        if let Some(rest) = text.strip_prefix("unix:") {
            return Self::unix(option, rest.strip_prefix("//").unwrap_or(rest));
        }
        // The text is not repeated in messages: it may hold a password.
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                return fail(format!(
                    "not an address ({error}); write it like \"{DEFAULT_ENDPOINT}\""
                ));
            }
        };
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            // Not repeated either: without a scheme, what stands before the first colon is taken for one, and can be a user.
            _ => {
                return fail(format!(
                    "its scheme is none that Nomad has; write it like \"{DEFAULT_ENDPOINT}\", with https:// or unix:// where \
                     Nomad has it"
                ));
            }
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return fail("it names no host".to_owned());
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            // A `/`, `?` or `#` in a password makes a host of what stands before it.
            return fail(
                "it has a path, a query or a fragment; give scheme, host and port only, and write `/`, `?` and `#` in a \
                 password as %2F, %3F and %23"
                    .to_owned(),
            );
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let auth = (!url.username().is_empty() || url.password().is_some()).then(|| {
            BasicAuth::new(
                &decoded(url.username()),
                &decoded(url.password().unwrap_or_default()),
            )
        });
        Ok(Self {
            place: Place::Tcp {
                host: host
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned(),
                port,
                tls,
            },
            auth,
            authority: url[url::Position::BeforeHost..url::Position::AfterPort].to_owned(),
        })
    }

    fn unix(option: &str, path: &str) -> Result<Self, OptionError> {
        if !path.starts_with('/') || path.contains('\0') || path.ends_with('/') {
            return Err(OptionError::new(
                option,
                "unix:// wants the absolute path of a socket, like \"unix:///secrets/api.sock\"",
            ));
        }
        Ok(Self {
            place: Place::Unix(PathBuf::from(path)),
            auth: None,
            // What Nomad's own client sends over a socket of the file system.
            authority: "127.0.0.1".to_owned(),
        })
    }

    /// The same with this authentication, unless the address brings its own.
    pub(super) fn or_auth(mut self, auth: Option<&BasicAuth>) -> Self {
        self.auth = self.auth.or_else(|| auth.cloned());
        self
    }

    /// Whether TLS is spoken there.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.place, Place::Tcp { tls: true, .. })
    }

    /// The value of the header `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Endpoint {
    /// The address without user information, fit for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { tls, .. } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{}", self.authority)
            }
            Place::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}
