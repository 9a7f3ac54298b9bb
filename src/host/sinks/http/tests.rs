//! The sink as a whole: scripted where time matters, with a server where bytes matter.

mod delivery;
mod options;
mod secrets;
mod slack;
mod webhook;

use bytes::Bytes;
use http::Request;
use vrl::value::Value;

use super::*;
use crate::host::sinks::outbound::harness::{Harness, Reply, Scripted, all};
use crate::position::Delivery;

/// A configuration without network, to which options are added.
const SCRIPTED: &str = "uri = 'http://127.0.0.1:9/hook'\n";

const JSON: &str = "encoding.codec = 'json'\n";

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn config(options: &str) -> HttpConfig {
    toml::from_str(options).unwrap_or_else(|error| panic!("{options}: {error}"))
}

fn scripted(server: &Scripted, options: &str) -> HttpSink<Scripted> {
    let text = if options.starts_with("uri") {
        options.to_owned()
    } else {
        format!("{SCRIPTED}{options}")
    };
    let sink = config(&text).sink("alerts", |_, _| server.clone());
    sink.unwrap_or_else(|error| panic!("{options}: {error}"))
}

fn requests(server: &Scripted) -> Vec<Request<Bytes>> {
    let script = server.script();
    script.pushes.iter().map(|(_, push)| push.clone()).collect()
}

fn body(request: &Request<Bytes>) -> &str {
    std::str::from_utf8(request.body()).unwrap()
}

fn header<'r>(request: &'r Request<Bytes>, name: &str) -> Option<&'r str> {
    let value = request.headers().get(name)?;
    Some(std::str::from_utf8(value.as_bytes()).unwrap())
}

/// The requests for these events.
async fn sent(options: &str, events: &[&str]) -> Vec<Request<Bytes>> {
    let server = Scripted::default();
    let mut sink = Harness::start(scripted(&server, options));
    sink.send(events.iter().map(|event| value(event))).await;
    assert_eq!(
        sink.finish().await,
        all(Delivery::Delivered, events.len()),
        "{options}"
    );
    requests(&server)
}

