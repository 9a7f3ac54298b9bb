//! The shipped configurations, read as what they say: do the parts fit together?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use toml::{Table, Value};
use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{CompileConfig, compile_with_external};

use super::{PROGRAMS, TEXT_FIELDS, root};

/// All events as lines at Loki.
const OVERVIEWS: [&str; 2] = ["vector.toml", "talk.toml"];
/// Those, and the talk's other possibilities.
const CONFIGURATIONS: [&str; 5] = [
    "vector.toml",
    "talk.toml",
    "drained.toml",
    "alerts.toml",
    "slack.toml",
];

/// Outputs of the source with `multiple_outputs` and the default topics.
const NAMED_OUTPUTS: [&str; 8] = [
    "nomad.allocation",
    "nomad.deployment",
    "nomad.evaluation",
    "nomad.job",
    "nomad.node",
    "nomad.notices",
    "nomad.service",
    "nomad._unmatched",
];

fn read(name: &str) -> Table {
    let text = fs::read_to_string(root().join("config").join(name)).unwrap();
    text.parse()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn components<'a>(configuration: &'a Table, kind: &str) -> BTreeMap<&'a str, &'a Table> {
    configuration[kind]
        .as_table()
        .unwrap()
        .iter()
        .map(|(id, component)| (id.as_str(), component.as_table().unwrap()))
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect()
}

/// Everything that a component can take as its input.
fn outputs(configuration: &Table) -> BTreeSet<String> {
    let mut outputs = BTreeSet::new();
    for (id, source) in components(configuration, "sources") {
        if source.get("multiple_outputs").and_then(Value::as_bool) == Some(true) {
            outputs.extend(NAMED_OUTPUTS.map(str::to_owned));
        } else {
            outputs.insert(id.to_owned());
        }
    }
    for (id, transform) in components(configuration, "transforms") {
        match transform.get("route") {
            Some(routes) => {
                for route in routes.as_table().unwrap().keys() {
                    outputs.insert(format!("{id}.{route}"));
                }
                outputs.insert(format!("{id}._unmatched"));
            }
            None => {
                outputs.insert(id.to_owned());
            }
        }
    }
    outputs
}

/// Vector's globs, as far as these files use them.
fn matches(input: &str, output: &str) -> bool {
    match input.strip_suffix('*') {
        Some(prefix) => output.starts_with(prefix),
        None => input == output,
    }
}

#[test]
fn every_input_exists_and_every_output_is_taken() {
    for name in CONFIGURATIONS {
        let configuration = read(name);
        let outputs = outputs(&configuration);
        let mut taken: BTreeMap<&str, u32> = BTreeMap::new();
        for kind in ["transforms", "sinks"] {
            for (id, component) in components(&configuration, kind) {
                for input in texts(&component["inputs"]) {
                    let found: Vec<&String> = outputs
                        .iter()
                        .filter(|output| matches(input, output))
                        .collect();
                    assert!(!found.is_empty(), "{name}: {id} takes {input}");
                    for output in found {
                        *taken.entry(output).or_default() += 1;
                    }
                }
            }
        }
        for output in &outputs {
            let times = taken.get(output.as_str()).copied().unwrap_or(0);
            // Elsewhere filters share what the source gives.
            let wanted = if OVERVIEWS.contains(&name) {
                1
            } else {
                times.max(1)
            };
            assert_eq!(times, wanted, "{name}: {output}");
        }
    }
}

#[test]
fn both_configurations_run_all_programs_under_the_same_names() {
    let programs = |name: &str| -> BTreeMap<String, String> {
        components(&read(name), "transforms")
            .into_iter()
            .filter_map(|(id, transform)| {
                let file = transform.get("file")?.as_str().unwrap();
                assert!(root().join(file).is_file(), "{name}: {file}");
                Some((id.to_owned(), file.to_owned()))
            })
            .collect()
    };
    let of_vector = programs("vector.toml");
    assert_eq!(of_vector, programs("talk.toml"));

    let used: BTreeSet<&str> = of_vector.values().map(String::as_str).collect();
    let ours: Vec<String> = PROGRAMS
        .iter()
        .map(|(name, _)| format!("vrl/{name}.vrl"))
        .collect();
    assert_eq!(used, ours.iter().map(String::as_str).collect());
    for id in [
        "parse_events_alloc",
        "parse_events_eval",
        "parse_events_job",
        "parse_events_deployment",
        "parse_events_node",
        "parse_events_service",
        "parse_notices",
    ] {
        assert!(of_vector.contains_key(id), "{id}");
    }
}

