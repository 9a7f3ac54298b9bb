//! Every program over every event of a recorded cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use serde_json::json;
use toml::Table;
use vrl::compiler::Program;
use vrl::compiler::state::ExternalEnv;
use vrl::value::Value;

use super::{
    PROGRAMS, check, check_flat, compile_text, event_from_json, field, holds, line, program, root,
    run, text,
};

/// Events of the recording as the source makes them, but for redaction: the programs must not show secrets either way.
pub(super) fn recorded_events() -> Vec<serde_json::Value> {
    let file = File::open(root().join("tests/fixtures/nomad-1.11.3-events.ndjson.gz")).unwrap();
    let mut events = Vec::new();
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let batch: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        for event in batch["Events"].as_array().into_iter().flatten() {
            let mut event = event.clone();
            event["timestamp"] = json!("2026-11-22T10:32:33.123456789Z");
            event["nomad"] = json!({
                "event_id": format!("{:032x}", events.len()),
                "origin": "stream",
                "timestamp_source": "payload",
            });
            event["source_type"] = json!("nomad_events");
            events.push(event);
        }
    }
    events
}

pub(super) fn program_for(topic: &str) -> &'static str {
    PROGRAMS
        .iter()
        .find(|(_, of)| *of == topic)
        .map_or("other", |(name, _)| name)
}

/// The recorded events that a filter of a shipped configuration lets pass, each through these programs.
fn passed(config: &str, filter: &str, programs: &[&str]) -> Vec<(serde_json::Value, Value)> {
    let file = fs::read_to_string(root().join("config").join(config)).unwrap();
    let table: Table = file.parse().unwrap();
    let condition = table["transforms"][filter]["condition"].as_str().unwrap();
    let condition = compile_text(filter, condition, &ExternalEnv::default());
    let programs: Vec<Program> = programs.iter().map(|name| program(name)).collect();
    let mut events = recorded_events();
    events.retain(|event| holds(&condition, event_from_json(event)));
    let through = |event: &serde_json::Value| {
        programs
            .iter()
            .fold(event_from_json(event), |event, program| {
                run(program, event).unwrap()
            })
    };
    let outputs: Vec<Value> = events.iter().map(through).collect();
    events.into_iter().zip(outputs).collect()
}

#[test]
fn each_recorded_failure_is_one_message_with_its_reason() {
    let alerts = passed("alerts.toml", "alert_failures", &["allocation", "slack"]);
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (event, message) in &alerts {
        check("slack", message).unwrap();
        println!("{}\n", text(message, "text"));
        let allocation = &event["Payload"]["Allocation"];
        let status = allocation["ClientStatus"].as_str().unwrap();
        told.entry(status)
            .or_default()
            .push(allocation["ID"].as_str().unwrap());
        for key in ["JobID", "TaskGroup", "ID", "NodeName"] {
            assert!(
                text(message, "text").contains(allocation[key].as_str().unwrap()),
                "{key}"
            );
        }
    }
    // Those that ever have the status, each once.
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in recorded_events() {
        let allocation = &event["Payload"]["Allocation"];
        if let Some(status @ ("failed" | "lost")) = allocation["ClientStatus"].as_str() {
            let ids = expected.entry(status.to_owned()).or_default();
            ids.insert(allocation["ID"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!((told["failed"].len(), told["lost"].len()), (18, 4));
    for (status, ids) in &mut told {
        ids.sort_unstable();
        let expected: Vec<&str> = expected[*status].iter().map(String::as_str).collect();
        assert_eq!(*ids, expected, "{status}");
    }
    let messages: String = alerts
        .iter()
        .map(|(_, message)| text(message, "text"))
        .collect();
    for reason in [
        "could not be found",
        "exit code 137",
        "restarts 2",
        "node is down",
    ] {
        assert!(messages.contains(reason), "{reason} is in no message");
    }
}

#[test]
fn each_recorded_update_of_a_drained_node_is_told() {
    let updates = passed("drained.toml", "drained_updates", &["node"]);
    let messages: Vec<String> = updates
        .iter()
        .map(|(event, line)| {
            check("node", line).unwrap();
            format!("{} {}", event["Index"], text(line, "message"))
        })
        .collect();
    println!("{}", messages.join("\n"));
    assert_eq!(messages.len(), 9);
}

#[test]
fn every_recorded_event_becomes_one_small_line_without_secrets() {
    let programs: BTreeMap<&str, Program> = PROGRAMS
        .iter()
        .map(|(name, _)| (*name, program(name)))
        .collect();
    let events = recorded_events();
    assert_eq!(events.len(), 2607);

    let mut sizes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for event in &events {
        let name = program_for(event["Topic"].as_str().unwrap());
        let output = run(&programs[name], event_from_json(event))
            .and_then(|output| {
                check(name, &output)
                    .and(check_flat(&output))
                    .map(|()| output)
            })
            .unwrap_or_else(|problem| panic!("{name}.vrl: {problem}\n{event}"));

        for (ours, theirs) in [("topic", "Topic"), ("type", "Type"), ("index", "Index")] {
            assert_eq!(
                field(&output, ours),
                Some(&event_from_json(&event[theirs])),
                "{ours}"
            );
        }
        let namespace = match event["Namespace"].as_str().unwrap() {
            "" => "-",
            namespace => namespace,
        };
        assert_eq!(field(&output, "namespace"), Some(&Value::from(namespace)));
        if name == "allocation" {
            for of_the_talk in [
                "desired_status",
                "job_id",
                "name",
                "node_name",
                "task_group",
            ] {
                assert!(field(&output, of_the_talk).is_some(), "{of_the_talk}");
            }
        }
        sizes.entry(name).or_default().push(line(&output).len());
    }

    // Shown with `cargo test -- --nocapture`.
    println!(
        "{:<12} {:>6} {:>6} {:>6} {:>6}",
        "program", "lines", "mean", "p99", "max"
    );
    for (name, sizes) in &mut sizes {
        sizes.sort_unstable();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        let p99 = sizes[(sizes.len() - 1) * 99 / 100];
        let max = sizes[sizes.len() - 1];
        println!("{name:<12} {:>6} {mean:>6} {p99:>6} {max:>6}", sizes.len());
    }
}
