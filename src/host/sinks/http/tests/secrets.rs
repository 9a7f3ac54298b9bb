//! The address of a webhook and what is in headers are secrets: nothing tells them.

use super::webhook::Webhook;
use super::*;
use crate::host::heard_log::Log;
use crate::host::sinks::outbound::{HttpTransport, UriSecrecy};

/// Part of every secret in these tests.
const SECRET: &str = "hunter2";

fn options() -> String {
    format!(
        "{JSON}healthcheck.uri = 'http://127.0.0.1:9/{SECRET}'\n\
         request = {{ retry_attempts = 1, retry_max_duration_secs = 1, headers = {{ X-Key = '{SECRET}', X-Team = '{{{{ team }}}}' }} }}\n"
    )
}

#[tokio::test]
async fn neither_uri_nor_headers_are_logged_however_much_is_logged() {
    let log = Log::start();
    // Answers that quote the address and the key, as error pages do.
    let answers = vec![
        (500, "cannot serve /services/hunter2/x"),
        (404, "no such place: &#x2F;hunter2"),
        (400, "key hunter2 is unknown, invalid_payload"),
    ];
    let server = Webhook::answering(answers).await;
    let gone = Webhook::answering(Vec::new()).await.address;
    for (address, path) in [
        (server.address, "services/hunter2"),
        (server.address, "services/hunter2"),
        (gone, "services/hunter2"),
        (server.address, "services/hunter2/{{ missing }}"),
        (server.address, "services/hunter2/{{ bad }}"),
    ] {
        let uri = format!("http://user:{SECRET}@{address}/{path}");
        let config = config(&format!("uri = '{uri}'\n{}", options()));
        let shown = format!("{config:?}");
        assert!(!shown.contains(SECRET), "{shown}");
        let sink = config
            .sink("alerts", |tls, connections| {
                HttpTransport::new(tls, connections, UriSecrecy::Secret)
            })
            .unwrap();
        let shown = format!("{sink:?}");
        assert!(!shown.contains(SECRET), "{shown}");
        let mut sink = Harness::start(sink);
        sink.send([value(
            r#"{"team":"hunter2","bad":"hunter2 \u0001","text":"a"}"#,
        )])
        .await;
        sink.finish().await;
    }
    assert!(!server.received().is_empty());
    let text = log.text();
    for expected in [
        "TRACE",
        "status 404: (the answer repeats the request",
        "template cannot be rendered",
        "`uri` renders to what is not a URL",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    for secret in [SECRET, "aHVudGVyMg", "dXNlcjpodW50ZXIy"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

#[test]
fn refusals_quote_no_secret() {
    for options in [
        "uri = 'hunter2'",
        "uri = 'http://hunter2 x/'",
        "uri = 'http://h/hunter2/{{ a..b }}'",
        "uri = 'http://h/hunter2%'",
        "uri = 'http://u:hunter2@h/'\nauth = { strategy = 'bearer', token = 'hunter2' }",
        "uri = 'http://h/'\nrequest.headers.X = \"hunter2\\n\"",
        "uri = 'http://h/'\nauth = { strategy = 'bearer', token = \"hunter2\\n\" }",
        "uri = 'http://h/'\nhealthcheck.uri = 'hunter2'",
    ] {
        let config = config(&format!("{options}\n{JSON}"));
        let error = config
            .sink("alerts", |_, _| Scripted::default())
            .map(drop)
            .unwrap_err();
        let shown = format!("{error} {error:?} {config:?}");
        assert!(!shown.contains(SECRET), "{options}: {shown}");
    }
}
