//! What a scrape of a running topology shows.

use std::collections::BTreeSet;

use metrics::with_local_recorder;

use super::*;
use crate::host::config::ConfigPath;
use crate::host::metrics::METRICS as HOST_METRICS;
use crate::telemetry::{METRICS, Metric, MetricKind};
use crate::testing::exposition::{Scrape, parse};

const EXPORTER: &str = r#"
[sources.self]
type = "internal_metrics"
[sinks.scrape]
type = "prometheus_exporter"
inputs = ["self"]
address = "127.0.0.1:0"
"#;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn build(text: &str) -> Topology {
    let text = text.to_owned();
    let files = move |_: &Path| -> io::Result<String> { Ok(text.clone()) };
    let (config, _) = Config::load(Path::new("t.toml"), &|_| None, &files)
        .unwrap_or_else(|errors| panic!("{errors}"));
    Topology::build(config).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Two sources without a Nomad, and one component of each type.
fn whole(interval: Duration) -> Topology {
    let source = |id: &str| {
        format!("[sources.{id}]\ntype = \"nomad_events\"\nendpoints = [\"http://127.0.0.1:1\"]\n")
    };
    let rest = r#"
        [transforms.program]
        type = "remap"
        inputs = ["a", "b"]
        source = ".seen = true"
        [transforms.split]
        type = "route"
        inputs = ["program"]
        route.jobs = '.Topic == "Job"'
        [transforms.few]
        type = "filter"
        inputs = ["split.jobs"]
        condition = '.Type == "JobRegistered"'
        [sinks.print]
        type = "console"
        inputs = ["few"]
        encoding.codec = "json"
        [sinks.push]
        type = "loki"
        inputs = ["few"]
        endpoint = "http://127.0.0.1:1"
        labels.topic = "{{ Topic }}"
        encoding.codec = "json"
        [sinks.drop]
        type = "blackhole"
        inputs = ["split._unmatched"]
    "#;
    let interval = format!(
        "\"internal_metrics\"\nscrape_interval_secs = {}",
        interval.as_secs()
    );
    let exporter = EXPORTER.replace("\"internal_metrics\"", &interval);
    build(&format!("{}{}{rest}{exporter}", source("a"), source("b")))
}

fn table() -> impl Iterator<Item = Metric> {
    METRICS.into_iter().chain(HOST_METRICS)
}

