//! `nomad-events demo`: the shipped configuration on a recorded cluster, with nothing else installed.
//!
//! A fake Nomad serves the recording over HTTP, the configuration runs unchanged, and a fake Loki shows what was pushed to it.

mod summary;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use super::args::DemoArgs;
use super::exit::Exit;
use super::terminal::{Terminal, topic_style};
use super::{run, shipped, signal};
use crate::envelope::{self, Line};
use crate::host::config::Config;
use crate::host::topology::Topology;
use crate::stream::Acknowledger;
use crate::testing::loki::{Entry, FakeLoki};
use crate::testing::nomad::FakeNomad;
use crate::testing::recording::Recording;
use summary::Summary;

/// How often it is looked whether everything has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let interrupted = signal::stop().context("cannot listen for signals")?;
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let recording = Recording::embedded().shifted_to_end_at(now);
    let lines: Vec<Bytes> = recording.batches().collect();
    let nomad = FakeNomad::builder()
        .buffer_size(lines.len())
        .lines(lines.iter().cloned())
        .start()
        .await
        .context("cannot start the fake Nomad")?;
    let loki = FakeLoki::start()
        .await
        .context("cannot start the fake Loki")?;

    // Nothing of the user's environment gets in: neither a token nor an address.
    let env = |name: &str| match name {
        "NOMAD_ADDR" => Some(nomad.url()),
        "LOKI_ADDR" => Some(loki.url()),
        _ => None,
    };
    let (mut config, _) = Config::load(Path::new(shipped::CONFIG), &env, &shipped::read)?;
    if let Some(url) = &args.loki {
        config.duplicate_loki(shipped::SINK, "your_loki", url)?;
    }
    let expected = subscribed_events(&config, &lines);
    let topology = match Topology::build(config) {
        Ok(topology) => topology,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(Exit::Config);
        }
    };

    let stream: Arc<OnceLock<Acknowledger>> = Arc::default();
    let started = Instant::now();
    let seen = Arc::clone(&stream);
    let finished = async {
        tokio::select! {
            () = everything_answered(&stream, expected) => {}
            () = interrupted => {}
        }
    };
    let observe = move |acknowledger| {
        // There is one source; a second one would be a mistake in the shipped file.
        let _ = seen.set(acknowledger);
    };
    let run = topology.run_observed(observe, finished).await;
    let elapsed = started.elapsed();

    let mut entries = loki.entries();
    entries.sort_by_key(|entry| entry.timestamp_nanos);
    let printed = print(&entries);
    let summary = Summary::of(&entries, expected, elapsed, args.loki.as_deref());
    eprint!("{summary}");
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(run::conclude(&run)),
    }
}

/// How many events of the recording the source has subscribed to.
fn subscribed_events(config: &Config, lines: &[Bytes]) -> u64 {
    let topics: Vec<&str> = config
        .sources
        .iter()
        .flat_map(|source| source.settings.topics())
        .map(|filter| filter.topic.as_str())
        .collect();
    lines
        .iter()
        .filter_map(|line| match envelope::parse(line) {
            Ok(Line::Batch(batch)) => Some(batch),
            _ => None,
        })
        .flat_map(|batch| batch.events)
        .filter(|event| topics.contains(&&*event.topic))
        .count() as u64
}

async fn everything_answered(stream: &OnceLock<Acknowledger>, expected: u64) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(stream) = stream.get() {
            let status = stream.status();
            if status.events >= expected && status.queued_bytes == 0 {
                return;
            }
        }
    }
}

/// Prints the lines as Loki has them, each in the colour of its topic.
fn print(entries: &[Entry]) -> std::io::Result<()> {
    let mut terminal = Terminal::stdout();
    for entry in entries {
        let topic = entry.labels.get("topic").map_or("", String::as_str);
        terminal.line(&[(topic_style(topic), &entry.line)])?;
    }
    terminal.flush()
}
