//! A soak: everything that a Loki can do to a push, at random, while Nomad restarts; what is there afterwards is exactly what
//! should be.

use bytes::Bytes;
use nomad_events::testing::loki::{Fault, Gate};
use nomad_events::testing::nomad;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{
    PATIENCE, Place, arrived, events_at, expected, fakes, is_notice, run_command, sample,
    until_events,
};

/// The sample is served so often, each time at higher indexes.
const ROUNDS: u64 = 3;
/// Higher than any index of the sample.
const INDEXES: u64 = 10_000;
/// Faults of Loki.
const FAULTS: usize = 30;
/// Changes what goes wrong, and when.
const SEED: u64 = 20_261_122;

/// The line at an index higher by `by`, which begins with it.
fn shifted(line: &Bytes, by: u64) -> Bytes {
    let text = std::str::from_utf8(line).unwrap();
    let rest = text.strip_prefix("{\"Index\":").unwrap();
    let (index, rest) = rest.split_once(',').unwrap();
    let index: u64 = index.parse().unwrap();
    format!("{{\"Index\":{},{rest}", index + by).into()
}

fn fault(random: &mut StdRng, gate: &Gate) -> Fault {
    match random.random_range(0..7) {
        0 => Fault::status(500, "internal"),
        1 => Fault::status(503, "not ready"),
        2 => Fault::status(429, "slow down"),
        3 => Fault::Close,
        4 => Fault::WrittenButFailed,
        5 => Fault::WrittenThenClosed,
        _ => Fault::Hold(gate.clone()),
    }
}

#[tokio::test]
async fn whatever_loki_does_to_pushes_nothing_is_missing_and_nothing_is_too_much() {
    let sample = sample();
    let lines: Vec<Bytes> = (0..ROUNDS)
        .flat_map(|round| {
            sample
                .iter()
                .map(move |line| shifted(line, round * INDEXES))
        })
        .collect();
    let wanted = expected(&lines);

    // The oracle: the same lines, and nothing goes wrong.
    let (nomad, loki) = fakes(&lines).await;
    let mut quiet = Place::new().start(&mut run_command("config/vector.toml", &nomad, &loki));
    until_events(&loki, wanted.len()).await;
    assert_eq!(quiet.stop().await, 0);
    let expected = events_at(&loki);
    assert_eq!(arrived(&expected), wanted);

    let (nomad, loki) = fakes(&lines[..lines.len() / 2]).await;
    let gate = Gate::new();
    let mut random = StdRng::seed_from_u64(SEED);
    loki.script((0..FAULTS).map(|_| fault(&mut random, &gate)));
    let place = Place::new();
    // Small batches, so that there are pushes enough; many at a time, so that retries do not add up.
    let config = place.config(
        "",
        "batch.max_events = 8\nbatch.timeout_secs = 0.2\nrequest.concurrency = 16",
    );
    let mut run = place.start(&mut run_command(&config, &nomad, &loki));
    loki.wait_for_pushes(FAULTS / 2, PATIENCE).await.unwrap();
    nomad.inject(&nomad::Fault::Reset);
    for line in &lines[lines.len() / 2..] {
        nomad.append(line.clone()).unwrap();
    }
    nomad.restart().await.unwrap();
    gate.open();
    until_events(&loki, wanted.len()).await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());

    assert_eq!(loki.faults_left(), 0);
    assert_eq!(events_at(&loki), expected);
    // Repeats there are, as Loki would drop them.
    let pushed = loki
        .entries()
        .iter()
        .filter(|entry| !is_notice(entry))
        .count();
    assert!(
        pushed > expected.len(),
        "no push was written and reported failed"
    );
    assert!(!run.errors().contains("lost"), "{}", run.errors());
}
