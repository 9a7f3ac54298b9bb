//! Vector's commands know the source, and take the shipped configurations.

use crate::host::Place;

/// Each with a file of unit tests.
const SHIPPED: [(&str, &str); 5] = [
    ("config/vector.toml", "config/tests.toml"),
    ("config/talk.toml", "config/talk.tests.toml"),
    ("config/drained.toml", "config/drained.tests.toml"),
    ("config/alerts.toml", "config/alerts.tests.toml"),
    ("config/slack.toml", "config/slack.tests.toml"),
];

#[test]
fn the_source_is_listed() {
    let (code, output, _) = Place::new().finished(&["list"]);
    assert_eq!(code, 0);
    assert!(
        output.lines().any(|line| line.trim() == "- nomad_events"),
        "{output}"
    );
}

#[test]
fn a_generated_configuration_can_be_run() {
    let place = Place::new();
    let (code, output, log) = place.finished(&["generate", "nomad_events//console"]);
    assert_eq!(code, 0, "{log}");
    assert!(output.contains("type: nomad_events"), "{output}");
    assert!(output.contains("queue_bytes: 33554432"), "{output}");
    // Vector writes this for the sink, and does not read it again.
    let output = output.replace("      uri: null\n", "");
    let config = place.file("generated.yaml", &output);
    let (code, output, log) = place.finished(&["validate", "--no-environment", &config]);
    assert_eq!(code, 0, "{output}{log}");
}

#[test]
fn the_schema_has_every_option_with_its_description() {
    let (code, output, log) = Place::new().finished(&["generate-schema"]);
    assert_eq!(code, 0, "{log}");
    let schema: serde_json::Value = serde_json::from_str(&output).unwrap();
    let source = &schema["definitions"]["nomad_vector::config::NomadEventsConfig"];
    let options = source["properties"]
        .as_object()
        .unwrap_or_else(|| panic!("{source:#}"));
    for name in [
        "endpoints",
        "topics",
        "token",
        "tls",
        "start_at",
        "queue_bytes",
    ] {
        assert!(options.contains_key(name), "{name}");
    }
    for (name, option) in options {
        let described = option["description"].is_string()
            || option["title"].is_string()
            || option["allOf"].is_array()
            || option["$ref"].is_string();
        assert!(described, "{name}: {option:#}");
    }
}

#[test]
fn the_shipped_configurations_are_valid() {
    for (config, _) in SHIPPED {
        let place = Place::new();
        let (code, output, log) = place.finished(&["validate", "--no-environment", config]);
        assert_eq!(code, 0, "{output}{log}");
        assert!(!output.contains("has no consumers"), "{output}");
    }
}

#[test]
fn the_tests_of_the_shipped_configurations_pass() {
    for (config, tests) in SHIPPED {
        let (code, output, log) = Place::new().finished(&["test", config, tests]);
        assert_eq!(code, 0, "{output}{log}");
        assert!(output.contains("passed"), "{output}");
    }
}

#[test]
fn the_graph_has_an_edge_for_each_output() {
    let (code, output, log) = Place::new().finished(&["graph", "--config", "config/vector.toml"]);
    assert_eq!(code, 0, "{log}");
    for port in ["job", "allocation", "node", "notices", "_unmatched"] {
        assert!(
            output.contains(&format!("[label=\"{port}\"")),
            "{port}: {output}"
        );
    }
}

#[test]
fn what_is_wrong_is_told_with_the_option_and_what_to_do() {
    let wrong = |source: &str| {
        let place = Place::new();
        let config = place.changed(source, "");
        let (code, output, log) = place.finished(&["validate", "--skip-healthchecks", &config]);
        assert_eq!(code, 78, "{output}{log}");
        format!("{output}{log}")
    };
    for (source, told) in [
        (
            "endpoint = \"http://127.0.0.1:4646\"",
            "unknown field `endpoint`",
        ),
        ("namespace = \"team-*\"", "option `namespace`"),
        ("connect_timeout_secs = 0", "option `connect_timeout_secs`"),
        (
            "start_at = \"yesterday\"",
            "expected \"earliest\", \"latest\" or a Raft index",
        ),
    ] {
        let message = wrong(source);
        assert!(message.contains(told), "{source}: {message}");
    }
}
