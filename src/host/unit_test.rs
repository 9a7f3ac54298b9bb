//! Unit tests of configurations: events go in at transforms, conditions look at what comes out. As Vector 0.56.0 runs them.
//!
//! Vector runs each test in a topology of its own, with the transforms on the way from its inputs to its outputs. Here all
//! tests share one [`Workbench`]: a transform keeps nothing between two events, so the outcome is the same.

use chrono::Utc;
use vrl::compiler::TargetValueRef;
use vrl::compiler::runtime::Runtime;
use vrl::path::{PathPrefix, parse_target_path};
use vrl::value::{ObjectMap, Secrets, Value};

use super::config::{InputEvent, Problem, TestDefinition, TestInput};
use super::event::{Finalizer, LogEvent};
use super::topology::{Slot, Workbench};
use super::transforms::condition::Condition;
use super::transforms::program::{Access, Compiled, ProgramText};

/// Vector's fields for a text and its time, in its default log namespace.
const MESSAGE: &str = "message";
const TIMESTAMP: &str = "timestamp";

/// A test that can be run: its programs compiled, its places found.
#[derive(Debug)]
pub(crate) struct UnitTest {
    /// What it is called.
    pub(crate) name: String,
    /// The transform, and what it gets.
    inputs: Vec<(usize, LogEvent)>,
    outputs: Vec<Output>,
    /// The outputs from which nothing may come, with their names.
    silent: Vec<(Slot, String)>,
}

/// Some outputs taken together, and what has to come out of them.
#[derive(Debug)]
struct Output {
    slots: Vec<Slot>,
    names: Vec<String>,
    expected_events: Option<usize>,
    /// The conditions of each table `outputs` that looks at the same outputs.
    checks: Vec<Vec<Check>>,
}

#[derive(Debug)]
struct Check {
    text: String,
    condition: Condition,
}

impl UnitTest {
    /// Compiles the programs of a test, and finds its places among the transforms.
    ///
    /// # Errors
    ///
    /// Everything that keeps the test from being run.
    pub(crate) fn build(
        definition: &TestDefinition,
        workbench: &Workbench,
    ) -> Result<Self, Vec<Problem>> {
        // In a file of its own a test has not met the configuration before.
        let mut problems = definition.check_targets(|name| workbench.output(name).is_some());
        let outputs = build_outputs(definition, workbench, &mut problems);
        let silent: Vec<(Slot, String)> = definition
            .no_outputs_from
            .iter()
            .filter_map(|name| Some((workbench.output(name)?, name.clone())))
            .collect();
        let watched: Vec<Slot> = outputs
            .iter()
            .flat_map(|output| &output.slots)
            .chain(silent.iter().map(|(slot, _)| slot))
            .copied()
            .collect();
        let all_found = problems.is_empty();
        let mut inputs = Vec::new();
        for (number, input) in definition.inputs.iter().enumerate() {
            let mut problem = |message: String| {
                problems.push(definition.problem(format!("`inputs[{number}]`: {message}")));
            };
            let Some(transform) = workbench.transform(&input.insert_at) else {
                problem(format!(
                    "there is no transform \"{}\" to insert at",
                    input.insert_at
                ));
                continue;
            };
            let reachable = workbench.reachable(transform);
            if all_found && !watched.iter().any(|slot| reachable.contains(slot)) {
                problem(format!(
                    "nothing leads from \"{}\" to an output that is looked at",
                    input.insert_at
                ));
            }
            match build_event(input) {
                Ok(event) => inputs.push((transform, event)),
                Err(message) => problem(message),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            name: definition.name.clone(),
            inputs,
            outputs,
            silent,
        })
    }

    /// Runs the test. What it says is in Vector's words; nothing means that it has passed.
    pub(crate) fn run(&self, workbench: &Workbench) -> Vec<String> {
        let mut runtime = Runtime::default();
        let mut seen: Vec<(Slot, LogEvent)> = Vec::new();
        for (transform, event) in &self.inputs {
            workbench.insert(&mut runtime, *transform, event.clone(), |slot, event| {
                seen.push((slot, event));
            });
        }
        let mut failures = Vec::new();
        for output in &self.outputs {
            let events: Vec<&LogEvent> = seen
                .iter()
                .filter(|(slot, _)| output.slots.contains(slot))
                .map(|(_, event)| event)
                .collect();
            failures.extend(output.judge(&mut runtime, &events));
        }
        for (slot, name) in &self.silent {
            if seen.iter().any(|(other, _)| other == slot) {
                failures.push(format!(
                    "check for transforms {:?} failed: expected no outputs",
                    [name]
                ));
            }
        }
        failures
    }
}

