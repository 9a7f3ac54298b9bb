//! Every program over every event of a recorded cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use serde_json::json;
use vrl::compiler::Program;
use vrl::value::Value;

use super::{PROGRAMS, check, check_flat, event_from_json, field, line, program, root, run};

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
            .and_then(|output| check(&output).and(check_flat(&output)).map(|()| output))
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
