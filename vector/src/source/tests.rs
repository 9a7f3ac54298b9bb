//! The source between a scripted Nomad and a test that plays the topology.

mod stops;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::Stream;
use nomad_events::testing::eventually;
use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use vector::config::SourceConfig;
use vector::event::{Event as VectorEvent, EventContainer as _, EventStatus, Finalizable as _};
use vector::test_util::components::{
    HTTP_PULL_SOURCE_TAGS, run_and_assert_source_compliance_advanced,
};

use super::*;
use crate::NomadEventsConfig;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);
fn config(nomad: &FakeNomad, more: &str) -> NomadEventsConfig {
    let text = format!("endpoints = [\"{}\"]\n{more}", nomad.url());
    toml::from_str(&text).unwrap()
}

/// The same, with its position in this folder.
fn config_in(data: &Path, nomad: &FakeNomad, more: &str) -> NomadEventsConfig {
    config(nomad, &format!("data_dir = '{}'\n{more}", data.display()))
}

async fn fake() -> FakeNomad {
    FakeNomad::builder().start().await.unwrap()
}

fn event(topic: &str, event_type: &str, key: &str) -> EventText {
    EventText::new(topic, event_type, key).payload(format!(r#"{{"{topic}":{{"ID":"{key}"}}}}"#))
}

fn append(nomad: &FakeNomad, index: u64, events: impl IntoIterator<Item = EventText>) {
    let batch = events
        .into_iter()
        .fold(BatchText::new(index), BatchText::event);
    nomad.append_batch(&batch).unwrap();
}

fn field(event: &VectorEvent, path: &str) -> String {
    event
        .as_log()
        .get(path)
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

fn is_notice(event: &VectorEvent) -> bool {
    field(event, "Topic") == "NomadEvents"
}

/// A running source, without a coordinator: it is stopped by hand.
struct Running {
    shutdown: vector::shutdown::SourceShutdownCoordinator,
    key: ComponentKey,
    task: tokio::task::JoinHandle<Result<(), ()>>,
    /// The global folder.
    _data: TempDir,
}

impl Running {
    async fn start(config: &NomadEventsConfig, out: SourceSender) -> Self {
        let key = ComponentKey::from("nomad");
        let (mut cx, shutdown) = SourceContext::new_shutdown(&key, out);
        let data = tempfile::tempdir().unwrap();
        cx.globals.data_dir = Some(data.path().to_owned());
        let source = config.build(cx).await.unwrap();
        Self {
            shutdown,
            key,
            task: tokio::spawn(source),
            _data: data,
        }
    }

    /// Asks it to stop, and gives how long it took.
    async fn stop(mut self) -> Duration {
        let asked = Instant::now();
        let limit = asked + PATIENCE;
        let stopped = self.shutdown.shutdown_source(&self.key, limit);
        let ended = timeout(PATIENCE, self.task).await.expect("still running");
        assert_eq!(ended.unwrap(), Ok(()));
        assert!(stopped.await, "it had to be killed");
        asked.elapsed()
    }
}

async fn next(events: &mut (impl Stream<Item = VectorEvent> + Unpin)) -> VectorEvent {
    timeout(PATIENCE, events.next())
        .await
        .expect("no event")
        .expect("no end")
}

/// The next event that is no notice.
async fn next_of_nomad(events: &mut (impl Stream<Item = VectorEvent> + Unpin)) -> VectorEvent {
    loop {
        let event = next(events).await;
        if !is_notice(&event) {
            return event;
        }
    }
}

/// What a source makes of the first event of Nomad. It fits what the source says of its output.
async fn first_event(config: &NomadEventsConfig) -> VectorEvent {
    let (out, mut events) = SourceSender::new_test();
    let running = Running::start(config, out).await;
    let mut event = next_of_nomad(&mut events).await;
    // That is an answer, for which the stop would wait.
    drop(event.take_finalizers());
    running.stop().await;
    let schema = config.outputs(LogNamespace::Legacy)[0].schema_definition(true);
    schema.unwrap().assert_valid_for_event(&event);
    event
}

/// The first `Status` notice that fulfils the condition.
async fn status(
    events: &mut (impl Stream<Item = VectorEvent> + Unpin),
    condition: impl Fn(&Value) -> bool,
) -> Value {
    let waited = timeout(PATIENCE, async {
        loop {
            let event = next(events).await;
            if is_notice(&event) && field(&event, "Type") == "Status" {
                let status = event.as_log().get("Payload.Status").unwrap().clone();
                if condition(&status) {
                    return status;
                }
            }
        }
    });
    waited.await.expect("no such status")
}

fn number(status: &Value, name: &str) -> i64 {
    status.as_object().unwrap()[name].as_integer().unwrap()
}

#[tokio::test]
async fn compliance() {
    let nomad = fake().await;
    append(&nomad, 5, [event("Job", "JobRegistered", "web")]);
    let data = tempfile::tempdir().unwrap();
    let events = run_and_assert_source_compliance_advanced(
        config_in(data.path(), &nomad, ""),
        |_| {},
        Some(PATIENCE),
        // `Started`, `Connected` and the event.
        Some(3),
        &HTTP_PULL_SOURCE_TAGS,
    )
    .await;
    assert_eq!(events.iter().filter(|event| !is_notice(event)).count(), 1);
}

#[tokio::test]
async fn events_have_nomads_fields_and_ours_in_both_namespaces() {
    let nomad = fake().await;
    append(
        &nomad,
        5,
        [event("Job", "JobRegistered", "web").filter_keys(["other"])],
    );

    for (namespace, log_namespace) in [(false, LogNamespace::Legacy), (true, LogNamespace::Vector)]
    {
        let config = config(
            &nomad,
            &format!("log_namespace = {namespace}\nregion = \"global\""),
        );
        let event = first_event(&config).await;
        let log = event.as_log();
        for (name, value) in [
            ("Topic", "Job"),
            ("Type", "JobRegistered"),
            ("Key", "web"),
            ("Namespace", "default"),
            ("Index", "5"),
            ("FilterKeys[0]", "other"),
            ("Payload.Job.ID", "web"),
        ] {
            assert_eq!(field(&event, name), value);
        }
        let (ours, source_type) = match log_namespace {
            LogNamespace::Legacy => ("nomad", "source_type"),
            LogNamespace::Vector => ("%nomad_events", "%vector.source_type"),
        };
        assert_eq!(field(&event, source_type), "nomad_events");
        assert_eq!(field(&event, &format!("{ours}.origin")), "stream");
        assert_eq!(field(&event, &format!("{ours}.region")), "global");
        assert_eq!(
            field(&event, &format!("{ours}.timestamp_source")),
            "receipt"
        );
        assert_eq!(field(&event, &format!("{ours}.event_id")).len(), 32);
        let names: Vec<String> = log
            .as_map()
            .unwrap()
            .keys()
            .map(ToString::to_string)
            .collect();
        let added: &[&str] = match log_namespace {
            LogNamespace::Legacy => &["nomad", "source_type", "timestamp"],
            LogNamespace::Vector => {
                assert!(log.get("%vector.ingest_timestamp").unwrap().is_timestamp());
                assert!(log.get("%nomad_events.timestamp").unwrap().is_timestamp());
                &[]
            }
        };
        let nomads = [
            "FilterKeys",
            "Index",
            "Key",
            "Namespace",
            "Payload",
            "Topic",
            "Type",
        ];
        assert_eq!(names, [&nomads, added].concat());
    }
}

#[tokio::test]
async fn what_a_version_has_changed_is_in_its_event_and_in_the_schema() {
    const VERSIONS: &str = r#"{"Versions":[{"Version":1,"CreateIndex":4},{"Version":0,"CreateIndex":4}],"Diffs":[{"Fields":null,
        "Objects":null,"TaskGroups":[{"Name":"g","Fields":null,"Objects":null,"Tasks":[{"Name":"t","Fields":null,"Objects":[
            {"Name":"Config","Objects":null,"Fields":[{"Type":"Edited","Name":"image","Old":"app:1","New":"app:2"}]}]}]}]}]}"#;
    let payload = r#"{"Job":{"ID":"web","Version":1,"CreateIndex":4,"JobModifyIndex":5}}"#;
    let registered = || event("Job", "JobRegistered", "web").payload(payload);
    for log_namespace in [false, true] {
        let ours = if log_namespace {
            "%nomad_events"
        } else {
            "nomad"
        };
        for (answer, path, value) in [
            (VERSIONS, "changes.fields[0].new", "app:2"),
            ("{}", "changes_error", "is no list of versions"),
        ] {
            let nomad = fake().await;
            nomad.set_body("/v1/job/web/versions", answer);
            append(&nomad, 5, [registered()]);
            let options = format!("log_namespace = {log_namespace}\njob_changes = true");
            let event = first_event(&config(&nomad, &options)).await;
            let said = field(&event, &format!("{ours}.{path}"));
            assert!(said.ends_with(value), "{said}");
        }
    }
}

