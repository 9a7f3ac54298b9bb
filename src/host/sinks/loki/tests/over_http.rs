//! The sink and the fake Loki, over real sockets.

use std::collections::BTreeSet;

use super::*;
use crate::host::sinks::outbound::harness::TlsFront;
use crate::host::sinks::outbound::{
    Failure, HttpTransport, RetryLimits, Transport as _, UriSecrecy,
};
use crate::testing::loki::{Entry, FakeLoki, FakeLokiOptions, Fault, Gate};
use crate::testing::tls::ServerTls;
use crate::tls::tests::certificates::Authority;

/// Retries without waiting long, so that real time does not matter.
const SOON: Duration = Duration::from_millis(5);

fn config(loki: &FakeLoki, options: &str) -> LokiConfig {
    let url = loki.url();
    toml::from_str(&format!(
        "endpoint = '{url}'\nhealthcheck = false\n{options}"
    ))
    .unwrap()
}

fn sink(loki: &FakeLoki, options: &str) -> LokiSink<HttpTransport> {
    impatient(&config(loki, options))
}

fn impatient(config: &LokiConfig) -> LokiSink<HttpTransport> {
    let mut sink = config
        .sink("loki", |tls, connections| {
            HttpTransport::new(tls, connections, UriSecrecy::Public)
        })
        .unwrap();
    sink.request.retry = RetryLimits {
        initial: SOON,
        max: SOON,
        ..sink.request.retry
    };
    sink
}

/// A push without anything in it.
fn push(sink: &LokiSink<HttpTransport>) -> http::Request<Bytes> {
    sink.format.push.request(None, Vec::new()).unwrap()
}

fn plain(more: &str) -> String {
    format!("{PLAIN}batch.timeout_secs = 0.01\n{more}")
}

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

/// The entry that [`PLAIN`] makes of a numbered event.
fn numbered(number: i64) -> Entry {
    Entry {
        tenant: None,
        labels: map(&[("app", "test")]),
        timestamp_nanos: NANOS + number,
        line: format!(r#"{{"n":{number}}}"#),
        structured_metadata: map(&[]),
    }
}

#[tokio::test]
async fn every_compression_gives_the_same_entries() {
    let expected = BTreeSet::from([
        Entry {
            tenant: None,
            labels: map(&[("ns", "a \"quoted\\\" \n one"), ("app", "test")]),
            timestamp_nanos: NANOS,
            line: r#"{"ns":"a \"quoted\\\" \n one","é":"\"\\\n\u0001"}"#.to_owned(),
            structured_metadata: map(&[("k", "é\"\n"), ("s", "x")]),
        },
        Entry {
            tenant: None,
            labels: map(&[("ns", "default"), ("app", "test")]),
            timestamp_nanos: 0,
            line: r#"{"ns":"default"}"#.to_owned(),
            structured_metadata: map(&[("s", "x")]),
        },
    ]);
    for (compression, content_type, encoding) in [
        ("", "application/x-protobuf", Some("snappy")),
        (
            "compression = 'snappy'",
            "application/x-protobuf",
            Some("snappy"),
        ),
        ("compression = 'gzip'", "application/json", Some("gzip")),
        ("compression = 'none'", "application/json", None),
    ] {
        let loki = FakeLoki::start().await.unwrap();
        let options = format!(
            "labels = {{ app = 'test', ns = '{{{{ ns }}}}' }}\nstructured_metadata = {{ s = 'x', k = '{{{{ k }}}}' }}\n\
             remove_structured_metadata_fields = true\nencoding.codec = 'json'\n{compression}"
        );
        let mut sink = Harness::start(sink(&loki, &options));
        sink.send([
            value(
                r#"{"ns":"a \"quoted\\\" \n one","é":"\"\\\n\u0001","k":"é\"\n"}"#,
                NANOS,
            ),
            value(r#"{"ns":"default"}"#, 0),
        ])
        .await;
        assert_eq!(sink.finish().await, all(Delivery::Delivered, 2));
        assert_eq!(loki.distinct(), expected, "{compression}");
        let push = &loki.pushes()[0];
        assert_eq!(push.content_type, content_type);
        assert_eq!(push.content_encoding.as_deref(), encoding);
        assert_eq!(push.streams, 2);
    }
}

#[tokio::test]
async fn events_arrive_once_after_passing_failures() {
    let loki = FakeLoki::start().await.unwrap();
    loki.script([
        Fault::status(429, "slow down"),
        Fault::status(500, "oh"),
        Fault::Close,
        Fault::status(503, "no"),
    ]);
    let mut sink = Harness::start(sink(&loki, &plain("batch.max_events = 3")));
    sink.send_numbered(0..7).await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 7));
    assert_eq!(loki.distinct(), (0..7).map(numbered).collect());
    assert_eq!((loki.pushed(), loki.pushes().len()), (7, 3 + 4));
    assert_eq!(loki.faults_left(), 0);
}

