//! Recorded examples beside each program: what goes in, and exactly what comes out.
//!
//! Whoever edits a program runs `UPDATE_EXAMPLES=1 cargo test --test it programs` and looks at what has changed in the files.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use nomad_events::RaftIndex;
use nomad_events::checkpoint::GapCause;
use nomad_events::position::Epoch;
use nomad_events::stream::notice::{
    Connected, Disconnected, Gap, IndexReset, LineDiscarded, Notice, NoticeKind, Rejected, Started,
    Status,
};
use serde_json::{Map, Value as Json};

use super::{
    all_programs, check, check_flat, event_from_json, json_from_event, program, root, run,
};

/// Set to anything: the expected outputs are written anew instead of compared.
const UPDATE: &str = "UPDATE_EXAMPLES";

/// Longest line that holds a whole array or object in the files.
const WIDTH: usize = 110;

pub(super) struct Example {
    name: String,
    pub(super) input: Json,
    expected: Json,
}

fn examples_file(program: &str) -> PathBuf {
    root().join("vrl").join(format!("{program}.examples.json"))
}

pub(super) fn read_examples(program: &str) -> Vec<Example> {
    let file = examples_file(program);
    let text =
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let examples: Vec<Map<String, Json>> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    examples
        .into_iter()
        .map(|mut example| Example {
            name: example["name"].as_str().expect("a name").to_owned(),
            input: example.remove("input").expect("an input"),
            expected: example.remove("expected").unwrap_or(Json::Null),
        })
        .collect()
}

fn write_examples(program: &str, examples: &[Example]) {
    let mut text = String::from("[");
    for (place, example) in examples.iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { ",\n" });
        write!(
            text,
            "  {{\n    \"name\": {},\n    \"input\": {},\n    \"expected\": {}\n  }}",
            Json::from(example.name.as_str()),
            layout(&example.input, 4),
            layout(&example.expected, 4)
        )
        .unwrap();
    }
    text.push_str("\n]\n");
    fs::write(examples_file(program), text).unwrap();
}

/// JSON for people: what fits stands on one line, and a change of one field is a change of one line elsewhere.
fn layout(json: &Json, indent: usize) -> String {
    let inline = inline(json);
    // The record of a task's event reads best as one line, however long.
    let is_task_event = json.get("DisplayMessage").is_some();
    if is_task_event || inline.len() + indent <= WIDTH {
        return inline;
    }
    let (open, close, items): (char, char, Vec<String>) = match json {
        Json::Array(items) => (
            '[',
            ']',
            items.iter().map(|item| layout(item, indent + 2)).collect(),
        ),
        Json::Object(fields) => (
            '{',
            '}',
            fields
                .iter()
                .map(|(key, value)| {
                    format!(
                        "{}: {}",
                        Json::from(key.as_str()),
                        layout(value, indent + 2)
                    )
                })
                .collect(),
        ),
        _ => return inline,
    };
    let pad = " ".repeat(indent + 2);
    let items = items.join(&format!(",\n{pad}"));
    format!("{open}\n{pad}{items}\n{}{close}", " ".repeat(indent))
}

