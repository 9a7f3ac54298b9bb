//! What Vector's `internal_metrics` says of the source.

use std::net::TcpListener;

use nomad_events::telemetry::METRICS;
use nomad_events::testing::eventually;
use nomad_events::testing::loki::FakeLoki;
use nomad_events::testing::nomad::FakeNomad;

use crate::host::{PATIENCE, Place, job, until_jobs};

/// Vector puts its own name in front of every metric.
const NAMESPACE: &str = "vector_";

fn scrape(port: u16) -> String {
    use std::io::{Read as _, Write as _};
    let mut text = String::new();
    let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return text;
    };
    let request = "GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n";
    if socket.write_all(request.as_bytes()).is_ok() {
        let _ = socket.read_to_string(&mut text);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_metrics_carry_the_component_and_are_all_there() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let loki = FakeLoki::start().await.unwrap();
    let place = Place::new();
    let config = place.changed("", "batch.timeout_secs = 0.1");
    let mut text = std::fs::read_to_string(place.path().join(&config)).unwrap();
    // Free a moment ago; nobody else on the machine takes ports of this range in turn.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    text.push_str(&format!(
        "\n[sources.internal]\ntype = \"internal_metrics\"\nscrape_interval_secs = 0.1\n\
         [sinks.prometheus]\ntype = \"prometheus_exporter\"\ninputs = [\"internal\"]\naddress = \"127.0.0.1:{port}\"\n"
    ));
    let config = place.file("metrics.toml", &text);
    let _run = place.start(&config, &nomad, &loki);
    nomad.append_batch(&job(5, "web")).unwrap();
    until_jobs(&loki, 1).await;

    let of_source = |text: &str, name: &str, label: &str| {
        text.lines().any(|line| {
            line.starts_with(&format!("{NAMESPACE}{name}{{"))
                && line.contains("component_id=\"nomad\"")
                && line.contains("component_type=\"nomad_events\"")
                && line.contains(label)
        })
    };
    let value = |text: &str, name: &str, label: &str| -> Option<f64> {
        let line = text.lines().find(|line| {
            line.starts_with(&format!("{NAMESPACE}{name}{{"))
                && line.contains("component_id=\"nomad\"")
                && line.contains(label)
        })?;
        line.split("} ").nth(1)?.split(' ').next()?.parse().ok()
    };
    let answered = eventually(PATIENCE, || {
        value(
            &scrape(port),
            "nomad_events_index",
            "position=\"acknowledged\"",
        ) == Some(5.0)
    });
    assert!(answered.await.is_ok(), "{}", scrape(port));
    let text = scrape(port);
    for metric in METRICS {
        assert!(of_source(&text, metric.name, ""), "{}: {text}", metric.name);
    }
    let protocol = format!("endpoint=\"{}\"", nomad.url());
    assert!(
        of_source(&text, "component_received_bytes_total", &protocol),
        "{text}"
    );
    assert!(
        of_source(&text, "component_errors_total", "error_code=\"too_long\""),
        "{text}"
    );
    // `Started`, `Connected` and the event, perhaps a `Status`.
    assert!(
        value(&text, "component_received_events_total", "") >= Some(3.0),
        "{text}"
    );
    assert_eq!(
        value(&text, "nomad_events_events_total", ""),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        value(&text, "nomad_events_connected", ""),
        Some(1.0),
        "{text}"
    );
}