#[tokio::test]
async fn what_was_written_and_reported_failed_is_repeated_identically() {
    let loki = FakeLoki::start().await.unwrap();
    loki.script([Fault::WrittenButFailed, Fault::WrittenThenClosed]);
    let mut sink = Harness::start(sink(&loki, &plain("")));
    sink.send_numbered(0..3).await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 3));
    assert_eq!(loki.pushed(), 9, "stored three times");
    assert_eq!(loki.distinct(), (0..3).map(numbered).collect());
}

#[tokio::test]
async fn loki_that_is_not_there_yet_gets_everything_when_it_comes() {
    let gone = FakeLoki::start().await.unwrap();
    let address = gone.address();
    let config = config(&gone, &plain("request.concurrency = 1"));
    drop(gone);
    let mut sink = Harness::start(impatient(&config));
    sink.send_numbered(0..3).await;
    let back = async {
        loop {
            // The port is free as soon as the first one's task is gone.
            let options = FakeLokiOptions::default().with_address(address);
            match FakeLoki::start_with(options).await {
                Ok(loki) => break loki,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let loki = tokio::time::timeout(DEADLINE, back).await.unwrap();
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 3));
    assert_eq!(loki.distinct(), (0..3).map(numbered).collect());
}

#[tokio::test]
async fn refused_connection_is_a_passing_failure() {
    let gone = FakeLoki::start().await.unwrap();
    let config = config(&gone, PLAIN);
    let address = gone.address();
    drop(gone);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let sink = impatient(&config);
    let failure = sink.transport.send(push(&sink)).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Transport(text) if text.to_lowercase().contains("refused")),
        "{failure}"
    );
}

#[tokio::test]
async fn silent_loki_is_a_timeout_and_is_asked_again() {
    let loki = FakeLoki::start().await.unwrap();
    loki.script([Fault::Hold(Gate::new())]);
    let mut sink = sink(&loki, &plain("request.timeout_secs = 1"));
    sink.request.concurrency = 1;
    let mut sink = Harness::start(sink);
    sink.send_numbered(0..1).await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 1));
    assert_eq!(loki.pushes().len(), 2);
    assert_eq!(loki.distinct(), BTreeSet::from([numbered(0)]));
}

#[tokio::test]
async fn path_is_appended_to_the_endpoint() {
    let loki = FakeLoki::start().await.unwrap();
    for (path, expected) in [
        ("", Delivery::Delivered),
        ("path = 'loki/api/v1/push'", Delivery::Delivered),
        ("path = '/elsewhere'", Delivery::Rejected),
    ] {
        let mut sink = Harness::start(sink(&loki, &plain(path)));
        sink.send_numbered(0..1).await;
        assert_eq!(sink.finish().await, [expected], "{path}");
    }
}

#[tokio::test]
async fn credentials_are_sent_and_wrong_ones_reject() {
    let basic = || FakeLokiOptions::default().with_basic_auth("user", "pa:ss");
    let bearer = || FakeLokiOptions::default().with_bearer_auth("token");
    let table = [
        (
            basic(),
            "auth = { strategy = 'basic', user = 'user', password = 'pa:ss' }",
            Delivery::Delivered,
        ),
        (
            basic(),
            "auth = { strategy = 'basic', user = 'user', password = 'other' }",
            Delivery::Rejected,
        ),
        (basic(), "", Delivery::Rejected),
        (
            bearer(),
            "auth = { strategy = 'bearer', token = 'token' }",
            Delivery::Delivered,
        ),
        (
            bearer(),
            "auth = { strategy = 'bearer', token = 'other' }",
            Delivery::Rejected,
        ),
    ];
    for (server, auth, expected) in table {
        let loki = FakeLoki::start_with(server).await.unwrap();
        let mut sink = Harness::start(sink(&loki, &plain(auth)));
        sink.send_numbered(0..1).await;
        assert_eq!(sink.finish().await, [expected], "{auth}");
    }

    let loki = FakeLoki::start_with(basic()).await.unwrap();
    let mut config = config(&loki, PLAIN);
    config.endpoint = format!("http://user:pa%3Ass@{}", loki.address());
    let mut sink = Harness::start(impatient(&config));
    sink.send_numbered(0..1).await;
    assert_eq!(sink.finish().await, [Delivery::Delivered]);
}

