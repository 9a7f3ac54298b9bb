//! TLS for the fake servers, with certificates that a test has made.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;

/// What a fake server shows its clients, and asks of them.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
}

/// Certificates that no server can use.
#[derive(Debug, Error)]
#[error("no server can use these certificates: {0}")]
pub struct ServerTlsError(String);

impl ServerTls {
    /// Shows this certificate, followed by the intermediate ones, in PEM; asks for none of the client.
    ///
    /// # Errors
    ///
    /// The text is not PEM, or key and certificate do not belong together.
    pub fn new(crt: &str, key: &str) -> Result<Self, ServerTlsError> {
        Self::build(crt, key, None)
    }

    /// The same, and every client has to have a certificate of this authority, as with Nomad's `verify_https_client`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), or the authority is none.
    pub fn for_clients_of(crt: &str, key: &str, authority: &str) -> Result<Self, ServerTlsError> {
        Self::build(crt, key, Some(authority))
    }

    fn build(crt: &str, key: &str, authority: Option<&str>) -> Result<Self, ServerTlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?;
        let builder = match authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(authority)? {
                    roots.add(certificate).map_err(wrong)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(wrong)?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(wrong)?;
        let config = builder
            .with_single_cert(certificates(crt)?, key)
            .map_err(wrong)?;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> ServerTlsError {
    ServerTlsError(error.to_string())
}
