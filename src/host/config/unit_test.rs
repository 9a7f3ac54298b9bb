//! The unit tests of a configuration, in Vector's form: the array of tables `tests`.
//!
//! What only running them needs, programs of inputs and conditions, is compiled by [`crate::host::unit_test`]: a running
//! configuration pays nothing for its tests, and a test that does not compile stops no run, as in Vector.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};
use vrl::value::Value;

use super::document::{Document, Owner, Table, component_name};
use super::problem::Problem;
use crate::host::transforms::condition::ConditionText;

/// The key at the top of a file.
pub(super) const TESTS: &str = "tests";
/// What a test is called in messages.
const KIND: &str = "test";

/// A test as written: its shape is right, and the outputs that it looks at exist.
#[derive(Clone, Debug)]
pub(crate) struct TestDefinition {
    /// What it is called in reports.
    pub(crate) name: String,
    /// The file it stands in.
    pub(crate) file: String,
    /// The line it begins on.
    pub(crate) line: usize,
    /// The events that go in.
    pub(crate) inputs: Vec<TestInput>,
    /// What has to come out.
    pub(crate) outputs: Vec<TestOutput>,
    /// Outputs from which nothing may come.
    pub(crate) no_outputs_from: Vec<String>,
}

/// An event, and where it goes in.
#[derive(Clone, Debug)]
pub(crate) struct TestInput {
    /// The transform that gets it.
    pub(crate) insert_at: String,
    /// The event.
    pub(crate) event: InputEvent,
}

/// An event as a test writes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum InputEvent {
    /// A text, which becomes the field `message` beside a `timestamp`.
    Raw(String),
    /// Values by the paths of their fields.
    Log(BTreeMap<String, Value>),
    /// A program that makes the event out of an empty one.
    Vrl(String),
}

/// What has to come out of some outputs, taken together.
#[derive(Clone, Debug)]
pub(crate) struct TestOutput {
    /// The outputs, `transform` or `transform.port`.
    pub(crate) extract_from: Vec<String>,
    /// Each has to be met by one of the events at least.
    pub(crate) conditions: Vec<ConditionText>,
    /// How many events there have to be; `None` for one at least.
    pub(crate) expected_event_count: Option<usize>,
}

impl TestDefinition {
    /// A problem of this test.
    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::of(component_name(KIND, &self.name), message)
            .at(self.line)
            .in_file(&self.file)
    }

    /// Checks that the outputs it names exist, and that none stands twice where it would be looked at twice.
    pub(crate) fn check_targets(&self, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut missing = |option: &str, name: &str| {
            problems.push(self.problem(format!(
                "`{option}`: there is no output \"{name}\"; name a transform, or one of its outputs as in \"route.errors\""
            )));
        };
        for (number, output) in self.outputs.iter().enumerate() {
            for name in output.extract_from.iter().filter(|name| !exists(name)) {
                missing(&format!("outputs[{number}].extract_from"), name);
            }
        }
        for name in self.no_outputs_from.iter().filter(|name| !exists(name)) {
            missing("no_outputs_from", name);
        }
        for (number, output) in self.outputs.iter().enumerate() {
            for (place, name) in output.extract_from.iter().enumerate() {
                let option = format!("outputs[{number}].extract_from");
                if self.no_outputs_from.contains(name) {
                    problems.push(self.problem(format!(
                        "`{option}`: \"{name}\" is also in `no_outputs_from`; keep one of them"
                    )));
                }
                if output.extract_from[..place].contains(name) {
                    problems.push(self.problem(format!(
                        "`{option}`: \"{name}\" is named twice, so its events would come twice; keep one"
                    )));
                }
            }
        }
        problems
    }
}

/// Reads the value of `tests` in a file. What cannot be read leaves problems behind.
pub(super) fn read<'t>(
    document: Document<'t>,
    file: &str,
    tests: Spanned<DeValue<'t>>,
) -> (Vec<TestDefinition>, Vec<Problem>) {
    let mut definitions = Vec::new();
    let mut problems = Vec::new();
    let at = document.line(tests.span().start);
    let DeValue::Array(tests) = tests.into_inner() else {
        problems.push(
            Problem::general("`tests` must be an array of tables: write [[tests]] above each test")
                .at(at),
        );
        return (definitions, problems);
    };
    for test in tests {
        let owner = Owner {
            kind: KIND,
            id: "",
            component_type: "",
        };
        match document.table(owner, TESTS, test) {
            Ok(table) => match read_one(document, file, table) {
                Ok(definition) => definitions.push(definition),
                Err(found) => problems.extend(found),
            },
            Err(problem) => problems.push(problem),
        }
    }
    (definitions, problems)
}

