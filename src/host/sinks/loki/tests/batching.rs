//! What goes into a request, and when it is sent.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn options(more: &str) -> String {
    format!("{PLAIN}{more}")
}

#[tokio::test(start_paused = true)]
async fn batch_is_sent_when_its_first_event_is_old_enough() {
    for (timeout_secs, expected) in [("1", SECOND), ("0.25", SECOND / 4)] {
        let loki = Scripted::default();
        let more = options(&format!("batch.timeout_secs = {timeout_secs}"));
        let mut sink = Harness::start(loki.sink(&more));
        let start = Instant::now();
        sink.send_numbered(0..1).await;
        tokio::time::sleep(expected / 2).await;
        sink.send_numbered(1..3).await;
        tokio::time::sleep(expected).await;
        assert_eq!(loki.times(start), [expected]);
        assert_eq!(loki.lines(), [[r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#]]);
        assert_eq!(sink.finish().await, all(Delivery::Delivered, 3));
        assert_eq!(loki.lines().len(), 1, "nothing is sent for an empty batch");
    }
}

#[tokio::test(start_paused = true)]
async fn batch_is_sent_when_it_has_enough_events() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(&options("batch.max_events = 2")));
    let start = Instant::now();
    sink.send_numbered(0..5).await;
    Scripted::settle().await;
    assert_eq!(loki.times(start), [Duration::ZERO; 2]);
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 5));
    let sizes: Vec<usize> = loki.lines().iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn batch_is_sent_before_it_has_too_many_bytes() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(&options("batch.max_bytes = 1000")));
    let start = Instant::now();
    let event = |length: usize| {
        let text = "x".repeat(length);
        value(&format!(r#"{{"t":"{text}"}}"#), NANOS)
    };
    // Three fit together, the fourth does not; the fifth is too large for any batch and goes alone.
    sink.send([
        event(250),
        event(250),
        event(250),
        event(250),
        event(5000),
        event(1),
    ])
    .await;
    Scripted::settle().await;
    assert_eq!(loki.times(start), [Duration::ZERO; 3]);
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 6));
    let sizes: Vec<usize> = loki.lines().iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 1, 1, 1]);
    for request in loki.requests() {
        let entries = request.streams.first().unwrap().entries.len();
        assert!(entries == 1 || request.encoded_len() <= 1000);
    }
}

