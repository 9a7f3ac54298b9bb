//! Certificates and keys, from files or from text in the options.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Deserializer};

use super::{TlsError, TlsOptions};
use crate::bounded_file;

/// Longest file that is read; the list of every public authority has a quarter of a megabyte.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Most files that are read of a directory with authorities.
const MAX_FILES: usize = 4096;

/// What PEM text begins with somewhere, as Vector tells it from DER, and from a path.
const PEM_START: &str = "-----BEGIN ";

/// How a PKCS#8 key with a passphrase begins.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Where a certificate or a key comes from. `Debug` never shows text.
#[derive(Clone)]
#[non_exhaustive]
pub enum PemSource {
    /// A file.
    File(PathBuf),
    /// Every file of a directory; for authorities only. No text in a configuration file means this.
    Directory(PathBuf),
    /// PEM text, which may be a key.
    Inline(SecretString),
}

impl From<&str> for PemSource {
    fn from(text: &str) -> Self {
        if text.contains(PEM_START) {
            Self::Inline(SecretString::from(text))
        } else {
            Self::File(PathBuf::from(text))
        }
    }
}

impl<'de> Deserialize<'de> for PemSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::from(text.as_str()))
    }
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Directory(path) => f.write_str(&crate::shown::path(path)),
            Self::Inline(_) => f.write_str("the text given"),
        }
    }
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// For messages.
pub(super) fn shown(source: Option<&PemSource>) -> String {
    source.map_or_else(String::new, ToString::to_string)
}

/// What the files said.
pub(super) struct Texts {
    ca: Vec<Vec<u8>>,
    crt: Option<Vec<u8>>,
    key: Option<SecretSlice<u8>>,
}

impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        fn key(texts: &Texts) -> Option<&[u8]> {
            texts.key.as_ref().map(|key| key.expose_secret())
        }
        self.ca == other.ca && self.crt == other.crt && key(self) == key(other)
    }
}

impl Texts {
    /// Reads everything that the options name.
    pub(super) fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        let one = |option, source: Option<&PemSource>| {
            source.map(|source| read(option, source)).transpose()
        };
        Ok(Self {
            ca: match &options.ca_file {
                Some(PemSource::Directory(path)) => read_directory(path)?,
                source => one("ca_file", source.as_ref())?.into_iter().collect(),
            },
            crt: one("crt_file", options.crt_file.as_ref())?,
            key: one("key_file", options.key_file.as_ref())?.map(SecretSlice::from),
        })
    }

    /// The certificates of `ca_file`; `None` when the system's are to be taken.
    pub(super) fn authorities(
        &self,
        source: Option<&PemSource>,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, TlsError> {
        let Some(source) = source else {
            return Ok(None);
        };
        let mut found = Vec::new();
        let folder = matches!(source, PemSource::Directory(_));
        for text in &self.ca {
            if folder && parts(text).next().is_none() {
                // A folder may have other things in it.
                continue;
            }
            if folder || is_pem(text) {
                found.extend(certificates("ca_file", source, text)?);
            } else {
                found.push(CertificateDer::from(text.clone()));
            }
        }
        Ok(Some(found))
    }
}

/// Our certificates and their key.
pub(super) fn identity(
    options: &TlsOptions,
    texts: &Texts,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
    let (Some(crt_file), Some(key_file), Some(crt), Some(key)) =
        (&options.crt_file, &options.key_file, &texts.crt, &texts.key)
    else {
        return Ok(None);
    };
    if !is_pem(crt) {
        return Err(TlsError::new(
            "crt_file",
            format!(
                "{crt_file} is not PEM text, and PKCS#12 archives (.p12, .pfx) are not supported; convert it with \
                 `openssl pkcs12 -in {crt_file} -clcerts -nokeys -out client.crt` and \
                 `openssl pkcs12 -in {crt_file} -nocerts -noenc -out client.key`, and set `crt_file` and `key_file`"
            ),
        ));
    }
    let chain = certificates("crt_file", crt_file, crt)?;
    let key = private_key(key_file, key.expose_secret(), options.key_pass.as_ref())?;
    Ok(Some((chain, key)))
}

fn certificates(
    option: &'static str,
    source: &PemSource,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = parts(text)
        .map(CertificateDer::from_pem_slice)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            TlsError::new(
                option,
                format!("{source} is broken PEM text ({error}); copy it again, whole"),
            )
        })?;
    if found.is_empty() {
        return Err(TlsError::new(
            option,
            format!(
                "{source} holds no certificate; it has to have a part that begins with `-----BEGIN CERTIFICATE-----`"
            ),
        ));
    }
    Ok(found)
}

