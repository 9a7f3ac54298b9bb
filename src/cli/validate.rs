//! `nomad-events validate`: what is wrong with a configuration, before it runs.

use std::io::{self, Write as _};

use super::args::ValidateArgs;
use super::exit::Exit;
use crate::host::config::{Config, ConfigErrors, Warnings, disk_files, process_env};
use crate::host::topology::Topology;

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let (exit, report) = match check(args) {
        Ok((names, warnings)) => {
            let denied = args.deny_warnings && !warnings.0.is_empty();
            let kind = if denied { "error" } else { "warning" };
            let mut report: String = warnings
                .0
                .iter()
                .map(|warning| format!("{names}: {kind}: {warning}\n"))
                .collect();
            if denied {
                (Exit::Config, report)
            } else {
                report.push_str(&format!("{names}: valid\n"));
                (Exit::Success, report)
            }
        }
        Err(errors) => (Exit::Config, format!("{errors}\n")),
    };
    match io::stdout().lock().write_all(report.as_bytes()) {
        // The exit code is told also when nobody reads the reasons.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(exit),
    }
}

/// The names of the files, and what is suspicious about them.
fn check(args: &ValidateArgs) -> Result<(String, Warnings), ConfigErrors> {
    let paths = args.forms.with(&args.files);
    let (config, warnings) = Config::load_all(&paths, &process_env, &disk_files)?;
    let names = config.file.clone();
    if !args.no_environment {
        Topology::build_saving(config)?;
    }
    Ok((names, warnings))
}
