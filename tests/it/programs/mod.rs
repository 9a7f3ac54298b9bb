//! The shipped programs (`vrl/`) and the configurations that use them (`config/`).

mod configurations;
mod examples;
mod recording;
mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::state::{ExternalEnv, RuntimeState};
use vrl::compiler::{CompileConfig, Program, TargetValue, TimeZone, compile_with_external};
use vrl::diagnostic::Formatter;
use vrl::value::kind::Collection;
use vrl::value::{KeyString, Kind, Secrets, Value};

/// Programs by the name of their file, with the topic that each reads. `other` reads every other topic.
const PROGRAMS: [(&str, &str); 8] = [
    ("allocation", "Allocation"),
    ("deployment", "Deployment"),
    ("evaluation", "Evaluation"),
    ("job", "Job"),
    ("node", "Node"),
    ("notices", "NomadEvents"),
    ("other", "*"),
    ("service", "Service"),
];

/// Programs that make no lines, as above, with those before each of them in the shipped configurations.
const MESSAGES: [(&str, &str, &[&str]); 2] = [
    ("images", "Job", &[]),
    ("slack", "*", &["allocation", "images", "notices"]),
];

/// Text fields that every program sets for every event, never empty: labels and structured metadata may use them.
const TEXT_FIELDS: [&str; 7] = [
    "event_id",
    "level",
    "message",
    "namespace",
    "service_name",
    "topic",
    "type",
];

/// The longest text of a message (characters), of which Slack cuts nothing.
const LONGEST_MESSAGE: usize = 2999;

const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// All programs, with the topic that each reads.
fn all_programs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let messages = MESSAGES.into_iter().map(|(name, topic, _)| (name, topic));
    PROGRAMS.into_iter().chain(messages)
}

/// The folder in which the configurations are meant to be run.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program_file(name: &str) -> PathBuf {
    root().join("vrl").join(format!("{name}.vrl"))
}

/// Compiles a program for an event of which nothing is known, as the embedded host does. Warnings fail, too.
fn program(name: &str) -> Program {
    compile(name, &ExternalEnv::default())
}

fn compile(name: &str, event: &ExternalEnv) -> Program {
    let source = fs::read_to_string(program_file(name)).unwrap();
    compile_text(&format!("{name}.vrl"), &source, event)
}

fn compile_text(what: &str, source: &str, event: &ExternalEnv) -> Program {
    let functions = vrl::stdlib::all();
    let compiled = compile_with_external(source, &functions, event, CompileConfig::default())
        .unwrap_or_else(|errors| panic!("{what}: {}", Formatter::new(source, errors)));
    assert!(
        compiled.warnings.is_empty(),
        "{what}: {}",
        Formatter::new(source, compiled.warnings)
    );
    compiled.program
}

/// The event that leaves a program; null where it drops the event.
fn run(program: &Program, event: Value) -> Result<Value, String> {
    let mut target = target(event);
    match Runtime::new(RuntimeState::default()).resolve(&mut target, program, &TimeZone::default())
    {
        Ok(_) => Ok(target.value),
        Err(Terminate::Abort(_)) => Ok(Value::Null),
        Err(Terminate::Error(error)) => Err(error.to_string()),
    }
}

/// What a condition says of an event.
fn holds(condition: &Program, event: Value) -> bool {
    let mut target = target(event);
    let said =
        Runtime::new(RuntimeState::default()).resolve(&mut target, condition, &TimeZone::default());
    said.unwrap().as_boolean().unwrap()
}

fn target(event: Value) -> TargetValue {
    TargetValue {
        value: event,
        metadata: Value::Object(BTreeMap::new()),
        secrets: Secrets::default(),
    }
}

/// JSON as an event, with `timestamp` as a real timestamp.
fn event_from_json(json: &serde_json::Value) -> Value {
    let mut event = value_from_json(json);
    if let Value::Object(fields) = &mut event
        && let Some(Value::Bytes(text)) = fields.get("timestamp")
    {
        let time: DateTime<Utc> = DateTime::parse_from_rfc3339(str::from_utf8(text).unwrap())
            .expect("`timestamp` is RFC 3339")
            .into();
        fields.insert("timestamp".into(), Value::Timestamp(time));
    }
    event
}

fn value_from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Boolean(*flag),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::from_f64_or_zero(number.as_f64().unwrap()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            Value::Array(items.iter().map(value_from_json).collect())
        }
        serde_json::Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (KeyString::from(key.as_str()), value_from_json(value)))
                .collect(),
        ),
    }
}

/// An event as JSON, with timestamps as RFC 3339 text.
fn json_from_event(event: &Value) -> serde_json::Value {
    serde_json::to_value(event).unwrap()
}

fn field<'a>(event: &'a Value, name: &str) -> Option<&'a Value> {
    event.as_object().and_then(|fields| fields.get(name))
}

/// The line that the shipped Loki sink makes of an event, since it takes out the time and the structured metadata.
fn line(event: &Value) -> String {
    let mut fields = event.as_object().expect("the event is an object").clone();
    fields.remove("timestamp");
    fields.remove("meta");
    serde_json::to_string(&fields).unwrap()
}