#[tokio::test]
async fn the_time_of_an_event_is_the_engines_and_not_that_of_its_arrival() {
    let nomad = fake().await;
    let payload = r#"{"Evaluation":{"ID":"e","ModifyTime":1700000000123456789}}"#;
    append(
        &nomad,
        5,
        [EventText::new("Evaluation", "EvaluationUpdated", "e").payload(payload)],
    );
    let event = first_event(&config(&nomad, "")).await;
    let time = event
        .as_log()
        .get_timestamp()
        .unwrap()
        .as_timestamp()
        .unwrap();
    assert_eq!(time.timestamp_nanos_opt(), Some(1_700_000_000_123_456_789));
    assert_eq!(field(&event, "nomad.timestamp_source"), "payload");
}

#[tokio::test]
async fn secrets_are_replaced_unless_told_otherwise() {
    let nomad = fake().await;
    let payload = r#"{"Job":{"ID":"web","TaskGroups":[{"Tasks":[{"Env":{"A":"hunter2"}}]}]}}"#;
    append(
        &nomad,
        5,
        [EventText::new("Job", "JobRegistered", "web").payload(payload)],
    );
    for (more, shown) in [("", "[REDACTED]"), ("redact = false", "hunter2")] {
        let event = first_event(&config(&nomad, more)).await;
        let value = field(&event, "Payload.Job.TaskGroups[0].Tasks[0].Env.A");
        assert_eq!(value, shown);
    }
}

