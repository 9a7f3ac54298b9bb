//! Commands that run, at the most verbose level, among servers that quote, cut, and refuse.

use std::fs;
use std::process::Command;

use nomad_events::testing::eventually;
use nomad_events::testing::loki::{FakeLoki, FakeLokiOptions, Fault as LokiFault};
use nomad_events::testing::nomad::{
    BatchText, EventText, FakeNomad, Fault, Point, Script, Version,
};
use nomad_events::testing::tls::ServerTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::{PATIENCE, Place, RECORDED_SECRET, Running, job, nomad_events, sample};
use super::Planted;
use super::mirror::Mirror;
use crate::certificates::Authority;

/// Statuses of a Nomad that refuses, each of another kind.
const NOMADS: &[u16] = &[403, 500, 401, 429];
/// What is tried again is logged again.
const SINKS: &[u16] = &[500];
/// What is given up.
const SINKS_FOR_GOOD: &[u16] = &[400];

/// A certificate, and its key under a passphrase.
const CLIENT_CRT: &str = include_str!("../../../fixtures/tls/client.crt");
const CLIENT_KEY: &str = include_str!("../../../fixtures/tls/client-encrypted.key");
const KEY_PASS: &str = "PassWord1";

/// A job with a secret in each place where jobs have them.
fn planted_job(planted: &mut Planted, index: u64) -> BatchText {
    let mut secret = |what: &str| planted.secret(&format!("a job's {what}"));
    let payload = format!(
        r#"{{"Job":{{"ID":"web","Type":"service","Status":"running","Version":0,"Payload":"{}","TaskGroups":[{{"Name":"g",
        "Services":[{{"Checks":[{{"Header":{{"Authorization":["{}"]}},"Body":"{}"}}]}}],
        "Tasks":[{{"Name":"t","Env":{{"PASSWORD":"{}"}},"Config":{{"image":"i","args":["{}"],"auth":[{{"password":"{}"}}]}},
        "Templates":[{{"EmbeddedTmpl":"{}"}}],
        "Artifacts":[{{"GetterSource":"https://u:{}@h/x?sig={}","GetterHeaders":{{"X":"{}"}},"GetterOptions":{{"sshkey":"{}"}}}}]}}]}}]}}}}"#,
        secret("dispatch payload"),
        secret("check header"),
        secret("check body"),
        secret("environment"),
        secret("argument"),
        secret("registry password"),
        secret("template"),
        secret("artifact user"),
        secret("artifact query"),
        secret("artifact header"),
        secret("artifact option"),
    )
    .replace('\n', "");
    BatchText::new(index).event(EventText::new("Job", "JobRegistered", "web").payload(payload))
}

