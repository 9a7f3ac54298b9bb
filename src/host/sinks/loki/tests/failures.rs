//! What becomes of events when a push fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;
use crate::host::metrics::{DISCARDED as DISCARDED_EVENTS_TOTAL, ERRORS as ERRORS_TOTAL};

fn options(more: &str) -> String {
    format!("{PLAIN}{more}")
}

/// Remembers counters by name and `error_type`.
#[derive(Default)]
struct Counters(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn value(&self, name: &str) -> u64 {
        let counters = self.0.lock().unwrap();
        counters.get(name).unwrap().load(Ordering::Relaxed)
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let kind = key.labels().find(|label| label.key() == "error_type");
        let name = match kind {
            Some(kind) => format!("{} {}", key.name(), kind.value()),
            None => key.name().to_owned(),
        };
        let mut counters = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_retried_with_growing_waits_until_it_works() {
    let failures = [
        Reply::Status(429),
        Reply::Status(500),
        Reply::Status(503),
        Reply::Broken,
        Reply::Status(502),
        Reply::Broken,
        Reply::Status(599),
        Reply::Status(504),
    ];
    let loki = Scripted::replying(&failures, Reply::Fine);
    let mut sink = Harness::start(loki.sink(&options("batch.max_events = 2")));
    sink.send_numbered(0..2).await;
    // Eight waits of at most 83 seconds together.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(sink.delivered(), [Some(Delivery::Delivered); 2]);

    let script = loki.script();
    let times: Vec<Instant> = script.pushes.iter().map(|(time, _)| *time).collect();
    let bounds = [1, 2, 3, 5, 8, 13, 21, 30];
    assert_eq!(times.len(), bounds.len() + 1);
    for (pair, bound) in times.windows(2).zip(bounds) {
        let wait = pair[1] - pair[0];
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(bound));
    }
    let first = script.pushes[0].1.body();
    assert!(
        script.pushes.iter().all(|(_, push)| push.body() == first),
        "a repeat is the same to the byte"
    );
}

#[tokio::test(start_paused = true)]
async fn waits_follow_the_options() {
    let loki = Scripted::replying(&[Reply::Broken; 50], Reply::Fine);
    let more = "request = { retry_initial_backoff_secs = 100, retry_max_duration_secs = 150 }";
    let mut sink = Harness::start(loki.sink(&options(more)));
    sink.send_numbered(0..1).await;
    tokio::time::sleep(Duration::from_secs(50 * 150 + 1)).await;
    assert_eq!(sink.delivered(), [Some(Delivery::Delivered)]);
    let times = loki.times(Instant::now() - Duration::from_secs(50 * 150 + 1));
    let mut waits: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= Duration::from_secs(100));
    waits.sort();
    let longest = waits.pop().unwrap();
    // With the defaults no wait is longer than 30 seconds.
    assert!(longest > Duration::from_secs(100) && longest <= Duration::from_secs(150));
}

#[tokio::test(start_paused = true)]
async fn final_failures_reject_at_once_and_are_counted() {
    let counters = Counters::default();
    let _guard = metrics::set_default_local_recorder(&counters);
    for (failures, status) in [301, 400, 401, 403, 404, 413, 422, 501]
        .into_iter()
        .enumerate()
    {
        let loki = Scripted::replying(&[Reply::Status(status)], Reply::Fine);
        let mut sink = Harness::start(loki.sink(&options("batch.max_events = 2")));
        sink.send_numbered(0..3).await;
        let deliveries = sink.finish().await;
        assert_eq!(
            deliveries,
            [Delivery::Rejected, Delivery::Rejected, Delivery::Delivered],
            "status {status}"
        );
        assert_eq!(loki.lines().len(), 2, "nothing is sent again");
        let failures = failures as u64 + 1;
        assert_eq!(counters.value(DISCARDED_EVENTS_TOTAL), 2 * failures);
        assert_eq!(
            counters.value(&format!("{ERRORS_TOTAL} request_failed")),
            failures
        );
    }
}

