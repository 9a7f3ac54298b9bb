//! `run` with metrics and the API: what a scraper and a health check see of it over HTTP.

use std::fs;
use std::time::Duration;

use nomad_events::options::DEFAULT_TOPICS;
use nomad_events::testing::eventually;
use nomad_events::testing::exposition::{Scrape, parse};
use nomad_events::testing::loki::{Fault, Gate};
use nomad_events::testing::nomad::FakeNomad;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{
    PATIENCE, Place, RECORDED_SECRET, Running, expected, fakes, finished, is_notice, job,
    nomad_events, root, run_command, sample, until_events,
};

/// What the README says to add to a configuration, on free ports.
pub(super) fn example() -> String {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = page.split_once("\n### Metrics\n").unwrap();
    let (_, rest) = rest.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    assert!(example.contains("127.0.0.1:9598") && example.contains("enabled = true"));
    example.replace("127.0.0.1:9598", "127.0.0.1:0").replace(
        "enabled = true",
        "enabled = true\naddress = \"127.0.0.1:0\"",
    )
}

/// The recommended configuration with this behind it, and a push as soon as there is one.
fn with_metrics(place: &Place, source: &str, rest: &str) -> String {
    let shipped = place.config(source, "batch.timeout_secs = 0.1");
    let text = fs::read_to_string(place.0.path().join(shipped)).unwrap();
    place.file("metrics.toml", &format!("{text}\n{}\n{rest}", example()))
}

/// Where the log says that something is.
pub(super) async fn address(run: &Running, path: &str) -> String {
    run.until_errors(path).await;
    let log = run.errors();
    let (before, _) = log.split_once(path).unwrap();
    before.rsplit("http://").next().unwrap().to_owned()
}

/// Asks by GET. Gives the status and the body.
async fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

