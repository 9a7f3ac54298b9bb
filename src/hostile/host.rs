//! The whole host between a server that misbehaves and a store: no planted secret in what is pushed, logged or counted.

use std::path::Path;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::planted::{Case, case};
use crate::host::config::Config;
use crate::host::heard_log::Log;
use crate::host::topology::{Ended, Topology};
use crate::testing::eventually;
use crate::testing::loki::{FakeLoki, Fault as LokiFault};
use crate::testing::nomad::{BatchText, EventText, FakeNomad, Fault, Point, Script, Version};

/// Events in a run.
const CASES: usize = 150;
const PATIENCE: Duration = Duration::from_secs(60);
/// What the server is shown, and quotes.
const TOKEN: &str = "hunter2-token-of-nomad";
const PASSWORD: &str = "hunter2-password-of-nomad";

/// Labels, structured metadata and lines made of all that is in an event, by programs that fail on it.
const CONFIG: &str = r#"
[sources.nomad]
type = "nomad_events"
endpoints = ["${NOMAD}"]
token = "${TOKEN}"
topics = ["*"]
backoff_max_secs = 1
max_line_bytes = 600000

[transforms.failing]
type = "remap"
inputs = ["nomad"]
source = '.number = parse_int!(.Payload.Job.Payload); .text = slice!(encode_json(.Payload), 9999999)'

[transforms.routed]
type = "route"
inputs = ["failing"]
route.odd = 'contains(encode_json(.Payload), "1")'

[sinks.loki]
type = "loki"
inputs = ["routed.odd", "routed._unmatched"]
endpoint = "${LOKI}"
encoding.codec = "json"
labels.topic = "{{ Topic }}"
labels."p_*" = "{{ Payload }}"
labels.p_job = "{{ Key }}"
structured_metadata.missing = "{{ Payload.Nothing.Here }}"
structured_metadata."job_*" = "{{ Payload.Job }}"
structured_metadata."states_*" = "{{ Payload.Allocation.TaskStates }}"
request.retry_initial_backoff_secs = 1
acknowledgements.enabled = true
"#;

/// Everything that a run has let out.
struct Outcome {
    pushed: String,
    log: String,
    metrics: String,
}

async fn run(cases: &[Case], token: &str) -> (String, String) {
    let nomad = FakeNomad::builder()
        .version(Version::V1_11_1)
        .buffer_size(10_000)
        .start()
        .await
        .unwrap();
    let loki = FakeLoki::start().await.unwrap();
    let mut index = 10;
    for case in cases {
        index += 1;
        let event =
            EventText::new(case.topic, "JobRegistered", "key").payload(case.payload.clone());
        nomad
            .append_batch(&BatchText::new(index).event(event))
            .unwrap();
        if index % 50 == 0 {
            // One that is cut before its end, one that is none, and one that is too long.
            let line = |payload: &str| {
                format!(r#"{{"Index":{index},"Events":[{{"Topic":"Job","Payload":{payload}}}]}}"#)
            };
            let whole = line(&case.payload);
            let half = whole.floor_char_boundary(whole.len() / 2);
            nomad.append_opaque(index, whole[..half].to_owned());
            nomad.append_opaque(index, case.payload.clone());
            let long = format!("[{0},\"{1}\",{0}]", case.payload, "x".repeat(700_000));
            nomad.append_opaque(index, line(&long));
        }
    }

    // The server quotes the request, resets, cuts a line, and ends with a piece of an event and with the token.
    let payload = &cases[0].payload;
    let piece: String = payload.chars().skip(1).take(200).collect();
    nomad.script(Script::answer(
        403,
        format!("refused: X-Nomad-Token: {token}, proxy http://u:{PASSWORD}@h/?t={PASSWORD}"),
    ));
    nomad.script(Script::answer(500, format!("{}{token}", "x".repeat(240))));
    nomad.script(Script::new().fault(Point::Lines(3), Fault::Text(piece)));
    nomad.script(Script::new().fault(Point::Lines(5), Fault::Text(format!("token {token}"))));
    nomad.script(Script::new().fault(Point::InsideLine(9), Fault::Close));
    nomad.script(Script::new().fault(Point::InsideLine(12), Fault::Reset));
    loki.script([
        LokiFault::status(500, "try again"),
        LokiFault::Close,
        LokiFault::WrittenButFailed,
    ]);

    let loki_url = loki.url();
    let env = |name: &str| match name {
        "NOMAD" => Some(nomad.url()),
        "LOKI" => Some(loki_url.clone()),
        "TOKEN" => Some(token.to_owned()),
        _ => None,
    };
    let text = |_: &Path| Ok(CONFIG.to_owned());
    let (config, warnings) = Config::load(Path::new("t.toml"), &env, &text).unwrap();
    assert!(!format!("{config:?}{warnings:?}").contains(token));
    let topology = Topology::build(config).unwrap();
    let registry = topology.registry();
    let arrived = || {
        let entries = loki.distinct();
        let of_events = entries
            .iter()
            .filter(|entry| entry.labels["topic"] != "NomadEvents");
        of_events.count()
    };
    let done = async {
        let waited = eventually(PATIENCE, || {
            loki.pushed() >= cases.len() && arrived() >= cases.len()
        });
        assert!(waited.await.is_ok(), "{} events arrived", arrived());
    };
    let summary = topology.run(done).await;
    assert_eq!(summary.ended, Ended::Stopped);
    let metrics = registry
        .samples()
        .into_iter()
        .map(|sample| format!("{sample:?}\n"));
    (format!("{:?}", loki.entries()), metrics.collect())
}

fn outcome(cases: &[Case], token: &str) -> Outcome {
    let log = Log::start();
    // All tasks run on this thread, so that its log has all of them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (pushed, metrics) = runtime.block_on(run(cases, token));
    Outcome {
        pushed,
        log: log.text(),
        metrics,
    }
}

#[test]
fn no_planted_secret_leaves_the_host_by_any_way() {
    let mut runner = TestRunner::deterministic();
    let strategy = case();
    let cases: Vec<Case> = (0..CASES)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    let outcome = outcome(&cases, TOKEN);

    // What was to happen has happened, and was told.
    for told in [
        "answered 403",
        "line discarded",
        "too_long",
        "not_json",
        "that are no line",
        "the connection broke",
        "left out of the event",
        // The name and not the value that it takes the place of.
        "name=\"p_job\"",
    ] {
        assert!(outcome.log.contains(told), "{told} is not in the log");
    }
    assert!(outcome.metrics.contains("nomad_events_gaps_total"));
    assert!(outcome.pushed.contains("[REDACTED]") && outcome.pushed.contains("Disconnected"));

    for (way, text) in [
        ("push", &outcome.pushed),
        ("log", &outcome.log),
        ("metrics", &outcome.metrics),
    ] {
        for case in &cases {
            assert_eq!(case.leak(text), None, "by {way}: {}", case.payload);
        }
        assert!(!text.contains("hunter2"), "by {way}");
    }
}
