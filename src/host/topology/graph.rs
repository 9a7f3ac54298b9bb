//! The compiled graph of transforms, through which events are pushed one by one.
//!
//! Conditions borrow the event. An edge with a single consumer moves it; several consumers get copies, the last one the event
//! itself. Copies share the answer that their batch waits for.

use std::collections::BTreeMap;

use vrl::compiler::runtime::Runtime;
use vrl::path::{OwnedSegment, OwnedTargetPath, PathPrefix};

use crate::host::config::{Config, OutputId, Problem, TransformConfig, component_name};
use crate::host::event::LogEvent;
use crate::host::transforms::filter::Filter;
use crate::host::transforms::remap::{Remap, Remapped};
use crate::host::transforms::route::Route;
use crate::payload::wanted::Wanted;

/// Who takes what an output gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumer {
    /// A transform, by its number.
    Transform(usize),
    /// A sink, by its number.
    Sink(usize),
}

/// A transform and the consumers of each of its outputs.
#[derive(Debug)]
struct Node {
    step: Step,
    outputs: Vec<Vec<Consumer>>,
}

#[derive(Debug)]
enum Step {
    Remap(Remap),
    Route(Route),
    Filter(Filter),
}

/// All transforms of a configuration, compiled and connected. Shared by the pipelines of all sources.
#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// The consumers of each output, also those of sources.
    consumers: BTreeMap<OutputId, Vec<Consumer>>,
}

impl Graph {
    /// Compiles the programs of a configuration.
    ///
    /// # Errors
    ///
    /// Every program that does not compile, with the compiler's diagnostics.
    pub(super) fn build(config: &Config) -> Result<Self, Vec<Problem>> {
        let mut consumers: BTreeMap<OutputId, Vec<Consumer>> = BTreeMap::new();
        for (number, node) in config.transforms.iter().enumerate() {
            for input in &node.inputs {
                consumers
                    .entry(input.clone())
                    .or_default()
                    .push(Consumer::Transform(number));
            }
        }
        for (number, node) in config.sinks.iter().enumerate() {
            for input in &node.inputs {
                consumers
                    .entry(input.clone())
                    .or_default()
                    .push(Consumer::Sink(number));
            }
        }
        let mut nodes = Vec::with_capacity(config.transforms.len());
        let mut problems = Vec::new();
        for node in &config.transforms {
            match Step::build(&node.id, &node.transform) {
                Ok(step) => {
                    step.warn(&node.id);
                    let outputs = node
                        .transform
                        .ports()
                        .into_iter()
                        .map(|port| {
                            let output = OutputId {
                                component: node.id.clone(),
                                port,
                            };
                            consumers.get(&output).cloned().unwrap_or_default()
                        })
                        .collect();
                    nodes.push(Node { step, outputs });
                }
                Err(messages) => problems.extend(messages.into_iter().map(|message| {
                    Problem::of(component_name("transform", &node.id), message).at(node.line)
                })),
            }
        }
        if problems.is_empty() {
            Ok(Self { nodes, consumers })
        } else {
            Err(problems)
        }
    }

    /// Who takes what an output of a source gives.
    pub(super) fn consumers(&self, output: &OutputId) -> Vec<Consumer> {
        self.consumers.get(output).cloned().unwrap_or_default()
    }

