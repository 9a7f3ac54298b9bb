//! The built command, from outside: arguments, files and signals go in; output, pushes and exit codes come out.

mod demo;
mod faults;
mod flood;
mod graph;
mod help;
pub(crate) mod hook;
mod image;
mod log;
mod metrics;
mod options;
mod positions;
mod possibilities;
mod redelivery;
mod request;
mod run;
mod same_lines;
mod secrets;
mod stop;
mod tail;
mod test;
mod validate;
mod wrong;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use nomad_events::options::DEFAULT_TOPICS;
use nomad_events::testing::eventually;
use nomad_events::testing::loki::{Entry, FakeLoki};
use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad};
use nomad_events::testing::recording::Recording;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::servers::{Process, folder, now_nanos, without_cluster};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shows where a secret has leaked: the recorded cluster has it in environments, templates and arguments.
const RECORDED_SECRET: &str = "hunter2";

/// `data_dir` of the shipped configurations.
const DATA: &str = "data";

/// The last line of a run that went well.
const ANSWERED: &str = "stopped, everything that was taken was answered for";

/// A working directory of its own for a command, with the shipped files in it as in the repository, and nothing saved.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = folder("cli");
        for shipped in ["config", "vrl"] {
            symlink(root().join(shipped), folder.path().join(shipped)).unwrap();
        }
        fs::create_dir(folder.path().join(DATA)).unwrap();
        Self(folder)
    }

    /// Writes a file, and gives its name as an argument.
    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).unwrap();
        name.to_owned()
    }

    /// A copy of the recommended configuration with other lines under `[sources.nomad]` and `[sinks.loki]`.
    fn config(&self, source: &str, sink: &str) -> String {
        let text = fs::read_to_string(root().join("config/vector.toml")).unwrap();
        let text = text
            .replacen("[sources.nomad]", &format!("[sources.nomad]\n{source}"), 1)
            .replacen("[sinks.loki]", &format!("[sinks.loki]\n{sink}"), 1);
        self.file("changed.toml", &text)
    }

    /// Starts `nomad-events` here.
    fn start(self, command: &mut Command) -> Running {
        command.current_dir(self.0.path());
        start(self.0, command)
    }
}

/// A started command. It is ended when this is dropped.
struct Running {
    process: Process,
    output: PathBuf,
}

impl Running {
    /// What it has printed so far.
    fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// What it has logged and complained about so far.
    fn errors(&self) -> String {
        self.process.log()
    }

    fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, and gives the exit code.
    async fn code(&mut self) -> i32 {
        self.code_within(PATIENCE).await
    }

    async fn code_within(&mut self, limit: Duration) -> i32 {
        code_within(limit, &mut self.process).await
    }

    /// Stops it by SIGTERM, and gives the exit code.
    async fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.code().await
    }

    async fn until_output(&self, condition: impl Fn(&str) -> bool) {
        let waited = eventually(PATIENCE, || condition(&self.output()));
        assert!(waited.await.is_ok(), "no such output:\n{}", self.output());
    }

    async fn until_errors(&self, part: &str) {
        let waited = eventually(PATIENCE, || self.errors().contains(part));
        assert!(waited.await.is_ok(), "{part:?} is not in the log");
    }
}

/// `nomad-events` with these arguments, in an environment without a cluster and without the colours of a terminal.
fn nomad_events(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-events"));
    without_cluster(&mut command)
        .env_remove("LOKI_ADDR")
        .env_remove("SLACK_WEBHOOK_URL")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("COLUMNS")
        .env("TZ", "UTC")
        .args(arguments);
    command
}

/// `nomad-events run` of a configuration, between two fakes.
fn run_command(config: &str, nomad: &FakeNomad, loki: &FakeLoki) -> Command {
    let mut command = nomad_events(&["run", "--config", config]);
    command
        .env("NOMAD_ADDR", nomad.url())
        .env("LOKI_ADDR", loki.url());
    command
}

/// Starts a command whose output goes to files in `folder`.
fn start(folder: TempDir, command: &mut Command) -> Running {
    let output = folder.path().join("output");
    let file = File::create(&output).unwrap();
    Running {
        process: Process::start_with_output("nomad-events", folder, command, file),
        output,
    }
}