impl Output {
    /// What is wrong with what came out.
    fn judge(&self, runtime: &mut Runtime, events: &[&LogEvent]) -> Vec<String> {
        let names = &self.names;
        let mut failures = Vec::new();
        if let Some(expected) = self.expected_events
            && expected != events.len()
        {
            failures.push(format!(
                "expected {expected} events from transforms {names:?}, but received {}",
                events.len()
            ));
        }
        if events.is_empty() && self.expected_events != Some(0) {
            failures.push(format!(
                "checks for transforms {names:?} failed: no events received. Topology may be disconnected or transform is \
                 missing inputs."
            ));
            return failures;
        }
        for (number, checks) in self.checks.iter().enumerate() {
            let unmet: Vec<String> = checks
                .iter()
                .enumerate()
                .flat_map(|(place, check)| check.unmet(runtime, place, events))
                .collect();
            if !unmet.is_empty() {
                failures.push(format!(
                    "check[{number}] for transforms {names:?} failed conditions:"
                ));
                failures.extend(unmet);
            }
        }
        if !failures.is_empty() {
            let payloads: Vec<String> = events.iter().map(|event| json(&event.value)).collect();
            failures.push(format!(
                "output payloads from {names:?} (events encoded as JSON):\n  {}",
                payloads.join("\n  ")
            ));
        }
        failures
    }
}

impl Check {
    /// Why no event meets the condition, a reason for each event, but the same reason once. Nothing if one does.
    fn unmet(&self, runtime: &mut Runtime, place: usize, events: &[&LogEvent]) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        for event in events {
            match self.condition.explain(runtime, event) {
                Ok(()) => return Vec::new(),
                Err(reason) => {
                    // Vector does not show the condition.
                    let text = self.text.trim().replace('\n', "\n      ");
                    let reason = format!("  condition[{place}]: {reason}\n      {text}");
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
            }
        }
        reasons
    }
}

/// Tables that look at the same outputs become one, each with its own check, as in Vector.
fn build_outputs(
    definition: &TestDefinition,
    workbench: &Workbench,
    problems: &mut Vec<Problem>,
) -> Vec<Output> {
    let mut outputs: Vec<Output> = Vec::new();
    for (number, output) in definition.outputs.iter().enumerate() {
        let mut problem = |message: String| {
            problems.push(definition.problem(format!("`outputs[{number}]`: {message}")));
        };
        let mut checks = Vec::new();
        for (place, text) in output.conditions.iter().enumerate() {
            match Condition::new(text) {
                Ok(condition) => checks.push(Check {
                    text: text.0.clone(),
                    condition,
                }),
                Err(error) => problem(format!("`conditions[{place}]` does not compile:\n{error}")),
            }
        }
        let expected = output.expected_event_count;
        match outputs
            .iter_mut()
            .find(|other| other.names == output.extract_from)
        {
            Some(other) => {
                if let (Some(first), Some(second)) = (other.expected_events, expected)
                    && first != second
                {
                    problem(format!(
                        "`expected_event_count` is {second}, and {first} in another table with the same `extract_from`"
                    ));
                }
                other.expected_events = other.expected_events.or(expected);
                other.checks.push(checks);
            }
            None => outputs.push(Output {
                slots: output
                    .extract_from
                    .iter()
                    .filter_map(|name| workbench.output(name))
                    .collect(),
                names: output.extract_from.clone(),
                expected_events: expected,
                checks: vec![checks],
            }),
        }
    }
    for output in &outputs {
        if output.expected_events == Some(0) && output.checks.iter().any(|check| !check.is_empty())
        {
            problems.push(definition.problem(format!(
                "output for {:?}: with an `expected_event_count` of 0 there is no event that `conditions` could look at",
                output.names
            )));
        }
    }
    outputs
}

/// Makes the event of an input.
fn build_event(input: &TestInput) -> Result<LogEvent, String> {
    let mut value = Value::Object(ObjectMap::new());
    let mut metadata = Value::Object(ObjectMap::new());
    match &input.event {
        InputEvent::Raw(text) => value = text_event(text),
        InputEvent::Log(fields) => {
            value = text_event("");
            for (path, field) in fields {
                let parsed = parse_target_path(path)
                    .map_err(|_| format!("`log_fields`: {path:?} is no path of a field"))?;
                let target = match parsed.prefix {
                    PathPrefix::Event => &mut value,
                    PathPrefix::Metadata => &mut metadata,
                };
                target.insert(&parsed.path, field.clone());
            }
        }
        InputEvent::Vrl(source) => {
            let text = ProgramText {
                text: source.clone(),
                file: None,
            };
            let program = Compiled::new(&text, Access::ReadWrite)
                .map_err(|error| format!("`source` does not compile:\n{error}"))?;
            let mut secrets = Secrets::new();
            let mut target = TargetValueRef {
                value: &mut value,
                metadata: &mut metadata,
                secrets: &mut secrets,
            };
            program
                .run_explained(&mut Runtime::default(), &mut target)
                .map_err(|error| format!("`source`: {error}"))?;
        }
    }
    Ok(LogEvent {
        value,
        metadata,
        finalizer: Finalizer::none(),
        weight: 0,
    })
}

fn text_event(text: &str) -> Value {
    Value::Object(ObjectMap::from([
        (MESSAGE.into(), Value::from(text)),
        (TIMESTAMP.into(), Value::Timestamp(Utc::now())),
    ]))
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests;