    /// The sinks that events of these consumers can come to, in rising order.
    pub(super) fn sinks_behind<'c>(
        &self,
        consumers: impl Iterator<Item = &'c Consumer>,
    ) -> Vec<usize> {
        let mut sinks = std::collections::BTreeSet::new();
        let mut seen = vec![false; self.nodes.len()];
        let mut open: Vec<Consumer> = consumers.copied().collect();
        while let Some(consumer) = open.pop() {
            match consumer {
                Consumer::Sink(number) => {
                    sinks.insert(number);
                }
                Consumer::Transform(number) => {
                    if !std::mem::replace(&mut seen[number], true) {
                        open.extend(self.nodes[number].outputs.iter().flatten());
                    }
                }
            }
        }
        sinks.into_iter().collect()
    }

    /// What of a payload the transforms behind these consumers read, up to all of it where an event can come to a sink without
    /// a program that could have replaced it.
    pub(super) fn wanted(&self, consumers: &[Consumer]) -> Wanted {
        let mut wanted = Wanted::default();
        let mut seen = vec![false; self.nodes.len()];
        // With the consumers, whether a program stands before them.
        let mut open: Vec<(Consumer, bool)> = consumers
            .iter()
            .map(|&consumer| (consumer, false))
            .collect();
        while let Some((consumer, behind_program)) = open.pop() {
            let number = match consumer {
                Consumer::Sink(_) if behind_program => continue,
                Consumer::Sink(_) => return Wanted::All,
                Consumer::Transform(number) => number,
            };
            if std::mem::replace(&mut seen[number], true) {
                // Seen behind a program or not: what it reads is known, and what comes to sinks is looked at.
                continue;
            }
            let node = &self.nodes[number];
            for query in node.step.queries() {
                add_query(&mut wanted, query);
            }
            let behind_program = behind_program || matches!(node.step, Step::Remap(_));
            open.extend(
                node.outputs
                    .iter()
                    .flatten()
                    .map(|&next| (next, behind_program)),
            );
        }
        wanted
    }

    /// Hands an event to consumers, through all transforms behind them. `arrive` gets what comes out at a sink.
    pub(super) fn push(
        &self,
        runtime: &mut Runtime,
        event: LogEvent,
        consumers: &[Consumer],
        arrive: &mut impl FnMut(usize, LogEvent),
    ) {
        let Some((last, others)) = consumers.split_last() else {
            return;
        };
        for consumer in others {
            self.hand(runtime, event.clone(), *consumer, arrive);
        }
        self.hand(runtime, event, *last, arrive);
    }

    fn hand(
        &self,
        runtime: &mut Runtime,
        event: LogEvent,
        consumer: Consumer,
        arrive: &mut impl FnMut(usize, LogEvent),
    ) {
        let number = match consumer {
            Consumer::Sink(number) => return arrive(number, event),
            Consumer::Transform(number) => number,
        };
        let node = &self.nodes[number];
        match &node.step {
            Step::Remap(remap) => match remap.apply(runtime, event) {
                Remapped::Dropped => {}
                // The second output, which such a `remap` has.
                Remapped::Rerouted(event) => {
                    self.push(
                        runtime,
                        event,
                        node.outputs.get(1).map_or(&[], Vec::as_slice),
                        arrive,
                    );
                }
                Remapped::One(event) => self.push(runtime, event, &node.outputs[0], arrive),
                Remapped::Many(events) => {
                    for event in events {
                        self.push(runtime, event, &node.outputs[0], arrive);
                    }
                }
            },
            Step::Filter(filter) => {
                if filter.passes(runtime, &event) {
                    self.push(runtime, event, &node.outputs[0], arrive);
                }
            }
            Step::Route(route) => {
                // All conditions first, since the last consumer of the last output may move the event.
                let mut matched: Vec<Consumer> = Vec::new();
                route.matches(runtime, &event, |output| {
                    matched.extend_from_slice(&node.outputs[output]);
                });
                self.push(runtime, event, &matched, arrive);
            }
        }
    }
}

/// Adds what a program reads of an event's payload.
fn add_query(wanted: &mut Wanted, query: &OwnedTargetPath) {
    if query.prefix != PathPrefix::Event {
        return;
    }
    let mut names = Vec::new();
    for segment in &query.path.segments {
        match segment {
            OwnedSegment::Field(name) => names.push(name.as_str()),
            // An element of a list: the whole list.
            _ => break,
        }
    }
    match names.split_first() {
        // The whole event, or something at a place that cannot be known.
        None => *wanted = Wanted::All,
        Some((&"Payload", path)) => wanted.add(path.iter().copied()),
        Some(_) => {}
    }
}

impl Step {
    /// What its programs read.
    fn queries(&self) -> Vec<&OwnedTargetPath> {
        match self {
            Self::Remap(remap) => remap.queries().iter().collect(),
            Self::Filter(filter) => filter.queries().iter().collect(),
            Self::Route(route) => route.queries().collect(),
        }
    }

    fn build(id: &str, transform: &TransformConfig) -> Result<Self, Vec<String>> {
        let condition = |name: &str, error: String| {
            format!("option `{name}`: the condition does not compile:\n{error}")
        };
        match transform {
            TransformConfig::Remap(config) => {
                Remap::new(id, config).map(Self::Remap).map_err(|error| {
                    vec![match &config.program.file {
                        Some(file) => format!("{} does not compile:\n{error}", file.display()),
                        None => format!("option `source`: the program does not compile:\n{error}"),
                    }]
                })
            }
            TransformConfig::Route(config) => {
                Route::new(id, config).map(Self::Route).map_err(|errors| {
                    errors
                        .into_iter()
                        .map(|(name, error)| condition(&format!("route.{name}"), error))
                        .collect()
                })
            }
            TransformConfig::Filter(config) => Filter::new(id, config)
                .map(Self::Filter)
                .map_err(|error| vec![condition("condition", error)]),
        }
    }

    fn warn(&self, id: &str) {
        let warn = |warnings: &str| {
            tracing::warn!(component_kind = "transform", component_id = %id, "program compiled with warnings:\n{warnings}");
        };
        match self {
            Self::Remap(remap) => remap.warnings().into_iter().for_each(warn),
            Self::Filter(filter) => filter.warnings().into_iter().for_each(warn),
            Self::Route(route) => route.warnings().for_each(warn),
        }
    }
}
