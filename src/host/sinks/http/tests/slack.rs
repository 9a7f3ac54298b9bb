//! Over real sockets: the webhook of Slack, and TLS.

use super::webhook::Webhook;
use super::*;
use crate::host::sinks::outbound::harness::TlsFront;
use crate::host::sinks::outbound::{HttpTransport, UriSecrecy};
use crate::testing::tls::ServerTls;
use crate::tls::tests::certificates::Authority;

/// What the post of an alert needs.
const SLACK: &str = "encoding = { codec = 'json', only_fields = ['text'] }\nframing.method = 'bytes'\n\
    batch.max_events = 1\nrequest.headers.Content-Type = 'application/json'\n";

fn sink(uri: &str, options: &str) -> HttpSink<HttpTransport> {
    config(&format!("uri = '{uri}'\n{options}"))
        .sink("alerts", |tls, connections| {
            HttpTransport::new(tls, connections, UriSecrecy::Secret)
        })
        .unwrap()
}

#[tokio::test]
async fn alerts_are_posted_to_slack_one_by_one() {
    let slack = Webhook::answering(Vec::new()).await;
    let uri = format!("http://{}/services/T0/B0/x?y=z", slack.address);
    let mut sink = Harness::start(sink(&uri, SLACK));
    sink.send([
        value(r#"{"text":"job *web* failed \"twice\"","Topic":"Job"}"#),
        value(r#"{"text":"node é drained"}"#),
    ])
    .await;
    assert_eq!(sink.finish().await, all(Delivery::Delivered, 2));
    let received = slack.received();
    assert_eq!(received.len(), 2);
    for (request, body) in received.iter().zip([
        r#"{"text":"job *web* failed \"twice\""}"#,
        r#"{"text":"node é drained"}"#,
    ]) {
        assert_eq!(request.method, "POST");
        assert_eq!(request.target, "/services/T0/B0/x?y=z");
        assert_eq!(request.body, body);
        let mut headers: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        let expected = [
            "accept-encoding: identity".to_owned(),
            format!("content-length: {}", body.len()),
            "content-type: application/json".to_owned(),
            format!("host: {}", slack.address),
            format!("user-agent: nomad-events/{}", env!("CARGO_PKG_VERSION")),
        ];
        assert_eq!(headers, expected);
    }
}

#[tokio::test]
async fn a_busy_slack_is_asked_again_and_a_refusal_is_final() {
    let slack = Webhook::answering(vec![(429, ""), (400, "invalid_payload")]).await;
    let mut sink = sink(&format!("http://{}/", slack.address), SLACK);
    sink.request.retry.initial = std::time::Duration::from_millis(1);
    sink.request.retry.max = std::time::Duration::from_millis(1);
    let mut sink = Harness::start(sink);
    sink.send([value(r#"{"text":"a"}"#), value(r#"{"text":"b"}"#)])
        .await;
    assert_eq!(
        sink.finish().await,
        [Delivery::Rejected, Delivery::Delivered]
    );
    let received = slack.received();
    let bodies: Vec<&Bytes> = received.iter().map(|request| &request.body).collect();
    assert_eq!(
        bodies,
        [r#"{"text":"a"}"#, r#"{"text":"a"}"#, r#"{"text":"b"}"#]
    );
}

#[tokio::test]
async fn credentials_are_sent() {
    for (auth, expected) in [
        (
            "auth = { strategy = 'basic', user = 'u', password = 'p' }",
            "Basic dTpw",
        ),
        ("auth = { strategy = 'bearer', token = 't' }", "Bearer t"),
        (
            "request.headers = { Authorization = 'Key k', User-Agent = 'mine' }",
            "Key k",
        ),
    ] {
        let server = Webhook::answering(Vec::new()).await;
        let mut sink = Harness::start(sink(
            &format!("http://{}/", server.address),
            &format!("{JSON}{auth}"),
        ));
        sink.send([value("{}")]).await;
        assert_eq!(sink.finish().await, [Delivery::Delivered]);
        let request = &server.received()[0];
        assert_eq!(request.headers["authorization"], expected);
        if auth.contains("mine") {
            assert_eq!(request.headers["user-agent"], "mine");
        }
    }
}

#[tokio::test]
async fn requests_go_over_tls_with_the_options_of_tls() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&["127.0.0.1"]);
    let client = authority.issue(&["client"]);
    let server = Webhook::answering(Vec::new()).await;
    let open = ServerTls::new(&issued.crt, &issued.key).unwrap();
    let mutual = ServerTls::for_clients_of(&issued.crt, &issued.key, &authority.pem()).unwrap();
    let trusting = format!("tls.ca_file = '''{}'''\n", authority.pem());
    let known = format!(
        "{trusting}tls.crt_file = '''{}'''\ntls.key_file = '''{}'''\n",
        client.crt, client.key
    );
    let unverified = "tls.verify_certificate = false\n".to_owned();
    for (tls, options, expected) in [
        (&open, &trusting, Delivery::Delivered),
        (&open, &known, Delivery::Delivered),
        (&open, &unverified, Delivery::Delivered),
        (&open, &String::new(), Delivery::Rejected),
        (&mutual, &known, Delivery::Delivered),
        (&mutual, &trusting, Delivery::Rejected),
    ] {
        let front = TlsFront::start(server.address, tls).await;
        let once = format!("{SLACK}request.retry_attempts = 0\n{options}");
        let mut sink = Harness::start(sink(&front.url(), &once));
        sink.send([value(r#"{"text":"a"}"#)]).await;
        assert_eq!(sink.finish().await, [expected], "{options}");
    }
    assert_eq!(server.received().len(), 4);
}
