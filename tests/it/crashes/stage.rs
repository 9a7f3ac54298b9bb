//! A fake Nomad under load, another one that shows an independent reader the same, and a fake Loki that fails now and then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nomad_events::testing::eventually;
use nomad_events::testing::loki::{FakeLoki, Fault as LokiFault};
use nomad_events::testing::nomad::{FakeNomad, Fault};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::load::{Load, SECOND_NAMESPACE};
use crate::real::TOPICS;
use crate::servers::expect::{Expected, expected};
use crate::servers::http;
use crate::servers::wire::Reader;

/// How long anything may take before a test gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines the server keeps. It forgets a lot in a long run, and nothing that is still needed: see [`MOST_BEHIND`].
pub(super) const BUFFER: usize = 3_000;
/// The server waits with more while so many lines are not saved as done.
const MOST_BEHIND: usize = BUFFER / 2;
/// The pause between two lines, at most.
const LINE_PAUSE: Duration = Duration::from_millis(16);
/// What may become of pushes, far more of them than there are.
const PUSHES: usize = 50_000;
/// How long a server leaves a connection open of which it has closed the subscription.
const EOF_DELAY: Duration = Duration::from_millis(100);

/// The servers, and what is written to them.
pub(super) struct Stage {
    pub(super) nomad: Arc<FakeNomad>,
    pub(super) loki: FakeLoki,
    /// Has the same lines, and is never disturbed: another server of the same cluster.
    undisturbed: Arc<FakeNomad>,
    reader: Reader,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
    /// Streams that were granted when the server's log was replayed last, until the next one is.
    replayed_after: Option<usize>,
}

/// What the writer and the test share.
#[derive(Default)]
struct Shared {
    /// Every line so far with its index, oldest first.
    lines: Mutex<Vec<(u64, Bytes)>>,
    /// No line comes meanwhile. Changed under the lock of the lines.
    paused: AtomicBool,
    /// No more lines come.
    stopped: AtomicBool,
    /// Below it nothing is needed any more.
    saved: AtomicU64,
}

impl Stage {
    /// Starts the servers and the load. All that is random comes from `random`, but for what time does.
    pub(super) async fn set(random: &mut StdRng) -> Self {
        let server = |buffer, seed| {
            FakeNomad::builder()
                .buffer_size(buffer)
                .namespace(SECOND_NAMESPACE, 5)
                .maps_in_random_order(seed)
                .eof_delay(EOF_DELAY)
                .start()
        };
        let nomad = Arc::new(server(BUFFER, random.random()).await.expect("a free port"));
        let undisturbed = server(usize::MAX / 2, random.random()).await;
        let undisturbed = Arc::new(undisturbed.expect("a free port"));
        let loki = FakeLoki::start().await.expect("a free port");
        loki.script((0..PUSHES).map(|_| fault_of_loki(random)));
        let reader = Reader::start(undisturbed.address(), &TOPICS, "*");
        let shared = Arc::new(Shared::default());
        let writer = tokio::spawn(write(
            [Arc::clone(&undisturbed), Arc::clone(&nomad)],
            Arc::clone(&shared),
            random.random(),
        ));
        Self {
            nomad,
            loki,
            undisturbed,
            reader,
            shared,
            writer,
            replayed_after: None,
        }
    }

    /// The server may forget what is below.
    pub(super) fn saved_up_to(&self, index: u64) {
        self.shared.saved.fetch_max(index, Ordering::Relaxed);
    }

    /// Disturbs the streams that are open, in one of many ways.
    pub(super) async fn disturb(&mut self, random: &mut StdRng) {
        let streams = self.nomad.streams();
        let open = streams.iter().filter(|stream| stream.is_open());
        match random.random_range(0..8) {
            0 => open.for_each(|stream| stream.inject(Fault::Close)),
            1 => open.for_each(|stream| stream.inject(Fault::Reset)),
            2 | 3 => open.for_each(|stream| stream.inject_in_next_line(Fault::Close)),
            4 => open.for_each(|stream| stream.inject(Fault::SubscriptionClosed)),
            5 => self.nomad.restart().await.expect("the same port"),
            _ => {
                self.nomad.stop().await;
                self.replay_log();
                self.nomad.start_again().await.expect("the same port");
            }
        }
    }

