//! `nomad-events tail`: what happens in a cluster, in the words of the shipped programs.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use anstyle::Style;
use anyhow::Context as _;
use chrono::{DateTime, Local};
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
use crate::position::Delivery;

pub(super) async fn run(args: &TailArgs) -> anyhow::Result<Exit> {
    let stop = signal::stop().context("cannot listen for signals")?;
    let mut options = Options::default();
    options.endpoints = args.address.clone().map(|address| vec![address]);
    options.namespace.clone_from(&args.namespace);
    options.multiple_outputs = true;
    if args.new {
        options.start_at = StartAt::Latest;
    }
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
    let mut topology = Topology::build(config)?;
    topology.replace_sink(shipped::SINK, Box::new(Lines(Terminal::stdout())));
    Ok(run::conclude(&topology.run(stop).await))
}

/// Prints one line for each event.
struct Lines(Terminal);

impl Sink for Lines {
    fn run(mut self: Box<Self>, mut input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            while let Some(events) = input.recv().await {
                for event in &events {
                    if self.print(event).is_err() {
                        event.finalizer.note(Delivery::Rejected);
                        return;
                    }
                }
                // What has happened is shown at once: nobody waits for a full block.
                if self.0.flush().is_err() {
                    return;
                }
            }
        })
    }
}

impl Lines {
    fn print(&mut self, event: &LogEvent) -> std::io::Result<()> {
        let text = |name: &str| {
            event
                .value
                .get(path!(name))
                .map(Value::to_string_lossy)
                .unwrap_or_default()
        };
        let time = match event.value.get(path!("timestamp")) {
            Some(Value::Timestamp(time)) => local_time(*time),
            _ => String::new(),
        };
        let topic = text("topic");
        let namespace = text("namespace");
        self.0.line(&[
            (Style::new().dimmed(), &format!("{time} ")),
            (topic_style(&topic), &format!("{topic:<11} ")),
            (Style::new().dimmed(), &format!("{namespace:<8} ")),
            (level_style(&text("level")), &text("message")),
        ])
    }
}

fn local_time(time: DateTime<chrono::Utc>) -> String {
    time.with_timezone(&Local).format("%F %T").to_string()
}
