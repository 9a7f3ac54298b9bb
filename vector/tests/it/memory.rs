//! NE-7 in Vector, which by itself bounds what waits for a sink in events, whatever their size.

use std::time::Duration;

use nomad_events::options::DEFAULT_TOPICS;
use nomad_events::testing::eventually;
use nomad_events::testing::loki::{FakeLoki, Fault, Gate};
use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad};
use tokio::time::Instant;

use crate::host::{PATIENCE, Place};

const QUEUE_BYTES: usize = 4 << 20;
/// Sent by the server: many times what the queue takes.
const LINES: u64 = 800;
/// What a parsed event takes, by the length of its text. A payload of short fields is the worst that Nomad has; the figure
/// of the recording is 10.
const PARSED_TO_TEXT: u64 = 16;
/// What Vector's buffers, the sink's batches and the allocator take besides (bytes).
const BESIDE: u64 = 32 << 20;

/// What has not grown for so long does not grow any more.
const STILL: Duration = Duration::from_secs(5);

/// A line with one event of some 40 KB, in a thousand short fields.
fn line(topic: &str, index: u64) -> BatchText {
    let group = |number: usize| {
        let fields: Vec<String> = (0..20)
            .map(|field| format!(r#""field_{field}":"value {number} of {field}""#))
            .collect();
        format!(r#""group_{number}":{{{}}}"#, fields.join(","))
    };
    let groups: Vec<String> = (0..60).map(group).collect();
    let payload = format!(r#"{{"{topic}":{{"ID":"x",{}}}}}"#, groups.join(","));
    BatchText::new(index).event(EventText::new(topic, "Changed", "x").payload(payload))
}

/// The most memory of a run whose Loki never answers, until nothing moves any more.
async fn peak(more: &str, queue_bytes: usize, lines: u64) -> u64 {
    let nomad = FakeNomad::builder()
        .buffer_size(10_000)
        .start()
        .await
        .unwrap();
    for (index, topic) in (5..5 + lines).zip(DEFAULT_TOPICS.into_iter().cycle()) {
        nomad.append_batch(&line(topic, index)).unwrap();
    }
    let loki = FakeLoki::start().await.unwrap();
    loki.afterwards(Some(Fault::Hold(Gate::new())));
    let place = Place::new();
    let config = place.file(
        "memory.toml",
        &format!(
            "data_dir = \"data\"\n[sources.nomad]\ntype = \"nomad_events\"\nqueue_bytes = {queue_bytes}\n{more}\n\
             [sinks.loki]\ntype = \"loki\"\ninputs = [\"nomad*\"]\nendpoint = \"${{LOKI_ADDR}}\"\n\
             encoding.codec = \"json\"\nlabels.topic = \"{{{{ Topic }}}}\"\nbuffer.max_events = 1\n"
        ),
    );
    let run = place.start(&config, &nomad, &loki);
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    if lines == 0 {
        return run.peak_memory();
    }
    let mut before = (run.peak_memory(), Instant::now());
    let still = eventually(PATIENCE, || {
        let now = run.peak_memory();
        if now > before.0 {
            before = (now, Instant::now());
        }
        before.1.elapsed() > STILL
    });
    still.await.unwrap();
    run.peak_memory()
}

#[tokio::test]
async fn a_sink_that_never_answers_does_not_make_memory_grow_beyond_what_is_configured() {
    let idle = peak("", QUEUE_BYTES, 0).await;
    let allowed = QUEUE_BYTES as u64 * PARSED_TO_TEXT + BESIDE;
    for (name, more) in [
        ("one output", ""),
        ("several outputs", "multiple_outputs = true"),
    ] {
        let used = peak(more, QUEUE_BYTES, LINES).await.saturating_sub(idle);
        println!("{name}: {} MiB of {} MiB", used >> 20, allowed >> 20);
        assert!(used <= allowed, "{name}: {used} of {allowed}");
    }
    // It is the option that holds it: with another one there is more.
    let used = peak("multiple_outputs = true", 1 << 30, LINES)
        .await
        .saturating_sub(idle);
    println!("with room for all of it: {} MiB", used >> 20);
    assert!(used > allowed, "{used} of {allowed}");
}
