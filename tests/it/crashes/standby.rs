//! A second process on the same folder waits, and takes over when the first is killed.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::host::{Program, Setup, stop};
use super::stage::{PATIENCE, Stage};
use super::verdict::{Crash, verdict};
use super::{dead, seed, until_streaming};
use crate::servers::wait_for;

/// How often the standby takes over.
const TAKEOVERS: usize = 4;
/// What a standby says in the log.
const STANDBY: &str = "standby";

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_and_nothing_is_lost() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut stage = Stage::set(&mut random).await;
    let setup = Setup::new(Program::NomadEvents, stage.nomad.url(), stage.loki.url());
    let mut crashes: Vec<Crash> = Vec::new();
    let done = || setup.saved().map(|saved| saved.position.index.0);
    let mut process = setup.start();
    let mut requests = 0;
    for _ in 0..TAKEOVERS {
        until_streaming(&mut stage, &mut process).await;
        let asked = stage.nomad.stream_requests().len();
        let mut standby = setup.start();
        wait_for("the second process is a standby", PATIENCE, || {
            assert!(standby.ended().is_none(), "{}", standby.log());
            let log = standby.log();
            log.contains(STANDBY).then_some(()).ok_or(log)
        });
        // Under load, until the first has saved something more.
        let before = done();
        wait_for("the first goes on", PATIENCE, || {
            (done() > before).then_some(()).ok_or_else(|| process.log())
        });
        assert_eq!(stage.nomad.stream_requests().len(), asked, "it reads, too");
        process.kill();
        let killed = Instant::now();
        // Long before the standby can have changed anything. What the dead one had under way may still come.
        crashes.push(dead(&setup, &stage, requests));
        requests = stage.nomad.stream_requests().len();
        wait_for("the standby takes over", PATIENCE, || {
            let asked = stage.nomad.stream_requests().len() > requests;
            asked.then_some(()).ok_or_else(|| standby.log())
        });
        println!("taken over after {:?}", killed.elapsed());
        process = standby;
    }
    let expected = stage.end_load().await;
    let newest = expected.iter().map(|event| event.event.index).max();
    wait_for("all is done", PATIENCE, || {
        (done() == newest)
            .then_some(())
            .ok_or_else(|| process.log())
    });
    stop(&mut process);
    let lines = stage.lines_written();
    let figures = verdict(&expected, stage.loki.entries(), &crashes, lines);
    println!("{figures}");
}