/// The recommended configuration with other sources beside its own, and more sinks behind them.
fn config(place: &Place, nomad: &FakeNomad, [server, proxied]: [&Mirror; 2]) -> String {
    let source = format!(
        "endpoints = [\"{}\"]\ntoken = \"${{PLANTED_TOKEN}}\"\nbackoff_max_secs = 1\nmax_line_bytes = 65536\n\
         tls = {{ ca_file = \"ca.pem\", crt_file = \"client.crt\", key_file = \"client.key\", key_pass = \"${{PLANTED_PASS}}\" }}",
        nomad.url()
    );
    let sink = "auth = { strategy = \"basic\", user = \"${PLANTED_USER}\", password = \"${PLANTED_PASSWORD}\" }\n\
                batch.max_events = 8\nbatch.timeout_secs = 0.1\nrequest.retry_max_duration_secs = 1";
    let shipped = place.config(&source, sink);
    let shipped = fs::read_to_string(place.0.path().join(shipped)).unwrap();
    let retried = "request.retry_initial_backoff_secs = 1\nrequest.retry_max_duration_secs = 1\n\
                   request.concurrency = 8\nbatch.max_events = 1\nbuffer.when_full = \"drop_newest\"";
    let more = format!(
        r#"
[sources.by_file]
type = "nomad_events"
endpoints = ["http://me:${{PLANTED_USER_INFO}}@{server}"]
token_file = "token"
backoff_max_secs = 1
[sources.by_environment]
type = "nomad_events"
endpoints = ["http://{proxied}"]
backoff_max_secs = 1
[sources.metrics]
type = "internal_metrics"
[sinks.console]
type = "console"
inputs = ["nomad.*", "by_file", "by_environment"]
encoding.codec = "json"
[sinks.webhook]
type = "http"
inputs = ["nomad.*"]
uri = "http://${{SINKS}}/services/${{PLANTED_PATH}}?key=${{PLANTED_QUERY}}"
encoding.codec = "json"
auth = {{ strategy = "bearer", token = "${{PLANTED_BEARER}}" }}
request.headers = {{ X-Key = "${{PLANTED_HEADER}}", X-Team = "{{{{ Topic }}}} ${{PLANTED_TEMPLATE}}" }}
healthcheck.uri = "http://${{SINKS}}/services/${{PLANTED_PATH}}"
{retried}
[sinks.webhook_by_event]
type = "http"
inputs = ["nomad.*"]
uri = "http://me:${{PLANTED_WEBHOOK_USER}}@${{SINKS_FOR_GOOD}}/services/{{{{ Topic }}}}/${{PLANTED_PATH}}"
encoding.codec = "json"
{retried}
[sinks.gone]
type = "http"
inputs = ["nomad.*"]
uri = "https://me:${{PLANTED_WEBHOOK_USER}}@127.0.0.1:1/services/${{PLANTED_PATH}}"
encoding.codec = "json"
{retried}
[sinks.loki_by_bearer]
type = "loki"
inputs = ["nomad.*"]
endpoint = "http://${{SINKS}}"
labels.topic = "{{{{ Topic }}}}"
encoding.codec = "json"
auth = {{ strategy = "bearer", token = "${{PLANTED_BEARER}}" }}
{retried}
[sinks.loki_by_url]
type = "loki"
inputs = ["nomad.*"]
endpoint = "http://${{PLANTED_USER}}:${{PLANTED_URL_PASSWORD}}@${{SINKS_FOR_GOOD}}"
labels.topic = "{{{{ Topic }}}}"
encoding.codec = "json"
{retried}
[sinks.prometheus]
type = "prometheus_exporter"
inputs = ["metrics"]
address = "127.0.0.1:0"
auth = {{ strategy = "basic", user = "me", password = "${{PLANTED_SCRAPE}}" }}
"#,
        server = server.address,
        proxied = proxied.address,
    );
    place.file("secrets.toml", &format!("{shipped}\n{more}"))
}

/// Secrets in what a server sends that is no whole line, or none of ours.
fn misbehave(nomad: &FakeNomad, planted: &mut Planted, token: &str) {
    let cut = planted.secret("a line that is cut");
    let broken = planted.secret("a line that is none");
    let long = planted.secret("a line that is too long");
    let piece = planted.secret("the end of a stream");
    let line = |index: u64, secret: &str, more: &str| {
        format!(
            r#"{{"Index":{index},"Events":[{{"Topic":"Job","Type":"JobRegistered","Key":"k","Payload":{{"Job":{{"Env":"{secret}{more}"#
        )
    };
    nomad.append_opaque(10_001, line(10_001, &cut, ""));
    nomad.append_opaque(10_002, format!("<html>{broken}"));
    nomad.append_opaque(
        10_003,
        line(10_003, &long, &"x".repeat(100_000)) + "\"}}}]}",
    );
    nomad.script(Script::answer(403, format!("no such token: {token}")));
    nomad.script(Script::new().fault(Point::Lines(3), Fault::Text(piece)));
}

/// More of it; each costs a pause, which `tail` cannot make shorter.
fn misbehave_often(nomad: &FakeNomad, token: &str) {
    nomad.script(Script::answer(500, format!("{}{token}", "x".repeat(240))));
    nomad.script(Script::new().fault(Point::Lines(5), Fault::Text(format!("token {token}"))));
    nomad.script(Script::new().fault(Point::InsideLine(9), Fault::Close));
    nomad.script(Script::new().fault(Point::InsideLine(12), Fault::Reset));
}

