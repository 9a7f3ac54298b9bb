//! `nomad-events validate`: what is wrong with a configuration, before it runs.

use std::io::{self, Write as _};
use std::path::Path;

use super::args::ValidateArgs;
use super::exit::Exit;
use crate::host::config::{Config, ConfigErrors, Warnings, disk_files, process_env};
use crate::host::topology::Topology;

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    let mut out = io::stdout().lock();
    for file in &args.files {
        let report = match check(file) {
            Ok(warnings) => {
                let name = file.display();
                let warnings = warnings.0.iter();
                warnings
                    .map(|warning| format!("{name}: warning: {warning}\n"))
                    .chain([format!("{name}: valid\n")])
                    .collect()
            }
            Err(errors) => {
                exit = Exit::Config;
                format!("{errors}\n")
            }
        };
        match out.write_all(report.as_bytes()) {
            // The exit code is told also when nobody reads the reasons.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
    }
    Ok(exit)
}

fn check(file: &Path) -> Result<Warnings, ConfigErrors> {
    let (config, warnings) = Config::load(file, &process_env, &disk_files)?;
    Topology::build(config)?;
    Ok(warnings)
}