#[tokio::test(start_paused = true)]
async fn retries_run_out_and_reject() {
    for attempts in [0, 2] {
        let loki = Scripted::replying(&[], Reply::Status(500));
        let more = options(&format!("request.retry_attempts = {attempts}"));
        let mut sink = Harness::start(loki.sink(&more));
        sink.send_numbered(0..2).await;
        assert_eq!(sink.finish().await, all(Delivery::Rejected, 2));
        assert_eq!(loki.lines().len(), attempts + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_rejected_request_does_not_touch_another() {
    let replies = [Reply::Status(400), Reply::Fine, Reply::Status(503)];
    let loki = Scripted::replying(&replies, Reply::Fine);
    let mut sink = Harness::start(loki.sink(&options("batch.max_events = 1")));
    sink.send_numbered(0..3).await;
    assert_eq!(
        sink.finish().await,
        [Delivery::Rejected, Delivery::Delivered, Delivery::Delivered]
    );
}

#[tokio::test]
async fn time_that_does_not_fit_is_an_error_of_that_event_alone() {
    let counters = Counters::default();
    let _guard = metrics::set_default_local_recorder(&counters);
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(&options("")));
    let far = chrono::DateTime::from_timestamp(20_000_000_000, 0).unwrap();
    let mut late = value("{}", 0);
    late.as_object_mut()
        .unwrap()
        .insert("timestamp".into(), Value::Timestamp(far));
    sink.send([value(r#"{"n":1}"#, NANOS), late, value(r#"{"n":2}"#, NANOS)])
        .await;
    assert_eq!(
        sink.finish().await,
        [Delivery::Delivered, Delivery::Errored, Delivery::Delivered]
    );
    assert_eq!(loki.lines(), [[r#"{"n":1}"#, r#"{"n":2}"#]]);
    assert_eq!(counters.value(DISCARDED_EVENTS_TOTAL), 1);
}

#[tokio::test]
async fn missing_fields_are_counted_and_the_event_is_sent() {
    let counters = Counters::default();
    let _guard = metrics::set_default_local_recorder(&counters);
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(
        "labels = { a = '{{ a }}', '*' = '{{ b }}' }\nstructured_metadata.c = '{{ c }}'\nencoding.codec = 'json'",
    ));
    sink.send([value(r#"{"b":"no object"}"#, NANOS), value("{}", NANOS)])
        .await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 2));
    let requests = loki.requests();
    assert_eq!(requests[0].streams.len(), 1);
    assert_eq!(requests[0].streams[0].labels, r#"{agent="vector"}"#);
    let errors = |kind: &str| counters.value(&format!("{ERRORS_TOTAL} {kind}"));
    assert_eq!(errors("template_failed"), 2 + 3);
    assert_eq!(errors("expansion_failed"), 1);
    assert_eq!(errors("unlabeled"), 2);
    assert_eq!(counters.value(DISCARDED_EVENTS_TOTAL), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_in_the_middle_delivers_nothing_that_did_not_arrive() {
    // The first request arrives; the second hangs; the third batch is full and waits; the rest was not encoded yet.
    let loki = Scripted::replying(&[Reply::Fine], Reply::Never);
    let more = options("batch.max_events = 2\nrequest.concurrency = 1");
    let mut sink = Harness::start(loki.sink(&more));
    sink.send_numbered(0..2).await;
    Scripted::settle().await;
    sink.send_numbered(2..9).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(loki.lines().len(), 2);

    sink.task.abort();
    let Harness {
        task, deliveries, ..
    } = sink;
    assert!(task.await.unwrap_err().is_cancelled());
    // Its tasks end with it.
    Scripted::settle().await;
    let answers: Vec<Delivery> = deliveries
        .iter()
        .map(|delivery| delivery.try_recv().unwrap())
        .collect();
    assert_eq!(answers[..2], [Delivery::Delivered; 2]);
    assert_eq!(answers[2..], [Delivery::Errored; 7]);
}

#[tokio::test(start_paused = true)]
async fn end_of_input_waits_for_what_is_under_way() {
    let replies = [Reply::Broken, Reply::After(Duration::from_secs(3))];
    let loki = Scripted::replying(&replies, Reply::Fine);
    let more = options("batch.max_events = 2\nrequest.concurrency = 1");
    let mut sink = Harness::start(loki.sink(&more));
    sink.send_numbered(0..5).await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 5));
    assert_eq!(loki.lines().len(), 4, "one of three was sent twice");
}

/// How long after its start a sink sends what failed with 503 so many times, by its options for waits in seconds.
async fn sent_after(failures: usize, initial: u64, max: u64) -> Duration {
    let loki = Scripted::replying(&vec![Reply::Status(503); failures], Reply::Fine);
    let mut sink = Harness::start(loki.sink(&options(&format!(
        "batch.max_events = 1\nrequest.retry_initial_backoff_secs = {initial}\nrequest.retry_max_duration_secs = {max}"
    ))));
    let start = Instant::now();
    sink.send_numbered(0..1).await;
    // Longer than all waits together, in the clock of the test.
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 1));
    loki.times(start)[failures]
}

#[tokio::test(start_paused = true)]
async fn waits_begin_and_end_where_the_options_say() {
    // Waits are random below their bound: of twenty, one is in its upper half.
    for (initial, bound) in [(1, 1), (20, 20)] {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            longest = longest.max(sent_after(1, initial, 20).await);
        }
        let bound = Duration::from_secs(bound);
        assert!(
            bound / 2 < longest && longest <= bound,
            "{longest:?} of {bound:?}"
        );
    }
    // And ten together are longer than a sixth of their bounds.
    for max in [1, 20] {
        let all = sent_after(10, 20, max).await;
        let bound = Duration::from_secs(10 * max);
        assert!(bound / 6 < all && all <= bound, "{all:?} of {bound:?}");
    }
}
