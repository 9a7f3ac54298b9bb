//! The embedded host gives what Vector gives.

#[path = "parity/stage/mod.rs"]
mod stage;

use std::path::Path;
use std::process::Command;

/// What is expected was written by Vector alone.
const IS_MODEL: bool = false;

/// Runs a configuration.
fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-events"));
    command.arg("run").arg("--config").arg(config);
    command
}
