//! What becomes of events when a request fails, and when requests are made.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::host::heard_log::Log;

fn options(more: &str) -> String {
    format!("{JSON}batch.max_events = 1\n{more}")
}

/// What one event is told, and how many requests were made for it.
async fn told(replies: &[Reply], more: &str) -> (Delivery, usize) {
    let server = Scripted::replying(replies, Reply::Fine);
    let mut sink = Harness::start(scripted(&server, &options(more)));
    sink.send([value("{}")]).await;
    let deliveries = sink.finish().await;
    (deliveries[0], requests(&server).len())
}

#[tokio::test(start_paused = true)]
async fn statuses_decide_as_in_vector() {
    use Delivery::{Delivered, Errored, Rejected};
    let limited = "request.retry_attempts = 1\n";
    let strategy = |kind| format!("retry_strategy.type = '{kind}'\n");
    let custom = "retry_strategy = { type = 'custom', status_codes = [404] }\n".to_owned();
    let failing = |status| [Reply::Status(status); 2];
    for (replies, more, expected) in [
        (failing(429).to_vec(), String::new(), (Delivered, 3)),
        (failing(408).to_vec(), String::new(), (Delivered, 3)),
        (failing(503).to_vec(), String::new(), (Delivered, 3)),
        (vec![Reply::Broken; 2], String::new(), (Delivered, 3)),
        (failing(404).to_vec(), String::new(), (Rejected, 1)),
        (failing(501).to_vec(), String::new(), (Errored, 1)),
        (failing(301).to_vec(), String::new(), (Rejected, 1)),
        // Out of attempts: another try may help where the server failed.
        (failing(503).to_vec(), limited.to_owned(), (Errored, 2)),
        (failing(429).to_vec(), limited.to_owned(), (Rejected, 2)),
        (vec![Reply::Broken; 2], limited.to_owned(), (Rejected, 2)),
        (failing(503).to_vec(), strategy("none"), (Errored, 1)),
        (vec![Reply::Broken], strategy("none"), (Rejected, 1)),
        (failing(404).to_vec(), strategy("all"), (Delivered, 3)),
        (failing(404).to_vec(), custom.clone(), (Delivered, 3)),
        (failing(429).to_vec(), custom, (Rejected, 1)),
        (failing(429).to_vec(), strategy("default"), (Delivered, 3)),
    ] {
        assert_eq!(told(&replies, &more).await, expected, "{replies:?} {more}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_failure_after_the_timeout() {
    let start = Instant::now();
    let more = "request.timeout_secs = 7\n";
    assert_eq!(told(&[Reply::Never], more).await, (Delivery::Delivered, 2));
    assert!(start.elapsed() >= Duration::from_secs(7));
    assert!(start.elapsed() < Duration::from_secs(7 + 2));
    let none = format!("{more}retry_strategy.type = 'none'\n");
    assert_eq!(told(&[Reply::Never], &none).await, (Delivery::Rejected, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_server_asks_for_is_kept() {
    let start = Instant::now();
    let later = Reply::Later(429, Duration::from_secs(15));
    assert_eq!(told(&[later], "").await, (Delivery::Delivered, 2));
    assert!(start.elapsed() >= Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_whatever_fails() {
    let failing = [
        Reply::Status(500),
        Reply::Fine,
        Reply::Broken,
        Reply::Status(429),
    ];
    let server = Scripted::replying(&failing, Reply::Fine);
    let mut sink = Harness::start(scripted(&server, &options("")));
    sink.send((0..6).map(|number| value(&format!(r#"{{"n":{number}}}"#))))
        .await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 6));
    let seen = requests(&server);
    assert_eq!(seen.len(), 6 + 3);
    let mut seen: Vec<&str> = seen.iter().map(body).collect();
    seen.dedup();
    let expected: Vec<String> = (0..6)
        .map(|number| format!(r#"[{{"n":{number}}}]"#))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn requests_run_side_by_side_where_that_is_asked_for() {
    for (more, expected) in [("", 4), ("request.concurrency = 2\n", 2)] {
        let server = Scripted::replying(&[], Reply::After(Duration::from_secs(1)));
        let mut sink = Harness::start(scripted(&server, &options(more)));
        let start = Instant::now();
        sink.send((0..4).map(|_| value("{}"))).await;
        sink.finish().await;
        assert_eq!(start.elapsed(), Duration::from_secs(expected), "{more}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_requests_is_limited() {
    let server = Scripted::default();
    let more = "request = { rate_limit_num = 1, rate_limit_duration_secs = 3 }\n";
    let mut sink = Harness::start(scripted(&server, &options(more)));
    let start = Instant::now();
    sink.send((0..3).map(|_| value("{}"))).await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 3));
    assert_eq!(server.times(start), [0, 3, 6].map(Duration::from_secs));
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_more_as_long_as_it_is_told() {
    let server = Scripted::default();
    let options = format!("{JSON}batch.timeout_secs = 5\n");
    let mut sink = Harness::start(scripted(&server, &options));
    let start = Instant::now();
    sink.send([value("{}")]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(server.times(start), [Duration::from_secs(5)]);
    sink.finish().await;
}

#[tokio::test]
async fn health_is_asked_only_where_a_uri_says() {
    let health = "healthcheck.uri = 'http://h/up'\nauth = { strategy = 'bearer', token = 't' }\n";
    for (more, expected) in [
        ("", 0),
        (health, 1),
        ("healthcheck = { enabled = false, uri = 'http://h/up' }", 0),
    ] {
        let server = Scripted::default();
        let sink = Harness::start(scripted(&server, &options(more)));
        Scripted::settle().await;
        sink.finish().await;
        let requests = requests(&server);
        assert_eq!(requests.len(), expected, "{more}");
        if let Some(request) = requests.first() {
            assert_eq!(request.method(), "HEAD");
            assert_eq!(request.uri(), "http://h/up");
            assert_eq!(header(request, "authorization"), Some("Bearer t"));
        }
    }
}

/// They used to wait without a bound while the server was silent.
#[tokio::test]
async fn events_that_add_nothing_to_a_body_fill_a_batch_too() {
    let server = Scripted::default();
    let options = "encoding.codec = 'text'\nframing.method = 'bytes'\nbatch.max_bytes = 3\n\
                   batch.timeout_secs = 60\n";
    let mut sink = Harness::start(scripted(&server, options));
    sink.send((0..7).map(|_| value(r#"{"message": ""}"#))).await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 7));
    assert_eq!(requests(&server).len(), 3);
}

/// A check that gets no answer says so when its time is over, and holds up no event meanwhile.
#[tokio::test(start_paused = true)]
async fn a_check_without_an_answer_fails_after_its_timeout() {
    for (option, timeout) in [
        ("", Duration::from_secs(10)),
        ("healthcheck.timeout = 0.5\n", Duration::from_millis(500)),
        ("healthcheck.timeout = 90\n", Duration::from_secs(90)),
    ] {
        let log = Log::start();
        let server = Scripted::replying(&[Reply::Never], Reply::Fine);
        let more = format!("healthcheck.uri = 'http://h/up'\n{option}");
        let mut sink = Harness::start(scripted(&server, &options(&more)));
        Scripted::settle().await;
        sink.send([value("{}")]).await;
        let tick = Duration::from_millis(1);
        tokio::time::sleep(timeout - tick).await;
        Scripted::settle().await;
        assert!(!log.text().contains("healthcheck"), "{option}");
        tokio::time::sleep(2 * tick).await;
        Scripted::settle().await;
        let text = log.text();
        assert!(
            text.contains("healthcheck failed") && text.contains("request timed out"),
            "{option}: {text}"
        );
        assert_eq!(sink.finish().await, [Delivery::Delivered]);
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_batches_log_one_line_for_each_cause_in_a_while() {
    let log = Log::start();
    let replies: Vec<Reply> = (0..100)
        .map(|number| Reply::Status(if number % 10 == 9 { 403 } else { 400 }))
        .collect();
    let server = Scripted::replying(&replies, Reply::Status(400));
    let mut sink = Harness::start(scripted(&server, &options("")));
    sink.send((0..100).map(|_| value("{}"))).await;
    Scripted::settle().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    sink.send([value("{}")]).await;
    assert_eq!(sink.finish().await, all(Delivery::Rejected, 101));
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains("events dropped"));
    let said: Vec<&str> = lines
        .map(|line| line.split_once("component_id=").unwrap().1)
        .collect();
    assert_eq!(
        said,
        [
            r#""alerts" events=1 requests=1 error=status 400"#,
            r#""alerts" events=1 requests=1 error=status 403"#,
            r#""alerts" events=90 requests=90 error=status 400"#,
        ]
    );
}
