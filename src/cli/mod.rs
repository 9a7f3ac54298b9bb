//! The command line: what a user types, and the exit code that it ends with.

mod args;
mod demo;
mod exit;
mod run;
mod shipped;
mod signal;
mod tail;
mod terminal;
mod validate;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use exit::Exit;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // Ends the process with code 2 when the arguments cannot be read.
    let args = Args::parse();
    start_log(args.quiet);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("nomad-events: cannot start the runtime: {error}");
            return Exit::Failure.into();
        }
    };
    let result = runtime.block_on(async {
        match args.command {
            Command::Run(args) => run::run(&args).await,
            Command::Validate(args) => validate::run(&args),
            Command::Tail(args) => tail::run(&args).await,
            Command::Demo(args) => demo::run(&args).await,
        }
    });
    // What still occupies a thread (a name to be resolved, a token file that does not end) is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("nomad-events: {error:#}");
            Exit::Failure.into()
        }
    }
}

/// Logs go to standard error: standard output belongs to what was asked for.
fn start_log(quiet: bool) {
    let default = if quiet { "error" } else { "info" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("NOMAD_EVENTS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(anstream::stderr().is_terminal())
        .with_target(false)
        .init();
}
