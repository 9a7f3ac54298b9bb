//! TLS of outgoing connections, by the options that Vector has for it. Knows nothing of Nomad and of HTTP.
//!
//! [`TlsOptions`] is what a user writes; `Tls` is made of it, ready to connect. By rustls and ring: no OpenSSL, TLS 1.2 and 1.3, no
//! ALPN, so that only HTTP/1.1 is ever spoken.

mod explain;
mod pem;
mod verify;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::SecretString;
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

pub(crate) use explain::failure;
pub use pem::PemSource;
use pem::Texts;
use verify::Verifier;

/// How a server is verified, and how we prove who we are: the table `tls` of a source or a sink.
///
/// Names and meanings are Vector's. `ca_file`, `crt_file` and `key_file` take the path of a file or the PEM text itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The certificates of the authorities to trust, instead of the system's. PEM, one or several, or one in DER.
    #[serde(default)]
    pub ca_file: Option<PemSource>,
    /// Our own certificate, in PEM, followed by the intermediate ones. Only together with `key_file`.
    #[serde(default)]
    pub crt_file: Option<PemSource>,
    /// The private key of `crt_file`: PEM or DER; PKCS#8, PKCS#1 or SEC 1.
    #[serde(default)]
    pub key_file: Option<PemSource>,
    /// The passphrase of an encrypted PKCS#8 `key_file`. Never printed.
    #[serde(default)]
    pub key_pass: Option<SecretString>,
    /// The name that is sent to the server (SNI), instead of the address's host. See [`NameRule`] for what is verified.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Whether the server's certificate has to be valid and issued by somebody whom we trust (default true).
    #[serde(default)]
    pub verify_certificate: Option<bool>,
    /// Whether the server's certificate has to name the server (default true).
    #[serde(default)]
    pub verify_hostname: Option<bool>,
    /// Refused: no protocol is negotiated.
    #[serde(default)]
    pub alpn_protocols: Option<Vec<String>>,
}

/// Which name the server's certificate has to carry when `server_name` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// `server_name`, as Nomad's clients have it: certificates of Nomad name `server.REGION.nomad`, whatever the address is.
    ServerName,
    /// The address's host, as Vector's sinks have it: there `server_name` is sent and not looked at.
    Host,
}

/// What is wrong with an option, and what to do. Never shows a key, a passphrase or PEM text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("option `tls.{option}`: {problem}")]
pub struct TlsError {
    /// The option's name within the table `tls`.
    pub option: &'static str,
    /// The file, the problem and its remedy.
    pub problem: String,
}

impl TlsError {
    fn new(option: &'static str, problem: impl Into<String>) -> Self {
        Self {
            option,
            problem: problem.into(),
        }
    }
}

/// TLS that is ready to connect. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Inner>);

struct Inner {
    options: TlsOptions,
    rule: NameRule,
    texts: Texts,
    server_name: Option<ServerName<'static>>,
    verifier: Arc<Verifier>,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files and checks everything. Blocks for as long as the file system does.
    ///
    /// # Errors
    ///
    /// The first option that cannot be used, with the reason and the remedy.
    pub(crate) fn build(options: &TlsOptions, rule: NameRule) -> Result<Self, TlsError> {
        check(options)?;
        Self::of(options, rule, Texts::read(options)?)
    }

    /// Reads the files again: `None` when they say what they said. The system's certificates are not read again. Blocks.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); the certificates of before are still good.
    pub(crate) fn read_again(&self) -> Result<Option<Self>, TlsError> {
        let texts = Texts::read(&self.0.options)?;
        if texts == self.0.texts {
            return Ok(None);
        }
        Self::of(&self.0.options, self.0.rule, texts).map(Some)
    }

