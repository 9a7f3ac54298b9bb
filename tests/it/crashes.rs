//! The built program is killed at random moments under load, again and again, and started again where it was.
//!
//! What is at the sink in the end is exactly what an independent reader saw, what came twice is the same twice, and every process
//! went on where the one before had saved its position.

pub(crate) mod host;
mod load;
mod stage;
mod standby;
pub(crate) mod verdict;

use std::time::Duration;

use nomad_events::checkpoint::State;
use nomad_events::position::Taken;
use nomad_events::testing::eventually;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use crate::servers::Process;
use host::{Program, Setup, stop};
use stage::{BUFFER, PATIENCE, Stage};
use verdict::{Crash, Figures, verdict};

/// Names a number from which all that is random comes; without it, it is another one each time.
const SEED: &str = "NOMAD_EVENTS_CRASH_SEED";
/// How often the server disturbs a stream, and a test looks at what goes on.
const DISTURBED_AFTER: Duration = Duration::from_millis(800);

/// A process that does not come to follow the stream is killed within this time.
const BEFORE_THE_STREAM: Duration = Duration::from_millis(1000);
/// The others live for so long after they have begun to: long enough for a saved position or two, and often too short for any.
const ON_THE_STREAM: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_the_sink_is_what_a_reader_saw_over_a_few_kills() {
    crash(Program::NomadEvents, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes: cargo test --test it a_hundred_kills -- --ignored --nocapture"]
async fn what_is_at_the_sink_is_what_a_reader_saw_over_a_hundred_kills() {
    let figures = crash(Program::NomadEvents, 110).await;
    figures.assert_telling(BUFFER);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vector with the plugin: NOMAD_VECTOR=path cargo test --test it nomad_vector -- --ignored"]
async fn what_is_at_the_sink_is_what_a_reader_saw_over_kills_of_nomad_vector() {
    crash(Program::NomadVector, 20).await;
}

/// The number from which all that is random comes.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => rand::rng().random(),
    };
    println!("{SEED}={seed}");
    seed
}

async fn crash(program: Program, kills: usize) -> Figures {
    let started = Instant::now();
    let mut random = StdRng::seed_from_u64(seed());
    let mut stage = Stage::set(&mut random).await;
    let setup = Setup::new(program, stage.nomad.url(), stage.loki.url());
    let mut crashes: Vec<Crash> = Vec::new();
    for _ in 0..kills {
        if random.random_bool(0.1) {
            stage.replay_log();
        }
        let crash = live_and_die(&setup, &mut stage, &mut random).await;
        if let Some(before) = crashes.last() {
            assert_no_way_back(before.saved.as_ref(), crash.saved.as_ref());
        }
        crashes.push(crash);
    }
    println!("{} lines at the end of the kills", stage.lines_written());

    // The last one runs to the end.
    let mut last = setup.start();
    until_streaming(&mut stage, &mut last).await;
    let lines = stage.lines_written();
    let expected = stage.end_load().await;
    let newest = expected.iter().map(|event| event.event.index).max();
    let done = eventually(PATIENCE, || {
        setup.saved().map(|saved| saved.position.index.0) == newest
    });
    if done.await.is_err() {
        println!("not all is saved as done: {:?}", setup.saved());
    }
    stop(&mut last);
    let figures = verdict(&expected, stage.loki.entries(), &crashes, lines);
    println!(
        "{}: {figures}; took {:?}",
        program.name(),
        started.elapsed()
    );
    let saved = setup.saved().expect("a saved position");
    assert_no_way_back(crashes.last().and_then(|c| c.saved.as_ref()), Some(&saved));
    assert_eq!(Some(saved.position.index.0), newest, "{figures}");
    assert!(saved.gaps.is_empty(), "{:?}", saved.gaps);
    figures
}

/// Starts a process, lets it live for a while, and kills it.
async fn live_and_die(setup: &Setup, stage: &mut Stage, random: &mut StdRng) -> Crash {
    let requests = stage.nomad.stream_requests().len();
    let mut process = setup.start();
    let lives = if random.random_bool(0.2) {
        random.random_range(Duration::ZERO..BEFORE_THE_STREAM)
    } else {
        until_streaming(stage, &mut process).await;
        random.random_range(Duration::ZERO..ON_THE_STREAM)
    };
    let dies = Instant::now() + lives;
    loop {
        let pause = random.random_range(Duration::ZERO..DISTURBED_AFTER);
        let wakes = (Instant::now() + pause).min(dies);
        tokio::time::sleep_until(wakes).await;
        stage.go_on_if_replayed();
        if wakes == dies {
            break;
        }
        if random.random_bool(0.3) {
            stage.disturb(random).await;
        }
    }
    if let Some(status) = process.ended() {
        panic!("it has ended by itself: {status}:\n{}", process.log());
    }
    process.kill();
    stage.settle().await;
    dead(setup, stage, requests)
}

/// What there is when a process is dead that came after so many requests.
fn dead(setup: &Setup, stage: &Stage, requests: usize) -> Crash {
    let saved = setup.saved();
    if let Some(saved) = &saved {
        stage.saved_up_to(saved.position.index.0);
    }
    let asked_for = stage.nomad.stream_requests().get(requests).map(|request| {
        let index = request.query_value("index").expect("an index is asked for");
        index.parse().expect("a number")
    });
    Crash {
        pushed: stage.loki.pushed(),
        saved,
        asked_for,
    }
}

/// NE-2, on the disk.
fn assert_no_way_back(before: Option<&State>, after: Option<&State>) {
    let Some(before) = before else { return };
    let after = after.expect("what was saved stays");
    assert!(
        after.position >= before.position,
        "back from {} to {}",
        before.position,
        after.position
    );
    if after.position == before.position {
        let count = |state: &State| match &state.taken {
            Taken::Proofs(proofs) => proofs.len(),
            _ => 0,
        };
        assert!(count(after) >= count(before), "at {}", after.position);
    }
}

async fn until_streaming(stage: &mut Stage, process: &mut Process) {
    let streaming = eventually(PATIENCE, || {
        stage.go_on_if_replayed();
        assert!(process.ended().is_none(), "{}", process.log());
        stage.nomad.open_streams() == 1
    });
    streaming.await.expect("a process follows the stream");
}
