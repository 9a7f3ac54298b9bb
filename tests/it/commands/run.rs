//! `run` of the shipped configuration while things go well, and while they do not.

use nomad_events::testing::loki::{Entry, Fault};
use nomad_events::testing::nomad::{FakeNomad, Version};

use super::{
    ANSWERED, PATIENCE, Place, RECORDED_SECRET, arrived, events_at, expected, fakes, is_notice,
    job, run_command, sample, until_events,
};

const SHIPPED: &str = "config/vector.toml";

#[tokio::test]
async fn every_event_arrives_once_and_sigterm_ends_the_run_well() {
    let lines = sample();
    let (nomad, loki) = fakes(&lines).await;
    let mut run = Place::new().start(&mut run_command(SHIPPED, &nomad, &loki));
    let wanted = expected(&lines);
    until_events(&loki, wanted.len()).await;
    assert_eq!(run.stop().await, 0);
    let entries = loki.entries();
    assert_eq!(
        arrived(entries.iter().filter(|entry| !is_notice(entry))),
        wanted
    );
    assert!(run.errors().contains(ANSWERED), "{}", run.errors());
    assert_eq!(run.output(), "");
    assert_eq!(nomad.open_streams(), 0);
}

#[tokio::test]
async fn a_nomad_that_restarts_costs_no_event_and_repeats_none() {
    let (nomad, loki) = fakes(&[]).await;
    let place = Place::new();
    let config = place.config("", "batch.timeout_secs = 0.1");
    let run = place.start(&mut run_command(&config, &nomad, &loki));
    for round in 0..3 {
        for index in 1..=10 {
            nomad.append_batch(&job(10 * round + index, "web")).unwrap();
        }
        until_events(&loki, 10 * usize::try_from(round + 1).unwrap()).await;
        nomad.restart().await.unwrap();
        // These are written while nobody listens.
        nomad.append_batch(&job(10 * round + 10, "batch")).unwrap();
    }
    until_events(&loki, 33).await;
    assert_eq!(
        loki.entries()
            .iter()
            .filter(|entry| !is_notice(entry))
            .count(),
        33
    );
    assert!(run.errors().contains("trying on"), "{}", run.errors());
    let gaps = loki
        .entries()
        .iter()
        .filter(|entry| entry.labels["type"] == "Gap")
        .count();
    assert_eq!(gaps, 0);
}

#[tokio::test]
async fn pushes_that_loki_refuses_are_counted_and_the_run_goes_on() {
    let (nomad, loki) = fakes(&[]).await;
    loki.script([Fault::status(400, "entry too far behind")]);
    let mut run = Place::new().start(&mut run_command(SHIPPED, &nomad, &loki));
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    for index in 1..=3 {
        nomad.append_batch(&job(index, "refused")).unwrap();
    }
    run.until_errors("entry too far behind").await;
    run.until_errors("events were not taken downstream and are lost")
        .await;
    nomad.append_batch(&job(4, "taken")).unwrap();
    until_events(&loki, 1).await;
    assert_eq!(run.stop().await, 0);

    // What was refused and what has arrived is everything.
    let errors = run.errors();
    let lost: usize = errors
        .lines()
        .filter(|line| line.contains("not taken downstream"))
        .filter_map(|line| line.split("events=").nth(1)?.split(' ').next())
        .map(|count| count.parse::<usize>().unwrap())
        .sum();
    assert_eq!(lost + events_at(&loki).len(), 4, "{errors}");
}

#[tokio::test]
async fn neither_the_token_nor_a_recorded_secret_is_told_however_much_is_logged() {
    const TOKEN: &str = "3f1c5fda-token-of-ours";
    const PASSWORD: &str = "password-of-ours";
    let lines = sample();
    let nomad = FakeNomad::builder()
        .version(Version::V1_11_1)
        .token(TOKEN)
        .lines(lines.iter().cloned())
        .start()
        .await
        .unwrap();
    let (_, loki) = fakes(&[]).await;
    let place = Place::new();
    let with_password =
        format!("auth = {{ strategy = \"basic\", user = \"me\", password = \"{PASSWORD}\" }}");
    let config = place.config("", &with_password);
    let mut command = run_command(&config, &nomad, &loki);
    command
        .env("NOMAD_TOKEN", TOKEN)
        .env("NOMAD_EVENTS_LOG", "trace");
    // One answer that is not as it should be, since errors quote.
    loki.script([Fault::Close, Fault::status(500, "no")]);
    let mut run = place.start(&mut command);
    until_events(&loki, expected(&lines).len()).await;
    assert_eq!(run.stop().await, 0);
    let log = run.errors();
    assert!(log.contains("TRACE") && log.contains(ANSWERED));
    for secret in [
        TOKEN,
        PASSWORD,
        RECORDED_SECRET,
        "bWU6cGFzc3dvcmQtb2Ytb3Vycw",
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let leaked = |entry: &Entry| format!("{entry:?}").contains(RECORDED_SECRET);
    assert!(!loki.entries().iter().any(leaked));
}
