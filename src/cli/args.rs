//! The arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::host::config::{ConfigPath, Format};

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
78 wrong configuration, 130 left at once at a second stop signal.

Nomad is found as by the nomad command, where a configuration or an argument says nothing else: NOMAD_ADDR, NOMAD_TOKEN, \
NOMAD_REGION. NOMAD_NAMESPACE is not looked at, since Nomad sets it in every task.

NOMAD_EVENTS_LOG sets what is logged to standard error, whatever --quiet says: error, warn, info, debug or trace, or a filter \
of the crate tracing-subscriber.")]
pub(super) struct Args {
    /// Log errors only, and in `tail` show only those notices that tell of a loss
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
    #[command(after_help = "\
Several files make one configuration: each can name the components of the others, and an id stands in one of them only.

At the first signal nothing new is taken, and what was taken is delivered, for as long as the source's stop_timeout_secs (4). \
At the second signal the process ends at once.

Relative paths in a configuration start from the working directory, as in Vector. What this program does not do is refused \
by name: such a configuration runs with nomad-vector, which is Vector with the same source in it.")]
    Run(RunArgs),
    /// Check configurations: programs are compiled, nothing is connected to
    #[command(after_help = "\
Every mistake is printed to standard output as FILE:LINE: COMPONENT: what is wrong and what to do. Exit code 78 when there is \
one. Several files make one configuration, as for run. Variables are filled in from the environment, so it has to be like \
that of the run.")]
    Validate(ValidateArgs),
    /// Show what happens in a cluster, one line for each event
    #[command(after_help = "\
A line is local time, topic, namespace, and what happened, as the shipped programs say it; it begins with what the server \
still remembers. Events go to standard output; what is to be said of the stream itself, as that the token is refused, goes to \
standard error. When the connection breaks it is tried again, and nothing is shown twice.

Where the agent is and who we are: see nomad-events --help.")]
    Tail(TailArgs),
    /// Run the shipped configuration on recorded events of a real cluster; needs nothing else
    #[command(after_help = "\
A fake Nomad on a free port of this machine serves the recording, with its times moved so that it ends now; the configuration \
config/vector.toml runs unchanged; a fake Loki takes the pushes. Printed are the lines as Loki has them, in the order of their \
times: NDJSON on standard output, a summary on standard error. Nothing is read from the environment or the disk.")]
    Demo(DemoArgs),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("configuration").required(true).multiple(true))]
pub(super) struct RunArgs {
    /// Configuration files as Vector reads them; the name tells the form: .toml, .yaml, .yml, .json
    #[arg(
        long,
        short,
        value_name = "FILE",
        value_delimiter = ',',
        group = "configuration"
    )]
    pub(super) config: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) forms: FormArgs,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("configuration").required(true).multiple(true))]
pub(super) struct ValidateArgs {
    /// Configuration files; the name tells the form: .toml, .yaml, .yml, .json
    #[arg(value_name = "FILE", value_delimiter = ',', group = "configuration")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) forms: FormArgs,
    /// Warnings are errors too
    #[arg(long, short)]
    pub(super) deny_warnings: bool,
    /// Read the files only: do not compile programs, and do not check sinks and their templates
    #[arg(long)]
    pub(super) no_environment: bool,
}

/// Files whose form is said and not taken from their names, by Vector's options.
#[derive(Debug, clap::Args)]
pub(super) struct FormArgs {
    /// Configuration files in TOML, whatever their names
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        group = "configuration"
    )]
    config_toml: Vec<PathBuf>,
    /// Configuration files in YAML, whatever their names
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        group = "configuration"
    )]
    config_yaml: Vec<PathBuf>,
    /// Configuration files in JSON, whatever their names
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        group = "configuration"
    )]
    config_json: Vec<PathBuf>,
    // Vector's, known so that the refusal can say what to do.
    #[arg(long, short = 'C', value_name = "DIR", hide = true, value_parser = refuse_folder, group = "configuration")]
    config_dir: Option<PathBuf>,
}

impl FormArgs {
    /// All files, those without a form first.
    pub(super) fn with(&self, files: &[PathBuf]) -> Vec<ConfigPath> {
        let of = |files: &[PathBuf], format| {
            let paths = files.iter().map(move |path| ConfigPath {
                path: path.clone(),
                format,
            });
            paths.collect::<Vec<_>>()
        };
        [
            of(files, None),
            of(&self.config_toml, Some(Format::Toml)),
            of(&self.config_yaml, Some(Format::Yaml)),
            of(&self.config_json, Some(Format::Json)),
        ]
        .concat()
    }
}

fn refuse_folder(_: &str) -> Result<PathBuf, String> {
    Err("folders are not read here; give the files one by one, or run nomad-vector".to_owned())
}

#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Address of a Nomad agent [env: NOMAD_ADDR] [default: http://127.0.0.1:4646]
    #[arg(long, value_name = "URL")]
    pub(super) address: Option<String>,
    /// One namespace; all that the token may read by default
    #[arg(long, short, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Only what happens from now on, without what the server still remembers
    #[arg(long)]
    pub(super) new: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Push to this Loki as well, as http://127.0.0.1:3100
    #[arg(long, value_name = "URL")]
    pub(super) loki: Option<String>,
}