/// Several of them are one configuration: nothing has two meanings, and each source has a folder of its own.
#[test]
fn configurations_can_be_run_together() {
    let mut ids = BTreeSet::new();
    for name in CONFIGURATIONS
        .into_iter()
        .filter(|name| *name != "talk.toml")
    {
        let configuration = read(name);
        assert_eq!(configuration["data_dir"], read("vector.toml")["data_dir"]);
        for kind in ["sources", "transforms", "sinks"] {
            for id in components(&configuration, kind).into_keys() {
                assert!(ids.insert(id.to_owned()), "{name}: {id}");
                // Which vector.toml would take.
                assert!(
                    name == "vector.toml" || !id.starts_with("parse_events_"),
                    "{name}: {id}"
                );
            }
        }
    }
}

#[test]
fn labels_and_structured_metadata_come_from_fields_that_every_event_has() {
    let mut sinks = Vec::new();
    for name in CONFIGURATIONS {
        let configuration = read(name);
        let mut all = components(&configuration, "sinks").into_values();
        let mut sink = all.next().unwrap().clone();
        assert!(all.next().is_none(), "{name} has another sink");
        assert_eq!(sink["acknowledgements"]["enabled"].as_bool(), Some(true));
        if sink["type"].as_str() != Some("loki") {
            continue;
        }

        let labels = sink["labels"].as_table().unwrap();
        for (label, template) in labels {
            let field = template
                .as_str()
                .and_then(|text| text.strip_prefix("{{ "))
                .and_then(|text| text.strip_suffix(" }}"))
                .unwrap_or_else(|| panic!("{name}: label {label} = {template}"));
            assert!(TEXT_FIELDS.contains(&field), "{name}: label {label}");
        }
        for label in ["namespace", "topic", "type"] {
            assert!(labels.contains_key(label), "{name}: {label}");
        }
        // Values without bound would make a stream of every event.
        for field in ["message", "event_id", "index"] {
            assert!(!labels.contains_key(field), "{name}: {field}");
        }
        assert_eq!(
            sink["structured_metadata"],
            Value::Table(Table::from_iter([("*".to_owned(), "{{ meta }}".into())])),
            "{name}"
        );
        assert_eq!(
            sink["remove_structured_metadata_fields"],
            Value::Boolean(true),
            "{name}"
        );
        assert_eq!(sink["out_of_order_action"].as_str(), Some("accept"));
        sink.remove("inputs");
        sinks.push(sink);
    }
    // The same lines go to the same streams.
    assert_eq!(sinks.len(), 3);
    assert!(sinks.iter().all(|sink| *sink == sinks[0]));
}

#[test]
fn conditions_compile_and_nothing_needs_one_host_in_particular() {
    for name in CONFIGURATIONS {
        let configuration = read(name);
        let top: Vec<&str> = configuration.keys().map(String::as_str).collect();
        assert_eq!(
            BTreeSet::from_iter(top),
            BTreeSet::from(["data_dir", "sources", "transforms", "sinks"]),
            "{name}"
        );
        for (kind, allowed) in [
            ("sources", &["nomad_events"][..]),
            ("transforms", &["remap", "route", "filter"][..]),
            ("sinks", &["loki", "http"][..]),
        ] {
            for (id, component) in components(&configuration, kind) {
                let component_type = component["type"].as_str().unwrap();
                assert!(allowed.contains(&component_type), "{name}: {id}");
                for host_specific in ["buffer", "tls"] {
                    assert!(!component.contains_key(host_specific), "{name}: {id}");
                }
                let routes = component.get("route").and_then(Value::as_table);
                for condition in routes
                    .into_iter()
                    .flat_map(Table::values)
                    .chain(component.get("condition"))
                {
                    let source = condition.as_str().unwrap();
                    let functions = vrl::stdlib::all();
                    let compiled = compile_with_external(
                        source,
                        &functions,
                        &ExternalEnv::default(),
                        CompileConfig::default(),
                    )
                    .unwrap_or_else(|error| panic!("{name}: {id}: {source}: {error:?}"));
                    assert!(
                        compiled.program.final_type_info().result.is_boolean(),
                        "{name}: {id}: {source}"
                    );
                }
            }
        }
    }
}

/// Variables are replaced in comments, too, where one without a value is an error like anywhere else.
#[test]
fn every_variable_has_a_default_or_says_what_to_set() {
    for name in CONFIGURATIONS {
        let text = fs::read_to_string(root().join("config").join(name)).unwrap();
        let variables: Vec<&str> = text.split('$').skip(1).collect();
        assert!(!variables.is_empty());
        for variable in variables {
            let inside = variable
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'))
                .map(|(inside, _)| inside);
            assert!(
                inside
                    .is_some_and(|inside| inside.contains(":-") || inside.contains(":?set it to ")),
                "{name}: ${variable:.20}"
            );
        }
    }
}