#[tokio::test]
async fn health_is_asked_at_the_start_and_holds_nothing_up() {
    for (option, ready, expected) in [
        ("healthcheck = true", true, 1),
        ("healthcheck = true", false, 1),
        ("healthcheck.enabled = false", true, 0),
    ] {
        let options = FakeLokiOptions::default().with_ready(ready);
        let loki = FakeLoki::start_with(options).await.unwrap();
        let url = loki.url();
        let config: LokiConfig =
            toml::from_str(&format!("endpoint = '{url}'\n{option}\n{}", plain(""))).unwrap();
        let mut sink = Harness::start(impatient(&config));
        sink.send_numbered(0..1).await;
        loki.wait_for(1, DEADLINE).await.unwrap();
        if expected > 0 {
            let asked = async {
                while loki.ready_requests() < expected {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(DEADLINE, asked).await.unwrap();
        }
        assert_eq!(sink.finish().await, [Delivery::Delivered]);
        assert_eq!(loki.ready_requests(), expected, "{option}");
    }
}

#[tokio::test]
async fn requests_under_way_are_bounded() {
    let loki = FakeLoki::start().await.unwrap();
    let gate = Gate::new();
    loki.afterwards(Some(Fault::Hold(gate.clone())));
    let mut sink = Harness::start(sink(
        &loki,
        &plain("batch.max_events = 1\nrequest.concurrency = 3"),
    ));
    sink.send_numbered(0..10).await;
    loki.wait_for_pushes(3, DEADLINE).await.unwrap();
    gate.open();
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 10));
    assert_eq!(loki.most_in_flight(), 3);
    assert_eq!(loki.distinct(), (0..10).map(numbered).collect());
}

#[tokio::test]
async fn answer_to_a_refused_push_is_shown_without_lines() {
    let loki = FakeLoki::start().await.unwrap();
    loki.script([Fault::status(
        400,
        "entry for stream '{app=\"test\"}' is too old|\"n\":0|",
    )]);
    let sink = sink(&loki, PLAIN);
    let answer = sink.transport.send(push(&sink)).await.unwrap();
    assert_eq!(
        answer.to_string(),
        "status 400: entry for stream '{app=\"test\"}' is too old"
    );
}

#[tokio::test]
async fn many_events_arrive_each_once() {
    const EVENTS: i64 = 20_000;
    let loki = FakeLoki::start().await.unwrap();
    loki.script([
        Fault::None,
        Fault::status(503, ""),
        Fault::Delay(Duration::from_millis(20)),
        Fault::Close,
    ]);
    let mut sink = Harness::start_with_room(sink(&loki, &plain("batch.max_bytes = 50000")), 1000);
    for start in (0..EVENTS).step_by(500) {
        sink.send_numbered(start..start + 500).await;
    }
    let deliveries = sink.finish().await;
    assert!(
        deliveries
            .iter()
            .all(|delivery| *delivery == Delivery::Delivered)
    );
    assert_eq!(deliveries.len() as i64, EVENTS);
    assert_eq!(loki.pushed() as i64, EVENTS);
    assert_eq!(loki.distinct(), (0..EVENTS).map(numbered).collect());
}

#[tokio::test]
async fn pushes_go_over_tls_with_and_without_a_certificate_of_ours() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&["127.0.0.1"]);
    let client = authority.issue(&["client"]);
    let elsewhere = authority.issue(&["elsewhere.example"]);
    let trusting = format!("tls.ca_file = '''{}'''\n", authority.pem());
    let known = format!(
        "{trusting}tls.crt_file = '''{}'''\ntls.key_file = '''{}'''\n",
        client.crt, client.key
    );
    let any_name = format!("{trusting}tls.verify_hostname = false\n");
    let open = ServerTls::new(&issued.crt, &issued.key).unwrap();
    let other_name = ServerTls::new(&elsewhere.crt, &elsewhere.key).unwrap();
    let mutual = ServerTls::for_clients_of(&issued.crt, &issued.key, &authority.pem()).unwrap();
    for (tls, options, expected) in [
        (&open, &trusting, Delivery::Delivered),
        (&mutual, &known, Delivery::Delivered),
        (&mutual, &trusting, Delivery::Rejected),
        (&other_name, &trusting, Delivery::Rejected),
        (&other_name, &any_name, Delivery::Delivered),
    ] {
        let loki = FakeLoki::start().await.unwrap();
        let front = TlsFront::start(loki.address(), tls).await;
        let mut config = config(
            &loki,
            &plain(&format!("request.retry_attempts = 0\n{options}")),
        );
        config.endpoint = front.url();
        let mut sink = Harness::start(impatient(&config));
        sink.send_numbered(0..3).await;
        assert_eq!(sink.finish().await, all(expected, 3), "{options}");
        let arrived = if expected == Delivery::Delivered {
            3
        } else {
            0
        };
        assert_eq!(loki.pushed(), arrived);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_explained() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&["127.0.0.1"]);
    let loki = FakeLoki::start().await.unwrap();
    let tls = ServerTls::new(&issued.crt, &issued.key).unwrap();
    let front = TlsFront::start(loki.address(), &tls).await;
    let other = Authority::new("another");
    let mut config = config(
        &loki,
        &plain(&format!("tls.ca_file = '''{}'''", other.pem())),
    );
    config.endpoint = front.url();
    let sink = impatient(&config);
    let failure = sink.transport.send(push(&sink)).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Transport(text) if text.contains("127.0.0.1") && text.contains("authority")),
        "{failure}"
    );
}