#[tokio::test]
async fn entries_are_grouped_by_labels_and_sorted_by_time() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(
        "labels = { z = 'last', topic = '{{ topic }}', ns = '{{ ns }}' }\nencoding.codec = 'json'\nencoding.only_fields = ['n']",
    ));
    let event = |topic: &str, ns: &str, n: i64, nanos| {
        value(
            &format!(r#"{{"topic":"{topic}","ns":"{ns}","n":{n}}}"#),
            nanos,
        )
    };
    sink.send([
        event("Job", "a", 1, 30),
        event("Job", "b", 2, 20),
        event("Job", "a", 3, 10),
        event("Node", "a", 4, 5),
        event("Job", "a", 5, 30),
        event("Job", "a", 6, 20),
        event("Job", "a", 7, 30),
    ])
    .await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 7));

    let requests = loki.requests();
    assert_eq!(requests.len(), 1);
    let streams = requests[0].streams.iter().map(|stream| {
        let entries = stream.entries.iter();
        let entries = entries.map(|entry| (entry.nanos(), &entry.line[..]));
        (stream.labels.as_str(), entries.collect::<Vec<_>>())
    });
    assert_eq!(
        streams.collect::<Vec<_>>(),
        [
            (
                r#"{ns="a", topic="Job", z="last"}"#,
                vec![
                    (10, &br#"{"n":3}"#[..]),
                    (20, br#"{"n":6}"#),
                    // Those of the same time stay in order of arrival.
                    (30, br#"{"n":1}"#),
                    (30, br#"{"n":5}"#),
                    (30, br#"{"n":7}"#),
                ]
            ),
            (
                r#"{ns="b", topic="Job", z="last"}"#,
                vec![(20, &br#"{"n":2}"#[..])]
            ),
            (
                r#"{ns="a", topic="Node", z="last"}"#,
                vec![(5, &br#"{"n":4}"#[..])]
            ),
        ]
    );
}

#[tokio::test]
async fn fields_are_removed_as_in_vector() {
    let table = [
        (
            "",
            r#"{"a":"x","b":{"c":"y"},"m":"z"}"#,
            vec![("c", "y"), ("m", "z")],
        ),
        (
            "remove_timestamp = false",
            r#"{"a":"x","b":{"c":"y"},"m":"z","timestamp":"2023-11-14T22:13:20.123456789Z"}"#,
            vec![("c", "y"), ("m", "z")],
        ),
        // Gone before structured metadata is rendered, which can therefore not use it.
        (
            "remove_label_fields = true",
            r#"{"b":{},"m":"z"}"#,
            vec![("m", "z")],
        ),
        (
            "remove_structured_metadata_fields = true",
            r#"{"a":"x","b":{}}"#,
            vec![("c", "y"), ("m", "z")],
        ),
        (
            "encoding.json.pretty = true\nencoding.only_fields = ['b']",
            "{\n  \"b\": {\n    \"c\": \"y\"\n  }\n}",
            vec![("c", "y"), ("m", "z")],
        ),
        (
            "encoding.except_fields = ['b']\nencoding.timestamp_format = 'unix'\nremove_timestamp = false",
            r#"{"a":"x","m":"z","timestamp":1700000000}"#,
            vec![("c", "y"), ("m", "z")],
        ),
    ];
    for (option, line, metadata) in table {
        let loki = Scripted::default();
        let mut sink = Harness::start(loki.sink(&format!(
            "labels = {{ a = '{{{{ a }}}}', c = '{{{{ b.c }}}}' }}\n\
             structured_metadata = {{ m = '{{{{ m }}}}', c = '{{{{ b.c }}}}' }}\n\
             encoding.codec = 'json'\n{option}"
        )));
        sink.send([value(r#"{"a":"x","b":{"c":"y"},"m":"z"}"#, NANOS)])
            .await;
        sink.finish().await;
        let requests = loki.requests();
        let stream = requests[0].streams.first().unwrap();
        assert_eq!(stream.labels, r#"{a="x", c="y"}"#);
        let entry = stream.entries.first().unwrap();
        assert_eq!(String::from_utf8_lossy(&entry.line), line, "{option}");
        let pairs: Vec<(&str, &str)> = entry
            .structured_metadata
            .iter()
            .map(|pair| {
                let text = |bytes| std::str::from_utf8(bytes).unwrap();
                (text(&pair.name), text(&pair.value))
            })
            .collect();
        assert_eq!(pairs, metadata, "{option}");
        assert_eq!(entry.nanos(), NANOS);
    }
}

#[tokio::test]
async fn codec_text_sends_the_message_as_utf8() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink("labels.app = 'test'\nencoding.codec = 'text'"));
    let mut raw = value("{}", NANOS);
    raw.as_object_mut().unwrap().insert(
        "message".into(),
        Value::Bytes(Bytes::from_static(b"caf\xe9")),
    );
    sink.send([value(r#"{"message":"hello"}"#, NANOS - 1), raw])
        .await;
    sink.finish().await;
    assert_eq!(loki.lines(), [["hello", "caf\u{fffd}"]]);
}

#[tokio::test]
async fn event_without_a_real_timestamp_has_the_time_of_now() {
    let loki = Scripted::default();
    let mut sink = Harness::start(loki.sink(&options("")));
    let before = chrono::Utc::now().timestamp_nanos_opt().unwrap();
    let text_for_a_time = Value::Object(object(r#"{"timestamp":"2001-02-03T04:05:06Z"}"#));
    sink.send([
        Value::Object(object("{}")),
        text_for_a_time,
        Value::from("no object"),
    ])
    .await;
    sink.finish().await;
    let after = chrono::Utc::now().timestamp_nanos_opt().unwrap();
    let requests = loki.requests();
    for entry in &requests[0].streams[0].entries {
        assert!((before..=after).contains(&entry.nanos()));
    }
    // What is no time is removed all the same.
    assert_eq!(loki.lines(), [["{}", "{}", r#""no object""#]]);
}

#[tokio::test(start_paused = true)]
async fn silent_loki_does_not_grow_memory() {
    let loki = Scripted::replying(&[], Reply::Never);
    let sink = loki.sink(&options(
        "batch.max_events = 10\nrequest = { concurrency = 2, timeout_secs = 1000000 }",
    ));
    let mut sink = Harness::start_with_room(sink, 5);
    let mut sent = 0;
    // Time only passes when nobody can do anything.
    while tokio::time::timeout(SECOND * 1000, sink.send_numbered(sent..sent + 1))
        .await
        .is_ok()
    {
        sent += 1;
    }
    assert_eq!(loki.lines().len(), 2, "two requests are under way");
    // Two of them, one full batch, and what the channel holds.
    assert_eq!(sent, 2 * 10 + 10 + 5);
    sink.task.abort();
    assert!(sink.task.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn requests_run_side_by_side_up_to_the_limit() {
    for (concurrency, expected) in [
        ("1", [0, 1, 2, 3]),
        ("2", [0, 0, 1, 1]),
        ("'none'", [0, 1, 2, 3]),
    ] {
        let loki = Scripted::replying(&[], Reply::After(SECOND));
        let more = options(&format!(
            "batch.max_events = 1\nrequest.concurrency = {concurrency}"
        ));
        let mut sink = Harness::start(loki.sink(&more));
        let start = Instant::now();
        sink.send_numbered(0..4).await;
        assert_eq!(sink.finish().await, all(Delivery::Delivered, 4));
        assert_eq!(loki.times(start), expected.map(|after| SECOND * after));
    }
}
