//! The arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

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

NOMAD_EVENTS_LOG sets what is logged to standard error, whatever --quiet and --verbose say: error, warn, info, debug or trace, or a filter \
of the crate tracing-subscriber.")]
pub(super) struct Args {
    /// Log errors only, and in `tail` show only those notices that tell of a loss
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Log more; twice for still more
    #[arg(long, short, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,
    /// How the log is written
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        env = "NOMAD_EVENTS_LOG_FORMAT",
        hide_env_values = true
    )]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Args {
    /// The level from which on it is logged where the environment says nothing.
    pub(super) fn default_level(&self) -> &'static str {
        const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
        let usual = match self.command {
            _ if self.quiet => 0,
            // What its log would say are the notices, which it shows.
            Command::Tail(_) => 0,
            Command::Demo(_) | Command::Test(_) | Command::Graph(_) => 1,
            Command::Run(_) | Command::Validate(_) => 2,
        };
        LEVELS[(usual + usize::from(self.verbose)).min(LEVELS.len() - 1)]
    }
}

/// How the log is written: a line for people, or an object on each line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a configuration until stopped by SIGTERM or Ctrl-C
    #[command(after_help = "\
Several files make one configuration: each can name the components of the others, and an id stands in one of them only.

At the first signal nothing new is taken, and what was taken is delivered, for as long as the source's stop_timeout_secs (4). \
At a second signal the process ends at once; one within 0.3 s of the first counts as the same, since some senders signal a \
process and its group.

Relative paths in a configuration start from the working directory, as in Vector. What this program does not do is refused \
by name: such a configuration runs with nomad-vector, which is Vector with the same source in it. Tests in the file are not \
run.

Examples:
  nomad-events run --config config/vector.toml
  LOKI_ADDR=http://loki:3100 nomad-events --log-format json run -c config/vector.toml")]
    Run(RunArgs),
    /// Check configurations: programs are compiled, nothing is connected to
    #[command(after_help = "\
Every mistake is printed to standard output as FILE:LINE: COMPONENT: what is wrong and what to do. Exit code 78 when there is \
one. Several files make one configuration, as for run. Variables are filled in from the environment, so it has to be like \
that of the run.

Examples:
  nomad-events validate config/vector.toml
  nomad-events validate --deny-warnings sources.toml sinks.yaml && echo all right")]
    Validate(ValidateArgs),
    /// Run the unit tests of a configuration; nothing is connected to
    #[command(after_help = "\
Tests are written as for Vector: tables [[tests]], in the file of the configuration or in files that hold nothing else. An \
event is inserted at a transform, goes through it and all that follow, and conditions look at what comes out of one of them. \
All tests are run, and what failed is told with its conditions and with the events that came out. Exit code 0 when all have \
passed, 78 when one has failed or a test is wrong, as of vector test; a wrong one is shown with its line, and then none is run.

Examples:
  nomad-events test config/vector.toml config/tests.toml
  nomad-events test -c config/talk.toml -c config/tests.toml -c config/talk.tests.toml")]
    Test(TestArgs),
    /// Draw a configuration: its components and what goes from which to which
    #[command(after_help = "\
Written to standard output, as by vector graph. GitHub draws Mermaid in Markdown, in a block of code with the language mermaid.

Examples:
  nomad-events graph --config config/vector.toml | dot -Tsvg > pipeline.svg
  nomad-events graph --config config/talk.toml --format mermaid")]
    Graph(GraphArgs),
    /// Show what happens in a cluster, one line for each event
    #[command(after_help = "\
A line is local time, topic, type, namespace, and what happened, as the shipped programs say it; it begins with what the \
server still remembers. Events go to standard output; what is to be said of the stream itself, as that the token is refused, \
goes to standard error. When the connection breaks it is tried again, and nothing is shown twice. Changes of a node that only \
follow from its allocations (type AllocationUpdated) are shown only when --type names them.

What is given several times is met by any of them; different options have to be met all. --topic, --namespace and --region \
are sent to Nomad; the others are looked at here.

--job: the job itself, its evaluations, allocations, deployments and services, and those of its dispatched and periodic \
children, which have IDs of their own (web/dispatch-..., web/periodic-...); --topic Job:web is without them.

