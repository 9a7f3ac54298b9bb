//! Outputs by name, and which of them a component takes its events from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::document::component_name;
use super::nearest::nearest;
use super::problem::Problem;
use crate::options::Settings;
pub(crate) use crate::options::{NOTICES_OUTPUT as NOTICES, UNMATCHED_OUTPUT as UNMATCHED};

/// The name that Vector gives to an output without one, in metrics; no named output may have it.
pub(crate) const DEFAULT: &str = "_default";

/// An output of a source or a transform, written `component` or `component.port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OutputId {
    /// The id of the source or the transform.
    pub(crate) component: String,
    /// The named output; `None` for the output that has no name of its own.
    pub(crate) port: Option<String>,
}

impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.component)?;
        if let Some(port) = &self.port {
            write!(f, ".{port}")?;
        }
        Ok(())
    }
}

/// The outputs of a source.
pub(super) fn source_ports(settings: &Settings) -> Vec<Option<String>> {
    settings
        .output_names()
        .map_or_else(|| vec![None], |names| names.into_iter().map(Some).collect())
}

/// A component, as far as its connections go.
#[derive(Clone, Debug)]
pub(super) struct Joint {
    /// `source`, `transform` or `sink`.
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) file: String,
    pub(super) line: usize,
    /// What the file says, globs and all.
    pub(super) inputs: Vec<String>,
    /// Its outputs; `None` when the component could not be read, so that nothing is said about those who refer to it.
    pub(super) ports: Option<Vec<Option<String>>>,
}

impl Joint {
    fn outputs(&self) -> impl Iterator<Item = OutputId> + '_ {
        self.ports.iter().flatten().map(|port| OutputId {
            component: self.id.clone(),
            port: port.clone(),
        })
    }

    fn problem(&self, message: String) -> Problem {
        Problem::of(component_name(self.kind, &self.id), message)
            .at(self.line)
            .in_file(&self.file)
    }
}

/// Whether there is an output of this name. One of a component that could not be read may be there.
pub(super) fn exists(joints: &[Joint], name: &str) -> bool {
    joints.iter().any(|joint| match joint.ports {
        Some(_) => joint.outputs().any(|output| output.to_string() == name),
        None => name.split('.').next() == Some(&joint.id),
    })
}

/// Turns the inputs of every transform and sink into outputs. The result is in the order of `joints`.
///
/// # Errors
///
/// Every input that names nothing, or twice the same.
pub(super) fn resolve(joints: &[Joint]) -> Result<Vec<Vec<OutputId>>, Vec<Problem>> {
    let outputs: BTreeMap<String, OutputId> = joints
        .iter()
        .flat_map(Joint::outputs)
        .map(|output| (output.to_string(), output))
        .collect();
    let mut problems = Vec::new();
    let mut resolved = Vec::with_capacity(joints.len());
    for joint in joints {
        let mut taken: Vec<OutputId> = Vec::new();
        let mut twice = BTreeSet::new();
        for input in &joint.inputs {
            match expand(joint, input, joints, &outputs) {
                Ok(found) => {
                    for output in found {
                        if taken.contains(&output) {
                            twice.insert(output);
                        } else {
                            taken.push(output);
                        }
                    }
                }
                Err(message) => problems.push(joint.problem(message)),
            }
        }
        for output in twice {
            problems.push(joint.problem(format!(
                "input \"{output}\" is named twice, by itself or by a pattern; its events would come twice: keep one"
            )));
        }
        resolved.push(taken);
    }
    if problems.is_empty() {
        Ok(resolved)
    } else {
        Err(problems)
    }
}

/// The outputs that one entry of `inputs` means. Every entry is a glob over output names, as in Vector: `nomad.*`.
fn expand(
    joint: &Joint,
    input: &str,
    joints: &[Joint],
    outputs: &BTreeMap<String, OutputId>,
) -> Result<Vec<OutputId>, String> {
    // A text that is no pattern is taken literally, as Vector does.
    let pattern = glob::Pattern::new(input).ok();
    let found: Vec<OutputId> = outputs
        .iter()
        .filter(|(name, _)| {
            let matches = match &pattern {
                Some(pattern) => pattern.matches(name),
                None => name.as_str() == input,
            };
            matches && **name != joint.id
        })
        .map(|(_, output)| output.clone())
        .collect();
    if !found.is_empty() || refers_to_unread(input, joints) {
        return Ok(found);
    }
    if input.contains(['*', '?', '[']) {
        return Err(format!(
            "input \"{input}\" matches no output; there are: {}",
            list(outputs.keys().map(String::as_str))
        ));
    }
    Err(missing_input(joint, input, joints, outputs))
}

