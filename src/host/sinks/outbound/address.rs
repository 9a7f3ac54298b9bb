//! URLs to push to, and the credentials that can stand in them.

use http::uri::{Authority, Scheme, Uri};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::secrets::basic;

/// What is no address. Quotes nothing of it: it can be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("not a URL")]
    NoUrl,
    #[error("must start with http:// or https://")]
    Scheme,
}

/// Splits a URL into one without user and password, and these as the value of a header.
///
/// # Errors
///
/// What is no URL, or none of HTTP.
pub(crate) fn split_credentials(url: &str) -> Result<(Uri, Option<SecretString>), AddressError> {
    let uri: Uri = url.parse().map_err(|_| AddressError::NoUrl)?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {}
        _ => return Err(AddressError::Scheme),
    }
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    let Some((user_info, host)) = authority.rsplit_once('@') else {
        return Ok((uri, None));
    };
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    let credentials = basic(&decoded(user), &decoded(password));
    let host = host.parse().map_err(|_| AddressError::NoUrl)?;
    let mut parts = uri.into_parts();
    parts.authority = Some(host);
    let uri = Uri::from_parts(parts).map_err(|_| AddressError::NoUrl)?;
    Ok((uri, Some(credentials)))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn credentials_are_taken_out_of_a_url() {
        for (url, uri, credentials) in [
            ("http://h", "http://h/", None),
            ("https://h:1/a?b=c", "https://h:1/a?b=c", None),
            (
                "http://user:pa%3Ass@h/x",
                "http://h/x",
                Some("Basic dXNlcjpwYTpzcw=="),
            ),
            ("http://user@h", "http://h/", Some("Basic dXNlcjo=")),
        ] {
            let (found, secret) = split_credentials(url).unwrap();
            assert_eq!(found, uri, "{url}");
            let secret = secret.as_ref().map(|secret| secret.expose_secret());
            assert_eq!(secret, credentials, "{url}");
        }
        for (url, expected) in [
            ("not a url", AddressError::NoUrl),
            ("", AddressError::NoUrl),
            ("http://user@", AddressError::NoUrl),
            ("/path", AddressError::Scheme),
            ("host:80", AddressError::Scheme),
            ("ftp://h/", AddressError::Scheme),
        ] {
            assert_eq!(split_credentials(url).unwrap_err(), expected, "{url}");
        }
    }
}
