//! Stop signals: the first drains within its time, the second leaves at once.

use std::time::Duration;

use nomad_events::testing::eventually;
use nomad_events::testing::loki::{FakeLoki, Fault, Gate};
use nomad_events::testing::nomad::FakeNomad;
use rustix::process::Signal;
use tokio::time::Instant;

use super::{
    ANSWERED, PATIENCE, Place, Running, code_within, events_at, fakes, job, nomad_events,
    run_command, until_full,
};
use crate::servers::Process;

/// `stop_timeout_secs` of the shipped configuration.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// How much later a busy machine may be.
const SLACK: Duration = Duration::from_secs(3);
/// A signal this soon after the first is no second request.
const SAME_REQUEST: Duration = Duration::from_millis(300);

/// A run whose first push is held by Loki, with two batches taken and one more under way behind them.
async fn held(source: &str) -> (Running, FakeNomad, FakeLoki, Gate) {
    let (nomad, loki) = fakes(&[]).await;
    let gate = Gate::new();
    loki.afterwards(Some(Fault::Hold(gate.clone())));
    let place = Place::new();
    let config = place.config(source, "batch.timeout_secs = 0.1");
    let run = place.start(&mut run_command(&config, &nomad, &loki));
    // The notices are the first push.
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    for index in [5, 6] {
        nomad.append_batch(&job(index, "web")).unwrap();
    }
    loki.wait_for_pushes(2, PATIENCE).await.unwrap();
    (run, nomad, loki, gate)
}

#[tokio::test]
async fn what_is_under_way_is_delivered_after_the_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut run, _nomad, loki, gate) = held("").await;
        run.signal(signal);
        run.until_errors("stopping; once more to leave at once")
            .await;
        assert!(events_at(&loki).is_empty());
        gate.open();
        assert_eq!(run.code().await, 0);
        assert!(run.errors().contains(ANSWERED), "{}", run.errors());
        assert_eq!(events_at(&loki).len(), 2);
    }
}

#[tokio::test]
async fn a_loki_that_does_not_answer_is_waited_for_as_long_as_the_stop_timeout() {
    let (mut run, nomad, loki, _gate) = held("").await;
    let asked = Instant::now();
    run.signal(Signal::TERM);
    assert_eq!(run.code().await, 75);
    let took = asked.elapsed();
    assert!(
        took >= STOP_TIMEOUT && took < STOP_TIMEOUT + SLACK,
        "{took:?}"
    );
    let errors = run.errors();
    let told: Vec<&str> = errors
        .lines()
        .filter(|line| line.contains("stopped before every event was answered for"))
        .collect();
    assert_eq!(told.len(), 1, "{errors}");
    assert!(
        told[0].contains("batches=2") && told[0].contains("sinks=[\"loki\"]"),
        "{errors}"
    );
    // They are not lost: they come again after a restart.
    assert!(!errors.contains("lost"), "{errors}");
    assert!(events_at(&loki).is_empty());
    assert_eq!(nomad.open_streams(), 0);
}

#[tokio::test]
async fn a_second_signal_leaves_at_once() {
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::TERM]] {
        let (mut run, _nomad, _loki, _gate) = held("stop_timeout_secs = 60").await;
        let asked = Instant::now();
        run.signal(signals[0]);
        run.until_errors("stopping; once more to leave at once")
            .await;
        // Again and again: what comes too soon is taken for the same request.
        let mut status = None;
        let ended = eventually(SLACK, || {
            status = run.process.ended();
            if status.is_none() {
                run.signal(signals[1]);
            }
            status.is_some()
        });
        assert!(ended.await.is_ok(), "still there");
        assert!(asked.elapsed() >= SAME_REQUEST, "{:?}", asked.elapsed());
        assert_eq!(status.unwrap().code(), Some(130));
        assert!(run.errors().contains("left at once"), "{}", run.errors());
    }
}

/// GNU `timeout` signals its child, and then the group that the child is in.
#[tokio::test]
async fn a_signal_that_comes_twice_at_once_is_one_request() {
    for signals in [[Signal::TERM, Signal::TERM], [Signal::TERM, Signal::INT]] {
        let (mut run, _nomad, loki, gate) = held("").await;
        for signal in signals {
            run.signal(signal);
        }
        run.until_errors("stopping; once more to leave at once")
            .await;
        gate.open();
        assert_eq!(run.code().await, 0, "{}", run.errors());
        assert!(run.errors().contains(ANSWERED), "{}", run.errors());
        assert_eq!(events_at(&loki).len(), 2);
    }
}

#[tokio::test]
async fn a_signal_while_nomad_cannot_be_reached_ends_the_run_well() {
    let (nomad, loki) = fakes(&[]).await;
    nomad.stop().await;
    let mut run = Place::new().start(&mut run_command("config/vector.toml", &nomad, &loki));
    run.until_errors("check that a Nomad agent listens there")
        .await;
    run.signal(Signal::TERM);
    assert_eq!(run.code_within(SLACK).await, 0);
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_is_waited_for_no_longer_either() {
    let lines: Vec<_> = (1..=2000)
        .map(|index| job(index, "web").to_bytes().unwrap())
        .collect();
    let (nomad, _) = fakes(&lines).await;
    let (_reader, writer) = std::io::pipe().unwrap();
    let full = writer.try_clone().unwrap();
    let place = Place::new();
    let config = place.file(
        "console.toml",
        "[sources.nomad]\ntype = \"nomad_events\"\nstop_timeout_secs = 1\n\n[sinks.out]\ntype = \"console\"\ninputs = [\"nomad\"]\n\
         encoding.codec = \"json\"\nacknowledgements.enabled = true\n",
    );
    let mut command = nomad_events(&["run", "--config", &config]);
    command
        .current_dir(place.0.path())
        .env("NOMAD_ADDR", nomad.url());
    let mut process = Process::start_with_output("nomad-events", place.0, &mut command, writer);
    until_full(&full).await;
    process.signal(Signal::TERM);
    let asked = Instant::now();
    let code = code_within(PATIENCE, &mut process).await;
    assert!(asked.elapsed() < Duration::from_secs(1) + SLACK);
    assert_eq!(code, 75, "{}", process.log());
}
