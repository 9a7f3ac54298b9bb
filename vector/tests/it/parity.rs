//! What Vector gives, to which the embedded host is held too.
//!
//! `NOMAD_EVENTS_WRITE_FIXTURES=1 cargo test parity` writes the files of `tests/fixtures/parity` anew.

#[path = "../../../tests/it/parity/stage/mod.rs"]
mod stage;

use std::path::Path;
use std::process::Command;

/// What is expected is what this host gives.
const IS_MODEL: bool = true;

/// Runs a configuration.
fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-vector"));
    command
        .arg("--config")
        .arg(config)
        .env("VECTOR_LOG", "warn");
    command
}
