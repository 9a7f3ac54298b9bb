//! The command line: what a user types, and the exit code that it ends with.

mod args;
mod demo;
mod exit;
mod graph;
mod panics;
mod run;
mod shipped;
mod signal;
mod tail;
mod terminal;
mod test;
mod validate;

use std::process::ExitCode;

use anstream::ColorChoice;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Args, Command, LogFormat};
use exit::Exit;

/// Sets what is logged, for every command.
const LOG_VARIABLE: &str = "NOMAD_EVENTS_LOG";

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // Ends the process with code 2 when the arguments cannot be read.
    let args = Args::parse();
    start_log(args.default_level(), args.log_format);
    panics::hide_values();
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
            Command::Test(args) => test::run(&args),
            Command::Graph(args) => graph::run(&args),
            Command::Tail(tail) => tail::run(&tail, args.quiet).await,
            Command::Demo(args) => demo::run(&args).await,
        }
    });
    // What still occupies a thread is not waited for: a write to a pipe that nobody reads, a name to be resolved, a token
    // file that does not end, a disk that hangs. The time for saving the position is over: it is part of the stop timeout.
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
fn start_log(default: &str, format: LogFormat) {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(filter) if !filter.is_empty() => filter.parse().unwrap_or_else(|error| {
            eprintln!(
                "nomad-events: {LOG_VARIABLE} is not understood, logging as without it: {error}"
            );
            EnvFilter::new(default)
        }),
        _ => EnvFilter::new(default),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => {
            let coloured = anstream::AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
            log.with_ansi(coloured).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
