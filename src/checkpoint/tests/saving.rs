//! When states are saved, and what is told of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::sync::mpsc as heard;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;

/// A store in memory, that fails as the test wants it.
struct Memory {
    folder: Folder,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What was written, and when.
    writes: Mutex<Vec<(Instant, u64)>>,
    fails: Mutex<Option<std::io::ErrorKind>>,
    panics: AtomicBool,
    at_a_time: AtomicUsize,
    number: AtomicU64,
    /// A write waits for a word from here, where there is one.
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Store for Memory {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn write(&self, state: &State) -> Result<(), WriteError> {
        let shared = &self.shared;
        assert_eq!(shared.at_a_time.fetch_add(1, Ordering::SeqCst), 0);
        if let Some(gate) = &*shared.gate.lock().unwrap() {
            let _ = gate.recv();
        }
        let mut writes = shared.writes.lock().unwrap();
        writes.push((Instant::now(), state.position.index.0));
        shared.at_a_time.fetch_sub(1, Ordering::SeqCst);
        if shared.panics.load(Ordering::SeqCst) {
            // Without the hook that prints it.
            std::panic::resume_unwind(Box::new("planned"));
        }
        match *shared.fails.lock().unwrap() {
            None => Ok(()),
            Some(kind) => Err(self.folder.not_saved(WriteProblem::Io {
                step: "write",
                error: kind.into(),
            })),
        }
    }
}

/// How far it is saved, after how many failures; or the cause, and whether that is news.
type Report = Result<(u64, u64), (&'static str, bool)>;

struct Bench {
    saver: Saver,
    task: JoinHandle<()>,
    shared: Arc<Shared>,
    reports: heard::UnboundedReceiver<Report>,
}

impl Bench {
    fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let store = Memory {
            folder: Folder::at("/memory"),
            shared: Arc::clone(&shared),
        };
        let newest = Arc::clone(&shared);
        let (tell, reports) = heard::unbounded_channel();
        let (saver, task) = Saver::new(
            store,
            move || state(newest.number.load(Ordering::SeqCst), 0),
            move |outcome| {
                let _ = tell.send(match outcome {
                    Outcome::Saved { position, failures } => Ok((position.index.0, failures)),
                    Outcome::Failed { error, news } => Err((error.cause(), news)),
                });
            },
        );
        Self {
            saver,
            task: tokio::spawn(task),
            shared,
            reports,
        }
    }

    fn change(&self) -> u64 {
        let number = self.shared.number.fetch_add(1, Ordering::SeqCst) + 1;
        self.saver.changed();
        number
    }

    fn fail(&self, kind: Option<std::io::ErrorKind>) {
        *self.shared.fails.lock().unwrap() = kind;
    }

    fn writes(&self) -> Vec<(Instant, u64)> {
        self.shared.writes.lock().unwrap().clone()
    }

    async fn report(&mut self) -> Report {
        self.reports.recv().await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_state_is_saved_at_most_once_a_second() {
    let mut bench = Bench::new();
    let start = Instant::now();
    for _ in 0..1000 {
        bench.change();
        sleep(Duration::from_millis(10)).await;
    }
    let last = bench.change();
    while bench.report().await != Ok((last, 0)) {}
    let writes = bench.writes();
    // The first at once.
    assert!(writes[0].0 - start < Duration::from_millis(20));
    for pair in writes.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= SAVE_EVERY, "{pair:?}");
        assert!(pair[1].1 > pair[0].1);
    }
    assert!((10..=12).contains(&writes.len()), "{}", writes.len());
    // Nothing new, nothing written.
    sleep(10 * SAVE_EVERY).await;
    assert_eq!(bench.writes().len(), writes.len());
}

#[tokio::test(start_paused = true)]
async fn a_flush_saves_at_once_what_is_not_saved() {
    let mut bench = Bench::new();
    let start = Instant::now();
    assert_eq!(bench.saver.flush(SAVE_EVERY).await, Flushed::Saved);
    assert!(bench.writes().is_empty());
    bench.change();
    assert_eq!(bench.report().await, Ok((1, 0)));
    bench.change();
    bench.change();
    assert_eq!(bench.saver.flush(SAVE_EVERY).await, Flushed::Saved);
    assert_eq!(bench.report().await, Ok((3, 0)));
    assert!(start.elapsed() < Duration::from_millis(20));
    assert_eq!(bench.saver.flush(SAVE_EVERY).await, Flushed::Saved);
    // What comes afterwards has its time again.
    bench.change();
    assert_eq!(bench.report().await, Ok((4, 0)));
    assert!(start.elapsed() >= SAVE_EVERY);
    assert_eq!(bench.writes().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_when_they_change_and_tried_again_ever_less_often() {
    use std::io::ErrorKind::{ReadOnlyFilesystem, StorageFull};
    let mut bench = Bench::new();
    bench.change();
    assert_eq!(bench.report().await, Ok((1, 0)));
    bench.fail(Some(StorageFull));
    bench.change();
    assert_eq!(bench.report().await, Err(("full", true)));
    let mut before = Instant::now();
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        // Changes do not hasten it.
        bench.change();
        assert_eq!(bench.report().await, Err(("full", false)));
        let pause = before.elapsed();
        before = Instant::now();
        let expected = Duration::from_secs(seconds);
        assert!(
            pause >= expected && pause < expected + SAVE_EVERY / 2,
            "{pause:?} in place of {expected:?}"
        );
    }
    bench.fail(Some(ReadOnlyFilesystem));
    assert_eq!(bench.report().await, Err(("read_only", true)));
    bench.fail(None);
    let last = bench.change();
    assert_eq!(bench.report().await, Ok((last, 9)));
    // And the pause is a second again.
    bench.fail(Some(StorageFull));
    bench.change();
    assert_eq!(bench.report().await, Err(("full", true)));
    let before = Instant::now();
    assert_eq!(bench.report().await, Err(("full", false)));
    assert!(before.elapsed() < 2 * SAVE_EVERY);
}

#[tokio::test(start_paused = true)]
async fn a_flush_tries_once_and_says_when_it_failed() {
    let mut bench = Bench::new();
    bench.fail(Some(std::io::ErrorKind::StorageFull));
    bench.change();
    for _ in 0..3 {
        assert!(bench.report().await.is_err());
    }
    let (start, before) = (Instant::now(), bench.writes().len());
    assert_eq!(bench.saver.flush(MAX_RETRY_PAUSE).await, Flushed::Failed);
    assert!(start.elapsed() < Duration::from_millis(20));
    assert_eq!(bench.writes().len(), before + 1);
    // It mends itself.
    bench.fail(None);
    assert_eq!(bench.saver.flush(MAX_RETRY_PAUSE).await, Flushed::Saved);
}

#[tokio::test]
async fn a_flush_does_not_wait_longer_than_it_may() {
    let mut bench = Bench::new();
    let (open, gate) = mpsc::channel();
    *bench.shared.gate.lock().unwrap() = Some(gate);
    bench.change();
    let short = Duration::from_millis(50);
    assert_eq!(bench.saver.flush(short).await, Flushed::TimedOut);
    bench.change();
    assert_eq!(bench.saver.flush(short).await, Flushed::TimedOut);
    // The disk answers at last; the second write comes behind the first, never beside it.
    open.send(()).unwrap();
    open.send(()).unwrap();
    let long = Duration::from_secs(60);
    assert_eq!(bench.saver.flush(long).await, Flushed::Saved);
    while timeout(long, bench.report()).await.unwrap() != Ok((2, 0)) {}
    assert_eq!(bench.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_panics_is_a_failure_and_saving_goes_on() {
    let mut bench = Bench::new();
    bench.shared.panics.store(true, Ordering::SeqCst);
    bench.change();
    assert_eq!(bench.report().await, Err(("broke_off", true)));
    bench.shared.panics.store(false, Ordering::SeqCst);
    bench.shared.writes.clear_poison();
    assert_eq!(bench.report().await, Ok((1, 1)));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_saver_and_a_flush_with_the_task() {
    let bench = Bench::new();
    let other = bench.saver.clone();
    drop(bench.saver);
    other.changed();
    assert_eq!(other.flush(SAVE_EVERY).await, Flushed::Saved);
    drop(other);
    timeout(SAVE_EVERY, bench.task).await.unwrap().unwrap();

    let bench = Bench::new();
    bench.task.abort();
    bench.change();
    assert_eq!(bench.saver.flush(SAVE_EVERY).await, Flushed::Failed);
}

/// Another owner would find an older state, and be overwritten later.
#[tokio::test]
async fn a_folder_stays_locked_until_the_write_under_way_has_ended() {
    let data = tempfile::TempDir::new().unwrap();
    let folder = || Folder::at(data.path());
    let owner = folder().acquire(|_| {}).await.unwrap();
    let (began, mut begun) = heard::unbounded_channel();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let (saver, task) = Saver::new(
        owner,
        move || {
            let _ = began.send(());
            let _ = gate.lock().unwrap().recv();
            state(5, 0)
        },
        |_| {},
    );
    let task = tokio::spawn(task);
    saver.changed();
    begun.recv().await.unwrap();
    task.abort();
    drop(saver);
    assert!(task.await.unwrap_err().is_cancelled());
    let (tell, mut told) = heard::unbounded_channel();
    let standby = tokio::spawn(folder().acquire(move |_| {
        let _ = tell.send(());
    }));
    told.recv().await.unwrap();
    open.send(()).unwrap();
    let next = timeout(Duration::from_secs(60), standby).await.unwrap();
    let next = next.unwrap().unwrap();
    assert_eq!(next.read().unwrap(), Some(state(5, 0)));
}
