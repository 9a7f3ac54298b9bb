//! `nomad-events tail`: what happens in a cluster, in the words of the shipped programs.
//!
//! Events go to standard output, one line each, so that they can be searched and counted. What the source has to say about the
//! stream itself goes to standard error.

mod filter;

use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;

use anstyle::Style;
use anyhow::Context as _;
use chrono::{DateTime, Local, Utc};
use jiff::Timestamp;
use vrl::path;
use vrl::value::Value;

use super::args::TailArgs;
use super::exit::Exit;
use super::terminal::{Terminal, level_style, printable, topic_style};
use super::{run, shipped, signal};
use crate::event::RaftIndex;
use crate::host::channel::Receiver;
use crate::host::config::{Config, TransformConfig, process_env};
use crate::host::event::LogEvent;
use crate::host::sinks::Sink;
use crate::host::topology::Topology;
use crate::host::transforms::condition::ConditionText;
use crate::options::{OptionError, Options, Settings, StartAt};
use crate::stream::notice::NOTICE_TOPIC;
use filter::{Filter, topics_that_can_match};

/// Events as they come from the source; only notices go through their program, since they are shown to people all the same.
const WHOLE_EVENTS: &str = r#"
[sources.nomad]
type = "nomad_events"
[transforms.split]
type = "route"
inputs = ["nomad"]
route.notices = '.Topic == "NomadEvents"'
[transforms.parse_notices]
type = "remap"
inputs = ["split.notices"]
file = "vrl/notices.vrl"
[transforms.node_changes]
type = "filter"
inputs = ["split._unmatched"]
condition = '.Topic != "Node" || .Type != "AllocationUpdated"'
[sinks.loki]
type = "blackhole"
inputs = ["parse_notices", "node_changes"]
"#;

/// Shows events until it is stopped. `quiet` shows only those notices that tell of a loss.
pub(super) async fn run(args: &TailArgs, quiet: bool) -> anyhow::Result<Exit> {
    let stop = signal::stop().context("cannot listen for signals")?;
    let since_nanos = args.since.map(|since| {
        let now = Timestamp::now().as_nanosecond();
        let since = i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
        i64::try_from(now.saturating_sub(since)).unwrap_or(i64::MIN)
    });
    let mut filter = Filter::new(&args.event_type, &args.job, &args.node, since_nanos);
    let settings = match settings(args, &filter) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("nomad-events: {error}");
            return Ok(Exit::Config);
        }
    };

    let files = |path: &Path| match args.json && path == Path::new(shipped::ROUTED) {
        true => Ok(WHOLE_EVENTS.to_owned()),
        false => shipped::read(path),
    };
    let (mut config, _) = Config::load(Path::new(shipped::ROUTED), &|_| None, &files)?;
    for source in &mut config.sources {
        source.settings = settings.clone();
    }
    for sink in &mut config.sinks {
        // What a reader has not seen when it goes away is no loss to speak of.
        sink.acknowledgements = false;
    }
    if !args.event_type.is_empty() {
        // Who names types means them.
        for node in &mut config.transforms {
            if let TransformConfig::Filter(filter) = &mut node.transform {
                filter.condition = ConditionText("true".to_owned());
            }
        }
    }
    let mut topology = Topology::build(config)?;
    let lines = Lines {
        terminal: Terminal::stdout(),
        quiet,
    };
    topology.replace_sink(shipped::SINK, Box::new(lines));
    let keep = move |event: &_| filter.wants(event);
    tokio::select! {
        summary = topology.run_sieved(keep, std::future::pending()) => Ok(run::conclude(&summary)),
        // Nobody waits for what is on its way: what was not shown is not wanted any more.
        () = stop => Ok(Exit::Success),
    }
}

/// What is asked for of Nomad.
fn settings(args: &TailArgs, filter: &Filter) -> Result<Settings, OptionError> {
    let options = Options {
        endpoints: args.address.clone().map(|address| vec![address]),
        region: args.region.clone(),
        token_file: args.token_file.clone(),
        namespace: args.namespace.clone(),
        topics: if args.topic.is_empty() {
            topics_that_can_match(filter)
        } else {
            Some(args.topic.clone())
        },
        start_at: match args.index {
            _ if args.new => StartAt::Latest,
            Some(index) => StartAt::Index(RaftIndex(index)),
            None => StartAt::Earliest,
        },
        ..Options::default()
    };
    options.settings(process_env)
}

/// Prints one line for each event.
struct Lines {
    terminal: Terminal,
    quiet: bool,
}

impl Sink for Lines {
    fn run(mut self: Box<Self>, mut input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            while let Some(events) = input.recv().await {
                // A pager that does not read on must not keep the thread from others.
                if tokio::task::block_in_place(|| self.print_all(&events)).is_err() {
                    // Nobody reads any more, as with `| head`.
                    return;
                }
            }
        })
    }
}

impl Lines {
    /// Prints events, and shows them at once: nobody waits for a full block.
    fn print_all(&mut self, events: &[LogEvent]) -> io::Result<()> {
        for event in events {
            if is_whole(&event.value) {
                let json = serde_json::to_string(&event.value)?;
                self.terminal.line(&[(Style::new(), &json)])?;
                continue;
            }
            let line = Line::of(&event.value);
            if line.topic == NOTICE_TOPIC {
                self.print_notice(&line);
            } else {
                self.print(&line)?;
            }
        }
        self.terminal.flush()
    }

    fn print(&mut self, line: &Line) -> io::Result<()> {
        let Line {
            time,
            topic,
            event_type,
            namespace,
            level,
            message,
        } = line;
        let dimmed = Style::new().dimmed();
        self.terminal.line(&[
            (dimmed, &format!("{time} ")),
            (topic_style(topic), &format!("{topic:<11} ")),
            (dimmed, &format!("{event_type:<19} {namespace:<8} ")),
            (level_style(level), message),
        ])
    }

    fn print_notice(&self, line: &Line) {
        let shown = match &*line.level {
            "error" => true,
            "debug" => false,
            _ => !self.quiet,
        };
        if shown {
            let (time, message) = (&line.time, &line.message);
            let more = match &*line.event_type {
                "Disconnected" => "; trying again",
                _ => "",
            };
            let dimmed = Style::new().dimmed();
            let style = level_style(&line.level);
            // Who closes standard error does not want to know.
            let _ = writeln!(
                anstream::stderr(),
                "{dimmed}{time} nomad-events{dimmed:#} {style}{message}{more}{style:#}"
            );
        }
    }
}

/// Whether an event is as the source made it: no program leaves Nomad's own names.
fn is_whole(event: &Value) -> bool {
    event.get(path!("Topic")).is_some()
}

/// What is shown of an event.
struct Line {
    time: String,
    topic: String,
    event_type: String,
    namespace: String,
    level: String,
    message: String,
}

impl Line {
    fn of(event: &Value) -> Self {
        let text = |name: &str| {
            event
                .get(path!(name))
                .map(Value::to_string_lossy)
                .map(printable)
                .unwrap_or_default()
        };
        Self {
            time: match event.get(path!("timestamp")) {
                Some(Value::Timestamp(time)) => local_time(*time),
                _ => String::new(),
            },
            topic: text("topic"),
            event_type: text("type"),
            namespace: text("namespace"),
            level: text("level"),
            message: text("message"),
        }
    }
}

fn local_time(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%F %T").to_string()
}