fn read_one<'t>(
    document: Document<'t>,
    file: &str,
    table: Table<'t>,
) -> Result<TestDefinition, Vec<Problem>> {
    let line = document.line(table.span.start);
    // Its name is part of every message about it, so it is looked up before anything can be wrong.
    let name = table
        .entries
        .get("name")
        .and_then(|name| String::deserialize(ValueDeserializer::from(name.clone())).ok())
        .unwrap_or_default();
    let owner = Owner {
        kind: KIND,
        id: &name,
        component_type: "",
    };
    let text: TestText = document.read(owner, table).map_err(|problems| {
        problems
            .into_iter()
            .map(|problem| Problem {
                line: problem.line.map(|at| at.max(line)),
                ..problem
            })
            .collect::<Vec<_>>()
    })?;
    let problem = |message: String| Problem::of(component_name(KIND, &text.name), message).at(line);
    let mut problems = Vec::new();
    let mut inputs = Vec::new();
    // The older form with a single input comes last, as in Vector.
    for (number, input) in text.inputs.into_iter().chain(text.input).enumerate() {
        match input.event() {
            Ok(event) => inputs.push(TestInput {
                insert_at: input.insert_at,
                event,
            }),
            Err(message) => problems.push(problem(format!("`inputs[{number}]`: {message}"))),
        }
    }
    if inputs.is_empty() && problems.is_empty() {
        problems.push(problem(
            "there is no input; add a table [[tests.inputs]]".to_owned(),
        ));
    }
    if text.outputs.is_empty() && text.no_outputs_from.is_empty() {
        problems.push(problem(
            "nothing is looked at; add a table [[tests.outputs]], or `no_outputs_from`".to_owned(),
        ));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(TestDefinition {
        file: file.to_owned(),
        line,
        inputs,
        outputs: text
            .outputs
            .into_iter()
            .map(|output| TestOutput {
                extract_from: output.extract_from.0,
                conditions: output.conditions.unwrap_or_default(),
                expected_event_count: output.expected_event_count,
            })
            .collect(),
        no_outputs_from: text.no_outputs_from,
        name: text.name,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestText {
    name: String,
    #[serde(default)]
    input: Option<InputText>,
    #[serde(default)]
    inputs: Vec<InputText>,
    #[serde(default)]
    outputs: Vec<OutputText>,
    #[serde(default)]
    no_outputs_from: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputText {
    insert_at: String,
    #[serde(default, rename = "type")]
    event_type: EventType,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    log_fields: Option<BTreeMap<String, Value>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventType {
    #[default]
    Raw,
    Vrl,
    Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputText {
    extract_from: OneOrMany,
    #[serde(default)]
    conditions: Option<Vec<ConditionText>>,
    #[serde(default)]
    expected_event_count: Option<usize>,
}

/// One name, or an array of at least one.
struct OneOrMany(Vec<String>);

impl InputText {
    /// The event, taken out of the option that belongs to the type. Another one would be ignored by Vector; it is refused.
    fn event(&self) -> Result<InputEvent, String> {
        let (name, option) = match self.event_type {
            EventType::Raw => ("raw", "value"),
            EventType::Vrl => ("vrl", "source"),
            EventType::Log => ("log", "log_fields"),
        };
        for (other, set) in [
            ("value", self.value.is_some()),
            ("source", self.source.is_some()),
            ("log_fields", self.log_fields.is_some()),
        ] {
            if set && other != option {
                return Err(format!(
                    "type `{name}` takes its event from `{option}`, so `{other}` would not be looked at; remove it, or set the \
                     `type` that it belongs to"
                ));
            }
        }
        let event = match self.event_type {
            EventType::Raw => self.value.clone().map(InputEvent::Raw),
            EventType::Vrl => self.source.clone().map(InputEvent::Vrl),
            EventType::Log => self.log_fields.clone().map(InputEvent::Log),
        };
        event.ok_or_else(|| format!("type `{name}` needs the option `{option}`"))
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an output, or an array of names")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![name.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut names: A,
            ) -> Result<OneOrMany, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                if all.is_empty() {
                    return Err(serde::de::Error::custom(
                        "an empty array looks at nothing; name an output",
                    ));
                }
                Ok(OneOrMany(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What is said of a file with tests only, where a configuration is needed.
pub(super) fn only_tests() -> Problem {
    Problem::general(
        "there are only tests in it; `nomad-events test` runs them, together with the file whose transforms they test",
    )
}
