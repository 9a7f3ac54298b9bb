//! Verifies servers, as far as the options want it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::pem::{Texts, shown};
use super::{TlsError, TlsOptions};

/// Verifies the chain, the name, both or neither. That the server has the key of its certificate is verified always.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    certificate: bool,
    hostname: bool,
    /// Instead of the name that is sent.
    name: Option<ServerName<'static>>,
}

impl Verifier {
    pub(super) fn new(options: &TlsOptions, texts: &Texts) -> Result<Self, TlsError> {
        let certificate = options.verify_certificate.unwrap_or(true);
        let mut roots = RootCertStore::empty();
        // A file that is named has to be right, also while nothing is verified.
        if let Some(found) = texts.authorities(options.ca_file.as_ref())? {
            let (usable, _) = roots.add_parsable_certificates(found);
            if usable == 0 {
                return Err(TlsError::new(
                    "ca_file",
                    format!(
                        "{} holds no certificate that can be used as an authority; give X.509 certificates in PEM",
                        shown(options.ca_file.as_ref())
                    ),
                ));
            }
        } else if certificate {
            // What a system has and rustls cannot use never verified anything.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::new(
                    "ca_file",
                    "is not set, and this system has no certificates of authorities; name one, or install the package \
                     ca-certificates",
                ));
            }
        }
        Ok(Self {
            provider: Arc::new(ring::default_provider()),
            roots: Arc::new(roots),
            certificate,
            hostname: options.verify_hostname.unwrap_or(true),
            name: None,
        })
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    /// The same for servers that have to have this name.
    pub(super) fn for_name(&self, name: ServerName<'static>) -> Self {
        Self {
            name: Some(name),
            ..self.clone()
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // As in Vector, whose OpenSSL does not look at the name either then.
        if !self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        if self.hostname {
            verify_server_name(&certificate, self.name.as_ref().unwrap_or(server_name))?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
