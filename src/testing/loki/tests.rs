use std::io::Write as _;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::loki_push::{self, Pair, PushRequest, Stream, Timestamp};

const DEADLINE: Duration = Duration::from_secs(10);

/// One request over a connection of its own; the whole answer, empty if the connection is cut.
async fn request(loki: &FakeLoki, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(loki.address()).await.unwrap();
    let head = format!(
        "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    // An error is a reset: as empty as a cut.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn push(loki: &FakeLoki, headers: &str, body: &[u8]) -> String {
    request(
        loki,
        &format!("POST /loki/api/v1/push HTTP/1.1\r\n{headers}"),
        body,
    )
    .await
}

async fn push_json(loki: &FakeLoki, body: &str) -> String {
    push(loki, "Content-Type: application/json", body.as_bytes()).await
}

fn json_line(line: &str) -> String {
    format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["7","{line}"]]}}]}}"#)
}

fn protobuf(labels: &str, line: &'static [u8]) -> Vec<u8> {
    let request = PushRequest {
        streams: vec![Stream {
            labels: labels.to_owned(),
            entries: vec![loki_push::Entry {
                timestamp: Some(Timestamp::from_nanos(1_700_000_000_000_000_007)),
                line: Bytes::from_static(line),
                structured_metadata: vec![Pair {
                    name: Bytes::from_static(b"k"),
                    value: Bytes::from_static(b"v"),
                }],
            }],
        }],
    };
    snap::raw::Encoder::new()
        .compress_vec(&request.encode_to_vec())
        .unwrap()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("cut")
}

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn both_forms_are_stored_as_the_same_entry() {
    let loki = FakeLoki::start().await.unwrap();
    let json = r#"{"streams":[{"stream":{"a":"b \"c\""},"values":[["1700000000000000007","line",{"k":"v"}]]}]}"#;
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zip.write_all(json.as_bytes()).unwrap();

    let snappy = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy";
    let answer = push(&loki, snappy, &protobuf(r#"{a="b \"c\""}"#, b"line")).await;
    assert_eq!(status(&answer), "204");
    assert_eq!(status(&push_json(&loki, json).await), "204");
    let gzip = "Content-Type: application/json; charset=utf-8\r\nContent-Encoding: gzip\r\nX-Scope-OrgID: t";
    assert_eq!(
        status(&push(&loki, gzip, &zip.finish().unwrap()).await),
        "204"
    );

    let expected = Entry {
        tenant: None,
        labels: map(&[("a", "b \"c\"")]),
        timestamp_nanos: 1_700_000_000_000_000_007,
        line: "line".to_owned(),
        structured_metadata: map(&[("k", "v")]),
    };
    let of_tenant = Entry {
        tenant: Some("t".to_owned()),
        ..expected.clone()
    };
    assert_eq!(
        loki.entries(),
        [expected.clone(), expected.clone(), of_tenant.clone()]
    );
    assert_eq!(loki.distinct(), BTreeSet::from([expected, of_tenant]));
    assert_eq!((loki.pushed(), loki.line_bytes()), (3, 12));
    let pushes = loki.pushes();
    assert_eq!(pushes.len(), 3);
    assert_eq!(pushes[0].content_type, "application/x-protobuf");
    assert_eq!(pushes[0].content_encoding.as_deref(), Some("snappy"));
    assert!(
        pushes
            .iter()
            .all(|push| push.streams == 1 && push.entries == 1)
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_not_stored() {
    let loki = FakeLoki::start().await.unwrap();
    let protobuf_type = "Content-Type: application/x-protobuf";
    let table = [
        (protobuf_type, protobuf(r#"{a="b"#, b"x")),
        (protobuf_type, protobuf("{}", b"x")),
        (protobuf_type, protobuf(r#"{a="b"}"#, b"\xff")),
        (protobuf_type, b"no snappy".to_vec()),
        ("Content-Type: application/json", b"{".to_vec()),
        (
            "Content-Type: application/json",
            br#"{"streams":[{"stream":{},"values":[]}]}"#.to_vec(),
        ),
        (
            "Content-Type: application/json",
            br#"{"streams":[{"stream":{"a":"b"},"values":[["soon","x"]]}]}"#.to_vec(),
        ),
        (
            "Content-Type: application/json\r\nContent-Encoding: gzip",
            json_line("x").into_bytes(),
        ),
        (
            "Content-Type: application/json\r\nContent-Encoding: zstd",
            json_line("x").into_bytes(),
        ),
        ("Content-Type: text/plain", json_line("x").into_bytes()),
    ];
    for (headers, body) in table {
        let answer = push(&loki, headers, &body).await;
        assert_eq!(status(&answer), "400", "{headers}: {answer}");
    }
    assert_eq!(loki.pushed(), 0);
}

#[tokio::test]
async fn faults_are_taken_in_order_and_one_a_push() {
    let loki = FakeLoki::start().await.unwrap();
    loki.script([
        Fault::status(429, "slow down"),
        Fault::Close,
        Fault::WrittenButFailed,
        Fault::WrittenThenClosed,
        Fault::None,
        Fault::Delay(Duration::from_millis(1)),
    ]);
    let mut statuses = Vec::new();
    for line in ["1", "2", "3", "4", "5", "6", "7"] {
        let answer = push_json(&loki, &json_line(line)).await;
        statuses.push(status(&answer).to_owned());
        if line == "1" {
            assert!(answer.ends_with("slow down"));
        }
    }
    assert_eq!(statuses, ["429", "cut", "500", "cut", "204", "204", "204"]);
    let lines: Vec<String> = loki.entries().into_iter().map(|entry| entry.line).collect();
    assert_eq!(lines, ["3", "4", "5", "6", "7"]);
    assert_eq!(loki.faults_left(), 0);

    loki.afterwards(Some(Fault::status(503, "")));
    for _ in 0..2 {
        assert_eq!(status(&push_json(&loki, &json_line("8")).await), "503");
    }
    loki.afterwards(None);
    assert_eq!(status(&push_json(&loki, &json_line("8")).await), "204");
}

#[tokio::test]
async fn held_push_is_stored_when_the_gate_opens() {
    let loki = FakeLoki::start().await.unwrap();
    let gate = Gate::new();
    loki.script([Fault::Hold(gate.clone()), Fault::Hold(gate.clone())]);
    let (first, second) = (json_line("1"), json_line("2"));
    let pushes = async { tokio::join!(push_json(&loki, &first), push_json(&loki, &second)) };
    let opened = async {
        loki.wait_for_pushes(2, DEADLINE).await.unwrap();
        assert_eq!((loki.pushed(), loki.most_in_flight()), (0, 2));
        gate.open();
    };
    let ((one, two), ()) = tokio::join!(pushes, opened);
    assert_eq!((status(&one), status(&two)), ("204", "204"));
    assert_eq!(loki.distinct().len(), 2);
}

#[tokio::test]
async fn waiting_sees_distinct_entries_and_says_what_is_missing() {
    let loki = FakeLoki::start().await.unwrap();
    let mut arrivals = loki.arrivals();
    let lines = [json_line("1"), json_line("1"), json_line("2")];
    let pushes = async {
        for line in &lines {
            push_json(&loki, line).await;
        }
    };
    let (found, ()) = tokio::join!(loki.wait_for(2, DEADLINE), pushes);
    assert_eq!(found.unwrap().len(), 3);
    for line in ["1", "1", "2"] {
        assert_eq!(arrivals.next().await.unwrap().line, line);
    }
    assert_eq!(arrivals.missed(), 0);

    let shortfall = loki
        .wait_for(3, Duration::from_millis(1))
        .await
        .unwrap_err();
    assert_eq!((shortfall.arrived, shortfall.wanted), (2, 3));
    assert_eq!(
        loki.wait_for_pushes(4, Duration::from_millis(1)).await,
        Err(3)
    );
}

#[tokio::test]
async fn memory_can_be_bounded() {
    for kept in [0, 1] {
        let options = FakeLokiOptions::default().with_kept_entries(kept);
        let loki = FakeLoki::start_with(options).await.unwrap();
        push_json(&loki, &json_line("one")).await;
        let body = protobuf(r#"{a="b"}"#, b"two");
        push(&loki, "Content-Type: application/x-protobuf", &body).await;
        assert_eq!((loki.pushed(), loki.line_bytes()), (2, 6));
        assert_eq!(loki.entries().len(), kept);
    }
}

#[tokio::test]
async fn credentials_are_checked() {
    let json = "Content-Type: application/json";
    let body = json_line("x").into_bytes();

    let options = FakeLokiOptions::default().with_basic_auth("user", "pass:word");
    assert!(!format!("{options:?}").contains("word"));
    let loki = FakeLoki::start_with(options).await.unwrap();
    for (header, expected) in [
        ("", "401"),
        ("\r\nAuthorization: Basic dXNlcjpwYXNz", "401"),
        ("\r\nAuthorization: Basic dXNlcjpwYXNzOndvcmQ=", "204"),
    ] {
        let answer = push(&loki, &format!("{json}{header}"), &body).await;
        assert_eq!(status(&answer), expected);
    }

    let options = FakeLokiOptions::default().with_bearer_auth("token");
    let loki = FakeLoki::start_with(options).await.unwrap();
    for (header, expected) in [
        ("\r\nAuthorization: Bearer other", "401"),
        ("\r\nAuthorization: Bearer token", "204"),
    ] {
        let answer = push(&loki, &format!("{json}{header}"), &body).await;
        assert_eq!(status(&answer), expected);
    }
    assert_eq!(loki.pushed(), 1);
}

#[tokio::test]
async fn ready_and_unknown_paths_are_answered() {
    for (ready, expected) in [(true, "200"), (false, "503")] {
        let options = FakeLokiOptions::default().with_ready(ready);
        let loki = FakeLoki::start_with(options).await.unwrap();
        let answer = request(&loki, "GET /ready HTTP/1.1", b"").await;
        assert_eq!(status(&answer), expected);
        let answer = request(&loki, "POST /ready HTTP/1.1", b"").await;
        assert_eq!(status(&answer), "404");
        assert_eq!(loki.ready_requests(), 1);
    }
}

#[tokio::test]
async fn dropping_it_frees_the_port() {
    let loki = FakeLoki::start().await.unwrap();
    let address = loki.address();
    let gate = Gate::new();
    loki.script([Fault::Hold(gate)]);
    let body = json_line("x");
    let (answer, ()) = tokio::join!(push_json(&loki, &body), async {
        loki.wait_for_pushes(1, DEADLINE).await.unwrap();
        loki.server.abort();
    });
    assert_eq!(status(&answer), "cut");
    drop(loki);
    // The task is gone, and its listener with it.
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, closed).await.unwrap();
}