#[tokio::test]
async fn every_topic_comes_out_of_its_own_output() {
    let nomad = fake().await;
    let sent = [
        ("Job", "JobRegistered", "web"),
        ("Allocation", "AllocationUpdated", "a"),
        ("Node", "NodeDrain", "n"),
        ("Job", "JobDeregistered", "web"),
    ];
    append(
        &nomad,
        5,
        sent.map(|(topic, kind, key)| event(topic, kind, key)),
    );
    let config = config(
        &nomad,
        "multiple_outputs = true\ntopics = [\"Job\", \"Allocation\", \"Node\"]",
    );
    let (mut out, _) = SourceSender::new_test();
    let mut outputs = BTreeMap::new();
    for name in ["job", "allocation", "node", "notices", "_unmatched"] {
        outputs.insert(
            name,
            out.add_outputs(EventStatus::Delivered, name.to_owned()),
        );
    }
    let running = Running::start(&config, out).await;
    for (name, wanted) in [
        ("job", vec!["JobRegistered", "JobDeregistered"]),
        ("allocation", vec!["AllocationUpdated"]),
        ("node", vec!["NodeDrain"]),
        ("notices", vec!["Started", "Connected"]),
    ] {
        let output = outputs.get_mut(name).unwrap();
        let mut types = Vec::new();
        while types.len() < wanted.len() {
            let item = timeout(PATIENCE, output.next())
                .await
                .expect("no event")
                .unwrap();
            types.extend(item.events.iter_events().map(|event| {
                let log = event.to_owned();
                field(&VectorEvent::from(log.as_log().clone()), "Type")
            }));
        }
        assert_eq!(types, wanted, "{name}");
    }
    running.stop().await;
    assert!(
        outputs
            .get_mut("_unmatched")
            .unwrap()
            .next()
            .await
            .is_none()
    );
}

