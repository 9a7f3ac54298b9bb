//! A real Loki, and exact reading of what it holds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Leftover, Process, folder, start_server, words};
use super::{build, free_ports, http, now_nanos, wait_for};

/// From the start until Loki takes and answers.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// `max_entries_limit_per_query` in `tests/servers/loki.yaml`.
const QUERY_LIMIT: usize = 200_000;
/// How far from now an entry may be and still be found, both ways.
const QUERY_SPAN_NANOS: i64 = 3 * 365 * 24 * 3600 * 1_000_000_000;
/// The same of the shipped settings, which leave both at Loki's defaults: 5000, and a month.
const SHIPPED_QUERY_LIMIT: usize = 5000;
const SHIPPED_QUERY_SPAN_NANOS: i64 = 24 * 3600 * 1_000_000_000;

/// A Loki with a folder that was empty, ended when this is dropped.
pub(crate) struct LokiServer {
    process: Process,
    place: Place,
}

/// Where a Loki is, also while it is killed.
struct Place {
    http: u16,
    grpc: u16,
    /// Everything that it keeps, and the shipped settings if it runs with them.
    data: TempDir,
    settings: PathBuf,
    query_limit: usize,
    query_span_nanos: i64,
}

/// An entry as Loki holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The stream's labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Structured metadata.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The timestamp, nanoseconds since 1970.
    pub(crate) nanos: i64,
    /// The line.
    pub(crate) line: String,
}

impl LokiServer {
    /// Starts a Loki on free ports and waits until it takes and answers.
    pub(crate) fn start() -> Self {
        Self::start_in(Place::new)
    }

    /// The same, with the settings that are shipped for the demo and for small clusters.
    pub(crate) fn start_as_shipped() -> Self {
        Self::start_in(|| Place::new().with_shipped_settings())
    }

    fn start_in(place_of: impl Fn() -> Place) -> Self {
        let binary = build::loki();
        let place = RefCell::new(None);
        let spawn = || {
            let new = place_of();
            let started = (new.spawn(&binary), new.address());
            *place.borrow_mut() = Some(new);
            started
        };
        let ready = |_: &Process, _| {
            let place = place.borrow();
            place.as_ref().ok_or("not started")?.is_ready()
        };
        let (process, _) = start_server("loki", READY_LIMIT, spawn, ready);
        let place = place.into_inner().expect("it was started");
        Self { process, place }
    }

    /// Where the HTTP API listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.place.address()
    }

    /// Ends Loki as a crash would. It is not there until it is started again.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts a killed Loki where it was, with what it kept, and does not wait for it.
    pub(crate) fn spawn(&mut self) {
        self.process = self.place.spawn(&build::loki());
    }

    /// Waits until a Loki that was started takes and answers.
    pub(crate) fn wait_until_ready(&self) {
        wait_for("Loki is ready", READY_LIMIT, || self.place.is_ready());
    }

    /// Ends Loki; says how it ended and what it left behind.
    pub(crate) fn stop(self) -> (ExitStatus, Vec<Leftover>) {
        self.process.stop()
    }

    /// Every entry that Loki holds, oldest first within a stream.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, String> {
        // Every stream has this label: Loki sets it where the sender does not.
        self.found(r#"{service_name=~".+"}"#)
    }

    /// The entries that a query finds, oldest first within a stream.
    pub(crate) fn found(&self, logql: &str) -> Result<Vec<Entry>, String> {
        let now = now_nanos();
        let (limit, span) = (self.place.query_limit, self.place.query_span_nanos);
        let target = http::target(
            "/loki/api/v1/query_range",
            &[
                ("query", logql),
                ("start", &(now - span).to_string()),
                ("end", &(now + span).to_string()),
                ("limit", &limit.to_string()),
                ("direction", "forward"),
            ],
        );
        // Without this header structured metadata is shown among the labels.
        let headers = [("X-Loki-Response-Encoding-Flags", "categorize-labels")];
        let answer = http::request(self.address(), "GET", &target, &headers, b"")
            .map_err(words)?
            .json()?;
        let entries = parse_streams(&answer).ok_or_else(|| format!("no streams in {answer}"))?;
        // An answer that is cut off by the limit proves nothing.
        assert!(entries.len() < limit, "more entries than a query gives");
        Ok(entries)
    }

    /// What Loki answers to a question of its API.
    pub(crate) fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let target = http::target(path, query);
        let reply = http::request(self.address(), "GET", &target, &[], b"").map_err(words)?;
        Ok(reply.json()?["data"].take())
    }

    /// How many lines the distributor has taken, those included that it already had.
    pub(crate) fn lines_received(&self) -> Result<u64, String> {
        self.counter("loki_distributor_lines_received_total")
    }

    /// How many lines Loki has refused: too old, too long, too fast.
    pub(crate) fn lines_discarded(&self) -> Result<u64, String> {
        self.counter("loki_discarded_samples_total")
    }

    fn counter(&self, name: &str) -> Result<u64, String> {
        let reply = http::request(self.address(), "GET", "/metrics", &[], b"").map_err(words)?;
        reply
            .text()
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .map(|line| {
                let value = line.rsplit(' ').next().unwrap_or_default();
                value
                    .parse::<u64>()
                    .map_err(|_| format!("no count: {line}"))
            })
            .sum()
    }

    /// Puts entries in by the JSON form of the push API; panics when Loki refuses.
    pub(crate) fn push(&self, entries: &[Entry]) {
        let mut streams: BTreeMap<&BTreeMap<String, String>, Vec<Value>> = BTreeMap::new();
        for entry in entries {
            let value = json!([entry.nanos.to_string(), entry.line, entry.metadata]);
            streams.entry(&entry.labels).or_default().push(value);
        }
        let streams: Vec<Value> = streams
            .into_iter()
            .map(|(labels, values)| json!({"stream": labels, "values": values}))
            .collect();
        let reply = http::request(
            self.address(),
            "POST",
            "/loki/api/v1/push",
            &[("Content-Type", "application/json")],
            json!({ "streams": streams }).to_string().as_bytes(),
        )
        .expect("an answer from Loki");
        assert_eq!(reply.status, 204, "push: {}", reply.text());
    }
}

