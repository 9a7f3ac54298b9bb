//! NE-7, of the whole process: however much comes, and however little leaves, memory stays within what is configured.

use std::time::Duration;

use bytes::Bytes;
use nomad_events::Event;
use nomad_events::envelope::MAX_EVENTS;
use nomad_events::testing::loki::{FakeLoki, Fault, Gate};
use nomad_events::testing::nomad::FakeNomad;
use tokio::time::Instant;

use super::{PATIENCE, Place, run_command};

const MAX_LINE_BYTES: usize = 512 << 10;
const QUEUE_BYTES: usize = 2 << 20;
/// How much is sent in lines of the longest kind.
const FLOOD_BYTES: usize = 32 << 20;
/// A process that has used no time for so long has nothing to do.
const QUIET: Duration = Duration::from_secs(1);

/// `batch.max_bytes` of the sink, and how many batches it has at most: those under way, and the next one.
const BATCH_BYTES: usize = 1_000_000;
const BATCHES: usize = 4 + 1;

/// What the process may have beside what it has without events: the text in the queue, and as much in trees on the way to the
/// sink; a line that grows (twice), is complete, and is read; batches as records and as a request; and all that once more, for
/// what an allocator and several threads cost.
const ALLOWED: u64 = (2 * QUEUE_BYTES + 4 * MAX_LINE_BYTES + 2 * BATCHES * BATCH_BYTES) as u64 * 2;

/// What is built of a line before it is known to have too many events; a list that grows is there twice.
const TOO_MANY_EVENTS: u64 = (2 * MAX_EVENTS * size_of::<Event>()) as u64;

/// A line of this index, as near to `bytes` as events of a kilobyte bring it.
fn line(index: u64, bytes: usize) -> Bytes {
    let filler = "x".repeat(900);
    let event = format!(
        r#"{{"Topic":"Job","Type":"JobRegistered","Key":"web","Namespace":"default","Payload":{{"Job":{{"ID":"web","Name":"{filler}"}}}}}}"#
    );
    let events = vec![event.as_str(); (bytes - 100) / (event.len() + 1)];
    Bytes::from(format!(
        r#"{{"Index":{index},"Events":[{}]}}"#,
        events.join(",")
    ))
}

/// A line of as many events as fit, which hold nothing: each costs far more memory than text.
fn tiny_events(index: u64, bytes: usize) -> Bytes {
    let events = vec!["{}"; (bytes - 100) / 3];
    Bytes::from(format!(
        r#"{{"Index":{index},"Events":[{}]}}"#,
        events.join(",")
    ))
}

/// The most memory that a run had, until it had nothing to do any more.
async fn peak(lines: Vec<Bytes>, queue_bytes: usize) -> u64 {
    let nomad = FakeNomad::builder()
        .buffer_size(lines.len() + 1)
        .start()
        .await
        .unwrap();
    for line in lines {
        // Nobody looks into them: the fake would need more memory than what it tests.
        nomad.append_opaque(5, line);
    }
    let loki = FakeLoki::start().await.unwrap();
    loki.afterwards(Some(Fault::Hold(Gate::new())));
    let place = Place::new();
    let source = format!("max_line_bytes = {MAX_LINE_BYTES}\nqueue_bytes = {queue_bytes}");
    let config = place.config(&source, "batch.timeout_secs = 0.1");
    let mut command = run_command(&config, &nomad, &loki);
    // What the allocator keeps for later is not what is asked for.
    command.env("MIMALLOC_PURGE_DELAY", "0");
    let run = place.start(&mut command);
    // The notices are the first push; nothing is ever answered.
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    let give_up = Instant::now() + PATIENCE;
    let mut busy = (Instant::now(), run.process.cpu_ticks());
    while busy.0.elapsed() < QUIET {
        let now = run.process.cpu_ticks();
        if now > busy.1 {
            busy = (Instant::now(), now);
        }
        assert!(Instant::now() < give_up, "{}", run.errors());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    run.process.peak_memory()
}

#[tokio::test]
async fn a_flood_behind_a_loki_that_does_not_answer_stays_within_what_is_configured() {
    let idle = peak(Vec::new(), QUEUE_BYTES).await;
    let long = || {
        (0..(FLOOD_BYTES / MAX_LINE_BYTES) as u64)
            .map(|index| line(10 + index, MAX_LINE_BYTES))
            .collect::<Vec<_>>()
    };
    let far_too_long = (0..5).map(|index| line(10 + index, 10 * MAX_LINE_BYTES));
    let countless = (0..20).map(|index| tiny_events(10 + index, MAX_LINE_BYTES));
    for (name, lines, allowed) in [
        ("lines as long as they may be", long(), ALLOWED),
        ("lines ten times as long", far_too_long.collect(), ALLOWED),
        (
            "lines of countless events",
            countless.collect(),
            ALLOWED + TOO_MANY_EVENTS,
        ),
    ] {
        let used = peak(lines, QUEUE_BYTES).await.saturating_sub(idle);
        println!("{name}: {used} of {allowed}");
        assert!(used <= allowed, "{name}: {used} of {allowed}");
    }
    // It is the option that holds it: with another one there is more.
    let used = peak(long(), FLOOD_BYTES).await.saturating_sub(idle);
    println!("with room for all of it: {used}");
    assert!(used > ALLOWED, "{used} of {ALLOWED}");
}