/// What holds for every event that leaves a program, whatever went in. Returns the first thing that does not.
fn check(program: &str, event: &Value) -> Result<(), String> {
    if json_from_event(event).to_string().contains("hunter2") {
        return Err("a secret shows".to_owned());
    }
    match program {
        "slack" => check_message(event),
        // What is no news is dropped.
        "images" if event.is_null() => Ok(()),
        "images" if text(event, "message").is_empty() => Err("there is no `message`".to_owned()),
        "images" => Ok(()),
        _ => check_line(event),
    }
}

fn check_line(event: &Value) -> Result<(), String> {
    if !matches!(field(event, "timestamp"), Some(Value::Timestamp(_))) {
        return Err("`timestamp` is no timestamp".to_owned());
    }
    if !matches!(field(event, "index"), Some(Value::Integer(_))) {
        return Err("`index` is no integer".to_owned());
    }
    for name in TEXT_FIELDS {
        match field(event, name) {
            Some(Value::Bytes(text)) if !text.is_empty() => {}
            other => return Err(format!("`{name}` is {other:?}")),
        }
    }
    let level = text(event, "level");
    if !LEVELS.contains(&level.as_str()) {
        return Err(format!("`level` is {level:?}"));
    }
    let message = text(event, "message");
    if message.chars().count() >= 500 || message.contains('\n') {
        return Err(format!("`message` is long or not one line: {message:?}"));
    }
    if !matches!(field(event, "meta"), Some(Value::Object(_))) {
        return Err("`meta` is no object".to_owned());
    }
    let line = line(event);
    if line.len() > 4096 {
        return Err(format!("the line has {} bytes", line.len()));
    }
    Ok(())
}

/// What Slack asks of a message.
fn check_message(event: &Value) -> Result<(), String> {
    let shown = text(event, "text");
    if shown.trim().is_empty() || shown.chars().count() > LONGEST_MESSAGE {
        return Err(format!("`text` is none or too long: {shown:?}"));
    }
    if event.as_object().is_none_or(|fields| fields.len() != 1) || shown.contains(['<', '>']) {
        return Err(format!("no message for Slack: {event}"));
    }
    Ok(())
}

/// What holds when the payload has the types that Nomad gives it: Loki's json parser passes over arrays, and Vector warns about
/// every null in structured metadata.
fn check_flat(event: &Value) -> Result<(), String> {
    for (name, value) in event.as_object().into_iter().flatten() {
        let flat = match value {
            Value::Object(fields) if name.as_str() == "meta" => fields.values().all(is_scalar),
            value => is_scalar(value),
        };
        if !flat {
            return Err(format!("`{name}` is not flat: {value}"));
        }
    }
    Ok(())
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Object(_) | Value::Array(_))
}

fn text(event: &Value, name: &str) -> String {
    field(event, name)
        .and_then(Value::as_str)
        .map(|text| text.into_owned())
        .unwrap_or_default()
}

/// A source may declare the types of the fields that it sets, and a program has to compile then as well: VRL refuses to handle
/// an error that cannot happen.
#[test]
fn programs_compile_for_a_source_that_declares_its_fields() {
    let nomad = Collection::empty()
        .with_known("changes", Kind::object(Collection::any()).or_undefined())
        .with_known("changes_error", Kind::bytes().or_undefined())
        .with_known("event_id", Kind::bytes())
        .with_known("origin", Kind::bytes())
        .with_known("region", Kind::bytes().or_undefined())
        .with_known("timestamp_source", Kind::bytes());
    let event = Collection::empty()
        .with_known("Topic", Kind::bytes())
        .with_known("Type", Kind::bytes())
        .with_known("Key", Kind::bytes())
        .with_known("Namespace", Kind::bytes())
        .with_known(
            "FilterKeys",
            Kind::array(Collection::from_unknown(Kind::bytes())).or_null(),
        )
        .with_known("Index", Kind::integer())
        .with_known("Payload", Kind::object(Collection::any()))
        .with_known("timestamp", Kind::timestamp())
        .with_known("nomad", Kind::object(nomad))
        .with_known("source_type", Kind::bytes());
    let declared =
        ExternalEnv::new_with_kind(Kind::object(event), Kind::object(Collection::empty()));
    for (name, _) in PROGRAMS {
        compile(name, &declared);
    }
    // Vector knows what types one program leaves to the next.
    for (name, _, before) in MESSAGES {
        if before.is_empty() {
            compile(name, &declared);
        }
        for first in before {
            let left = compile(first, &declared).final_type_info().state.external;
            compile(name, &left);
        }
    }
}

#[test]
fn every_program_is_tested() {
    let mut files: Vec<String> = fs::read_dir(root().join("vrl"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| file.strip_suffix(".vrl").map(str::to_owned))
        .collect();
    files.sort();
    let mut tested: Vec<&str> = all_programs().map(|(name, _)| name).collect();
    tested.sort_unstable();
    assert_eq!(files, tested);
}
