//! `nomad-events demo`: the shipped configuration on a recorded cluster, with nothing else installed.
//!
//! A fake Nomad serves the recording over HTTP, the configuration runs unchanged, and a fake Loki shows what was pushed to it.

mod summary;

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anstyle::Style;
use anyhow::Context as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::time::Instant;

use super::args::DemoArgs;
use super::exit::Exit;
use super::terminal::{Terminal, level_style, topic_style};
use super::{run, shipped, signal};
use crate::envelope::{self, Line};
use crate::host::config::Config;
use crate::host::topology::Topology;
use crate::stream::Acknowledger;
use crate::testing::loki::{Entry, FakeLoki};
use crate::testing::nomad::FakeNomad;
use crate::testing::recording::Recording;
use summary::{Course, Summary};

/// How often it is looked how far the pipeline is. Short against the tenth of a second that the whole recording takes.
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(super) async fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let interrupted = signal::stop().context("cannot listen for signals")?.fuse();
    tokio::pin!(interrupted);
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
    let mut taken_after = None;
    let seen = Arc::clone(&stream);
    let finished = async {
        tokio::select! {
            () = everything_answered(&stream, expected, || taken_after = Some(started.elapsed())) => {}
            () = &mut interrupted => {}
        }
    };
    let observe = move |acknowledger| {
        // There is one source; a second one would be a mistake in the shipped file.
        let _ = seen.set(acknowledger);
    };
    let run = topology.run_observed(observe, finished).await;
    let status = stream.get().map(Acknowledger::status);

    let mut entries = loki.entries();
    entries.sort_by_key(|entry| entry.timestamp_nanos);
    let course = Course {
        events: status.as_ref().map_or(0, |status| status.events),
        taken_after,
        ended_after: started.elapsed(),
        // The fake Loki takes everything.
        missing_in_loki: run.unanswered_batches > 0
            || status.is_some_and(|status| status.rejected_events > 0),
    };
    let summary = Summary::of(&entries, course, args.loki.as_deref());
    let printed = tokio::select! {
        printed = tokio::task::spawn_blocking(move || print(&entries)) => printed?,
        () = &mut interrupted => Ok(()),
    };
    // A closed terminal is no reason to fail.
    let _ = write!(anstream::stderr(), "{summary}");
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
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

/// Waits until the pipeline has taken every event, says so, and waits until every one is answered.
async fn everything_answered(
    stream: &OnceLock<Acknowledger>,
    expected: u64,
    on_taken: impl FnOnce(),
) {
    let mut on_taken = Some(on_taken);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(status) = stream.get().map(Acknowledger::status) else {
            continue;
        };
        if status.events >= expected {
            if let Some(on_taken) = on_taken.take() {
                on_taken();
            }
            if status.queued_bytes == 0 {
                return;
            }
        }
    }
}

/// Prints the lines as Loki has them. On a terminal the message stands out, in the colour of its topic.
fn print(entries: &[Entry]) -> io::Result<()> {
    let mut terminal = Terminal::stdout();
    for entry in entries {
        let topic = entry.labels.get("topic").map_or("", String::as_str);
        let level = entry.structured_metadata.get("level");
        let style = match level.map_or("", String::as_str) {
            level @ ("error" | "warn") => level_style(level),
            _ => topic_style(topic),
        };
        let (before, message, after) = around_message(&entry.line);
        let rest = Style::new().dimmed();
        terminal.line(&[(rest, before), (style, message), (rest, after)])?;
    }
    terminal.flush()
}

/// Cuts a line of JSON before and after the text of its field `message`.
fn around_message(line: &str) -> (&str, &str, &str) {
    const FIELD: &str = "\"message\":\"";
    let Some((before, rest)) = line.split_once(FIELD) else {
        return (line, "", "");
    };
    let mut escaped = false;
    let length = rest.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let start = before.len() + FIELD.len();
    let end = start + length.unwrap_or(rest.len());
    (&line[..start], &line[start..end], &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_between_its_quotes() {
        for (line, message) in [
            (
                r#"{"level":"info","message":"job web running","topic":"Job"}"#,
                "job web running",
            ),
            (
                r#"{"message":"said \"no\" \\","type":"x"}"#,
                r#"said \"no\" \\"#,
            ),
            (r#"{"message":""}"#, ""),
            (r#"{"topic":"Job"}"#, ""),
            (r#"{"message":"cut"#, "cut"),
        ] {
            let (before, found, after) = around_message(line);
            assert_eq!(found, message);
            assert_eq!([before, found, after].concat(), line);
        }
    }
}
