//! Builds the servers from their Go modules, once, and keeps them under `target/servers`.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with ready-made `nomad` and `loki`, to be used instead of a build.
const READY_MADE: &str = "NOMAD_EVENTS_SERVERS";

/// A server that is a Go module.
struct Module {
    name: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
}

const NOMAD: Module = Module {
    name: "nomad",
    package: "github.com/hashicorp/nomad",
    // The generated codecs of HashiCorp's releases. They decide the order of keys on the wire.
    arguments: &["-tags", "codegen_generated"],
};

const LOKI: Module = Module {
    name: "loki",
    package: "github.com/grafana/loki/v3/cmd/loki",
    arguments: &[],
};

/// The Nomad binary, built if need be.
pub(super) fn nomad() -> PathBuf {
    NOMAD.binary()
}

/// The Loki binary, built if need be.
pub(super) fn loki() -> PathBuf {
    LOKI.binary()
}

impl Module {
    fn binary(&self) -> PathBuf {
        if let Some(folder) = std::env::var_os(READY_MADE) {
            let binary = Path::new(&folder).join(self.name);
            assert!(
                binary.is_file(),
                "{READY_MADE} is set, but {} is no file",
                binary.display()
            );
            return binary;
        }
        // Cargo's folder for integration tests is target/tmp.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("servers");
        fs::create_dir_all(&folder).expect("a folder for the servers");
        let _lock = self.lock(&folder);
        let binary = folder.join(self.name);
        let stamp = folder.join(format!("{}.stamp", self.name));
        let recipe = self.recipe();
        if !binary.is_file() || fs::read_to_string(&stamp).ok().as_deref() != Some(&recipe) {
            self.build(&binary);
            fs::write(&stamp, &recipe).expect("a stamp beside the server");
        }
        binary
    }

    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/servers")
            .join(self.name)
    }

    /// All that decides what is built; when it changes, the server is built again.
    fn recipe(&self) -> String {
        let versions = fs::read_to_string(self.source().join("go.mod")).expect("a go.mod");
        format!("{} {:?}\n{versions}", self.package, self.arguments)
    }

    /// One build at a time, also among processes. The lock goes with the file, even when the process is killed.
    fn lock(&self, folder: &Path) -> File {
        let path = folder.join(format!("{}.lock", self.name));
        let file = File::create(&path).expect("a lock file beside the server");
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say(&format!("waiting for another build of {}", self.name));
                file.lock().expect("a lock on the lock file");
            }
            Err(TryLockError::Error(error)) => panic!("lock of {}: {error}", path.display()),
        }
        file
    }

    fn build(&self, binary: &Path) {
        say(&format!(
            "building {} with Go: minutes the first time; set {READY_MADE} to a folder with ready-made servers to skip it",
            self.name
        ));
        let unfinished = binary.with_extension("unfinished");
        let status = Command::new("go")
            .current_dir(self.source())
            .arg("build")
            .args(self.arguments)
            .arg("-o")
            .arg(&unfinished)
            .arg(self.package)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("Go is installed and on the PATH");
        assert!(status.success(), "go build of {}: {status}", self.name);
        fs::rename(&unfinished, binary).expect("the finished server in its place");
        say(&format!("{} is built", self.name));
    }
}

/// Says something while the tests run: the macros' output would be held back until a test fails.
fn say(text: &str) {
    // Nobody to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "tests/servers: {text}");
}
