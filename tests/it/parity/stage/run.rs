//! Runs a host between scripted servers, until it has given out the last event, and to its end.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nomad_events::testing::eventually;
use nomad_events::testing::loki::FakeLoki;
use nomad_events::testing::nomad::FakeNomad;
use rustix::process::{Pid, Signal, kill_process};

use super::collector::Collector;
use super::record::Record;
use super::root;
use super::stream::LAST;

/// How long a host may take, from its start or to its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A zone of its own, so that a text without one is seen to be read alike. In this form it needs no file.
const TIME_ZONE: &str = "KLT-5:30";

/// A started host, which is killed when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Neither fails but for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the lines at once, and gives all that the sinks have got by the end of a regular stop.
pub(super) async fn run(mut command: Command, lines: &[Bytes]) -> Vec<Record> {
    let nomad = FakeNomad::builder()
        .buffer_size(lines.len())
        .lines(lines.iter().cloned())
        .start()
        .await
        .expect("a free port on loopback");
    let loki = FakeLoki::start().await.expect("a free port on loopback");
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (output, log) = (folder.path().join("output"), folder.path().join("log"));

    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NOMAD_") {
            command.env_remove(name);
        }
    }
    let child = command
        .current_dir(root())
        .env("NOMAD_ADDR", nomad.url())
        .env("NOMAD_EVENTS_DATA_DIR", folder.path())
        .env("LOKI_ADDR", loki.url())
        .env("COLLECTOR_ADDR", collector.url())
        .env("COLLECTOR_HOST", collector.address().to_string())
        .env("TZ", TIME_ZONE)
        .stdin(Stdio::null())
        .stdout(File::create(&output).expect("a file in a new folder"))
        .stderr(File::create(&log).expect("a file in a new folder"))
        .spawn();
    let mut running = Running(child.expect("the host starts"));

    let (mut seen, mut ended) = (None, None);
    let waited = eventually(PATIENCE, || {
        ended = running.0.try_wait().expect("the state of a child");
        // What there is is looked through only when there is more of it.
        let written = fs::metadata(&output).map_or(0, |data| data.len());
        let now = Some((loki.pushed(), written, collector.requests().len()));
        let is_new = std::mem::replace(&mut seen, now) != now;
        ended.is_some() || (is_new && records(&loki, &output, &collector).iter().any(has_last))
    });
    let waited = waited.await;
    let told = || fs::read_to_string(&log).unwrap_or_default();
    assert!(waited.is_ok(), "the last event did not come\n{}", told());
    assert!(ended.is_none(), "ended with {ended:?}\n{}", told());

    let id = Pid::from_child(&running.0);
    kill_process(id, Signal::TERM).expect("the host can be told to stop");
    let waited = eventually(PATIENCE, || {
        ended = running.0.try_wait().expect("the state of a child");
        ended.is_some()
    });
    assert!(waited.await.is_ok(), "does not stop\n{}", told());
    let code = ended.and_then(|status| status.code());
    assert_eq!(code, Some(0), "not everything was delivered\n{}", told());
    println!("{}", told());
    records(&loki, &output, &collector)
}

/// All that has come out.
fn records(loki: &FakeLoki, output: &Path, collector: &Collector) -> Vec<Record> {
    let output = fs::read(output).expect("the file of the output");
    let output = String::from_utf8_lossy(&output);
    let mut records: Vec<Record> = output.lines().map(Record::of_line).collect();
    records.extend(loki.entries().into_iter().map(Record::from));
    records.extend(collector.requests());
    records
}

fn has_last(record: &Record) -> bool {
    match record {
        Record::Entry {
            line,
            structured_metadata,
            ..
        } => line.contains(LAST) || structured_metadata.values().any(|value| value == LAST),
        Record::Line { text, .. } => text.contains(LAST),
        Record::Request { body, .. } => body.contains(LAST),
    }
}