/// The bodies of each codec with each framing, as Vector writes them.
#[tokio::test]
async fn bodies_and_content_types_are_vectors() {
    let framing = |method| format!("framing.method = '{method}'\n");
    let delimited = |delimiter| {
        format!(
            "framing = {{ method = 'character_delimited', character_delimited.delimiter = '{delimiter}' }}\n"
        )
    };
    let text = "encoding.codec = 'text'\n";
    let json = "application/json";
    let ndjson = "application/x-ndjson";
    let plain = "text/plain";
    let table = [
        (
            JSON,
            String::new(),
            r#"[{"a":1},{"message":"m"}]"#,
            Some(json),
        ),
        (
            JSON,
            delimited(","),
            r#"[{"a":1},{"message":"m"}]"#,
            Some(json),
        ),
        (
            JSON,
            "payload_prefix = '{\"data\":'\npayload_suffix = '}'\n".to_owned(),
            r#"{"data":[{"a":1},{"message":"m"}]}"#,
            Some(json),
        ),
        // Ignored where the body is no array.
        (
            JSON,
            framing("bytes") + "payload_prefix = '<'\n",
            r#"{"a":1}{"message":"m"}"#,
            None,
        ),
        (
            JSON,
            framing("newline_delimited"),
            "{\"a\":1}\n{\"message\":\"m\"}",
            Some(ndjson),
        ),
        (JSON, delimited(";"), r#"{"a":1};{"message":"m"};"#, None),
        (
            "encoding = { codec = 'json', json.pretty = true, except_fields = ['a'] }\n",
            String::new(),
            "[{},{\n  \"message\": \"m\"\n}]",
            Some(json),
        ),
        (text, String::new(), "\nm\n", Some(plain)),
        (text, delimited(","), ",m,", Some(plain)),
        (text, framing("bytes"), "m", Some(plain)),
    ];
    for (codec, more, expected, content_type) in table {
        let options = format!("{codec}{more}");
        let requests = sent(&options, &[r#"{"a":1}"#, r#"{"message":"m"}"#]).await;
        assert_eq!(requests.len(), 1, "{options}");
        assert_eq!(body(&requests[0]), expected, "{options}");
        assert_eq!(
            header(&requests[0], "content-type"),
            content_type,
            "{options}"
        );
        assert_eq!(header(&requests[0], "content-encoding"), None);
    }
}

#[tokio::test]
async fn a_single_event_is_an_array_too_unless_framing_says_otherwise() {
    let one = ["{\"text\":\"job failed\"}"];
    let max = format!("{JSON}batch.max_events = 1\n");
    assert_eq!(
        body(&sent(&max, &one).await[0]),
        r#"[{"text":"job failed"}]"#
    );
    for method in ["bytes", "newline_delimited"] {
        let options = format!("{max}framing.method = '{method}'\n");
        assert_eq!(body(&sent(&options, &one).await[0]), one[0]);
    }
}

#[tokio::test]
async fn every_method_is_sent() {
    for (option, expected) in [
        ("", "POST"),
        ("method = 'get'", "GET"),
        ("method = 'head'", "HEAD"),
        ("method = 'post'", "POST"),
        ("method = 'put'", "PUT"),
        ("method = 'delete'", "DELETE"),
        ("method = 'options'", "OPTIONS"),
        ("method = 'trace'", "TRACE"),
        ("method = 'patch'", "PATCH"),
    ] {
        let requests = sent(&format!("{JSON}{option}"), &["{}"]).await;
        assert_eq!(requests[0].method(), expected);
    }
}

#[tokio::test]
async fn batches_follow_their_limits() {
    let events: Vec<String> = (0..5)
        .map(|number| format!(r#"{{"n":{number}}}"#))
        .collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    for (option, expected) in [
        (
            "",
            vec!["[{\"n\":0},{\"n\":1},{\"n\":2},{\"n\":3},{\"n\":4}]"],
        ),
        (
            "batch.max_events = 2",
            vec![
                "[{\"n\":0},{\"n\":1}]",
                "[{\"n\":2},{\"n\":3}]",
                "[{\"n\":4}]",
            ],
        ),
        (
            "batch.max_bytes = 25",
            vec!["[{\"n\":0},{\"n\":1},{\"n\":2}]", "[{\"n\":3},{\"n\":4}]"],
        ),
        // Larger than a batch may be, so each goes alone.
        (
            "batch.max_bytes = 1",
            vec![
                "[{\"n\":0}]",
                "[{\"n\":1}]",
                "[{\"n\":2}]",
                "[{\"n\":3}]",
                "[{\"n\":4}]",
            ],
        ),
    ] {
        let requests = sent(&format!("{JSON}{option}"), &events).await;
        let bodies: Vec<&str> = requests.iter().map(body).collect();
        assert_eq!(bodies, expected, "{option}");
    }
}

#[tokio::test]
async fn gzip_holds_the_same_body() {
    use std::io::Read as _;

    let requests = sent(&format!("{JSON}compression = 'gzip'"), &[r#"{"a":1}"#]).await;
    assert_eq!(header(&requests[0], "content-encoding"), Some("gzip"));
    assert_eq!(
        header(&requests[0], "content-type"),
        Some("application/json")
    );
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&requests[0].body()[..])
        .read_to_string(&mut plain)
        .unwrap();
    assert_eq!(plain, r#"[{"a":1}]"#);
}

#[tokio::test]
async fn events_are_grouped_by_what_uri_and_headers_render_to() {
    let options = format!(
        "uri = 'http://{{{{ host }}}}/{{{{ path }}}}'\n{JSON}encoding.only_fields = ['n']\n\
         request.headers = {{ X-Level = '{{{{ level }}}}', X-Fixed = 'f', Content-Type = 'text/x' }}"
    );
    let requests = sent(
        &options,
        &[
            r#"{"host":"a","path":"x","level":"info","n":0}"#,
            r#"{"host":"user:pw@b","path":"y","level":"info","n":1}"#,
            r#"{"host":"a","path":"x","level":"error","n":2}"#,
            r#"{"host":"a","path":"x","level":"info","n":3}"#,
        ],
    )
    .await;
    let seen: Vec<_> = requests
        .iter()
        .map(|request| {
            assert_eq!(header(request, "x-fixed"), Some("f"));
            assert_eq!(header(request, "content-type"), Some("text/x"));
            (
                request.uri().to_string(),
                header(request, "x-level").unwrap().to_owned(),
                header(request, "authorization").map(str::to_owned),
                body(request).to_owned(),
            )
        })
        .collect();
    let row = |uri: &str, level: &str, auth: Option<&str>, body: &str| {
        (
            uri.to_owned(),
            level.to_owned(),
            auth.map(str::to_owned),
            body.to_owned(),
        )
    };
    assert_eq!(
        seen,
        [
            row("http://a/x", "info", None, r#"[{"n":0},{"n":3}]"#),
            row(
                "http://b/y",
                "info",
                Some("Basic dXNlcjpwdw=="),
                r#"[{"n":1}]"#
            ),
            row("http://a/x", "error", None, r#"[{"n":2}]"#),
        ]
    );
}

#[tokio::test]
async fn an_event_whose_request_cannot_be_made_is_rejected_alone() {
    let options = format!(
        "uri = 'http://{{{{ host }}}}/'\n{JSON}request.headers.X-Level = '{{{{ level }}}}'\n"
    );
    let server = Scripted::default();
    let sink = scripted(&server, &options);
    let telemetry = sink.telemetry.clone();
    let mut sink = Harness::start(sink);
    sink.send(
        [
            r#"{"host":"a","level":"x"}"#,
            r#"{"level":"x"}"#,
            r#"{"host":"a"}"#,
            r#"{"host":"a b","level":"x"}"#,
            r#"{"host":"a","level":"x\ny"}"#,
        ]
        .map(value),
    )
    .await;
    let deliveries = sink.finish().await;
    assert_eq!(deliveries[0], Delivery::Delivered);
    assert_eq!(deliveries[1..], [Delivery::Rejected; 4]);
    assert_eq!(requests(&server).len(), 1);
    assert_eq!(
        (telemetry.metrics().sent(), telemetry.metrics().lost()),
        (1, 4)
    );
}