async fn scrape(address: &str) -> Scrape {
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(!text.contains(RECORDED_SECRET));
    parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// Scrapes until it shows what it should. Values are read once a second.
pub(super) async fn until(address: &str, condition: impl Fn(&Scrape) -> bool) -> Scrape {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let scrape = scrape(address).await;
        if condition(&scrape) {
            return scrape;
        }
        let late = tokio::time::Instant::now() > deadline;
        assert!(!late, "not shown in time: {scrape:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) fn of(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    scrape[&format!("vector_{name}")].sum(labels)
}

#[tokio::test]
async fn a_scrape_shows_what_was_served_and_delivered() {
    let lines = sample();
    let (nomad, loki) = fakes(&lines).await;
    let place = Place::new();
    let config = with_metrics(&place, "", "");
    let run = place.start(&mut run_command(&config, &nomad, &loki));
    let at = address(&run, "/metrics").await;

    // From the first moment on.
    let first = scrape(&at).await;
    assert_eq!(of(&first, "nomad_events_gaps_total", &[]), 0.0);

    let mut taken = 0;
    let mut filtered = 0;
    let mut last = 0;
    for line in &lines {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        for event in line["Events"].as_array().unwrap() {
            let topic = event["Topic"].as_str().unwrap();
            if DEFAULT_TOPICS.contains(&topic) {
                taken += 1;
                last = line["Index"].as_u64().unwrap();
                let node = topic == "Node" && event["Type"] == "AllocationUpdated";
                filtered += u32::from(node);
            }
        }
    }
    let delivered = expected(&lines).len();
    assert_eq!(usize::try_from(taken - filtered).unwrap(), delivered);
    until_events(&loki, delivered).await;
    let scrape = until(&at, |scrape| {
        let position = [("position", "acknowledged")];
        of(scrape, "nomad_events_index", &position) == last as f64
    })
    .await;
    let taken = f64::from(taken);
    let notices = loki
        .entries()
        .iter()
        .filter(|entry| is_notice(entry))
        .count() as f64;
    for (name, labels, value) in [
        ("nomad_events_connected", &[][..], 1.0),
        ("nomad_events_index", &[("position", "read")], last as f64),
        (
            "nomad_events_index",
            &[("position", "emitted")],
            last as f64,
        ),
        ("nomad_events_events_total", &[], taken),
        ("nomad_events_connections_total", &[], 1.0),
        ("nomad_events_disconnects_total", &[], 0.0),
        ("nomad_events_duplicates_total", &[], 0.0),
        ("nomad_events_rejected_events_total", &[], 0.0),
        ("nomad_events_queued_bytes", &[], 0.0),
        ("nomad_events_queue_limit_bytes", &[], 33_554_432.0),
        (
            "component_received_events_total",
            &[("component_id", "nomad")],
            taken + notices,
        ),
        (
            "component_discarded_events_total",
            &[("component_id", "node_changes"), ("intentional", "true")],
            f64::from(filtered),
        ),
        (
            "component_sent_events_total",
            &[("component_id", "loki")],
            delivered as f64 + notices,
        ),
        ("component_errors_total", &[], 0.0),
    ] {
        assert_eq!(of(&scrape, name, labels), value, "{name} {labels:?}");
    }
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let received = of(
        &scrape,
        "component_received_bytes_total",
        &[("component_id", "nomad")],
    );
    assert!(
        received <= bytes as f64 + 1000.0 && received > 0.5 * bytes as f64,
        "{received} of {bytes}"
    );
}

#[tokio::test]
async fn what_goes_wrong_is_counted_by_its_cause() {
    let (nomad, loki) = fakes(&[]).await;
    let place = Place::new();
    let config = with_metrics(&place, "max_line_bytes = 4096", "");
    let run = place.start(&mut run_command(&config, &nomad, &loki));
    let at = address(&run, "/metrics").await;
    nomad.append_batch(&job(5, "web")).unwrap();
    until_events(&loki, 1).await;
    nomad.append_opaque(
        6,
        format!("{{\"Index\":6,\"Events\":[\"{}\"]}}", "x".repeat(5000)),
    );
    let discarded = [("reason", "too_long")];
    let scrape = until(&at, |scrape| {
        of(scrape, "nomad_events_discarded_lines_total", &discarded) == 1.0
    })
    .await;
    assert_eq!(
        of(
            &scrape,
            "nomad_events_gaps_total",
            &[("cause", "line_discarded")]
        ),
        1.0
    );
    assert_eq!(of(&scrape, "nomad_events_discarded_lines_total", &[]), 1.0);

    nomad.append_batch(&job(7, "web")).unwrap();
    until_events(&loki, 2).await;
    nomad.stop().await;
    let scrape = until(&at, |scrape| {
        of(scrape, "nomad_events_connected", &[]) == 0.0
    })
    .await;
    assert!(of(&scrape, "nomad_events_disconnects_total", &[]) >= 1.0);
    nomad.start_again().await.unwrap();
    let scrape = until(&at, |scrape| {
        of(scrape, "nomad_events_connected", &[]) == 1.0
    })
    .await;
    assert_eq!(of(&scrape, "nomad_events_connections_total", &[]), 2.0);
    // Each is one failure of the component too.
    let failures = of(&scrape, "nomad_events_disconnects_total", &[])
        + of(&scrape, "nomad_events_discarded_lines_total", &[]);
    let source = [("component_id", "nomad")];
    assert_eq!(of(&scrape, "component_errors_total", &source), failures);

    loki.script([Fault::status(400, "no")]);
    nomad.append_batch(&job(8, "refused")).unwrap();
    until(&at, |scrape| {
        of(scrape, "nomad_events_rejected_events_total", &[]) == 1.0
    })
    .await;
}

#[tokio::test]
async fn two_sources_in_one_process_have_their_own_series() {
    let (nomad, loki) = fakes(&[]).await;
    let other = FakeNomad::builder().start().await.unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    other.append_batch(&job(900, "batch")).unwrap();
    let place = Place::new();
    let second = format!(
        "[sources.other]\ntype = \"nomad_events\"\nendpoints = [\"{}\"]\n\
         [sinks.rest]\ntype = \"blackhole\"\ninputs = [\"other\"]\n",
        other.url()
    );
    let config = with_metrics(&place, "", &second);
    let run = place.start(&mut run_command(&config, &nomad, &loki));
    let at = address(&run, "/metrics").await;
    for (id, index) in [("nomad", 5.0), ("other", 900.0)] {
        let read = [("component_id", id), ("position", "read")];
        let scrape = until(&at, |scrape| {
            of(scrape, "nomad_events_index", &read) == index
        })
        .await;
        assert_eq!(
            of(
                &scrape,
                "nomad_events_events_total",
                &[("component_id", id)]
            ),
            1.0
        );
    }
}

#[tokio::test]
async fn the_silence_grows_while_nothing_comes() {
    let (nomad, loki) = fakes(&[]).await;
    let place = Place::new();
    let config = with_metrics(&place, "", "");
    let run = place.start(&mut run_command(&config, &nomad, &loki));
    let at = address(&run, "/metrics").await;
    let silence = |scrape: &Scrape| of(scrape, "nomad_events_seconds_since_last_line", &[]);
    let early = until(&at, |scrape| {
        of(scrape, "nomad_events_connected", &[]) == 1.0
    })
    .await;
    let later = until(&at, |scrape| silence(scrape) >= 2.0).await;
    assert!(silence(&early) < silence(&later));
    assert!(early.keys().eq(later.keys()));
}

#[tokio::test]
async fn health_is_well_until_the_stop_and_nothing_else_is_told() {
    let (nomad, loki) = fakes(&[]).await;
    let gate = Gate::new();
    loki.afterwards(Some(Fault::Hold(gate.clone())));
    let place = Place::new();
    let config = with_metrics(&place, "stop_timeout_secs = 30", "");
    let mut run = place.start(&mut run_command(&config, &nomad, &loki));
    let at = address(&run, "/health").await;
    assert_eq!(
        get(&at, "/health").await,
        (200, r#"{"ok":true}"#.to_owned())
    );
    assert_eq!(get(&at, "/graphql").await.0, 404);
    // The notices are the first push.
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    loki.wait_for_pushes(2, PATIENCE).await.unwrap();

    let metrics = address(&run, "/metrics").await;
    run.signal(Signal::TERM);
    run.until_errors("stopping; once more to leave at once")
        .await;
    let mut health = (200, String::new());
    while health.0 == 200 {
        health = get(&at, "/health").await;
    }
    assert_eq!(health, (503, r#"{"ok":false}"#.to_owned()));
    // Still to be seen while the last events are delivered.
    scrape(&metrics).await;
    gate.open();
    assert_eq!(run.code().await, 0);
    let gone = eventually(PATIENCE, || std::net::TcpStream::connect(&at).is_err()).await;
    assert!(gone.is_ok());
}

#[tokio::test]
async fn an_address_in_use_ends_the_start_with_78_and_a_remedy() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let place = Place::new();
    let config = with_metrics(&place, "", "");
    let text = fs::read_to_string(place.0.path().join(&config)).unwrap();
    let text = text.replacen("127.0.0.1:0", &taken.to_string(), 1);
    let config = place.file("taken.toml", &text);
    let folder = place.0.path().to_owned();
    let mut command = nomad_events(&["run", "--config", &config]);
    let (code, _, errors) = finished(command.current_dir(&folder)).await;
    assert_eq!(code, 78, "{errors}");
    let expected = format!("sink \"prometheus\": option `address`: cannot listen on {taken}: ");
    assert!(errors.contains(&expected), "{errors}");
    assert!(errors.contains("choose another port"), "{errors}");

    // `validate` listens nowhere.
    let mut command = nomad_events(&["validate", &config]);
    let (code, output, _) = finished(command.current_dir(&folder)).await;
    assert_eq!((code, output), (0, "taken.toml: valid\n".to_owned()));
}
