//! A child process in a temporary folder, which leaves nothing behind however the test ends.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use super::wait_for;

/// How long a process may take to end after a request to.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// As much of a log as is shown when a test fails.
const LOG_TAIL_LINES: usize = 40;

/// A running child process. It is ended when this is dropped, with everything that it has started.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    folder: TempDir,
    log: PathBuf,
}

/// Something that a server has left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// A process that was still there, with its command line. It has been killed.
    Process(i32, String),
    /// A file system that was still mounted in the folder.
    Mount(PathBuf),
}

/// A temporary folder for a process.
///
/// Its name is short: Nomad makes sockets deep below it, and the path of a socket has at most 107 bytes.
pub(crate) fn folder(name: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("ne-{name}-"))
        .tempdir()
        .expect("a temporary folder")
}

/// Takes the variables of the machine's own cluster out of what a child process will see.
pub(crate) fn without_cluster(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        // An agent of Nomad ends at once when AWS_CA_BUNDLE is set.
        let prefixes = ["NOMAD_", "VAULT_", "CONSUL_", "AWS_"];
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command
}

impl Process {
    /// Starts `command` with its output in a log in `folder`, and `folder` as its place for temporary files.
    ///
    /// Everything that the process starts is known by that folder in its environment, or in that of its parent.
    pub(crate) fn start(name: &'static str, folder: TempDir, command: &mut Command) -> Self {
        let (_, output) = open_log(name, &folder);
        Self::start_with_output(name, folder, command, output)
    }

    /// The same, with the standard output going somewhere else than into the log.
    pub(crate) fn start_with_output(
        name: &'static str,
        folder: TempDir,
        command: &mut Command,
        output: impl Into<Stdio>,
    ) -> Self {
        let (log, errors) = open_log(name, &folder);
        let child = command
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} starts: {error}"));
        Self {
            name,
            child,
            folder,
            log,
        }
    }

    /// The folder that goes with the process.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether the process has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// All that the process has written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Asks the process to end (SIGTERM) and waits; it is killed when it does not.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        if let Some(status) = self.ended() {
            return status;
        }
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            if let Some(status) = self.ended() {
                return status;
            }
            std::thread::park_timeout(super::POLL_INTERVAL);
        }
        self.kill();
        self.ended().expect("a killed child has ended")
    }

    /// Kills the process alone, as a crash would end it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a signal to a child");
        self.child.wait().expect("the end of a killed child");
    }

    /// The most memory that the process has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the status of a child that is not reaped");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.expect("the process runs") * 1024
    }

    /// The time of processors that the process has used so far, in ticks of the kernel's account.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the account of a child that is not reaped");
        // The name, in brackets, may hold blanks: fields are counted behind it.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let times = fields.split_whitespace().skip(11).take(2);
        times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The child is not reaped yet, so the id is still its own; a zombie takes no harm.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends the process and everything it has started; says what it had left for us to end.
    pub(crate) fn stop(mut self) -> (ExitStatus, Vec<Leftover>) {
        let status = self.terminate();
        let leftovers = self.clean_up();
        (status, leftovers)
    }

    fn clean_up(&self) -> Vec<Leftover> {
        let mut leftovers = Vec::new();
        let mut groups = Vec::new();
        for (pid, command) in descendants(self.folder.path()) {
            groups.extend(task_groups(pid));
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
            leftovers.push(Leftover::Process(pid, command));
        }
        let killed = Instant::now();
        while !descendants(self.folder.path()).is_empty() && killed.elapsed() < KILL_LIMIT {
            std::thread::park_timeout(super::POLL_INTERVAL);
        }
        for group in groups {
            // Two processes of one task share a group, so it may be gone already.
            let _ = fs::remove_dir(group);
        }
        for mount in mounts_below(self.folder.path()) {
            // The folder could not be removed otherwise. Without the right to unmount there was no right to mount either.
            let _ = Command::new("umount").arg(&mount).status();
            leftovers.push(Leftover::Mount(mount));
        }
        leftovers
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
            eprintln!(
                "--- end of the log of {} ---\n{}",
                self.name,
                tail.join("\n")
            );
        }
        self.terminate();
        self.clean_up();
    }
}

/// The log of a process. Two handles of it may write in turn.
fn open_log(name: &str, folder: &TempDir) -> (PathBuf, File) {
    let path = folder.path().join(format!("{name}.log"));
    let log = File::options().append(true).create(true).open(&path);
    (path, log.expect("a log file"))
}

/// Processes whose environment names `folder`.
fn descendants(folder: &Path) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // A process of another user, or one that ends just now, cannot be read and is not ours.
            let environment = fs::read(entry.path().join("environ")).ok()?;
            if !contains(&environment, folder.as_os_str().as_bytes()) {
                return None;
            }
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            Some((
                pid,
                String::from_utf8_lossy(&command)
                    .replace('\0', " ")
                    .trim()
                    .to_owned(),
            ))
        })
        .collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The control groups that Nomad has made for the task of a process; their names are `<allocation>.<task>`.
fn task_groups(pid: i32) -> Vec<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups
        .lines()
        .filter_map(|line| {
            // Version 1 has a line with a name and a tree of its own for each controller, version 2 one without a name.
            let (controller, group) = line.split_once(':')?.1.split_once(':')?;
            let group = Path::new("/sys/fs/cgroup")
                .join(controller)
                .join(group.strip_prefix('/')?);
            let (parent, name) = (group.parent()?, group.file_name()?.to_str()?);
            let of_nomad = parent.to_str()?.contains("nomad") && name.contains('.');
            of_nomad.then_some(group)
        })
        .collect()
}

/// What is mounted below `folder`, innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let mut mounts: Vec<PathBuf> = fs::read_to_string("/proc/mounts")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(folder))
        .collect();
    mounts.reverse();
    mounts
}

/// Starts a server and waits until it is ready; starts it again with other ports when one of them was taken meanwhile.
pub(super) fn start_server(
    name: &'static str,
    limit: Duration,
    spawn: impl Fn() -> (Process, SocketAddr),
    ready: impl Fn(&Process, SocketAddr) -> Result<(), String>,
) -> (Process, SocketAddr) {
    const ATTEMPTS: u32 = 3;
    for _ in 0..ATTEMPTS {
        let (mut process, address) = spawn();
        match wait_until_ready(name, limit, &mut process, |process| ready(process, address)) {
            Ok(()) => return (process, address),
            Err(_) if process.log().contains("address already in use") => drop(process),
            Err(status) => panic!("{name} ended while it started: {status}"),
        }
    }
    panic!("{name} found its ports taken {ATTEMPTS} times")
}

fn wait_until_ready(
    name: &str,
    limit: Duration,
    process: &mut Process,
    ready: impl Fn(&Process) -> Result<(), String>,
) -> Result<(), ExitStatus> {
    wait_for(&format!("{name} is ready"), limit, || {
        if let Some(status) = process.ended() {
            return Ok(Err(status));
        }
        ready(process).map(Ok)
    })
}

/// A failed request as text, for [`wait_for`].
pub(super) fn words(error: io::Error) -> String {
    error.to_string()
}