    /// Lets the next stream see the server's log from the first line that is kept, whatever it asks for: the server was started
    /// again. No line comes until then.
    pub(super) fn replay_log(&mut self) {
        let lines = self.shared.lines();
        // The fake takes them for its whole history, so none may come in between.
        self.shared.paused.store(true, Ordering::Relaxed);
        let kept = lines.len().saturating_sub(BUFFER);
        let kept = lines.iter().skip(kept).map(|(_, line)| line.clone());
        self.nomad
            .replay_log_on_next_connect(kept)
            .expect("lines that it had already");
        self.replayed_after = Some(self.nomad.streams().len());
    }

    /// Goes on with the load when a stream has come for the server's log.
    pub(super) fn go_on_if_replayed(&mut self) {
        let streams = self.nomad.streams().len();
        if self.replayed_after.is_some_and(|before| streams > before) {
            self.replayed_after = None;
            let _lines = self.shared.lines();
            self.shared.paused.store(false, Ordering::Relaxed);
        }
    }

    /// Waits until nothing of a process that was killed is on its way any more: its connections are known to be closed, and what
    /// Loki has read of it is stored.
    pub(super) async fn settle(&self) {
        // Connections are taken in turn: when this one is answered, those before it were taken.
        for (address, path) in [
            (self.nomad.address(), "/v1/regions"),
            (self.loki.address(), "/ready"),
        ] {
            let asked = tokio::task::spawn_blocking(move || http::get(address, path));
            asked.await.expect("no panic").expect("an answer");
        }
        let settled = eventually(PATIENCE, || {
            self.nomad.open_streams() == 0 && self.loki.in_flight() == 0
        });
        settled.await.expect("a killed process has no connections");
    }

    /// Ends the load. Gives what an independent reader saw, when it has seen everything.
    pub(super) async fn end_load(&mut self) -> Vec<Expected> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let ended = tokio::time::timeout(PATIENCE, &mut self.writer).await;
        ended
            .expect("the writer ends")
            .expect("it has not panicked");
        let last = self.shared.lines().last().expect("lines").0;
        let sent = self.undisturbed.wait_until_sent(last, PATIENCE).await;
        sent.expect("the reader is served");
        let written = self.shared.lines().len();
        let mut lines = Vec::new();
        let read = eventually(PATIENCE, || {
            lines = self.reader.lines();
            lines.iter().filter(|line| line.text != b"{}").count() == written
        });
        read.await.expect("the reader reads");
        expected(&lines)
    }

    /// How many lines were written so far.
    pub(super) fn lines_written(&self) -> usize {
        self.shared.lines().len()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Vec<(u64, Bytes)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server would forget what a host still needs.
    fn is_far_ahead(&self) -> bool {
        let saved = self.saved.load(Ordering::Relaxed);
        let lines = self.lines();
        let done = lines.partition_point(|(index, _)| *index < saved);
        lines.len() - done > MOST_BEHIND
    }
}

/// Writes to each of the servers until it is told to stop, and does not leave an index half written.
async fn write(servers: [Arc<FakeNomad>; 2], shared: Arc<Shared>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut load = Load::new(random.random());
    while !shared.stopped.load(Ordering::Relaxed) {
        if shared.is_far_ahead() {
            sleep(LINE_PAUSE).await;
            continue;
        }
        let (index, lines) = load.next_index();
        for line in lines {
            while !append(&servers, &shared, index, &line) {
                sleep(LINE_PAUSE).await;
            }
            // Often none at all, so that lines come in bursts.
            if random.random_bool(0.5) {
                sleep(random.random_range(Duration::ZERO..2 * LINE_PAUSE)).await;
            }
        }
    }
}

/// Writes a line, unless that has to wait.
fn append(servers: &[Arc<FakeNomad>], shared: &Shared, index: u64, line: &Bytes) -> bool {
    let mut lines = shared.lines();
    if shared.paused.load(Ordering::Relaxed) {
        return false;
    }
    for server in servers {
        server.append(line.clone()).expect("a line of our own");
    }
    lines.push((index, line.clone()));
    true
}

/// What becomes of a push: mostly what should.
fn fault_of_loki(random: &mut StdRng) -> LokiFault {
    match random.random_range(0..200) {
        0..=2 => LokiFault::WrittenButFailed,
        3..=4 => LokiFault::WrittenThenClosed,
        5 => LokiFault::status(429, "slow down"),
        6 => LokiFault::status(500, "internal"),
        7 => LokiFault::Close,
        8..=17 => LokiFault::Delay(Duration::from_millis(random.random_range(5..500))),
        _ => LokiFault::None,
    }
}
