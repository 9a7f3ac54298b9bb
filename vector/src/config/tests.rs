use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use vector::config::{ComponentKey, GlobalOptions};
use vector::test_util::test_generate_config;
use vector_lib::lookup::OwnedTargetPath;

use super::*;

/// What no option says: nothing comes from the environment of the test.
fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> NomadEventsConfig {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The options that a type knows, as its refusal of another one lists them.
fn known<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = toml::from_str::<T>("no_such_option = 1") else {
        panic!("an unknown option was accepted");
    };
    let message = error.to_string();
    let (_, expected) = message.split_once("expected one of").expect("a list");
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// A line for each option that changes it, TLS by the address that needs it.
const CHANGES: [(&str, &str); 20] = [
    (
        "endpoints",
        "endpoints = [\"http://10.0.0.1:4646\", \"http://10.0.0.2:4646\"]",
    ),
    ("topics", "topics = [\"Job\", \"Node\"]"),
    ("namespace", "namespace = \"production\""),
    ("region", "region = \"europe\""),
    ("token", "token = \"6f9bb5c1-0f36-4d4c-8d8f-0d1f8f0f8f0f\""),
    ("token_file", "token_file = \"/secrets/token\""),
    (
        "tls",
        "endpoints = [\"https://10.0.0.1:4646\"]\ntls.server_name = \"server.global.nomad\"\ntls.verify_hostname = false",
    ),
    ("start_at", "start_at = \"latest\""),
    ("data_dir", "data_dir = \"/var/local/lib/vector\""),
    ("redact", "redact = false"),
    ("job_changes", "job_changes = true"),
    ("multiple_outputs", "multiple_outputs = true"),
    ("max_line_bytes", "max_line_bytes = 65536"),
    ("queue_bytes", "queue_bytes = 1048576"),
    ("connect_timeout_secs", "connect_timeout_secs = 11"),
    ("idle_timeout_secs", "idle_timeout_secs = 91"),
    ("backoff_max_secs", "backoff_max_secs = 31"),
    ("namespace_refresh_secs", "namespace_refresh_secs = 61"),
    ("status_interval_secs", "status_interval_secs = 62"),
    ("stop_timeout_secs", "stop_timeout_secs = 5"),
];

#[test]
fn generate_config() {
    test_generate_config::<NomadEventsConfig>();
}

#[test]
fn what_is_not_set_is_what_the_engine_takes() {
    let ours = parse("").options().settings(no_env).unwrap();
    let engine = Options::default().settings(no_env).unwrap();
    assert_eq!(format!("{ours:?}"), format!("{engine:?}"));
    let default = NomadEventsConfig::default().options().settings(no_env);
    assert_eq!(format!("{:?}", default.unwrap()), format!("{engine:?}"));
}

#[test]
fn every_option_of_the_engine_is_there_and_comes_to_it() {
    let mut options = known::<Options>();
    assert_eq!(
        options,
        CHANGES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
        "a row for each"
    );
    let unset = format!("{}", Options::default().settings(no_env).unwrap());
    for (name, text) in CHANGES {
        let ours = parse(text).options().settings(no_env).unwrap();
        let engine: Options = toml::from_str(text).unwrap();
        let engine = engine.settings(no_env).unwrap();
        assert_eq!(format!("{ours:?}"), format!("{engine:?}"), "{name}");
        assert_eq!(ours.to_string(), engine.to_string(), "{name}");
        assert_ne!(ours.to_string(), unset, "{name} changes nothing");
    }
    options.insert("log_namespace".to_owned());
    assert_eq!(known::<NomadEventsConfig>(), options);
}

#[test]
fn every_option_of_tls_comes_to_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let missing = |name: &str| folder.path().join(name).display().to_string();
    for option in ["ca_file", "crt_file", "key_file"] {
        let file = missing(option);
        // Certificate and key go together, so that the one in question is missed.
        let other = match option {
            "crt_file" => format!("tls.key_file = '{}'", missing("other")),
            "key_file" => format!("tls.crt_file = '{}'", missing("other")),
            _ => String::new(),
        };
        let text =
            format!("endpoints = [\"https://127.0.0.1:4646\"]\ntls.{option} = '{file}'\n{other}");
        let error = parse(&text)
            .options()
            .settings(no_env)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&file) || error.contains(&missing("other")),
            "{option}: {error}"
        );
    }
    for text in [
        "tls.alpn_protocols = [\"h2\"]",
        "tls.key_pass = \"hunter2\"",
    ] {
        let text = format!("endpoints = [\"https://127.0.0.1:4646\"]\n{text}");
        let error = parse(&text)
            .options()
            .settings(no_env)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`tls."), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let on = |name: &str| {
        let text = format!("endpoints = [\"https://127.0.0.1:4646\"]\ntls.{name} = false");
        parse(&text).options().settings(no_env).unwrap().to_string()
    };
    assert_ne!(on("verify_certificate"), on("verify_hostname"));
}

#[test]
fn starting_points() {
    for (text, start_at) in [
        ("start_at = \"earliest\"", nomad_events::StartAt::Earliest),
        ("start_at = \"latest\"", nomad_events::StartAt::Latest),
        (
            "start_at = 812",
            nomad_events::StartAt::Index(nomad_events::RaftIndex(812)),
        ),
    ] {
        assert_eq!(nomad_events::StartAt::from(parse(text).start_at), start_at);
    }
}

#[test]
fn wrong_options_are_refused() {
    for text in [
        "endpoint = \"http://127.0.0.1:4646\"",
        "start_at = \"yesterday\"",
        "start_at = -1",
        "queue_bytes = 0",
        "max_line_bytes = 0",
        "connect_timeout_secs = \"1s\"",
        "topics = \"Job\"",
        "tls.ca = \"ca.pem\"",
    ] {
        assert!(toml::from_str::<NomadEventsConfig>(text).is_err(), "{text}");
    }
    for (text, option) in [
        ("connect_timeout_secs = 0", "connect_timeout_secs"),
        ("max_line_bytes = 100", "max_line_bytes"),
        ("topics = []", "topics"),
        ("topics = [\"Job\", \"Job:web\"]", "topics"),
        ("namespace = \"team-*\"", "namespace"),
        ("endpoints = [\"nomad:4646\"]", "endpoints"),
        ("token = \"a\"\ntoken_file = \"b\"", "token_file"),
        ("tls.verify_hostname = false", "tls"),
    ] {
        let error = parse(text).options().settings(no_env).unwrap_err();
        assert_eq!(error.option, option, "{error}");
    }
}

#[test]
fn secrets_do_not_show() {
    let config = parse(
        "endpoints = [\"https://user:hunter2@10.0.0.1:4646\"]\ntoken = \"hunter2-token\"\n\
         tls.key_pass = \"hunter2-pass\"",
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn ports(text: &str) -> Vec<Option<String>> {
    let outputs = parse(text).outputs(LogNamespace::Legacy);
    assert!(outputs.iter().all(|output| output.ty == DataType::Log));
    outputs.into_iter().map(|output| output.port).collect()
}

#[test]
fn outputs() {
    assert_eq!(ports(""), [None]);
    let named = |names: &[&str]| -> Vec<Option<String>> {
        names.iter().map(|name| Some((*name).to_owned())).collect()
    };
    assert_eq!(
        ports("multiple_outputs = true"),
        named(&[
            "job",
            "allocation",
            "evaluation",
            "deployment",
            "node",
            "service",
            "notices",
            "_unmatched"
        ])
    );
    assert_eq!(
        ports("multiple_outputs = true\ntopics = [\"ACLToken\", \"Job:a\", \"Job:b\"]"),
        named(&["acl_token", "job", "notices", "_unmatched"])
    );
    assert_eq!(
        ports("multiple_outputs = true\ntopics = [\"*\"]"),
        named(&["notices", "_unmatched"])
    );
    // Refused when it is built; until then nobody is told that an output is missing.
    assert_eq!(
        ports("multiple_outputs = true\ntopics = [\"Job\", \"Job:web\", \":\"]"),
        named(&["job", "notices", "_unmatched"])
    );
}

#[test]
fn sinks_can_ask_for_acknowledgements() {
    assert!(parse("").can_acknowledge());
}

/// The path that means the time of an event.
fn time_path(log_namespace: bool) -> OwnedTargetPath {
    let config = parse(&format!("log_namespace = {log_namespace}"));
    let output = &config.outputs(LogNamespace::Legacy)[0];
    let schema = output.schema_definition(true).unwrap();
    schema.meaning_path(meaning::TIMESTAMP).unwrap().clone()
}

#[test]
fn the_time_of_an_event_has_its_meaning_in_both_namespaces() {
    assert_eq!(time_path(false).to_string(), ".timestamp");
    assert_eq!(time_path(true).to_string(), "%nomad_events.timestamp");
}

#[tokio::test]
async fn the_global_namespace_counts_unless_the_source_has_its_own() {
    let output = |text: &str, global| {
        let schema = parse(text).outputs(global)[0].schema_definition(true);
        schema.unwrap().log_namespaces().clone()
    };
    for (text, global, effective) in [
        ("", LogNamespace::Legacy, LogNamespace::Legacy),
        ("", LogNamespace::Vector, LogNamespace::Vector),
        (
            "log_namespace = true",
            LogNamespace::Legacy,
            LogNamespace::Vector,
        ),
        (
            "log_namespace = false",
            LogNamespace::Vector,
            LogNamespace::Legacy,
        ),
    ] {
        assert_eq!(output(text, global), BTreeSet::from([effective]), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_fails_when_it_is_built() {
    let (out, _events) = vector::SourceSender::new_test();
    let mut cx = SourceContext::new_test(out, None);
    cx.key = ComponentKey::from("nomad");
    cx.globals = GlobalOptions::default();
    let Err(error) = parse("topics = [\"Job\", \"Job:web\"]").build(cx).await else {
        panic!("it was built");
    };
    assert!(error.to_string().contains("`topics`"), "{error}");
}

/// Builds the source `nomad`, and gives the error that it fails with.
async fn built(text: &str, global: Option<&Path>) -> Option<String> {
    let (out, _events) = vector::SourceSender::new_test();
    let mut cx = SourceContext::new_test(out, None);
    cx.key = ComponentKey::from("nomad");
    cx.globals.data_dir = global.map(Path::to_owned);
    let built = parse(text).build(cx).await;
    built.err().map(|error| error.to_string())
}

#[tokio::test]
async fn a_data_dir_that_is_missing_is_refused_and_building_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let option = |path: &Path| format!("data_dir = '{}'", path.display());
    for (own, global, refused) in [
        (String::new(), Some(folder.path()), None),
        (option(folder.path()), None, None),
        // Its own one counts.
        (option(folder.path()), Some(gone.as_path()), None),
        (
            option(&gone),
            Some(folder.path()),
            Some("gone\" does not exist"),
        ),
        (String::new(), Some(&gone), Some("gone\" does not exist")),
        (String::new(), None, Some("data_dir option required")),
    ] {
        let error = built(&own, global).await;
        match (refused, &error) {
            (None, None) => {}
            (Some(part), Some(error)) if error.contains(part) => {}
            _ => panic!("{own} {global:?}: {error:?}"),
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn what_was_saved_and_cannot_be_read_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let position = folder.path().join("nomad/position.json");
    fs::create_dir(folder.path().join("nomad")).unwrap();
    for (text, part) in [
        ("{\"format\"", "cut off"),
        (
            r#"{"format":"nomad-events position","version":99}"#,
            "newer version",
        ),
        (r#"{"checkpoints":[]}"#, "not a saved position"),
    ] {
        fs::write(&position, text).unwrap();
        let error = built("", Some(folder.path())).await.expect("a refusal");
        let name = position.display().to_string();
        assert!(error.contains(part) && error.contains(&name), "{error}");
        assert_eq!(fs::read_to_string(&position).unwrap(), text);
        assert_eq!(
            fs::read_dir(folder.path().join("nomad")).unwrap().count(),
            1
        );
    }
    // Of another component.
    fs::rename(folder.path().join("nomad"), folder.path().join("other")).unwrap();
    assert_eq!(built("", Some(folder.path())).await, None);
}

#[test]
fn a_proxy_that_is_not_used_is_told() {
    let mut proxy = ProxyConfig::default();
    assert_eq!(unused_proxy(&proxy), None);
    proxy.https = Some("http://127.0.0.1:3128".to_owned());
    assert!(unused_proxy(&proxy).unwrap().contains("`proxy`"));
    proxy.enabled = false;
    assert_eq!(unused_proxy(&proxy), None);
}
