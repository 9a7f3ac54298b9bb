//! The arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Nomad's events into Vector's pipelines and Grafana Loki, losing nothing silently.
#[derive(Debug, Parser)]
#[command(
    name = "nomad-events",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed while running, 2 wrong arguments, 75 stopped before every event was answered for, \
78 wrong configuration, 130 second stop signal.

Nomad's own environment variables are used where no option says otherwise: NOMAD_ADDR, NOMAD_TOKEN, NOMAD_REGION. \
NOMAD_EVENTS_LOG sets what is logged (error, warn, info, debug, trace).")]
pub(super) struct Args {
    /// Log errors only
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Args {
    /// The level from which on it is logged where the environment says nothing.
    pub(super) fn default_level(&self) -> &'static str {
        match self.command {
            _ if self.quiet => "error",
            // What its log would say are the notices, which it shows.
            Command::Tail(_) => "error",
            Command::Demo(_) => "warn",
            Command::Run(_) | Command::Validate(_) => "info",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a configuration until stopped by SIGTERM or Ctrl-C
    Run(RunArgs),
    /// Check a configuration: programs are compiled, nothing is connected to
    Validate(ValidateArgs),
    /// Show what happens in a cluster, one line for each event
    Tail(TailArgs),
    /// Run the shipped configuration on recorded events of a real cluster; needs nothing else
    Demo(DemoArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// A configuration file as Vector reads it, in TOML
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct ValidateArgs {
    /// Configuration files, each checked by itself
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Address of a Nomad agent [env: NOMAD_ADDR] [default: http://127.0.0.1:4646]
    #[arg(long, value_name = "URL")]
    pub(super) address: Option<String>,
    /// One namespace; all of them by default
    #[arg(long, short, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Only what happens from now on, without what the server still remembers
    #[arg(long)]
    pub(super) new: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Push to this Loki as well
    #[arg(long, value_name = "URL")]
    pub(super) loki: Option<String>,
}