#[tokio::test]
async fn what_sinks_say_moves_the_acknowledged_position_and_is_counted() {
    for (answer, rejected) in [
        (EventStatus::Delivered, 0),
        (EventStatus::Rejected, 2),
        (EventStatus::Errored, 2),
    ] {
        let nomad = fake().await;
        for index in [5, 6] {
            append(&nomad, index, [event("Job", "JobRegistered", "web")]);
        }
        let (out, mut events) = SourceSender::new_test_finalize(answer);
        let running = Running::start(&config(&nomad, "status_interval_secs = 1"), out).await;
        let status = status(&mut events, |status| number(status, "acknowledged") == 6).await;
        assert_eq!(number(&status, "rejected_events"), rejected, "{answer:?}");
        assert_eq!(number(&status, "queued_bytes"), 0, "{answer:?}");
        running.stop().await;
    }
}

#[tokio::test]
async fn what_a_sink_fails_with_comes_again_as_it_was() {
    let nomad = fake().await;
    append(&nomad, 5, [event("Job", "JobRegistered", "web")]);
    // However the notices before it are put together, the event fails at first and does not each time.
    let (out, mut events) = SourceSender::new_test_errors(|sent| sent < 3);
    let running = Running::start(&config(&nomad, "status_interval_secs = 1"), out).await;
    let first = next_of_nomad(&mut events).await;
    let again = next_of_nomad(&mut events).await;
    assert_eq!(first.as_log().value(), again.as_log().value());
    let status = status(&mut events, |status| number(status, "acknowledged") == 5).await;
    assert_eq!(number(&status, "rejected_events"), 0);
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_answered_whatever_comes_behind() {
    let nomad = fake().await;
    for index in [5, 6] {
        append(&nomad, index, [event("Job", "JobRegistered", "web")]);
    }
    let (out, mut events) = SourceSender::new_test();
    let running = Running::start(&config(&nomad, "status_interval_secs = 1"), out).await;
    let first = next_of_nomad(&mut events).await;
    // The second one is dropped here, which is an answer.
    drop(next_of_nomad(&mut events).await);
    let held = status(&mut events, |status| number(status, "emitted") == 6).await;
    // It may begin at 5 already, of which nothing is answered.
    assert!(number(&held, "acknowledged") <= 5);
    assert!(number(&held, "queued_bytes") > 0);
    drop(first);
    status(&mut events, |status| number(status, "acknowledged") == 6).await;
    running.stop().await;
}

#[tokio::test]
async fn a_long_line_is_sent_in_parts() {
    let nomad = fake().await;
    let filler = "x".repeat(10_000);
    let events = (0..100).map(|number| {
        EventText::new("Job", "JobRegistered", &number.to_string())
            .payload(format!(r#"{{"Job":{{"Name":"{filler}"}}}}"#))
    });
    append(&nomad, 5, events);
    let (mut out, _) = SourceSender::new_test();
    let mut jobs = out.add_outputs(EventStatus::Delivered, "job".to_owned());
    for name in ["notices", "_unmatched"] {
        // Nobody looks at them, and they have room.
        std::mem::forget(out.add_outputs(EventStatus::Delivered, name.to_owned()));
    }
    let config = config(&nomad, "multiple_outputs = true\ntopics = [\"Job\"]");
    let running = Running::start(&config, out).await;
    let (mut parts, mut count) = (0, 0);
    while count < 100 {
        let item = timeout(PATIENCE, jobs.next())
            .await
            .expect("no event")
            .unwrap();
        parts += 1;
        count += item.events.len();
        assert!(
            item.events.len() <= 20,
            "{} trees at once",
            item.events.len()
        );
    }
    assert!(parts >= 5, "{parts}");
    running.stop().await;
}
