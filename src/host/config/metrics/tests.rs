use std::io;
use std::path::Path;

use super::super::{Config, Warnings};

const REST: &str = r#"
[sources.nomad]
type = "nomad_events"
[sinks.out]
type = "blackhole"
inputs = ["nomad"]
[sources.self]
type = "internal_metrics"
"#;

fn load(text: &str) -> Result<(Config, Warnings), String> {
    let text = format!("{text}\n{REST}");
    let files = move |_: &Path| -> io::Result<String> { Ok(text.clone()) };
    Config::load(Path::new("t.toml"), &|_| None, &files).map_err(|errors| errors.to_string())
}

fn exporter(id: &str, rest: &str) -> String {
    format!("[sinks.{id}]\ntype = \"prometheus_exporter\"\ninputs = [\"self\"]\n{rest}\n")
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    match load(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => {
            for part in parts {
                assert!(errors.contains(part), "{part:?} is not in:\n{errors}");
            }
        }
    }
}

#[test]
fn metrics_and_the_api_are_read() {
    let (config, warnings) = load(&exporter("scrape", "flush_period_secs = 30")).unwrap();
    assert_eq!(warnings, Warnings::default());
    assert_eq!((config.sources.len(), config.sinks.len()), (1, 1));
    let metrics = config.observability;
    assert_eq!(metrics.sources[0].id, "self");
    assert_eq!(metrics.exporters[0].inputs[0].to_string(), "self");
    assert!(!metrics.api.enabled);
    let (config, _) = load("api = { enabled = true }\n").unwrap();
    assert_eq!(
        config.observability.api.address.to_string(),
        "127.0.0.1:8686"
    );
}

#[test]
fn metrics_are_no_events_and_events_no_metrics() {
    refused(
        "[transforms.t]\ntype = \"filter\"\ninputs = [\"self\"]\ncondition = \"true\"\n\
         [sinks.b]\ntype = \"blackhole\"\ninputs = [\"*\"]\n",
        &[
            "t.toml:1: transform \"t\": input \"self\" gives metrics, which only a sink of type `prometheus_exporter`",
            "t.toml:5: sink \"b\": input \"self\" gives metrics",
            "nomad-vector",
        ],
    );
    let events = exporter("scrape", "").replace("\"self\"", "\"self\", \"nomad\"");
    refused(
        &events,
        &[
            "sink \"scrape\": input \"nomad\" gives events, and a `prometheus_exporter` takes metrics",
        ],
    );
}

#[test]
fn what_only_vector_has_is_refused_by_name() {
    for option in [
        "acknowledgements.enabled = true",
        "buckets = [1.0]",
        "default_namespace = \"x\"",
        "distributions_as_summaries = true",
        "quantiles = [0.5]",
        "tls.enabled = true",
    ] {
        let name = option.split([' ', '.']).next().unwrap();
        let expected = format!("option `{name}`: Vector has it, this program does not");
        refused(&exporter("scrape", option), &[&expected]);
    }
    refused("api.playground = true\n", &["api.playground"]);
    refused("api.graphql = true\n", &["api.graphql"]);
}

#[test]
fn values_that_cannot_be_are_refused_with_their_option() {
    for (option, part) in [
        (
            "address = \"localhost:9598\"",
            "is no IP address with a port",
        ),
        ("address = \"0.0.0.0\"", "is no IP address with a port"),
        (
            "flush_period_secs = 0",
            "0 is not a number of seconds from 1",
        ),
        ("flush_period_secs = 1.5", "flush_period_secs"),
    ] {
        refused(&exporter("scrape", option), &["sink \"scrape\"", part]);
    }
    for (option, part) in [
        (
            "scrape_interval_secs = 0",
            "0 is not a number of seconds from 0.001",
        ),
        (
            "scrape_interval_secs = -1.0",
            "-1 is not a number of seconds",
        ),
        (
            "scrape_interval_secs = inf",
            "inf is not a number of seconds",
        ),
        ("namespace = \"\"", "cannot begin the name of a metric"),
        ("namespace = \"a-b\"", "cannot begin the name of a metric"),
        ("tags.host_key = \"a.b\"", "is no name of a label"),
        ("tags.pid_key = \"__pid\"", "is no name of a label"),
        ("tags.other = \"x\"", "unknown option `tags.other`"),
    ] {
        let text = format!("[sources.other]\ntype = \"internal_metrics\"\n{option}\n");
        refused(&text, &["source \"other\"", part]);
    }
    refused(
        "api.address = \"here\"\n",
        &["option `api.address`", "is no IP address"],
    );
}

#[test]
fn two_cannot_listen_on_one_address() {
    let both = exporter("one", "") + &exporter("two", "address = \"127.0.0.1:9598\"");
    refused(
        &both,
        &["sink \"two\": option `address`: sink \"one\" listens on 127.0.0.1:9598 too"],
    );
    let with_api = format!(
        "api = {{ enabled = true, address = \"127.0.0.1:9598\" }}\n{}",
        exporter("one", "")
    );
    refused(
        &with_api,
        &["sink \"one\": option `address`: `api` listens on 127.0.0.1:9598 too"],
    );
    assert!(load(&with_api.replace("enabled = true", "enabled = false")).is_ok());
    let free = exporter("one", "address = \"127.0.0.1:0\"")
        + &exporter("two", "address = \"127.0.0.1:0\"")
        + &exporter("three", "address = \"[::1]:9598\"");
    assert!(load(&free).is_ok());
}

#[test]
fn metrics_read_more_rarely_than_they_are_kept_are_warned_of() {
    let text = "[sources.slow]\ntype = \"internal_metrics\"\nscrape_interval_secs = 60\n"
        .to_owned()
        + &exporter("scrape", "").replace("\"self\"", "\"self\", \"slow\"");
    let (_, warnings) = load(&text).unwrap();
    assert_eq!(warnings.0.len(), 1, "{warnings}");
    assert!(
        warnings.0[0].contains("\"slow\" reads them every 60 s"),
        "{warnings}"
    );
    let (_, warnings) = load(&(text + "flush_period_secs = 61\n")).unwrap();
    assert_eq!(warnings, Warnings::default());
}
