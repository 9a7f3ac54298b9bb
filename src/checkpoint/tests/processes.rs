//! Several processes: the tests start this very binary again, as a process that writes, waits or fills its disk.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

/// What the child is to do, and where.
const ROLE: &str = "NOMAD_EVENTS_TEST_ROLE";
const FOLDER: &str = "NOMAD_EVENTS_TEST_FOLDER";

/// How often a writer is killed.
const KILLS: u64 = 25;

/// Many proofs, so that a write takes long enough to be hit.
const PROOFS: u64 = 2_000;

/// A process that is killed when the test ends.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this binary in a role; `limits` are commands of the shell that hold for it.
    fn start(role: &str, folder: &Path, limits: &str) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limits} exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args([
                "checkpoint::tests::processes::child",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next thing that it says; `None` at its end.
    fn says(&mut self) -> Option<String> {
        self.lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("child: ").map(str::to_owned))
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what the processes do that tests start. By itself it has nothing to do.
#[test]
#[ignore = "run by the tests of this file, in a process of its own"]
fn child() {
    let (Ok(role), Some(folder)) = (std::env::var(ROLE), std::env::var_os(FOLDER)) else {
        return;
    };
    let paused = role == "fills";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(paused)
        .build()
        .unwrap();
    let folder = Folder::at(PathBuf::from(folder));
    // The first line follows libtest's own words.
    println!();
    runtime.block_on(async {
        let owner = folder.acquire(|_| println!("child: held")).await.unwrap();
        println!("child: locked");
        match role.as_str() {
            "writes" => {
                let first = owner
                    .read()
                    .unwrap()
                    .map_or(1, |state| state.position.index.0 + 1);
                for number in first.. {
                    owner.write(&state(number, PROOFS)).unwrap();
                    println!("child: {number}");
                }
            }
            "holds" => {
                // Until it is killed, or the test is gone.
                let _ = std::io::stdin().read_line(&mut String::new());
            }
            "fills" => fill(owner).await,
            other => panic!("{other}"),
        }
    });
}

/// Saves what fits, what does not, and what fits again.
async fn fill(owner: Owner) {
    let folder = owner.folder().clone();
    let number = Arc::new(AtomicU64::new(1));
    let newest = {
        let number = Arc::clone(&number);
        move || match number.load(Ordering::SeqCst) {
            2 => state(2, PROOFS),
            number => state(number, 0),
        }
    };
    let (heard, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    let report = move |outcome: Outcome<'_>| {
        let said = match outcome {
            Outcome::Saved { position, failures } => {
                format!("saved {} after {failures}", position.index)
            }
            Outcome::Failed { error, news } => format!("{} {news}", error.cause()),
        };
        heard.send(said).unwrap();
    };
    let (saver, task) = Saver::new(owner, newest, report);
    let task = tokio::spawn(task);
    let unfinished = folder.path().join("position.json.new");
    for (step, outcomes_of_step) in [(1, 1), (2, 3), (3, 1)] {
        number.store(step, Ordering::SeqCst);
        saver.changed();
        for _ in 0..outcomes_of_step {
            println!("child: {}", outcomes.recv().await.unwrap());
            let saved = folder.read().unwrap().unwrap().position.index;
            println!("child: file {saved}, unfinished {}", unfinished.exists());
        }
    }
    drop(saver);
    task.await.unwrap();
}

#[test]
fn whenever_a_writer_is_killed_the_old_or_the_new_state_is_there() {
    let data = TempDir::new().unwrap();
    let folder = Folder::at(data.path());
    let mut rng = StdRng::seed_from_u64(11);
    let unfinished = data.path().join("position.json.new");
    let (mut last, mut left) = (0, 0);
    for round in 0..KILLS {
        let mut writer = Process::start("writes", data.path(), "");
        // The lock of the one that was killed is gone.
        assert_eq!(writer.says().as_deref(), Some("locked"));
        let told = last + rng.random_range(1..8);
        while last < told {
            last = writer.says().unwrap().parse().unwrap();
        }
        if round.is_multiple_of(2) {
            // Within a write.
            let since = Instant::now();
            while !unfinished.exists() {
                assert!(since.elapsed() < Duration::from_secs(60), "no write begins");
                std::thread::yield_now();
            }
        } else {
            // Somewhere in the next writes.
            let moment = Duration::from_micros(rng.random_range(0..20_000));
            let (_never, timer) = std::sync::mpsc::channel::<()>();
            let _ = timer.recv_timeout(moment);
        }
        writer.kill();
        while let Some(number) = writer.says() {
            last = number.parse().unwrap();
        }
        let saved = folder.read().unwrap().unwrap();
        let number = saved.position.index.0;
        // What it said was saved is saved; the next one may be.
        assert!(
            number == last || number == last + 1,
            "{number} after {last}"
        );
        assert!(saved == state(number, PROOFS));
        last = number;
        left += u32::from(unfinished.exists());
    }
    // Writes were hit, and what they left was no hindrance to the next process.
    assert!(left > 0);
}

#[test]
fn a_second_process_waits_and_takes_over_when_the_first_is_killed() {
    let data = TempDir::new().unwrap();
    let folder = data.path().join("nomad");
    let mut first = Process::start("writes", &folder, "");
    assert_eq!(first.says().as_deref(), Some("locked"));
    assert_eq!(first.says().as_deref(), Some("1"));
    let mut second = Process::start("writes", &folder, "");
    assert_eq!(second.says().as_deref(), Some("held"));
    first.kill();
    let mut last = 1;
    while let Some(number) = first.says() {
        last = number.parse().unwrap();
    }
    assert_eq!(second.says().as_deref(), Some("locked"));
    // It goes on where the first stopped.
    let number: u64 = second.says().unwrap().parse().unwrap();
    assert!(
        number == last + 1 || number == last + 2,
        "{number} after {last}"
    );
}

#[test]
fn a_full_disk_keeps_what_was_saved_and_saving_goes_on_when_there_is_room() {
    let data = TempDir::new().unwrap();
    // A limit on the length of files (16 or 32 KiB, as the shell counts) stands for the end of the disk: a write fails half way,
    // as on a full one. The signal that goes with it is ignored.
    let mut child = Process::start("fills", data.path(), "trap '' XFSZ; ulimit -f 32;");
    let mut said = Vec::new();
    while let Some(line) = child.says() {
        said.push(line);
    }
    assert!(child.child.wait().unwrap().success(), "{said:?}");
    assert_eq!(
        said,
        [
            "locked",
            "saved 1 after 0",
            "file 1, unfinished false",
            "full true",
            "file 1, unfinished false",
            "full false",
            "file 1, unfinished false",
            "full false",
            "file 1, unfinished false",
            "saved 3 after 3",
            "file 3, unfinished false",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_standby_is_told_at_once_and_then_every_minute() {
    let data = TempDir::new().unwrap();
    let folder = data.path().join("nomad");
    let mut first = Process::start("holds", &folder, "");
    assert_eq!(first.says().as_deref(), Some("locked"));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let standby = tokio::spawn(Folder::at(&folder).acquire(move |waited| {
        let _ = tell.send(waited);
    }));
    for minutes in 0..4 {
        let waited = told.recv().await.unwrap();
        let expected = HELD_EVERY * minutes;
        assert!(
            waited >= expected && waited < expected + 2 * LOCK_POLL,
            "{waited:?} in place of {expected:?}"
        );
    }
    first.kill();
    let owner = standby.await.unwrap().unwrap();
    assert!(owner.read().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_dropped_leaves_nothing_locked() {
    let data = TempDir::new().unwrap();
    let folder = || Folder::at(data.path());
    // Two of one process keep each other out as well.
    let owner = folder().acquire(|_| {}).await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let standby = tokio::spawn(folder().acquire(move |_| {
        let _ = tell.send(());
    }));
    told.recv().await.unwrap();
    standby.abort();
    assert!(standby.await.unwrap_err().is_cancelled());
    drop(owner);
    let next = folder().acquire(|_| {});
    tokio::time::timeout(HELD_EVERY, next)
        .await
        .unwrap()
        .unwrap();
}
