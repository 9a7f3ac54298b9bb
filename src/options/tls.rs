//! TLS towards Nomad: the options `tls.*`, and Nomad's variables where an option is not set.

use std::path::PathBuf;

use super::{Endpoint, OptionError};
use crate::tls::{NameRule, PemSource, Tls, TlsOptions};

/// TLS for these endpoints; `None` when none wants it.
pub(super) fn resolve(
    options: Option<&TlsOptions>,
    endpoints: &[Endpoint],
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Tls>, OptionError> {
    if !endpoints.iter().any(Endpoint::is_tls) {
        return match options {
            Some(_) => Err(OptionError::new(
                "tls",
                "no endpoint is an https:// address; write one, or leave `tls` out",
            )),
            // The variables may be there for other programs.
            None => Ok(None),
        };
    }
    let (merged, variables) = merge(options.cloned().unwrap_or_default(), env)?;
    Tls::build(&merged, NameRule::ServerName)
        .map(Some)
        .map_err(|error| {
            let variable = variables
                .iter()
                .find(|(option, _)| *option == error.option)
                .map(|(_, variable)| (*variable).to_owned());
            OptionError {
                option: variable.unwrap_or_else(|| format!("tls.{}", error.option)),
                problem: error.problem,
            }
        })
}

/// Options and the variables that stand for them.
type Variables = Vec<(&'static str, &'static str)>;

/// Each option wins over its variable. Certificate and key come from one place, because they belong together.
fn merge(
    mut options: TlsOptions,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<(TlsOptions, Variables), OptionError> {
    let mut variables = Vec::new();
    let file = |name| env(name).map(|path| PemSource::File(PathBuf::from(path)));
    if options.ca_file.is_none() {
        // In this order, as Nomad's client has it.
        if let Some(source) = file("NOMAD_CACERT") {
            options.ca_file = Some(source);
            variables.push(("ca_file", "NOMAD_CACERT"));
        } else if let Some(path) = env("NOMAD_CAPATH") {
            options.ca_file = Some(PemSource::Directory(PathBuf::from(path)));
            variables.push(("ca_file", "NOMAD_CAPATH"));
        }
    }
    if options.crt_file.is_none() && options.key_file.is_none() {
        options.crt_file = file("NOMAD_CLIENT_CERT");
        options.key_file = file("NOMAD_CLIENT_KEY");
        variables.push(("crt_file", "NOMAD_CLIENT_CERT"));
        variables.push(("key_file", "NOMAD_CLIENT_KEY"));
    }
    if options.server_name.is_none()
        && let Some(name) = env("NOMAD_TLS_SERVER_NAME")
    {
        options.server_name = Some(name);
        variables.push(("server_name", "NOMAD_TLS_SERVER_NAME"));
    }
    if options.verify_certificate.is_none()
        && let Some(text) = env("NOMAD_SKIP_VERIFY")
    {
        options.verify_certificate = Some(!parse_bool("NOMAD_SKIP_VERIFY", &text)?);
    }
    Ok((options, variables))
}

/// The words that Nomad's client knows. It passes over all others; here nothing is passed over.
fn parse_bool(option: &str, text: &str) -> Result<bool, OptionError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(OptionError::new(
            option,
            format!("{text:?} is neither \"true\" nor \"false\""),
        )),
    }
}
