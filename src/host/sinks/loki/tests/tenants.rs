//! `tenant_id`: one request for each tenant.

use super::*;
use crate::host::buffer::Capacity;
use crate::host::channel;
use crate::host::event::{Finalizer, LogEvent};
use crate::testing::loki::{Entry, FakeLoki};

fn options(more: &str) -> String {
    format!("{PLAIN}tenant_id = '{{{{ team }}}}'\nencoding.except_fields = ['team']\n{more}")
}

fn event(team: &str, number: i64) -> Value {
    let mut event = value(&format!(r#"{{"n":{number}}}"#), NANOS + number);
    if !team.is_empty() {
        let fields = event.as_object_mut().unwrap();
        fields.insert("team".into(), Value::from(team));
    }
    event
}

/// The tenant of each push, with its lines.
fn pushes(loki: &Scripted) -> Vec<(Option<String>, String)> {
    let script = loki.script();
    let tenants = script.pushes.iter().map(|(_, push)| {
        let tenant = push.headers().get("x-scope-orgid")?;
        Some(String::from_utf8(tenant.as_bytes().to_vec()).unwrap())
    });
    let tenants: Vec<_> = tenants.collect();
    drop(script);
    let lines = loki.lines().into_iter().map(|lines| lines.concat());
    tenants.into_iter().zip(lines).collect()
}

fn push(tenant: Option<&str>, numbers: &[i64]) -> (Option<String>, String) {
    let lines = numbers.iter().map(|number| format!(r#"{{"n":{number}}}"#));
    (tenant.map(str::to_owned), lines.collect())
}

#[tokio::test(start_paused = true)]
async fn each_tenant_has_requests_of_its_own_in_order() {
    let loki = Scripted::default();
    let more = options("batch.max_events = 3\nrequest.concurrency = 1");
    let mut sink = Harness::start(loki.sink(&more));
    sink.send([
        event("a", 0),
        event("b", 1),
        event("a", 2),
        event("", 3),
        event("é", 4),
        event("b", 5),
        event("a", 6),
        event("a", 7),
    ])
    .await;
    Scripted::settle().await;
    assert_eq!(pushes(&loki), [push(Some("a"), &[0, 2, 6])], "one is full");
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 8));
    assert_eq!(
        pushes(&loki)[1..],
        [
            push(Some("b"), &[1, 5]),
            push(None, &[3]),
            push(Some("é"), &[4]),
            push(Some("a"), &[7]),
        ],
        "the oldest first"
    );
}

#[tokio::test(start_paused = true)]
async fn each_tenants_batch_is_sent_in_its_own_time() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(&options("batch.timeout_secs = 2")));
    let start = Instant::now();
    sink.send([event("a", 0)]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    sink.send([event("b", 1)]).await;
    sink.send([event("a", 2)]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(loki.times(start), [2, 3].map(Duration::from_secs));
    assert_eq!(
        pushes(&loki),
        [push(Some("a"), &[0, 2]), push(Some("b"), &[1])]
    );
    sink.finish().await;
}

#[tokio::test(start_paused = true)]
async fn many_tenants_hold_a_bounded_number_of_batches() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(&options("batch.timeout_secs = 100")));
    sink.send((0..100).map(|number| event(&format!("team-{number}"), number)))
        .await;
    Scripted::settle().await;
    let sent = pushes(&loki);
    assert_eq!(sent.len(), 100 - 64);
    assert!(sent.contains(&push(Some("team-0"), &[0])));
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 100));
}

#[tokio::test(start_paused = true)]
async fn open_batches_of_many_tenants_are_bounded_in_bytes() {
    let loki = Scripted::default();
    let more = options("batch.timeout_secs = 100\nbatch.max_bytes = 100");
    let mut sink = Harness::start(loki.sink(&more));
    // About 45 bytes each, so eight or nine are four times the limit.
    sink.send((0..20).map(|number| event(&format!("team-{number}"), number)))
        .await;
    Scripted::settle().await;
    let held_back = 20 - pushes(&loki).len();
    assert!((5..=10).contains(&held_back), "{held_back}");
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 20));
}

#[tokio::test]
async fn a_tenant_that_is_no_header_rejects_its_own_events_alone() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(&options("")));
    sink.send([event("a", 0), event("a\nb", 1), event("b", 2)])
        .await;
    assert_eq!(
        sink.finish().await,
        [Delivery::Delivered, Delivery::Rejected, Delivery::Delivered]
    );
}

#[tokio::test]
async fn lines_arrive_at_their_tenants() {
    let loki = FakeLoki::start().await.unwrap();
    let url = loki.url();
    let config: LokiConfig = toml::from_str(&format!(
        "endpoint = '{url}'\nhealthcheck = false\n{}",
        options("")
    ))
    .unwrap();
    let (sender, receiver) = channel::channel(Capacity {
        events: 10,
        bytes: 10,
    });
    let sink = config.build("loki").unwrap();
    let event = |team: &str, number| LogEvent {
        value: event(team, number),
        metadata: Value::Null,
        finalizer: Finalizer::none(),
        weight: 1,
    };
    let events = vec![event("a", 0), event("b", 1), event("", 2)];
    sender.send(events).await.unwrap();
    drop(sender);
    sink.run(receiver).await;
    let arrived = |tenant: Option<&str>, number: i64| Entry {
        tenant: tenant.map(str::to_owned),
        labels: [("app".to_owned(), "test".to_owned())].into(),
        timestamp_nanos: NANOS + number,
        line: format!(r#"{{"n":{number}}}"#),
        structured_metadata: Default::default(),
    };
    let expected = [
        arrived(Some("a"), 0),
        arrived(Some("b"), 1),
        arrived(None, 2),
    ];
    assert_eq!(loki.distinct(), expected.into());
}