fn scrape(exporter: &crate::host::sinks::prometheus_exporter::PrometheusExporter) -> Scrape {
    let (text, _) = exporter.text();
    parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// Runs a topology for a while in which nothing happens. Gives the first scrape and the last one.
async fn idle(topology: Topology, time: Duration) -> (Scrape, Scrape) {
    let exporter = topology.observation.exporters().remove(0);
    let first = async {
        while scrape(&exporter).is_empty() {
            tokio::task::yield_now().await;
        }
        scrape(&exporter)
    };
    let run = topology.run(tokio::time::sleep(time));
    let (first, summary) = tokio::join!(first, run);
    assert_eq!(summary.ended, Ended::Stopped);
    (first, scrape(&exporter))
}

fn series(scrape: &Scrape) -> BTreeSet<String> {
    scrape
        .iter()
        .flat_map(|(name, family)| family.series.keys().map(move |l| format!("{name}{l:?}")))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_table_and_the_first_scrape_have_the_same_metrics() {
    let (first, _) = idle(whole(SECOND), SECOND).await;
    let shown: BTreeSet<String> = first.keys().cloned().collect();
    let listed: BTreeSet<String> = table().map(|m| format!("vector_{}", m.name)).collect();
    assert_eq!(shown, listed);
    for metric in table() {
        let family = &first[&format!("vector_{}", metric.name)];
        assert_eq!(family.help, metric.description, "{}", metric.name);
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        assert_eq!(family.kind, kind, "{}", metric.name);
        let used: BTreeSet<&str> = family
            .series
            .keys()
            .flat_map(|labels| labels.keys().map(String::as_str))
            .filter(|label| *label != "host" && !label.starts_with("component_"))
            .collect();
        let own: BTreeSet<&str> = metric.labels.iter().copied().collect();
        assert_eq!(used, own, "the labels of {}", metric.name);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_disappears_in_an_idle_hour_and_the_silence_grows() {
    let (first, last) = idle(whole(20 * SECOND), HOUR).await;
    assert!(series(&first).len() > 100);
    assert_eq!(series(&first), series(&last));
    for (name, at_least) in [
        (
            "vector_nomad_events_seconds_since_last_line",
            HOUR.as_secs_f64() - 25.0,
        ),
        ("vector_uptime_seconds", HOUR.as_secs_f64() - 25.0),
    ] {
        for value in last[name].series.values() {
            assert!(value.value >= at_least, "{name} {value:?}");
        }
    }
    let failed = &last["vector_nomad_events_disconnects_total"];
    assert!(failed.sum(&[("component_id", "a")]) > 100.0, "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn two_sources_keep_apart_and_each_series_names_its_component_once() {
    let (first, _) = idle(whole(SECOND), SECOND).await;
    for id in ["drop", "print", "push"] {
        for name in [
            "received_events",
            "sent_events",
            "discarded_events",
            "errors",
        ] {
            let family = &first[&format!("vector_component_{name}_total")];
            assert_eq!(family.sum(&[("component_id", id)]), 0.0, "{name} of {id}");
        }
    }
    let mut named = BTreeSet::new();
    for (name, family) in &first {
        for labels in family.series.keys() {
            let label = |name: &str| labels.get(name).map_or("", String::as_str).to_owned();
            let component = (
                label("component_kind"),
                label("component_id"),
                label("component_type"),
            );
            let of_source = name.starts_with("vector_nomad_events_");
            if of_source {
                assert_eq!(
                    (&*component.0, &*component.2),
                    ("source", "nomad_events"),
                    "{name}"
                );
            }
            named.insert(component);
        }
        if name.starts_with("vector_nomad_events_") {
            let of = |id: &str| {
                let mut labels: Vec<_> = family.series.keys().cloned().collect();
                labels.retain(|labels| labels["component_id"] == id);
                labels
                    .iter_mut()
                    .for_each(|labels| drop(labels.remove("component_id")));
                labels
            };
            assert_eq!(of("a"), of("b"), "{name}");
        }
    }
    let named: Vec<String> = named
        .into_iter()
        .map(|(kind, id, component_type)| format!("{kind} {id} {component_type}"))
        .collect();
    assert_eq!(
        named,
        [
            "  ",
            "sink drop blackhole",
            "sink print console",
            "sink push loki",
            "sink scrape prometheus_exporter",
            "source a nomad_events",
            "source b nomad_events",
            "source self internal_metrics",
            "transform few filter",
            "transform program remap",
            "transform split route",
        ]
    );
}

#[tokio::test]
async fn events_are_counted_where_they_come_and_where_they_go() {
    let mut bench = Bench::new(
        "multiple_outputs = true\n",
        &format!(
            r#"
            [transforms.program]
            type = "remap"
            inputs = ["nomad.job"]
            drop_on_error = true
            source = 'if .k == "bad" {{ . = parse_json!("no") }} else if .k == "no" {{ abort }}'
            [transforms.split]
            type = "route"
            inputs = ["program", "nomad.node"]
            route.jobs = '.t == "Job"'
            route.all = 'true'
            {}{}{EXPORTER}"#,
            blackhole("jobs", "[\"split.jobs\"]"),
            blackhole("all", "[\"split.all\"]"),
        ),
    );
    bench.batch(&[("Job", "x"), ("Job", "bad"), ("Job", "no"), ("Node", "n")]);
    bench.batch(&[("Service", "nobody takes it")]);
    bench.send(Item::Notice(gap()));
    let exporter = bench.topology.observation.exporters().remove(0);
    let registry = bench.topology.observation.registry.clone();
    bench.run_to_end().await;
    exporter.take(registry.samples());
    let scrape = scrape(&exporter);
    let value = |name: &str, id: &str, label: &str, value: &str| {
        let labels = [("component_id", id), (label, value)];
        let labels = if label.is_empty() {
            &labels[..1]
        } else {
            &labels
        };
        scrape[&format!("component_{name}_total")].sum(labels)
    };
    for (name, id, label, of, expected) in [
        ("received_events", "nomad", "", "", 6.0),
        ("sent_events", "nomad", "output", "job", 3.0),
        ("sent_events", "nomad", "output", "node", 1.0),
        ("sent_events", "nomad", "output", "service", 1.0),
        ("sent_events", "nomad", "output", "notices", 1.0),
        ("sent_events", "nomad", "output", "_unmatched", 0.0),
        ("received_events", "program", "", "", 3.0),
        ("sent_events", "program", "output", "_default", 1.0),
        ("errors", "program", "error_type", "conversion_failed", 1.0),
        ("discarded_events", "program", "intentional", "false", 1.0),
        ("discarded_events", "program", "intentional", "true", 1.0),
        ("received_events", "split", "", "", 2.0),
        ("sent_events", "split", "output", "jobs", 1.0),
        ("sent_events", "split", "output", "all", 2.0),
        ("sent_events", "split", "output", "_unmatched", 0.0),
        ("received_events", "jobs", "", "", 1.0),
        ("received_events", "all", "", "", 2.0),
    ] {
        assert_eq!(
            value(name, id, label, of),
            expected,
            "{name} {id} {label} {of}"
        );
    }
}

/// Runs a bench whose events all have a payload. Gives the scrape at its end, and how many trees were built.
async fn with_payloads(mut bench: Bench) -> (Scrape, usize) {
    let exporter = bench.topology.observation.exporters().remove(0);
    let registry = bench.topology.observation.registry.clone();
    bench.input = None;
    let feeds = bench.feeds;
    let trees = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let open = |_: &SourceNode| {
        let trees = Arc::clone(&trees);
        let with_payload = move |event: &Event, wanted: &Wanted| {
            trees.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut value = shape(event, wanted);
            if let Value::Object(fields) = &mut value {
                fields.insert("Payload".into(), Value::Null);
            }
            value
        };
        (feeds.lock().unwrap().pop_front().unwrap(), with_payload)
    };
    bench.topology.run_with(open, std::future::pending()).await;
    exporter.take(registry.samples());
    (
        scrape(&exporter),
        trees.load(std::sync::atomic::Ordering::Relaxed),
    )
}

/// The first event of a port may go through the graph twice, when it turns out that its payload is passed on.
#[tokio::test]
async fn an_event_that_is_done_again_is_counted_once() {
    let mut bench = Bench::new(
        "",
        &format!(
            "[transforms.program]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = \".x = 1\"\n{}{EXPORTER}",
            blackhole("out", "[\"program\"]"),
        ),
    );
    let seen = bench.sinks["out"].clone();
    bench.batch(&[("Job", "a"), ("Job", "b")]);
    let (scrape, trees) = with_payloads(bench).await;
    assert_eq!((seen.get().len(), trees), (2, 3));
    let of_program = [("component_id", "program")];
    for name in ["received", "sent"] {
        let family = &scrape[&format!("component_{name}_events_total")];
        assert_eq!(family.sum(&of_program), 2.0, "{name}");
    }
}

#[tokio::test]
async fn what_fails_on_an_event_that_is_done_again_is_counted_once() {
    let mut bench = Bench::new(
        "",
        &format!(
            r#"
            [transforms.fails]
            type = "remap"
            inputs = ["nomad"]
            source = '.x = parse_json!("no")'
            [transforms.drops]
            type = "remap"
            inputs = ["nomad"]
            drop_on_error = true
            source = '.x = parse_json!("no")'
            [transforms.aborts]
            type = "remap"
            inputs = ["nomad"]
            source = 'abort'
            [transforms.none]
            type = "filter"
            inputs = ["nomad"]
            condition = 'parse_json!("no") == 1'
            [transforms.split]
            type = "route"
            inputs = ["nomad"]
            route.a = 'parse_json!("no") == 1'
            [transforms.end]
            type = "remap"
            inputs = ["none", "split.a"]
            source = '.y = 1'
            {}{EXPORTER}"#,
            blackhole("out", "[\"fails\", \"drops\", \"aborts\", \"end\"]"),
        ),
    );
    let seen = bench.sinks["out"].clone();
    bench.batch(&[("Job", "a")]);
    let (scrape, trees) = with_payloads(bench).await;
    assert_eq!((seen.get().len(), trees), (1, 2));
    for (id, errors, discarded) in [
        ("fails", 1.0, 0.0),
        ("drops", 1.0, 1.0),
        ("aborts", 0.0, 1.0),
        ("none", 1.0, 1.0),
        ("split", 1.0, 0.0),
    ] {
        let of = [("component_id", id)];
        let value = |name: &str| scrape[&format!("component_{name}_total")].sum(&of);
        assert_eq!(value("errors"), errors, "errors of {id}");
        assert_eq!(
            value("discarded_events"),
            discarded,
            "discarded events of {id}"
        );
    }
}

/// The first scrape and the last one with these options of `internal_metrics`.
async fn scraped_with(options: &str, time: Duration) -> (Scrape, Scrape) {
    let options = format!("\"internal_metrics\"\n{options}");
    idle(
        build(&EXPORTER.replace("\"internal_metrics\"", &options)),
        time,
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn the_namespace_stands_before_every_name() {
    for (options, expected) in [("", "vector"), ("namespace = \"mine\"", "mine")] {
        let (scrape, _) = scraped_with(options, SECOND).await;
        let begins = format!("{expected}_");
        assert!(scrape.len() > 3, "{options}");
        assert!(
            scrape.keys().all(|name| name.starts_with(&begins)),
            "{options}: {:?}",
            scrape.keys()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_and_the_process_are_labels_of_every_series_by_the_names_that_are_given() {
    let host = hostname::get().unwrap().into_string().unwrap();
    let pid = std::process::id().to_string();
    for (options, expected) in [
        ("", vec![("host", &host)]),
        ("tags.host_key = \"where\"", vec![("where", &host)]),
        ("tags.host_key = \"\"", vec![]),
        (
            "tags.pid_key = \"process\"",
            vec![("host", &host), ("process", &pid)],
        ),
    ] {
        let (scrape, _) = scraped_with(options, SECOND).await;
        let all = || scrape.values().flat_map(|family| family.series.keys());
        for labels in all() {
            let given: Vec<(&str, &String)> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .filter(|(name, _)| ["host", "where", "process"].contains(name))
                .collect();
            assert_eq!(given, expected, "{options}");
        }
        assert!(all().count() > 3, "{options}");
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_are_read_at_the_interval_and_not_between() {
    let half = Duration::from_millis(500);
    for (options, uptime) in [
        ("", 60.0),
        ("scrape_interval_secs = 7", 56.0),
        ("scrape_interval_secs = 40", 40.0),
        ("scrape_interval_secs = 61", 0.0),
    ] {
        let (_, last) = scraped_with(options, 60 * SECOND + half).await;
        assert_eq!(last["vector_uptime_seconds"].sum(&[]), uptime, "{options}");
    }
}

/// As in Vector, where the recorder of the process adds what the span of the source says.
#[tokio::test]
async fn the_engine_registers_with_the_recorder_of_the_caller_and_names_no_component_itself() {
    let registry = Registry::default();
    let settings = crate::Options::default().settings(|_| None).unwrap();
    let stream = with_local_recorder(&registry.process(), || EventStream::follow(settings));
    let samples = registry.samples();
    for metric in METRICS {
        assert!(
            samples.iter().any(|sample| sample.name == metric.name),
            "{}",
            metric.name
        );
    }
    let named = |label: &str| {
        samples
            .iter()
            .any(|sample| sample.labels.contains_key(label))
    };
    assert!(named("position") && named("cause"));
    assert!(
        !["component_id", "component_kind", "component_type"]
            .into_iter()
            .any(named)
    );
    drop(stream);
}

#[tokio::test]
async fn an_address_in_use_is_refused_with_its_name_and_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!(
        "[api]\nenabled = true\naddress = \"{address}\"\n{}",
        EXPORTER
    );
    let errors = build(&config).listen().await.unwrap_err().to_string();
    let expected = format!("t.toml: `api`: option `address`: cannot listen on {address}: ");
    assert!(errors.starts_with(&expected), "{errors}");
    assert!(
        errors.contains("stop what listens there, or choose another port"),
        "{errors}"
    );
}

/// Both used to name the first file, and to show what the environment had put in.
#[tokio::test]
async fn what_an_exporter_refuses_is_said_of_its_file_and_shows_nothing_of_the_environment() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let path = |name: &str| ConfigPath {
        path: name.into(),
        format: None,
    };
    let refused = |options: &str| {
        let exporter = EXPORTER.replace("127.0.0.1:0", "${WHERE}") + options;
        let files = move |path: &Path| -> io::Result<String> {
            Ok(match path.to_str() {
                Some("b.toml") => exporter.clone(),
                _ => "[sources.nomad]\ntype = \"nomad_events\"\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n".to_owned(),
            })
        };
        let env = |name: &str| (name == "WHERE").then(|| address.clone());
        let paths = [path("a.toml"), path("b.toml")];
        Config::load_all(&paths, &env, &files).unwrap().0
    };
    let mut topology = Topology::build(refused("")).unwrap_or_else(|errors| panic!("{errors}"));
    let error = topology.listen().await.unwrap_err().to_string();
    let expected = "b.toml:4: sink \"scrape\": option `address`: cannot listen on ${WHERE}: ";
    assert!(error.starts_with(expected), "{error}");
    assert!(!error.contains(&address), "{error}");

    let Err(errors) = Topology::build(refused("auth.strategy = \"aws\"\n")) else {
        panic!("built");
    };
    let expected = "b.toml:4: sink \"scrape\": option `auth.strategy`: ";
    assert!(errors.to_string().starts_with(expected), "{errors}");
}

#[tokio::test(start_paused = true)]
async fn metrics_alone_are_shown_until_the_stop() {
    let topology = build(EXPORTER);
    let exporter = topology.observation.exporters().remove(0);
    let started = Instant::now();
    let summary = topology.run(tokio::time::sleep(HOUR)).await;
    assert_eq!((summary.ended, started.elapsed()), (Ended::Stopped, HOUR));
    assert!(scrape(&exporter)["vector_uptime_seconds"].sum(&[]) > 3590.0);
}