/// Where the log says that metrics are.
async fn scraped_at(run: &Running) -> String {
    run.until_errors("/metrics").await;
    let log = run.errors();
    let (before, _) = log.split_once("/metrics").unwrap();
    before.rsplit("http://").next().unwrap().to_owned()
}

async fn scrape(address: &str, authorization: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: {authorization}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn no_secret_leaves_a_run_among_servers_that_quote_and_cut() {
    let mut planted = Planted::default();
    planted.add("the recorded secret", RECORDED_SECRET);
    planted.add("the passphrase", KEY_PASS);
    let place = Place::new();
    let authority = Authority::new("nomad");
    let issued = authority.issue(&["127.0.0.1"]);
    place.file("ca.pem", &authority.pem());
    place.file("client.crt", CLIENT_CRT);
    place.file("client.key", CLIENT_KEY);
    let mut command = nomad_events(&["run", "--config", "secrets.toml"]);
    let mut secret = |command: &mut Command, variable: &str| {
        let secret = planted.secret(variable);
        command.env(variable, &secret);
        secret
    };
    let token = secret(&mut command, "PLANTED_TOKEN");
    secret(&mut command, "NOMAD_TOKEN");
    let password = secret(&mut command, "PLANTED_PASSWORD");
    let user_info = secret(&mut command, "PLANTED_USER_INFO");
    let url_password = secret(&mut command, "PLANTED_URL_PASSWORD");
    let scraper = secret(&mut command, "PLANTED_SCRAPE");
    let webhook_user = secret(&mut command, "PLANTED_WEBHOOK_USER");
    for variable in [
        "PLANTED_PATH",
        "PLANTED_QUERY",
        "PLANTED_BEARER",
        "PLANTED_HEADER",
        "PLANTED_TEMPLATE",
    ] {
        secret(&mut command, variable);
    }
    let proxy = planted.secret("NOMAD_HTTP_AUTH");
    place.file("token", &format!("{}\n", planted.secret("the token file")));
    for (what, user, password) in [
        ("Loki's password", "me", &password),
        ("Loki's password in its URL", "me", &url_password),
        ("the user info", "me", &user_info),
        ("the scraper's password", "me", &scraper),
        ("the webhook's user", "me", &webhook_user),
        ("NOMAD_HTTP_AUTH", "proxy", &proxy),
    ] {
        planted.add_basic(what, user, password);
    }

    let nomad = FakeNomad::builder()
        .version(Version::V1_11_1)
        .token(&token)
        .tls(ServerTls::new(&issued.crt, &issued.key).unwrap())
        .buffer_size(10_000)
        .lines(sample())
        .start()
        .await
        .unwrap();
    nomad
        .append_batch(&planted_job(&mut planted, 10_000))
        .unwrap();
    misbehave(&nomad, &mut planted, &token);
    misbehave_often(&nomad, &token);
    nomad.append_batch(&job(10_004, "the-last")).unwrap();
    let options = FakeLokiOptions::default().with_basic_auth("me", &password);
    let loki = FakeLoki::start_with(options).await.unwrap();
    loki.script([
        LokiFault::status(400, format!("who is me:{password}?")),
        LokiFault::status(500, format!("wrong password {}", &password[..9])),
        LokiFault::status(401, format!("not {}", &password[11..])),
        LokiFault::Close,
        LokiFault::WrittenButFailed,
    ]);
    let [server, proxied] = [Mirror::start(NOMADS).await, Mirror::start(NOMADS).await];
    let [sinks, for_good] = [
        Mirror::start(SINKS).await,
        Mirror::start(SINKS_FOR_GOOD).await,
    ];
    config(&place, &nomad, [&server, &proxied]);
    command
        .env("NOMAD_EVENTS_LOG", "trace")
        .env("NOMAD_HTTP_AUTH", format!("proxy:{proxy}"))
        .env("PLANTED_PASS", KEY_PASS)
        .env("PLANTED_USER", "me")
        .env("SINKS", &sinks.address)
        .env("SINKS_FOR_GOOD", &for_good.address)
        .env("LOKI_ADDR", loki.url());
    let mut run = place.start(&mut command);

    let at = scraped_at(&run).await;
    let waited = eventually(PATIENCE, || {
        let last = |entry: &nomad_events::testing::loki::Entry| entry.line.contains("the-last");
        loki.distinct().iter().any(last)
            && server.has_quoted_all(NOMADS)
            && proxied.has_quoted_all(&NOMADS[..1])
            && sinks.requests() > 100
            && for_good.requests() > 100
    });
    assert!(waited.await.is_ok(), "{}", run.errors());
    let authorization = |password: &str| {
        let mut encoded = Planted::default();
        encoded.add_basic("", "me", password);
        format!("Basic {}", encoded.0[0].1)
    };
    let metrics = scrape(&at, &authorization(&scraper)).await;
    assert!(metrics.contains("nomad_events_gaps_total"), "{metrics}");
    let refused = scrape(&at, &authorization(&password)).await;
    assert!(refused.contains(" 401 "), "{refused}");
    // With sinks that never succeed the time for stopping runs out.
    let code = run.stop().await;
    assert!([0, 75].contains(&code), "{code}");

    let (log, output) = (run.errors(), run.output());
    for told in [
        "TRACE",
        "answered 403",
        "could not find out why",
        "line discarded",
        "too_long",
        "not_json",
        "healthcheck failed",
        "request failed, retrying",
        "request failed for good",
        "is not shown)",
        "stopped",
    ] {
        assert!(log.contains(told), "{told} is not in the log");
    }
    assert!(!log.contains("defect"), "{log}");
    assert!(output.contains("[REDACTED]") && output.contains("Disconnected"));
    let pushed = format!("{:?}", loki.entries());
    assert!(pushed.contains("Disconnected"));
    for (way, text) in [
        ("the log", &log),
        ("the output", &output),
        ("a push", &pushed),
        ("a webhook", &sinks.bodies()),
        ("a webhook by event", &for_good.bodies()),
        ("metrics", &metrics),
        ("a refused scrape", &refused),
    ] {
        planted.assert_absent(way, text);
    }
}

#[tokio::test]
async fn no_secret_leaves_tail() {
    let mut planted = Planted::default();
    planted.add("the recorded secret", RECORDED_SECRET);
    let token = planted.secret("the token");
    let user_info = planted.secret("the user info");
    planted.add_basic("the user info", "me", &user_info);
    let server = Mirror::start(NOMADS).await;
    for arguments in [&["tail"][..], &["tail", "--json", "--log-format", "json"]] {
        let nomad = FakeNomad::builder()
            .version(Version::V1_11_1)
            .token(&token)
            .buffer_size(10_000)
            .lines(sample())
            .start()
            .await
            .unwrap();
        nomad
            .append_batch(&planted_job(&mut planted, 10_000))
            .unwrap();
        misbehave(&nomad, &mut planted, &token);
        nomad.append_batch(&job(10_004, "the-last")).unwrap();
        let address = nomad.url().replace("://", &format!("://me:{user_info}@"));
        let quoting = format!("http://me:{user_info}@{}", server.address);
        for address in [address, quoting] {
            let mut command = nomad_events(arguments);
            command
                .args(["--address", &address])
                .env("NOMAD_TOKEN", &token)
                .env("NOMAD_EVENTS_LOG", "trace");
            let mut tail = Place::new().start(&mut command);
            let before = server.requests();
            let waited = eventually(PATIENCE, || {
                tail.output().contains("the-last") || server.requests() > before + 3
            });
            assert!(waited.await.is_ok(), "{}", tail.errors());
            assert_eq!(tail.stop().await, 0);
            planted.assert_absent("the output", &tail.output());
            planted.assert_absent("the log", &tail.errors());
        }
    }
}