/// The certificates of a text, each from its first line to its last. What stands between them, keys too, is none of the parser's
/// business: it stumbles over keys in OpenSSL's old format.
fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    memchr::memmem::find_iter(text, b"-----BEGIN CERTIFICATE-----").map(|at| {
        let rest = text.get(at..).unwrap_or_default();
        let end = memchr::memmem::find(rest, END).map_or(rest.len(), |end| end + END.len());
        rest.get(..end).unwrap_or_default()
    })
}

fn private_key(
    source: &PemSource,
    text: &[u8],
    pass: Option<&SecretString>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let fail = |problem: String| TlsError::new("key_file", format!("{source} {problem}"));
    if !is_pem(text) {
        let der = SecretSlice::from(text.to_vec());
        return match (opened(der.expose_secret(), pass), pass) {
            (Ok(key), _) => Ok(key),
            // Not encrypted, or not ours to know.
            (Err(_), _) => PrivateKeyDer::try_from(text.to_vec())
                .map_err(|_| fail("is no private key, neither in PEM nor in DER".to_owned())),
        };
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(fail(format!(
            "is encrypted in the old format of OpenSSL, which is not supported; convert it with \
             `openssl pkcs8 -topk8 -in {source} -out client.key`"
        )));
    }
    let Some(at) = text.find(&format!("{PEM_START}{ENCRYPTED}")) else {
        return PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
            fail(format!(
                "holds no private key ({error}); it has to have a part that begins with `-----BEGIN PRIVATE KEY-----`"
            ))
        });
    };
    if pass.is_none() {
        return Err(TlsError::new(
            "key_pass",
            format!("is missing: {source} is encrypted; set its passphrase"),
        ));
    }
    // The parser does not know this label; what is within is Base64 as in any other part.
    let part = SecretString::from(
        text.get(at..)
            .unwrap_or_default()
            .replace(ENCRYPTED, "PRIVATE KEY"),
    );
    let der = PrivateKeyDer::from_pem_slice(part.expose_secret().as_bytes()).map_err(|error| {
        fail(format!(
            "is broken PEM text ({error}); copy it again, whole"
        ))
    })?;
    opened(der.secret_der(), pass)
        .map_err(|problem| TlsError::new("key_pass", format!("does not open {source}: {problem}")))
}

/// The key within an encrypted PKCS#8 key.
fn opened(der: &[u8], pass: Option<&SecretString>) -> Result<PrivateKeyDer<'static>, String> {
    let pass = pass.ok_or("there is no passphrase")?;
    let info = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|_| "it is no encrypted PKCS#8 key".to_owned())?;
    let key = info.decrypt(pass.expose_secret()).map_err(|_| {
        "the passphrase is wrong, or the key is encrypted in a way that is not supported; \
         `openssl pkcs8 -topk8 -v2 aes256` makes one that is"
            .to_owned()
    })?;
    PrivateKeyDer::try_from(key.as_bytes().to_vec()).map_err(ToOwned::to_owned)
}

fn is_pem(text: &[u8]) -> bool {
    memchr::memmem::find(text, PEM_START.as_bytes()).is_some()
}

fn read(option: &'static str, source: &PemSource) -> Result<Vec<u8>, TlsError> {
    match source {
        PemSource::Inline(text) => Ok(text.expose_secret().as_bytes().to_vec()),
        PemSource::File(path) | PemSource::Directory(path) => {
            bounded_file::read(path, MAX_FILE_BYTES)
                .map_err(|error| unreadable(option, path, &error))
        }
    }
}

fn read_directory(path: &Path) -> Result<Vec<Vec<u8>>, TlsError> {
    let fail = |error: io::Error| unreadable("ca_file", path, &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(TlsError::new(
                "ca_file",
                format!(
                    "{} has more than {MAX_FILES} files",
                    crate::shown::path(path)
                ),
            ));
        }
    }
    files.sort();
    files
        .iter()
        .map(|file| {
            bounded_file::read(file, MAX_FILE_BYTES)
                .map_err(|error| unreadable("ca_file", file, &error))
        })
        .collect()
}

fn unreadable(option: &'static str, path: &Path, error: &io::Error) -> TlsError {
    TlsError::new(
        option,
        format!(
            "{} cannot be read ({error}); give the path of a file that this process may read, or the PEM text itself",
            crate::shown::path(path)
        ),
    )
}