fn inline(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", Json::from(key.as_str()), inline(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// One line for each field that differs, the fields of `meta` among them.
fn differences(expected: &Json, actual: &Json) -> Vec<String> {
    let empty = Map::new();
    let fields = |json: &Json| -> Map<String, Json> {
        let mut fields = json.as_object().unwrap_or(&empty).clone();
        if let Some(Json::Object(meta)) = fields.remove("meta") {
            fields.extend(
                meta.into_iter()
                    .map(|(key, value)| (format!("meta.{key}"), value)),
            );
        }
        fields
    };
    let (expected, actual) = (fields(expected), fields(actual));
    let mut names: Vec<&String> = expected.keys().chain(actual.keys()).collect();
    names.sort();
    names.dedup();
    let show = |json: Option<&Json>| json.map_or_else(|| "nothing".to_owned(), Json::to_string);
    names
        .into_iter()
        .filter(|name| expected.get(*name) != actual.get(*name))
        .map(|name| {
            format!(
                "    {name}: expected {}, got {}",
                show(expected.get(name)),
                show(actual.get(name))
            )
        })
        .collect()
}

#[test]
fn every_example_gives_exactly_the_expected_event() {
    let update = std::env::var_os(UPDATE).is_some();
    let mut report = String::new();
    for (name, topic) in all_programs() {
        let program = program(name);
        let mut examples = read_examples(name);
        assert!(!examples.is_empty(), "{name} has no example");
        for example in &mut examples {
            let what = format!("{name}.vrl, example {:?}", example.name);
            if topic != "*" {
                assert_eq!(example.input["Topic"], topic, "{what}");
            }
            assert!(!example.input.to_string().contains("hunter2"), "{what}");

            let output = run(&program, event_from_json(&example.input))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            check(name, &output)
                .and(check_flat(&output))
                .unwrap_or_else(|problem| panic!("{what}: {problem}"));
            let output = json_from_event(&output);
            if update {
                example.expected = output;
            } else if output != example.expected {
                writeln!(report, "  {what}").unwrap();
                for difference in differences(&example.expected, &output) {
                    writeln!(report, "{difference}").unwrap();
                }
            }
        }
        if update {
            write_examples(name, &examples);
        }
    }
    assert!(
        report.is_empty(),
        "a program gives something else than its examples say:\n{report}\
         if that is meant, run again with {UPDATE}=1 and look at the changes in vrl/*.examples.json"
    );
}

/// Servers of other versions leave fields out, or write null, or something else.
#[test]
fn a_field_of_any_other_type_stops_no_program() {
    let odd = [
        Json::Null,
        Json::from(7),
        Json::from(-1.5),
        Json::from("odd"),
        Json::from(true),
        Json::Array(vec![Json::Null, Json::from("odd")]),
        serde_json::json!({ "odd": [null] }),
    ];
    for (name, _) in all_programs() {
        let program = program(name);
        for (number, example) in read_examples(name).into_iter().enumerate() {
            let mut places = Vec::new();
            for (key, inside) in example.input.as_object().unwrap() {
                let may_be_odd = match name {
                    "slack" => key != "timestamp",
                    "images" => key == "Payload" || key == "nomad",
                    _ => key == "Payload",
                };
                if may_be_odd {
                    collect_places(inside, format!("/{key}"), &mut places);
                }
            }
            // Every field gets one odd value per example: all of them in turn would take a quarter of a minute.
            for (place, odd) in places
                .iter()
                .zip(odd.iter().cycle().skip(number % odd.len()))
            {
                let mut input = example.input.clone();
                *input.pointer_mut(place).unwrap() = odd.clone();
                let result =
                    run(&program, event_from_json(&input)).and_then(|output| check(name, &output));
                if let Err(problem) = result {
                    panic!(
                        "{name}.vrl, {:?} with {place} = {odd}: {problem}",
                        example.name
                    );
                }
            }
        }
    }
}

/// The examples of notices are written by hand, so that nothing but this keeps them to what the source really sends.
#[test]
fn notices_in_the_examples_have_the_fields_that_the_source_sends() {
    let endpoint = "http://127.0.0.1:4646".to_owned();
    let index = RaftIndex(1);
    let kinds = [
        NoticeKind::Started(Started {
            version: String::new(),
            endpoints: vec![endpoint.clone()],
            topics: Vec::new(),
            namespace: "*".to_owned(),
            start_at: "earliest".to_owned(),
            continuity: "none",
            resumed_from: None,
            epoch: Epoch::default(),
            open_gaps: 0,
            saves_position: false,
            subscription_changed: None,
        }),
        NoticeKind::Connected(Connected {
            endpoint: endpoint.clone(),
            resumed_at: index,
        }),
        NoticeKind::Disconnected(Disconnected {
            endpoint,
            cause: "closed",
            message: String::new(),
        }),
        NoticeKind::Status(Status {
            connected: true,
            read: index,
            emitted: index,
            acknowledged: index,
            events: 0,
            duplicates: 0,
            discarded_lines: 0,
            rejected_events: 0,
            queued_bytes: 0,
            disconnects: 0,
            seconds_since_last_line: None,
        }),
        NoticeKind::Gap(Gap {
            from: index,
            to: None,
            cause: GapCause::Unproven,
            namespace: None,
            again: true,
        }),
        NoticeKind::IndexReset(IndexReset {
            epoch: Epoch::default(),
            from: index,
            to: None,
            gaps_given_up: 0,
        }),
        NoticeKind::LineDiscarded(LineDiscarded {
            bytes: 0,
            index: None,
            reason: "too_long",
        }),
        NoticeKind::Rejected(Rejected {
            events: 1,
            rejected: 1,
            errored: 0,
            from: index,
            to: index,
        }),
    ];
    let examples = read_examples("notices");
    for kind in kinds {
        let sent = Notice { at: 0, index, kind }.to_event("nomad");
        let payload: Json = serde_json::from_slice(&sent.payload).unwrap();
        let of_type: Vec<&Example> = examples
            .iter()
            .filter(|example| example.input["Type"] == *sent.event_type)
            .collect();
        assert!(!of_type.is_empty(), "no example of {}", sent.event_type);
        for example in of_type {
            assert_eq!(example.input["Topic"], *sent.topic);
            // Sent of a gap only if it is told again; there are examples of both.
            let mut shown = example.input["Payload"].clone();
            if let Some(gap) = shown.get_mut("Gap").and_then(Json::as_object_mut) {
                gap.entry("again").or_insert(true.into());
            }
            let names = field_names(&shown);
            assert_eq!(names, field_names(&payload), "{:?}", example.name);
        }
    }
}

/// The names of all fields of the only object inside, and its own.
fn field_names(payload: &Json) -> Vec<String> {
    let fields = payload.as_object().unwrap();
    assert_eq!(fields.len(), 1, "{payload}");
    let (name, inner) = fields.iter().next().unwrap();
    let mut names: Vec<String> = inner.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names.insert(0, name.clone());
    names
}

/// JSON pointers of everything inside.
fn collect_places(json: &Json, place: String, places: &mut Vec<String>) {
    match json {
        Json::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect_places(value, format!("{place}/{key}"), places);
            }
        }
        Json::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect_places(value, format!("{place}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(place);
}
