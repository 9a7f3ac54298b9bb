//! The built `nomad-vector` as a process, in a folder of its own, between a scripted Nomad and a scripted Loki.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nomad_events::checkpoint::Folder;
use nomad_events::testing::eventually;
use nomad_events::testing::loki::FakeLoki;
use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the plugin is in the repository")
}

/// A working directory with the shipped files in it as in the repository, and nothing saved.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("nomad-vector-").unwrap();
        for shipped in ["config", "vrl"] {
            symlink(root().join(shipped), folder.path().join(shipped)).unwrap();
        }
        fs::create_dir(folder.path().join("data")).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and gives its name.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).unwrap();
        name.to_owned()
    }

    /// The recommended configuration with other lines under `[sources.nomad]` and `[sinks.loki]`.
    pub(crate) fn changed(&self, source: &str, sink: &str) -> String {
        let text = fs::read_to_string(root().join("config/vector.toml")).unwrap();
        let text = text
            .replacen("[sources.nomad]", &format!("[sources.nomad]\n{source}"), 1)
            .replacen("[sinks.loki]", &format!("[sinks.loki]\n{sink}"), 1);
        self.file("changed.toml", &text)
    }

    /// `nomad-vector` with these arguments, here, in an environment without a cluster.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-vector"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TZ", "UTC")
            // Two of the shipped configurations want the address of a webhook.
            .env("SLACK_WEBHOOK_URL", "http://127.0.0.1:9/")
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .args(arguments);
        command
    }

    /// Runs it to its end: exit code, output and log.
    pub(crate) fn finished(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("no death by a signal");
        (code, text(&output.stdout), text(&output.stderr))
    }

    /// Runs a configuration between two fakes.
    pub(crate) fn start(&self, config: &str, nomad: &FakeNomad, loki: &FakeLoki) -> Running {
        let log = self.0.path().join("log");
        let file = File::create(&log).unwrap();
        let child = self
            .command(&["--config", config, "--threads", "2"])
            .env("NOMAD_ADDR", nomad.url())
            .env("LOKI_ADDR", loki.url())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Running { child, log }
    }
}

/// A running `nomad-vector`. It is ended when this is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has an id"), signal).unwrap();
    }

    pub(crate) async fn until_log(&self, part: &str) {
        let waited = eventually(PATIENCE, || self.log().contains(part)).await;
        assert!(
            waited.is_ok(),
            "{part:?} is not in the log:\n{}",
            self.log()
        );
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let waited = eventually(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(waited.await.is_ok(), "still running:\n{}", self.log());
        status.unwrap()
    }

    /// The most memory that it has had so far (bytes).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap() * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line with one registered job.
pub(crate) fn job(index: u64, id: &str) -> BatchText {
    BatchText::new(index).event(EventText::new("Job", "JobRegistered", id).payload(format!(
        r#"{{"Job":{{"ID":"{id}","Type":"service","Status":"running","Version":0}}}}"#
    )))
}

/// The index that is saved for the source `nomad` in a folder.
pub(crate) fn saved(data: &Path) -> Option<u64> {
    let state = Folder::of(data, "nomad").unwrap().read().unwrap();
    state.map(|state| state.position.index.0)
}

/// Waits until this index is saved in the shipped `data_dir`.
pub(crate) async fn until_saved(place: &Place, index: u64) {
    let data = place.path().join("data");
    let waited = eventually(PATIENCE, || saved(&data) == Some(index)).await;
    assert!(waited.is_ok(), "{:?} is saved", saved(&data));
}

/// The jobs that have come to Loki, each as often as it is there.
pub(crate) fn jobs_at(loki: &FakeLoki) -> Vec<u64> {
    let entries = loki.entries();
    let jobs = entries
        .iter()
        .filter(|entry| entry.labels["topic"] == "Job");
    let index = |line: &str| -> u64 {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["index"].as_u64().unwrap()
    };
    jobs.map(|entry| index(&entry.line)).collect()
}

/// Waits until so many jobs are at Loki.
pub(crate) async fn until_jobs(loki: &FakeLoki, wanted: usize) {
    let waited = eventually(PATIENCE, || jobs_at(loki).len() >= wanted).await;
    assert!(
        waited.is_ok(),
        "{} of {wanted} jobs came",
        jobs_at(loki).len()
    );
}
