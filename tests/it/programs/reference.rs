//! The event reference says what the programs say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use vrl::compiler::Program;

use super::examples::read_examples;
use super::recording::{program_for, recorded_events};
use super::{PROGRAMS, event_from_json, json_from_event, program, run};
use crate::documentation::{rows, spans, text_of};

const PAGE: &str = "docs/reference.md";
const NOTICES: &str = "NomadEvents";
const NEVER_SEEN: &str = "never seen";
/// The level of what has a column for its topic instead.
const LEVEL_OF_OTHERS: &str = "info";

/// One row of the page.
struct Row<'p> {
    topic: &'p str,
    event_type: &'p str,
    level: &'p str,
    message: &'p str,
}

/// The topic, type, level and message of all that the programs make of the recording and of their examples.
fn outputs() -> Vec<Json> {
    let programs: BTreeMap<&str, Program> = PROGRAMS
        .iter()
        .map(|(name, _)| (*name, program(name)))
        .collect();
    let recorded = recorded_events().into_iter().map(|event| {
        let name = program_for(event["Topic"].as_str().unwrap());
        (name, event)
    });
    let examples = PROGRAMS.iter().flat_map(|(name, _)| {
        let examples = read_examples(name);
        examples.into_iter().map(|example| (*name, example.input))
    });
    recorded
        .chain(examples)
        .map(|(name, event)| {
            json_from_event(&run(&programs[name], event_from_json(&event)).unwrap())
        })
        .collect()
}

/// The page's sections of topics, each with its heading.
fn sections(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let sections = page.split("\n## ").skip(1);
    sections.map(|section| section.split_once('\n').unwrap())
}

fn rows_of<'p>(heading: &'p str, section: &'p str) -> Vec<Row<'p>> {
    let first = |cell: &'p str| spans(cell).next().unwrap_or_default();
    let message = |cell: &'p str| match cell {
        NEVER_SEEN => NEVER_SEEN,
        cell => first(cell),
    };
    rows(section)
        .into_iter()
        .map(|cells| match (heading, &cells[..]) {
            ("Other topics", [topic, event_type, said, _]) => Row {
                topic: first(topic),
                event_type: first(event_type),
                level: LEVEL_OF_OTHERS,
                message: message(said),
            },
            (_, [event_type, level, said, _]) => Row {
                topic: match heading {
                    "Notices of the source" => NOTICES,
                    topic => topic,
                },
                event_type: first(event_type),
                level: first(level),
                message: message(said),
            },
            _ => panic!("{heading}: a row has four cells: {cells:?}"),
        })
        .collect()
}

#[test]
fn the_reference_has_every_type_with_what_a_program_says() {
    let outputs = outputs();
    let text = |output: &'_ Json, name: &str| output[name].as_str().unwrap().to_owned();
    let made: BTreeSet<[String; 4]> = outputs
        .iter()
        .map(|output| ["topic", "type", "level", "message"].map(|name| text(output, name)))
        .collect();
    let mut missing: BTreeSet<(&str, &str)> = made
        .iter()
        .map(|[topic, event_type, ..]| (topic.as_str(), event_type.as_str()))
        .collect();
    let all = missing.clone();

    let page = text_of(PAGE);
    let mut wrong = Vec::new();
    for (heading, section) in sections(&page) {
        for row in rows_of(heading, section) {
            let pair = (row.topic, row.event_type);
            missing.remove(&pair);
            let is_right = match row.message {
                NEVER_SEEN => !all.contains(&pair),
                message => {
                    let told = [row.topic, row.event_type, row.level, message];
                    made.contains(&told.map(str::to_owned))
                }
            };
            if !is_right {
                wrong.push(format!("{pair:?} {}: {}", row.level, row.message));
            }
        }
    }
    assert!(wrong.is_empty(), "no program says:\n{}", wrong.join("\n"));
    assert!(missing.is_empty(), "{PAGE} has no row for {missing:?}");
}

/// Shortened means that fields are left out, not that they are changed.
#[test]
fn the_lines_in_the_reference_are_those_of_a_program() {
    let outputs = outputs();
    let page = text_of(PAGE);
    for (heading, section) in sections(&page) {
        let (_, block) = section.split_once("```json\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let shown: BTreeMap<String, Json> = serde_json::from_str(block).unwrap();
        assert!(shown.contains_key("message"), "{heading}");
        let is_made = outputs
            .iter()
            .any(|output| shown.iter().all(|(name, value)| output[name] == *value));
        assert!(is_made, "{heading}: no program makes\n{block}");
    }
}