/// Whether an input may mean a component that could not be read.
fn refers_to_unread(input: &str, joints: &[Joint]) -> bool {
    let name = input.split('.').next().unwrap_or(input);
    let pattern = glob::Pattern::new(name).ok();
    joints
        .iter()
        .filter(|joint| joint.ports.is_none())
        .any(|joint| {
            joint.kind != "sink"
                && (joint.id == name || pattern.as_ref().is_some_and(|p| p.matches(&joint.id)))
        })
}

fn missing_input(
    joint: &Joint,
    input: &str,
    joints: &[Joint],
    outputs: &BTreeMap<String, OutputId>,
) -> String {
    let (component, port) = match input.split_once('.') {
        Some((component, port)) => (component, Some(port)),
        None => (input, None),
    };
    if input == joint.id {
        return format!("input \"{input}\" is the component itself");
    }
    let Some(owner) = joints.iter().find(|other| other.id == component) else {
        let unread = joints
            .iter()
            .filter(|joint| joint.kind != "sink" && joint.ports.is_none())
            .map(|joint| joint.id.as_str());
        let near = nearest(input, outputs.keys().map(String::as_str));
        return format!(
            "input \"{input}\" is no output of any component{}; there are: {}",
            near.map_or_else(String::new, |near| format!(" (did you mean \"{near}\"?)")),
            list(outputs.keys().map(String::as_str).chain(unread))
        );
    };
    if owner.kind == "sink" {
        return format!("input \"{input}\" is a sink, which has no output");
    }
    let own: Vec<String> = owner.outputs().map(|output| output.to_string()).collect();
    let has = list(own.iter().map(String::as_str));
    let named = component_name(owner.kind, &owner.id);
    match (port, owner.kind) {
        (None, "source") => format!(
            "input \"{input}\": with `multiple_outputs`, {named} has no output of that name; it has: {has}"
        ),
        (None, _) => format!("input \"{input}\": {named} has only named outputs: {has}"),
        (Some(port), "source") if own == [component] => format!(
            "input \"{input}\": {named} has no output `{port}`, only {has}; set `multiple_outputs = true` for one output per \
             topic"
        ),
        (Some(port), "source") => format!(
            "input \"{input}\": {named} has no output `{port}`; it has: {has} (subscribe to a topic to have an output for it)"
        ),
        (Some(port), _) => {
            format!("input \"{input}\": {named} has no output `{port}`; it has: {has}")
        }
    }
}

/// A cycle of transforms, each the input of the next, the first one repeated at the end.
pub(super) fn cycle(joints: &[Joint], inputs: &[Vec<OutputId>]) -> Option<Vec<String>> {
    let place: BTreeMap<&str, usize> = joints
        .iter()
        .enumerate()
        .map(|(place, joint)| (joint.id.as_str(), place))
        .collect();
    // 0: not seen, 1: on the current way, 2: done.
    let mut state = vec![0_u8; joints.len()];
    let mut way: Vec<usize> = Vec::new();
    fn visit(
        node: usize,
        inputs: &[Vec<OutputId>],
        place: &BTreeMap<&str, usize>,
        state: &mut [u8],
        way: &mut Vec<usize>,
    ) -> bool {
        state[node] = 1;
        way.push(node);
        for input in &inputs[node] {
            let Some(&next) = place.get(input.component.as_str()) else {
                continue;
            };
            if state[next] == 1 {
                way.push(next);
                return true;
            }
            if state[next] == 0 && visit(next, inputs, place, state, way) {
                return true;
            }
        }
        state[node] = 2;
        way.pop();
        false
    }
    for node in 0..joints.len() {
        if state[node] == 0 && visit(node, inputs, &place, &mut state, &mut way) {
            let last = way.last().copied();
            let start = way.iter().position(|node| Some(*node) == last).unwrap_or(0);
            let mut chain: Vec<String> = way[start..]
                .iter()
                .map(|node| joints[*node].id.clone())
                .collect();
            // The way goes from consumers to producers.
            chain.reverse();
            return Some(chain);
        }
    }
    None
}

/// Outputs that nobody takes, as warnings.
pub(super) fn unconsumed(joints: &[Joint], inputs: &[Vec<OutputId>]) -> Vec<String> {
    let taken: BTreeSet<&OutputId> = inputs.iter().flatten().collect();
    let mut warnings = Vec::new();
    for (kind, title) in [("transform", "Transform"), ("source", "Source")] {
        for joint in joints.iter().filter(|joint| joint.kind == kind) {
            for output in joint.outputs().filter(|output| !taken.contains(output)) {
                warnings.push(format!("{title} \"{output}\" has no consumers"));
            }
        }
    }
    warnings
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
