use std::io::Read as _;

use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;

use super::*;
use crate::testing::exposition::parse;

fn config(text: &str) -> PrometheusExporterConfig {
    toml::from_str(text).unwrap()
}

/// An exporter that shows what a registry with one counter has.
fn exporter(options: &str) -> PrometheusExporter {
    let registry = Registry::default();
    registry.process().within(|| {
        metrics::describe_counter!("seen_total", "Seen");
        metrics::counter!("seen_total").increment(3);
    });
    let exporter =
        PrometheusExporter::new("scrape", &config(options), &Registry::default()).unwrap();
    exporter.take(registry.samples());
    exporter
}

async fn get(
    exporter: &PrometheusExporter,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, HeaderMap, Bytes) {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = exporter.respond(&request.body(()).unwrap());
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn metrics_are_at_one_path_only() {
    let exporter = exporter("");
    let (status, headers, body) = get(&exporter, "/metrics", &[]).await;
    assert_eq!(
        (status, headers["content-type"].as_bytes()),
        (200, &b"text/plain; version=0.0.4"[..])
    );
    let scrape = parse(std::str::from_utf8(&body).unwrap()).unwrap();
    assert_eq!(scrape["seen_total"].sum(&[]), 3.0);
    for path in ["/", "/metrics/", "/health"] {
        assert_eq!(get(&exporter, path, &[]).await.0, 404, "{path}");
    }
    let post = Request::post("/metrics").body(()).unwrap();
    assert_eq!(exporter.respond(&post).status(), 404);
}

#[tokio::test]
async fn who_takes_gzip_gets_it() {
    let exporter = exporter("");
    for (accepted, packed) in [
        ("gzip", true),
        ("deflate, GZIP;q=0.5", true),
        ("gzip;q=0", false),
        ("identity", false),
    ] {
        let (_, headers, body) = get(&exporter, "/metrics", &[("accept-encoding", accepted)]).await;
        assert_eq!(
            headers.contains_key("content-encoding"),
            packed,
            "{accepted}"
        );
        let mut text = String::new();
        if packed {
            GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        } else {
            text.push_str(std::str::from_utf8(&body).unwrap());
        }
        assert_eq!(parse(&text).unwrap()["seen_total"].sum(&[]), 3.0);
    }
}

#[tokio::test]
async fn who_has_no_credentials_gets_nothing() {
    for (auth, right) in [
        (
            r#"{ strategy = "basic", user = "me", password = "pass" }"#,
            "Basic bWU6cGFzcw==",
        ),
        (r#"{ strategy = "bearer", token = "tok" }"#, "Bearer tok"),
        (
            r#"{ strategy = "custom", value = "Other way" }"#,
            "Other way",
        ),
    ] {
        let exporter = exporter(&format!("auth = {auth}"));
        for (given, status) in [(right, 200), ("Bearer to", 401), ("", 401)] {
            let headers = [("authorization", given)];
            let (found, headers, body) = get(&exporter, "/metrics", &headers).await;
            assert_eq!(found, status, "{auth} {given}");
            assert_eq!(headers.contains_key("www-authenticate"), status == 401);
            assert_eq!(body.is_empty(), status == 401);
        }
        assert_eq!(get(&exporter, "/metrics", &[]).await.0, 401);
        assert_eq!(get(&exporter, "/", &[]).await.0, 401);
        let shown = format!("{:?}{exporter:?}", config(&format!("auth = {auth}")));
        for secret in ["\"pass\"", "\"tok\"", "Other way", "bWU6"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn timestamps_are_shown_unless_suppressed() {
    for (options, shown) in [("", true), ("suppress_timestamp = true", false)] {
        let (text, _) = exporter(options).text();
        let scrape = parse(&text).unwrap();
        let (_, value) = scrape["seen_total"].series.first_key_value().unwrap();
        assert_eq!(value.at.is_some(), shown);
    }
}

#[test]
fn a_strategy_of_vectors_is_refused_by_name() {
    let config = config("auth = { strategy = \"aws\", auth = {} }");
    let refusal = PrometheusExporter::new("scrape", &config, &Registry::default()).unwrap_err();
    assert!(
        refusal.contains("`aws`") && refusal.contains("nomad-vector"),
        "{refusal}"
    );
}

#[test]
fn defaults_are_those_of_vector() {
    let config = config("");
    assert_eq!(config.address.to_string(), "0.0.0.0:9598");
    assert_eq!(config.flush_period, Duration::from_secs(60));
}
