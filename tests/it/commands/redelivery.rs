//! A sink that fails: what it says has errored is handed to it again, from memory, and what never gets through is told.

use nomad_events::testing::nomad::FakeNomad;

use super::hook::Hook;
use super::metrics::{address, example, of, until};
use super::{Place, Running, job, nomad_events};

/// Attempts of the sink for one request: the first, and `retry_attempts`.
const ATTEMPTS: usize = 2;
const FAILED: &str = "500 Failed";
/// How many times an event goes to the sink that never gets through: once, and three times again.
const HANDED_OUT: usize = 4;

/// Everything goes to the webhook, an event in each request, and to the output beside it.
fn run(nomad: &FakeNomad, hook: &Hook) -> Running {
    let config = format!(
        r#"
[sources.nomad]
type = "nomad_events"
[sinks.hook]
type = "http"
inputs = ["nomad"]
uri = "{}"
encoding.codec = "json"
batch.max_events = 1
request.retry_attempts = {}
request.retry_initial_backoff_secs = 1
request.retry_max_duration_secs = 1
acknowledgements.enabled = true
[sinks.out]
type = "console"
inputs = ["nomad"]
encoding.codec = "json"
{}"#,
        hook.url,
        ATTEMPTS - 1,
        example()
    );
    let place = Place::new();
    let file = place.file("redelivery.toml", &config);
    let mut command = nomad_events(&["run", "--config", &file]);
    place.start(command.env("NOMAD_ADDR", nomad.url()))
}

fn key(id: &str) -> String {
    format!("\"Key\":\"{id}\"")
}

#[tokio::test]
async fn what_a_webhook_fails_with_for_a_while_arrives_in_the_end_and_nothing_is_rejected() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    for (index, id) in [(5, "a"), (6, "b"), (7, "c")] {
        nomad.append_batch(&job(index, id)).unwrap();
    }
    let hook = Hook::start(|_| Some(FAILED)).await;
    let mut run = run(&nomad, &hook);
    let at = address(&run, "/metrics").await;
    let scrape = until(&at, |scrape| {
        of(scrape, "nomad_events_redelivered_events_total", &[]) >= 3.0
    })
    .await;
    // Meanwhile the position stays where it was.
    let acknowledged = [("position", "acknowledged")];
    assert_eq!(of(&scrape, "nomad_events_index", &acknowledged), 0.0);
    hook.recover();
    for id in ["a", "b", "c"] {
        hook.until_taken(&key(id)).await;
    }
    let scrape = until(&at, |scrape| {
        of(scrape, "nomad_events_index", &acknowledged) == 7.0
    })
    .await;
    assert_eq!(of(&scrape, "nomad_events_rejected_events_total", &[]), 0.0);
    // What there was, and not how often it was tried.
    assert_eq!(of(&scrape, "nomad_events_events_total", &[]), 3.0);
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    for id in ["a", "b", "c"] {
        let bodies = hook.with(&key(id));
        assert!(bodies.len() > ATTEMPTS, "{bodies:?}");
        // Identical each time, whoever tries again: the id and the time too.
        assert!(
            bodies.iter().all(|(body, _)| *body == bodies[0].0),
            "{bodies:?}"
        );
        let output = run.output();
        let lines: Vec<&str> = output
            .lines()
            .filter(|line| line.contains(&key(id)))
            .collect();
        assert!(lines.len() > 1, "{output}");
        assert!(lines.iter().all(|line| *line == lines[0]), "{output}");
    }
    assert!(!run.output().contains("\"Rejected\""), "{}", run.output());
}

#[tokio::test]
async fn what_a_webhook_never_takes_is_given_up_and_told_and_the_rest_goes_on() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    for (index, id) in [(5, "good"), (6, "poison"), (7, "better")] {
        nomad.append_batch(&job(index, id)).unwrap();
    }
    let poison = key("poison");
    let hook = Hook::start({
        let poison = poison.clone();
        move |body| body.contains(&poison).then_some(FAILED)
    })
    .await;
    let mut run = run(&nomad, &hook);
    let at = address(&run, "/metrics").await;
    // Nobody waits for it.
    hook.until_taken(&key("better")).await;
    run.until_output(|output| output.contains("\"Rejected\""))
        .await;
    nomad.append_batch(&job(8, "later")).unwrap();
    hook.until_taken(&key("later")).await;
    let scrape = until(&at, |scrape| {
        let position = [("position", "acknowledged")];
        of(scrape, "nomad_events_index", &position) == 8.0
    })
    .await;
    for (name, value) in [
        ("nomad_events_events_total", 4.0),
        ("nomad_events_redelivered_events_total", 3.0),
        ("nomad_events_rejected_events_total", 1.0),
        ("nomad_events_queued_bytes", 0.0),
        ("nomad_events_invariant_violations_total", 0.0),
    ] {
        assert_eq!(of(&scrape, name, &[]), value, "{name}");
    }
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    assert_eq!(hook.with(&poison).len(), HANDED_OUT * ATTEMPTS);
    let output = run.output();
    let told: Vec<serde_json::Value> = output
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["Type"] == "Rejected")
        .collect();
    assert_eq!(told.len(), 1, "{output}");
    let rejected =
        serde_json::json!({"errored": 1, "events": 1, "from": 6, "rejected": 0, "to": 6});
    assert_eq!(told[0]["Payload"]["Rejected"], rejected);
    // Those that got through came once.
    for id in ["good", "better", "later"] {
        assert_eq!(hook.with(&key(id)).len(), 1, "{id}");
    }
}
