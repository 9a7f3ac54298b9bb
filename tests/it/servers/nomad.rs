//! A real Nomad agent, and the few calls of its API that the scenario needs.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::{Value, json};

use super::http::{self, Api};
use super::process::{Leftover, Process, folder, start_server, without_cluster, words};
use super::{build, free_ports, wait_for};

/// From the start until jobs can be placed.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Until one condition of the scenario holds. They take a second or two.
const CONDITION_LIMIT: Duration = Duration::from_secs(40);
/// The task drivers that the jobs need.
const DRIVERS: &[&str] = &["mock_driver", "raw_exec"];
/// What `nomad agent` is given: a development agent that only this machine reaches, with ACLs.
const ARGUMENTS: [&str; 7] = [
    "-dev",
    "-bind",
    "127.0.0.1",
    "-log-level",
    "WARN",
    "-config",
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/nomad.hcl"),
];
/// A folder in that of the agent, with its binary as `nomad`.
const BIN: &str = "bin";

/// The management token of every agent that has ACLs; the others take no notice of it.
const MANAGEMENT_TOKEN: &str = "6d616e61-6765-6d65-6e74-2d746f6b656e";
/// The policy that users are told to give.
pub(crate) const SHIPPED_POLICY: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/config/nomad-events.policy.hcl"
));

/// A development agent: server and client in one process, ended when this is dropped.
pub(crate) struct NomadServer {
    process: Process,
    /// With the management token.
    api: Api,
    node_id: String,
}

/// A token, as Nomad made it.
pub(crate) struct Token {
    /// What it is known by, and may be shown.
    pub(crate) accessor: String,
    /// What a client shows.
    pub(crate) secret: String,
}

impl NomadServer {
    /// Starts an agent on free ports and waits until its node is ready for jobs.
    pub(crate) fn start() -> Self {
        Self::start_with("", None)
    }

    /// The same, with more of a configuration, and over TLS if that says so.
    pub(crate) fn start_with(configuration: &str, tls: Option<&Arc<ClientConfig>>) -> Self {
        Self::start_agent(&ARGUMENTS.map(str::to_owned), configuration, DRIVERS, tls)
    }

    /// An agent with other arguments, whose node needs only these drivers.
    pub(crate) fn start_like(arguments: &[String], drivers: &[&str]) -> Self {
        Self::start_agent(arguments, "", drivers, None)
    }

    fn start_agent(
        arguments: &[String],
        configuration: &str,
        drivers: &[&str],
        tls: Option<&Arc<ClientConfig>>,
    ) -> Self {
        let binary = build::nomad();
        let api = |address: SocketAddr| {
            let api = Api::from(address).with_token(MANAGEMENT_TOKEN);
            match tls {
                Some(tls) => api.with_tls(Arc::clone(tls)),
                None => api,
            }
        };
        let (process, address) = start_server(
            "nomad",
            READY_LIMIT,
            || spawn(&binary, arguments, configuration),
            |process, address| ready_node(process, &api(address), drivers).map(drop),
        );
        let api = api(address);
        let node = ready_node(&process, &api, drivers).expect("the node that was ready just now");
        let node_id = text(&node, "ID");
        Self {
            process,
            api,
            node_id,
        }
    }

