//! The address of a webhook and what is in headers are secrets: nothing tells them.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::webhook::Webhook;
use super::*;
use crate::host::sinks::outbound::{HttpTransport, UriSecrecy};

/// Part of every secret in these tests.
const SECRET: &str = "hunter2";

/// Everything that was logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn options() -> String {
    format!(
        "{JSON}healthcheck.uri = 'http://127.0.0.1:9/{SECRET}'\n\
         request = {{ retry_attempts = 1, retry_max_duration_secs = 1, headers = {{ X-Key = '{SECRET}', X-Team = '{{{{ team }}}}' }} }}\n"
    )
}

#[tokio::test]
async fn neither_uri_nor_headers_are_logged_however_much_is_logged() {
    let log = Log::default();
    let everything = || {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(log.clone())
            .finish()
    };
    // With a single subscriber `tracing` lets the thread that comes to a place first decide whether it is ever logged, and
    // threads of other tests have none.
    let _another = tracing::Dispatch::new(everything());
    let _guard = tracing::subscriber::set_default(everything());
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