    fn of(options: &TlsOptions, rule: NameRule, texts: Texts) -> Result<Self, TlsError> {
        let server_name = options
            .server_name
            .as_deref()
            .map(|name| parse_name("server_name", name))
            .transpose()?;
        let verifier = Arc::new(Verifier::new(options, &texts)?);
        let builder = ClientConfig::builder_with_provider(verifier.provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new("verify_certificate", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let config = match pem::identity(options, &texts)? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    TlsError::new(
                        "key_file",
                        format!(
                            "{} is not usable as the key of `crt_file` ({error}); check that the two belong together",
                            pem::shown(options.key_file.as_ref()),
                        ),
                    )
                })?
            }
        };
        Ok(Self(Arc::new(Inner {
            options: options.clone(),
            rule,
            texts,
            server_name,
            verifier,
            config: Arc::new(config),
        })))
    }

    /// The name to send for an address's host, without brackets around an IPv6 address.
    ///
    /// # Errors
    ///
    /// The host is neither a DNS name nor an IP address.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        match &self.0.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_name("server_name", host),
        }
    }

    /// rustls's settings for connections to this host.
    ///
    /// # Errors
    ///
    /// The host is neither a DNS name nor an IP address.
    pub(crate) fn client_config(&self, host: &str) -> Result<Arc<ClientConfig>, TlsError> {
        if self.0.server_name.is_none() || self.0.rule == NameRule::ServerName {
            return Ok(Arc::clone(&self.0.config));
        }
        let name = parse_name("server_name", host)?;
        let mut config = ClientConfig::clone(&self.0.config);
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(self.0.verifier.for_name(name)));
        Ok(Arc::new(config))
    }

    /// Shakes hands with the server at the other end of `stream`. Without a limit of its own.
    ///
    /// # Errors
    ///
    /// The stream's, or rustls's within an [`io::Error`]; [`failure`] finds it there, [`explain`](Self::explain) tells what it means.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn connect<T>(&self, host: &str, stream: T) -> io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = self.server_name(host).map_err(invalid)?;
        let config = self.client_config(host).map_err(invalid)?;
        TlsConnector::from(config).connect(name, stream).await
    }

    /// What a failure of TLS with this host means, and what to do.
    pub(crate) fn explain(&self, host: &str, error: &rustls::Error) -> String {
        explain::explain(&self.0.options, self.0.rule, host, error)
    }

    /// Logs what is not verified, once per call.
    pub(crate) fn warn_of_what_is_not_verified(&self) {
        for (option, value) in [
            ("tls.verify_certificate", self.0.options.verify_certificate),
            ("tls.verify_hostname", self.0.options.verify_hostname),
        ] {
            if value == Some(false) {
                warn!(
                    option,
                    "TLS verification is off: whoever is between us and the server can read and change everything"
                );
            }
        }
    }
}

impl fmt::Display for Tls {
    /// What is trusted and shown, fit for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.0.options;
        match &options.ca_file {
            Some(source) => write!(f, "by {source}")?,
            None => f.write_str("by the system's authorities")?,
        }
        if let Some(source) = &options.crt_file {
            write!(f, " with {source}")?;
        }
        if let Some(name) = &options.server_name {
            write!(f, " as {name}")?;
        }
        if options.verify_certificate == Some(false) {
            f.write_str(" without verification")
        } else if options.verify_hostname == Some(false) {
            f.write_str(" without verification of the name")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.options).finish()
    }
}

fn check(options: &TlsOptions) -> Result<(), TlsError> {
    let problem = if options.alpn_protocols.is_some() {
        Some((
            "alpn_protocols",
            "is not supported: HTTP/1.1 is spoken, and nothing negotiated; leave it out",
        ))
    } else if options.crt_file.is_some() && options.key_file.is_none() {
        Some((
            "key_file",
            "is missing: `crt_file` needs its private key in `key_file`",
        ))
    } else if options.key_file.is_some() && options.crt_file.is_none() {
        Some((
            "crt_file",
            "is missing: `key_file` needs its certificate in `crt_file`",
        ))
    } else if options.key_pass.is_some() && options.key_file.is_none() {
        Some((
            "key_pass",
            "is set without `key_file`; leave it out, or name the key that it opens",
        ))
    } else {
        None
    };
    problem.map_or(Ok(()), |(option, problem)| {
        Err(TlsError::new(option, problem))
    })
}

fn parse_name(option: &'static str, name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        TlsError::new(
            option,
            format!(
                "{name:?} is neither a DNS name nor an IP address; write it like \"server.global.nomad\""
            ),
        )
    })
}

#[cfg(test)]
#[cfg(feature = "testing")]
pub(crate) mod tests;
