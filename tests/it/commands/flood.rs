//! NE-7, of the whole process: however much comes, and however little leaves, memory stays within what is configured.

use std::time::Duration;

use bytes::Bytes;
use nomad_events::testing::loki::{FakeLoki, Fault, Gate};
use nomad_events::testing::nomad::FakeNomad;
use tokio::time::Instant;

use super::{PATIENCE, Place, run_command};

const MAX_LINE_BYTES: usize = 1 << 20;
const QUEUE_BYTES: usize = 4 << 20;
/// How much is sent in lines of the longest kind.
const FLOOD_BYTES: usize = 96 << 20;
/// When nothing was sent for so long, nothing is read any more.
const QUIET: Duration = Duration::from_secs(1);

/// What the process may have beside what it has without events: the text in the queue; a line that grows (twice), is complete
/// and is read; and the trees of the line that is under way to the sink, ten times their text.
const ALLOWED: u64 = (QUEUE_BYTES + 4 * MAX_LINE_BYTES + 10 * MAX_LINE_BYTES) as u64;

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

/// The most memory that a run had, until nothing was read any more.
async fn peak(lines: Vec<Bytes>) -> u64 {
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
    let source = format!("max_line_bytes = {MAX_LINE_BYTES}\nqueue_bytes = {QUEUE_BYTES}");
    let config = place.config(&source, "batch.timeout_secs = 0.1");
    let run = place.start(&mut run_command(&config, &nomad, &loki));
    // The notices are the first push; nothing is ever answered.
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    let give_up = Instant::now() + PATIENCE;
    let mut sent = (Instant::now(), 0);
    while sent.0.elapsed() < QUIET {
        let now = nomad
            .streams()
            .iter()
            .map(|stream| stream.batches_sent())
            .sum();
        if now != sent.1 {
            sent = (Instant::now(), now);
        }
        assert!(Instant::now() < give_up, "{}", run.errors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run.process.peak_memory()
}

#[tokio::test]
async fn a_flood_behind_a_loki_that_does_not_answer_stays_within_what_is_configured() {
    let idle = peak(Vec::new()).await;
    let floods = [
        (
            "lines as long as they may be",
            (0..(FLOOD_BYTES / MAX_LINE_BYTES) as u64)
                .map(|index| line(10 + index, MAX_LINE_BYTES))
                .collect::<Vec<_>>(),
        ),
        (
            "lines ten times as long",
            (0..5)
                .map(|index| line(10 + index, 10 * MAX_LINE_BYTES))
                .collect(),
        ),
        (
            "lines of countless events",
            (0..20)
                .map(|index| tiny_events(10 + index, MAX_LINE_BYTES))
                .collect(),
        ),
    ];
    for (name, lines) in floods {
        let used = peak(lines).await.saturating_sub(idle);
        println!("{name}: {used} of {ALLOWED}");
        assert!(used <= ALLOWED, "{name}: {used} of {ALLOWED}");
    }
}
