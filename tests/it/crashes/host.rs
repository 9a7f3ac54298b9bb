//! A host that is killed and started again, on the same folder and with the same configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use nomad_events::checkpoint::format::decode;
use nomad_events::checkpoint::{Folder, State};
use tempfile::TempDir;

use crate::servers::{Process, folder, without_cluster};

/// The id of the source in the recommended configuration.
const SOURCE: &str = "nomad";
/// Reconnects soon, whatever was done to the stream before.
const SOURCE_OPTIONS: &str = "backoff_max_secs = 1";
/// Small batches and many of them under way, so that answers come in any order and a kill finds a lot unanswered.
const SINK_OPTIONS: &str = "batch.max_events = 20\nbatch.timeout_secs = 0.1\nrequest.concurrency = 16\n\
    request.retry_max_duration_secs = 1";

/// Which host it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    NomadEvents,
    /// The binary that `NOMAD_VECTOR` names.
    NomadVector,
}

/// What a host is given: the recommended configuration with a folder for its position, and where the servers are.
pub(crate) struct Setup {
    program: Program,
    root: TempDir,
    nomad: String,
    loki: String,
    token: Option<String>,
}

impl Program {
    /// Its name, for messages and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NomadEvents => "nomad-events",
            Self::NomadVector => "nomad-vector",
        }
    }

    fn command(self) -> Command {
        match self {
            Self::NomadEvents => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-events"));
                command.arg("run");
                command
            }
            Self::NomadVector => Command::new(
                std::env::var_os("NOMAD_VECTOR").expect("NOMAD_VECTOR has the path of the program"),
            ),
        }
    }
}

impl Setup {
    pub(crate) fn new(program: Program, nomad: String, loki: String) -> Self {
        let setup = Self {
            program,
            root: folder("crash"),
            nomad,
            loki,
            token: None,
        };
        fs::create_dir(setup.data_dir()).expect("a folder for positions");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/vector.toml");
        let shipped = fs::read_to_string(shipped).expect("the recommended configuration");
        let source = format!(
            "[sources.nomad]\ndata_dir = {:?}\n{SOURCE_OPTIONS}",
            setup.data_dir()
        );
        let changed = shipped.replacen("[sources.nomad]", &source, 1).replacen(
            "[sinks.loki]",
            &format!("[sinks.loki]\n{SINK_OPTIONS}"),
            1,
        );
        fs::write(setup.config(), changed).expect("a file with the configuration");
        setup
    }

    /// With a token of Nomad.
    pub(crate) fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("vector.toml")
    }

    /// Starts a process. Several may run at a time.
    pub(crate) fn start(&self) -> Process {
        let mut command = self.program.command();
        // The programs of the recommended configuration are found from here.
        without_cluster(&mut command)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .arg("--config")
            .arg(self.config())
            .env("NOMAD_ADDR", &self.nomad)
            .env("LOKI_ADDR", &self.loki)
            .env("NOMAD_EVENTS_DATA_DIR", self.data_dir())
            .envs(self.token.iter().map(|token| ("NOMAD_TOKEN", token)));
        let name = self.program.name();
        Process::start(name, folder(name), &mut command)
    }

    /// What was saved last; none where nothing was. Panics when it is not whole: whatever moment a process was killed at.
    pub(crate) fn saved(&self) -> Option<State> {
        let file = Folder::of(&self.data_dir(), SOURCE)
            .expect("the id is the name of a folder")
            .file();
        match fs::read(&file) {
            Ok(text) => Some(decode(&text).unwrap_or_else(|error| {
                panic!("{}: {error}", file.display());
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => panic!("{}: {error}", file.display()),
        }
    }
}

/// Ends a host, which has to have answered for everything.
pub(crate) fn stop(process: &mut Process) {
    let status: ExitStatus = process.terminate();
    assert!(status.success(), "{status}:\n{}", process.log());
}