--node: the node itself, and the allocations, services and evaluations that name it, by its ID, by four or more characters of \
the beginning of its ID, or by its name. Services and evaluations have only the ID: they are found by a name once an event of \
the node or of one of its allocations has told it.

With one of these, topics that cannot match are not subscribed to, unless --topic names them.

Where the agent is and who we are: see nomad-events --help. A token as an argument could be seen by everybody on this machine, \
so there is only --token-file.

Examples:
  nomad-events tail --new
  nomad-events tail --job web --since 15m
  nomad-events tail --topic Node --topic Allocation --node client-3
  nomad-events tail --type DeploymentStatusUpdate --json | jq .Payload.Deployment.Status
  nomad-events tail --topic NodePool --topic Job:web --namespace default")]
    Tail(TailArgs),
    /// Run the shipped configuration on recorded events of a real cluster; needs nothing else
    #[command(after_help = "\
A fake Nomad on a free port of this machine serves the recording, with its times moved so that it ends now; the configuration \
config/vector.toml runs unchanged; a fake Loki takes the pushes. Printed are the lines as Loki has them, in the order of their \
times: NDJSON on standard output, a summary on standard error. Nothing is read from the environment or the disk.

Examples:
  nomad-events demo
  nomad-events demo | jq -r 'select(.level == \"error\") | .message'
  nomad-events demo --loki http://127.0.0.1:3100")]
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
#[command(group = clap::ArgGroup::new("configuration").required(true).multiple(true))]
pub(super) struct TestArgs {
    /// Configuration files, with tests in any of them
    #[arg(value_name = "FILE", value_delimiter = ',', group = "configuration")]
    files: Vec<PathBuf>,
    /// The same, written as for `run`
    #[arg(
        long,
        short,
        value_name = "FILE",
        value_delimiter = ',',
        group = "configuration"
    )]
    config: Vec<PathBuf>,
    #[command(flatten)]
    forms: FormArgs,
}

impl TestArgs {
    /// All files.
    pub(super) fn files(&self) -> Vec<ConfigPath> {
        self.forms.with(&[&*self.config, &self.files].concat())
    }
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("configuration").required(true).multiple(true))]
pub(super) struct GraphArgs {
    /// Configuration file; the name tells the form: .toml, .yaml, .yml, .json
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
    /// The language of the picture
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: GraphFormat,
}

/// The language of a picture: for Graphviz, or for Mermaid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    #[default]
    Dot,
    Mermaid,
}

#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Address of a Nomad agent [env: NOMAD_ADDR] [default: http://127.0.0.1:4646]
    #[arg(long, value_name = "URL")]
    pub(super) address: Option<String>,
    /// The region to ask for [env: NOMAD_REGION] [default: the agent's own]
    #[arg(long, value_name = "NAME")]
    pub(super) region: Option<String>,
    /// A file with the token, read again at every connect [env: NOMAD_TOKEN, the token itself]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// One namespace; all that the token may read by default
    #[arg(long, short, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Only this topic, or one key of it, as Job:web [default: Job, Allocation, Evaluation, Deployment, Node, Service]
    #[arg(long, short, value_name = "TOPIC")]
    pub(super) topic: Vec<String>,
    /// Only events of this type, as JobRegistered
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) event_type: Vec<String>,
    /// Only what belongs to this job
    #[arg(long, short, value_name = "ID")]
    pub(super) job: Vec<String>,
    /// Only what belongs to this node
    #[arg(long, value_name = "ID OR NAME")]
    pub(super) node: Vec<String>,
    /// Only what happens from now on, without what the server still remembers
    #[arg(long, conflicts_with_all = ["index", "since"])]
    pub(super) new: bool,
    /// Only what happened within this time, as 90s, 15m or 2h, and what happens from now on
    #[arg(long, value_name = "TIME", value_parser = past)]
    pub(super) since: Option<Duration>,
    /// Begin at this Raft index
    #[arg(long, value_name = "INDEX")]
    pub(super) index: Option<u64>,
    /// Whole events as the source makes them, redacted, one JSON object for each
    #[arg(long)]
    pub(super) json: bool,
}

/// A length of time, as people write it.
fn past(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "write it like 90s, 15m, 2h or 1h30m".to_owned())
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Push to this Loki as well, as http://127.0.0.1:3100
    #[arg(long, value_name = "URL")]
    pub(super) loki: Option<String>,
}
