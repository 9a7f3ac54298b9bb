//! `nomad-events validate`: what is wrong with a configuration, before it runs.

use std::path::Path;

use super::args::ValidateArgs;
use super::exit::Exit;
use crate::host::config::{Config, ConfigErrors, Warnings, disk_files, process_env};
use crate::host::topology::Topology;

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    for file in &args.files {
        match check(file) {
            Ok(warnings) => {
                for warning in &warnings.0 {
                    println!("{}: warning: {warning}", file.display());
                }
                println!("{}: valid", file.display());
            }
            Err(errors) => {
                println!("{errors}");
                exit = Exit::Config;
            }
        }
    }
    Ok(exit)
}

fn check(file: &Path) -> Result<Warnings, ConfigErrors> {
    let (config, warnings) = Config::load(file, &process_env, &disk_files)?;
    Topology::build(config)?;
    Ok(warnings)
}