impl Place {
    fn new() -> Self {
        let [http, grpc] = free_ports();
        Self {
            http,
            grpc,
            data: folder("loki-data"),
            settings: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/loki.yaml"),
            query_limit: QUERY_LIMIT,
            query_span_nanos: QUERY_SPAN_NANOS,
        }
    }

    /// With `config/loki.yaml`, in which only ports and folders are others.
    fn with_shipped_settings(mut self) -> Self {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/loki.yaml");
        let mut text = fs::read_to_string(shipped).expect("the shipped settings");
        let folder = self.data.path().to_string_lossy();
        for (shipped, ours) in [
            (
                "  http_listen_port: 3100",
                format!(
                    "  http_listen_address: 127.0.0.1\n  http_listen_port: {}",
                    self.http
                ),
            ),
            (
                "grpc_listen_port: 9095",
                format!("grpc_listen_port: {}", self.grpc),
            ),
            ("127.0.0.1:9095", format!("127.0.0.1:{}", self.grpc)),
            ("path_prefix: /loki", format!("path_prefix: {folder}")),
            (": /loki/", format!(": {folder}/")),
        ] {
            assert!(
                text.contains(shipped),
                "config/loki.yaml has no {shipped:?}"
            );
            text = text.replace(shipped, &ours);
        }
        self.settings = self.data.path().join("settings.yaml");
        fs::write(&self.settings, text).expect("a file for the settings");
        self.query_limit = SHIPPED_QUERY_LIMIT;
        self.query_span_nanos = SHIPPED_QUERY_SPAN_NANOS;
        self
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http))
    }

    fn spawn(&self, binary: &Path) -> Process {
        let mut command = Command::new(binary);
        command
            .env("LOKI_HTTP_PORT", self.http.to_string())
            .env("LOKI_GRPC_PORT", self.grpc.to_string())
            .env("LOKI_FOLDER", self.data.path())
            .arg("-config.expand-env=true")
            .arg("-config.file")
            .arg(&self.settings);
        Process::start("loki", folder("loki"), &mut command)
    }

    fn is_ready(&self) -> Result<(), String> {
        let reply = http::request(self.address(), "GET", "/ready", &[], b"").map_err(words)?;
        if reply.status != 200 {
            return Err(reply.text());
        }
        // The folder tells this Loki from another that has got the same port meanwhile.
        let config = http::request(self.address(), "GET", "/config", &[], b"").map_err(words)?;
        let folder = self.data.path().to_string_lossy();
        if config.text().contains(&*folder) {
            Ok(())
        } else {
            Err("another Loki answers at the port".to_owned())
        }
    }
}

fn parse_streams(answer: &Value) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for stream in answer["data"]["result"].as_array()? {
        let labels = texts(&stream["stream"])?;
        for value in stream["values"].as_array()? {
            let metadata = &value[2]["structuredMetadata"];
            entries.push(Entry {
                labels: labels.clone(),
                metadata: if metadata.is_null() {
                    BTreeMap::new()
                } else {
                    texts(metadata)?
                },
                nanos: value[0].as_str()?.parse().ok()?,
                line: value[1].as_str()?.to_owned(),
            });
        }
    }
    Some(entries)
}

fn texts(object: &Value) -> Option<BTreeMap<String, String>> {
    object
        .as_object()?
        .iter()
        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