    /// The HTTP API, with the management token.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Where the HTTP API listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.api.address()
    }

    /// The token that may do everything.
    pub(crate) fn management_token(&self) -> &'static str {
        MANAGEMENT_TOKEN
    }

    /// Makes a policy, or puts another one in its place.
    pub(crate) fn apply_policy(&self, name: &str, rules: &str) {
        self.post(
            &format!("/v1/acl/policy/{name}"),
            &json!({"Name": name, "Rules": rules}),
        );
    }

    /// Makes a client token with this policy, which expires if that is said.
    pub(crate) fn make_token(&self, policy: &str, expires_in: Option<Duration>) -> Token {
        let expires_in = expires_in.unwrap_or_default().as_nanos();
        let made = self.post(
            "/v1/acl/token",
            &json!({
                "Name": policy, "Type": "client", "Policies": [policy],
                "ExpirationTTL": u64::try_from(expires_in).expect("less than centuries"),
            }),
        );
        Token {
            accessor: text(&made, "AccessorID"),
            secret: text(&made, "SecretID"),
        }
    }

    /// A client token with exactly the policy that users are told to give.
    pub(crate) fn shipped_token(&self) -> Token {
        self.apply_policy("nomad-events", SHIPPED_POLICY);
        self.make_token("nomad-events", None)
    }

    /// Deletes a token.
    pub(crate) fn delete_token(&self, token: &Token) {
        self.delete(&format!("/v1/acl/token/{}", token.accessor));
    }

    /// Waits until a token has expired.
    pub(crate) fn wait_until_expired(&self, token: &Token) {
        let api = Api::from(self.address()).with_token(&token.secret);
        wait_for("the token has expired", CONDITION_LIMIT, || {
            let answer = api.request("GET", "/v1/acl/token/self", &[], b"");
            let answer = answer.map_err(words)?.text();
            let expired = answer.contains("token expired");
            expired.then_some(()).ok_or(answer)
        });
    }

    /// The id of the agent's node.
    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// A program that finds `nomad` on its path and is told of this agent, in the root of the repository. What it starts is
    /// ended with the agent.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut path = OsString::from(self.folder().join(BIN));
        if let Some(others) = std::env::var_os("PATH") {
            path.push(":");
            path.push(others);
        }
        let mut command = Command::new(program);
        without_cluster(&mut command)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", path)
            .env("NOMAD_ADDR", format!("http://{}", self.address()));
        command
    }

    /// Ends the agent; says how it ended and what it left behind.
    pub(crate) fn stop(self) -> (ExitStatus, Vec<Leftover>) {
        self.process.stop()
    }

    /// Ends the agent as a crash would; says what it had left for us to end.
    pub(crate) fn crash(mut self) -> Vec<Leftover> {
        self.process.kill();
        self.process.stop().1
    }

    /// The folder of everything that the agent has.
    pub(crate) fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// Reads something.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        self.api
            .request("GET", path, &[], b"")
            .map_err(words)?
            .json()
    }

    /// Changes something; panics when Nomad refuses.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.write("POST", path, body.to_string().as_bytes())
    }

    /// Deletes something; panics when Nomad refuses.
    pub(crate) fn delete(&self, path: &str) -> Value {
        self.write("DELETE", path, b"")
    }

    fn write(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let reply = (self.api.request(method, path, &[], body))
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
        serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
    }

    /// A job file as the job that the API takes.
    pub(crate) fn parse(&self, file: &str) -> Value {
        self.post(
            "/v1/jobs/parse",
            &json!({"JobHCL": file, "Canonicalize": true}),
        )
    }

    /// Registers a job.
    pub(crate) fn register(&self, job: &Value) {
        let namespace = job["Namespace"].as_str().unwrap_or("default");
        self.post(
            &http::target("/v1/jobs", &[("namespace", namespace)]),
            &json!({ "Job": job }),
        );
    }

    /// Waits until `find` finds something in what is read at `path`.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        path: &str,
        find: impl Fn(&Value) -> Option<T>,
    ) -> T {
        wait_for(what, CONDITION_LIMIT, || {
            let found = self.get(path)?;
            find(&found).ok_or_else(|| found.to_string())
        })
    }

    /// Waits until what is read at `path` satisfies `condition`.
    pub(crate) fn wait_until(&self, what: &str, path: &str, condition: impl Fn(&Value) -> bool) {
        self.wait_for(what, path, |found| condition(found).then_some(()));
    }
}

/// A text field, empty when there is none.
pub(crate) fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

fn spawn(binary: &Path, arguments: &[String], configuration: &str) -> (Process, SocketAddr) {
    let [http, rpc, serf] = free_ports();
    let folder = folder("nomad");
    let bin = folder.path().join(BIN);
    fs::create_dir(&bin).expect("a folder for the binary");
    symlink(binary, bin.join("nomad")).expect("a link to the binary");
    let ports = folder.path().join("ports.hcl");
    fs::write(
        &ports,
        format!("ports {{\n  http = {http}\n  rpc = {rpc}\n  serf = {serf}\n}}\n{configuration}"),
    )
    .expect("a file with the ports");
    let mut command = Command::new(binary);
    without_cluster(&mut command)
        .arg("agent")
        .args(arguments)
        .arg("-node")
        .arg(node_name(folder.path()))
        .arg("-config")
        .arg(ports);
    let process = Process::start("nomad", folder, &mut command);
    (process, SocketAddr::from((Ipv4Addr::LOCALHOST, http)))
}

/// The folder's own name: tells this agent from another that has got the same port meanwhile.
fn node_name(folder: &Path) -> &str {
    folder
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name of our own making")
}

fn ready_node(process: &Process, api: &Api, drivers: &[&str]) -> Result<Value, String> {
    let nodes = api.request("GET", "/v1/nodes", &[], b"").map_err(words)?;
    if nodes.status == 403 {
        let secret = json!({"BootstrapSecret": MANAGEMENT_TOKEN}).to_string();
        let answer = api.request("POST", "/v1/acl/bootstrap", &[], secret.as_bytes());
        let answer = answer.map_err(words)?;
        return Err(format!("bootstrap of ACLs: {}", answer.status));
    }
    let nodes = nodes.json()?;
    let name = node_name(process.folder());
    let ready = nodes.as_array().into_iter().flatten().find(|node| {
        node["Name"] == name
            && node["Status"] == "ready"
            && node["SchedulingEligibility"] == "eligible"
            && drivers
                .iter()
                .all(|driver| node["Drivers"][driver]["Healthy"] == true)
    });
    ready.cloned().ok_or_else(|| nodes.to_string())
}
