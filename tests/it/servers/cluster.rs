//! Several real Nomad servers without clients, which can be killed, frozen and started again where they were.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Api};
use super::process::{Process, folder, without_cluster, words};
use super::{build, free_ports, wait_for};

/// Until servers have a leader: elections on a busy machine need more than one attempt.
const LEADER_LIMIT: Duration = Duration::from_secs(90);
/// Until a server answers after its start.
const ANSWERS_LIMIT: Duration = Duration::from_secs(60);
/// Until a write is accepted, over an election.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// Servers of one region. All are ended when this is dropped.
pub(crate) struct Cluster {
    servers: Vec<Server>,
    root: TempDir,
}

struct Server {
    /// `None` while it is killed.
    process: Option<Process>,
    http: u16,
    rpc: u16,
    serf: u16,
}

impl Cluster {
    /// Starts `size` servers that keep `buffer` batches each, and waits for a leader.
    pub(crate) fn start(size: usize, buffer: u32) -> Self {
        let servers = (0..size)
            .map(|_| {
                let [http, rpc, serf] = free_ports();
                Server {
                    process: None,
                    http,
                    rpc,
                    serf,
                }
            })
            .collect();
        let mut cluster = Self {
            servers,
            root: folder("cluster"),
        };
        for number in 0..size {
            fs::write(cluster.file(number), cluster.configuration(number, buffer))
                .expect("a file with the configuration");
        }
        for number in 0..size {
            cluster.spawn(number);
        }
        cluster.leader();
        cluster
    }

    /// Where a server's HTTP API listens, also while it is killed.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.servers[number].http))
    }

    /// The same, as an endpoint.
    pub(crate) fn url(&self, number: usize) -> String {
        format!("http://{}", self.address(number))
    }

    /// Waits until the running servers agree on a leader, and says which it is.
    pub(crate) fn leader(&self) -> usize {
        wait_for("a leader", LEADER_LIMIT, || {
            let running = (0..self.servers.len()).filter(|n| self.servers[*n].process.is_some());
            let said = running
                .map(|number| self.get(number, "/v1/status/leader"))
                .collect::<Result<Vec<_>, _>>()?;
            let names: BTreeSet<&str> = said.iter().filter_map(Value::as_str).collect();
            let found = self.servers.iter().position(|server| {
                let rpc = format!("127.0.0.1:{}", server.rpc);
                server.process.is_some() && names == BTreeSet::from([&*rpc])
            });
            found.ok_or_else(|| format!("{said:?}"))
        })
    }

    /// Every server but one.
    pub(crate) fn all_but(&self, number: usize) -> Vec<usize> {
        (0..self.servers.len())
            .filter(|other| *other != number)
            .collect()
    }

    /// Ends a server as a crash would.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut process = self.servers[number].process.take().expect("it runs");
        process.kill();
    }

    /// Starts a killed server where it was, and does not wait for it.
    pub(crate) fn spawn(&mut self, number: usize) {
        let mut command = Command::new(build::nomad());
        without_cluster(&mut command)
            .args(["agent", "-log-level", "WARN", "-config"])
            .arg(self.file(number));
        let process = Process::start("nomad", folder("nomad"), &mut command);
        self.servers[number].process = Some(process);
    }

    /// Waits until a server that was started answers.
    pub(crate) fn wait_until_it_answers(&self, number: usize) {
        wait_for("the server answers", ANSWERS_LIMIT, || {
            self.get(number, "/v1/jobs?stale").map(drop)
        });
    }

    /// A server that neither answers nor closes anything, as one behind a cable that was pulled.
    pub(crate) fn freeze(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub(crate) fn thaw(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    fn signal(&self, number: usize, signal: Signal) {
        let process = self.servers[number].process.as_ref();
        process.expect("it runs").signal(signal);
    }

    /// Reads something from one server.
    pub(crate) fn get(&self, number: usize, path: &str) -> Result<Value, String> {
        http::request(self.address(number), "GET", path, &[], b"")
            .map_err(words)?
            .json()
    }

    /// Sends a body to one server and gives that of the answer.
    pub(crate) fn write(
        &self,
        through: usize,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, String> {
        write(&self.address(through).into(), method, path, body)
    }

    fn file(&self, number: usize) -> PathBuf {
        self.root.path().join(format!("{number}.hcl"))
    }

    fn configuration(&self, number: usize, buffer: u32) -> String {
        let Server {
            http, rpc, serf, ..
        } = self.servers[number];
        let data: &Path = &self.root.path().join(number.to_string());
        let peers: Vec<String> = (self.servers.iter())
            .map(|server| format!("127.0.0.1:{}", server.serf))
            .collect();
        format!(
            r#"
name = "server-{number}"
data_dir = "{data}"
bind_addr = "127.0.0.1"
disable_update_check = true
consul {{
  server_auto_join = false
  auto_advertise = false
}}
ports {{
  http = {http}
  rpc = {rpc}
  serf = {serf}
}}
# An agent does not tell others a loopback address unless it is told to.
advertise {{
  http = "127.0.0.1"
  rpc = "127.0.0.1"
  serf = "127.0.0.1"
}}
server {{
  enabled = true
  bootstrap_expect = {size}
  event_buffer_size = {buffer}
  server_join {{
    retry_join = {peers:?}
    retry_interval = "1s"
  }}
}}
"#,
            data = data.display(),
            size = self.servers.len(),
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A frozen one would not hear that it is to end.
        for number in 0..self.servers.len() {
            if self.servers[number].process.is_some() {
                self.thaw(number);
            }
        }
    }
}

/// Registers jobs through one server, in a thread of its own, until this is dropped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts to write, about so many jobs a second. What is refused, as in an election, is left out.
    pub(crate) fn start(api: impl Into<Api>, prefix: impl Into<String>, per_second: u32) -> Self {
        let prefix = prefix.into();
        let api = api.into();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let job = job(&format!("{prefix}-{number}"), 0);
                    let _ = write(&api, "PUT", "/v1/jobs", &job);
                    std::thread::park_timeout(Duration::from_secs(1) / per_second);
                }
            })
        };
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Registers a job, of which comes a `Job` event, and those of its evaluation.
///
/// Repeats until the server takes it, over an election.
pub(crate) fn register(api: impl Into<Api>, name: &str, padding: usize) {
    let api = api.into();
    let job = job(name, padding);
    wait_for("the job is registered", WRITE_LIMIT, || {
        write(&api, "PUT", "/v1/jobs", &job).map(drop)
    });
}

fn job(name: &str, padding: usize) -> Vec<u8> {
    let job = json!({"Job": {
        "ID": name, "Name": name, "Type": "batch", "Datacenters": ["*"],
        "Meta": {"pad": "x".repeat(padding)},
        "TaskGroups": [{"Name": "g", "Tasks": [
            {"Name": "t", "Driver": "mock_driver", "Config": {"run_for": "1s"}}
        ]}],
    }});
    job.to_string().into_bytes()
}

fn write(api: &Api, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let reply = api.request(method, path, &[], body).map_err(words)?;
    match reply.status {
        200 => Ok(reply.body),
        status => Err(format!("status {status}: {}", reply.text())),
    }
}
