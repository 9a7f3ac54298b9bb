//! What a failure of TLS means, and what to do.

use std::error::Error as StdError;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use super::{NameRule, TlsOptions};

/// How many of a certificate's names a message shows.
const MAX_NAMES: usize = 5;

/// The failure of TLS among an error and its sources.
pub(crate) fn failure<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // An I/O error passes its content over when it is asked for its source.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

pub(super) fn explain(options: &TlsOptions, rule: NameRule, host: &str, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(problem) => certificate(options, rule, host, problem),
        Error::AlertReceived(alert) => refused(options, host, *alert),
        Error::InvalidMessage(_) => {
            format!("{host} does not speak TLS there; is its address http://?")
        }
        Error::PeerIncompatible(problem) => format!(
            "{host} and we have no way of TLS in common ({problem:?}); TLS 1.2 and 1.3 are spoken here"
        ),
        error => format!("TLS with {host} failed: {error}"),
    }
}

fn certificate(
    options: &TlsOptions,
    rule: NameRule,
    host: &str,
    problem: &CertificateError,
) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            let trusted = match &options.ca_file {
                Some(source) => format!("by no authority in {source}"),
                None => "by no authority that this system trusts".to_owned(),
            };
            format!(
                "the certificate of {host} is issued {trusted}; name the certificate of its authority in `tls.ca_file`"
            )
        }
        CertificateError::Expired => expired(host, ""),
        CertificateError::ExpiredContext { not_after, .. } => {
            expired(host, &format!(" on {}", day(*not_after)))
        }
        CertificateError::NotValidYet => not_yet(host, ""),
        CertificateError::NotValidYetContext { not_before, .. } => {
            not_yet(host, &format!(" until {}", day(*not_before)))
        }
        CertificateError::NotValidForName => wrong_name(options, rule, host, &[]),
        CertificateError::NotValidForNameContext { presented, .. } => {
            wrong_name(options, rule, host, presented)
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!(
                "{host} shows the certificate of an authority as its own; give it one that is issued by that authority \
             (`CA:FALSE`), and name the authority's in `tls.ca_file`"
            )
        }
        CertificateError::BadSignature => format!(
            "the certificate of {host} is not signed by the authority that it names; `tls.ca_file` may be of an older \
             authority of the same name"
        ),
        other => format!("the certificate of {host} cannot be accepted: {other}"),
    }
}

fn expired(host: &str, when: &str) -> String {
    format!("the certificate of {host} expired{when}; renew it, or check this machine's clock")
}

fn not_yet(host: &str, when: &str) -> String {
    format!("the certificate of {host} is not valid{when} yet; check this machine's clock")
}

fn wrong_name(options: &TlsOptions, rule: NameRule, host: &str, presented: &[String]) -> String {
    let wanted = match (&options.server_name, rule) {
        (Some(name), NameRule::ServerName) => name,
        _ => host,
    };
    if presented.is_empty() {
        return format!(
            "the certificate of {host} has no name that counts; it needs {wanted} as subjectAltName (a common name alone \
             is not looked at)"
        );
    }
    // `DnsName("a")` and `IpAddress(127.0.0.1)`
    let names: Vec<&str> = presented
        .iter()
        .take(MAX_NAMES)
        .map(|name| {
            let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
            inner.trim_end_matches(')').trim_matches('"')
        })
        .collect();
    let more = if presented.len() > MAX_NAMES {
        ", ..."
    } else {
        ""
    };
    let remedy = match rule {
        NameRule::ServerName => "set `tls.server_name` to one of them",
        NameRule::Host => "use one of them in the address",
    };
    format!(
        "the certificate of {host} is for {}{more}, not for {wanted}; {remedy}",
        names.join(", ")
    )
}

fn refused(options: &TlsOptions, host: &str, alert: AlertDescription) -> String {
    let asks = "set `tls.crt_file` and `tls.key_file`";
    match (alert, &options.crt_file) {
        (AlertDescription::CertificateRequired, _)
        | (AlertDescription::BadCertificate | AlertDescription::HandshakeFailure, None) => {
            format!("{host} wants a client certificate ({alert:?}); {asks}")
        }
        (
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
            Some(source),
        ) => format!(
            "{host} refuses our certificate {source} ({alert:?}); it has to be valid and issued by an authority that the \
             server trusts"
        ),
        (AlertDescription::UnrecognisedName, _) => {
            format!("{host} has no certificate for that name; set `tls.server_name`")
        }
        (alert, _) => format!("{host} refuses TLS ({alert:?}); look at its log"),
    }
}

fn day(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|secs| Timestamp::from_second(secs).ok())
        .map_or_else(String::new, |time| time.strftime("%Y-%m-%d").to_string())
}