/// Waits for the end of a process, and gives its exit code.
async fn code_within(limit: Duration, process: &mut Process) -> i32 {
    let mut status = None;
    let waited = eventually(limit, || {
        status = process.ended();
        status.is_some()
    });
    assert!(waited.await.is_ok(), "still running after {limit:?}");
    status.unwrap().code().expect("no death by a signal")
}

/// Waits until a pipe takes no more; nobody reads it.
async fn until_full(writer: &PipeWriter) {
    let full = || {
        let mut pipe = [PollFd::new(writer, PollFlags::OUT)];
        poll(&mut pipe, Some(&Timespec::default())).unwrap() == 0
    };
    assert!(eventually(PATIENCE, full).await.is_ok(), "room is left");
}

/// Reads the first line of a pipe, and closes it, as `head -1` does.
async fn first_line(reader: PipeReader) -> String {
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::with_capacity(1, reader)
            .read_line(&mut line)
            .map(|_| line)
    });
    line.await.unwrap().unwrap()
}

/// Runs a command to its end, in an empty folder unless it says otherwise.
async fn finished(command: &mut Command) -> (i32, String, String) {
    let folder = folder("cli");
    if command.get_current_dir().is_none() {
        command.current_dir(folder.path());
    }
    let mut running = start(folder, command);
    let code = running.code().await;
    (code, running.output(), running.errors())
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The recorded sample as if it had ended just now, so that none of its times is ahead of any clock.
fn sample() -> Vec<Bytes> {
    Recording::sample()
        .shifted_to_end_at(now_nanos())
        .batches()
        .collect()
}

/// A fake Nomad that remembers all of these lines, and a fake Loki.
async fn fakes(lines: &[Bytes]) -> (FakeNomad, FakeLoki) {
    let nomad = FakeNomad::builder()
        .buffer_size(lines.len() + 1000)
        .lines(lines.iter().cloned())
        .start()
        .await
        .unwrap();
    (nomad, FakeLoki::start().await.unwrap())
}

/// A line with one registered job.
fn job(index: u64, id: &str) -> BatchText {
    BatchText::new(index).event(EventText::new("Job", "JobRegistered", id).payload(format!(
        r#"{{"Job":{{"ID":"{id}","Type":"service","Status":"running","Version":0}}}}"#
    )))
}

/// What `config/vector.toml` makes of recorded lines, as index, topic and type: its default topics without the filtered
/// changes of nodes. Sorted, and as often as it comes.
fn expected(lines: &[Bytes]) -> Vec<(u64, String, String)> {
    let mut expected = Vec::new();
    for line in lines {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        let index = line["Index"].as_u64().unwrap();
        for event in line["Events"].as_array().unwrap() {
            let topic = event["Topic"].as_str().unwrap();
            let event_type = event["Type"].as_str().unwrap();
            if DEFAULT_TOPICS.contains(&topic)
                && (topic, event_type) != ("Node", "AllocationUpdated")
            {
                expected.push((index, topic.to_owned(), event_type.to_owned()));
            }
        }
    }
    expected.sort();
    expected
}

/// The same of what is at Loki.
fn arrived<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<(u64, String, String)> {
    let mut arrived: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let line: serde_json::Value = serde_json::from_str(&entry.line).unwrap();
            let index = line["index"].as_u64().unwrap();
            let label = |name: &str| entry.labels[name].clone();
            (index, label("topic"), label("type"))
        })
        .collect();
    arrived.sort();
    arrived
}

/// Everything that is at Loki once, but for notices, whose times are those of the run.
fn events_at(loki: &FakeLoki) -> BTreeSet<Entry> {
    let mut entries = loki.distinct();
    entries.retain(|entry| !is_notice(entry));
    entries
}

fn is_notice(entry: &Entry) -> bool {
    entry.labels["topic"] == "NomadEvents"
}

/// Waits until so many events are at Loki, notices and repeats not counted.
async fn until_events(loki: &FakeLoki, wanted: usize) {
    let waited = eventually(PATIENCE, || {
        loki.distinct().len() >= wanted && events_at(loki).len() >= wanted
    });
    assert!(
        waited.await.is_ok(),
        "{} of {wanted} events arrived",
        events_at(loki).len()
    );
}
