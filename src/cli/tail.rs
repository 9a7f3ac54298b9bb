//! `nomad-events tail`: what happens in a cluster, in the words of the shipped programs.
//!
//! Events go to standard output, one line each, so that they can be searched and counted. What the source has to say about the
//! stream itself goes to standard error.

use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;

use anstyle::Style;
use anyhow::Context as _;
use chrono::{DateTime, Local, Utc};
use vrl::path;
use vrl::value::Value;

use super::args::TailArgs;
use super::exit::Exit;
use super::terminal::{Terminal, level_style, topic_style};
use super::{run, shipped, signal};
use crate::host::channel::Receiver;
use crate::host::config::{Config, process_env};
use crate::host::event::LogEvent;
use crate::host::sinks::Sink;
use crate::host::topology::Topology;
use crate::options::{Options, StartAt};
use crate::stream::notice::NOTICE_TOPIC;

/// Shows events until it is stopped. `quiet` shows only those notices that tell of a loss.
pub(super) async fn run(args: &TailArgs, quiet: bool) -> anyhow::Result<Exit> {
    let stop = signal::stop().context("cannot listen for signals")?;
    let options = Options {
        endpoints: args.address.clone().map(|address| vec![address]),
        namespace: args.namespace.clone(),
        multiple_outputs: true,
        start_at: if args.new {
            StartAt::Latest
        } else {
            StartAt::Earliest
        },
        ..Options::default()
    };
    let settings = match options.settings(process_env) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("nomad-events: {error}");
            return Ok(Exit::Config);
        }
    };

    let (mut config, _) = Config::load(Path::new(shipped::CONFIG), &|_| None, &shipped::read)?;
    for source in &mut config.sources {
        source.settings = settings.clone();
    }
    for sink in &mut config.sinks {
        // What a reader has not seen when it goes away is no loss to speak of.
        sink.acknowledgements = false;
    }
    let mut topology = Topology::build(config)?;
    let lines = Lines {
        terminal: Terminal::stdout(),
        quiet,
    };
    topology.replace_sink(shipped::SINK, Box::new(lines));
    tokio::select! {
        summary = topology.run(std::future::pending()) => Ok(run::conclude(&summary)),
        // Nobody waits for what is on its way: what was not shown is not wanted any more.
        () = stop => Ok(Exit::Success),
    }
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
            namespace,
            level,
            message,
            ..
        } = line;
        self.terminal.line(&[
            (Style::new().dimmed(), &format!("{time} ")),
            (topic_style(topic), &format!("{topic:<11} ")),
            (Style::new().dimmed(), &format!("{namespace:<8} ")),
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
                .unwrap_or_default()
                .into_owned()
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
