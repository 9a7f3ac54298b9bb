//! The compiled graph of transforms, through which events are pushed one by one.
//!
//! Conditions borrow the event. An edge with a single consumer moves it; several consumers get copies, the last one the event
//! itself. Copies share the answer that their batch waits for.

use std::collections::BTreeMap;

use metrics::Counter;
use vrl::compiler::runtime::Runtime;
use vrl::path::{OwnedSegment, OwnedTargetPath, PathPrefix};

use crate::host::config::{Config, Hidden, OutputId, Problem, TransformConfig, component_name};
use crate::host::event::LogEvent;
use crate::host::metrics::registry::Registry;
use crate::host::metrics::{received_events, sent_events};
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
    outputs: Vec<Output>,
    /// Counts events that come to it.
    received: Counter,
}

/// An output of a transform.
#[derive(Debug)]
struct Output {
    consumers: Vec<Consumer>,
    /// Counts events that leave by it, also to nobody.
    sent: Counter,
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
    /// Compiles the programs of a configuration, and registers what they count.
    ///
    /// # Errors
    ///
    /// Every program that does not compile, with the compiler's diagnostics.
    pub(super) fn build(config: &Config, registry: &Registry) -> Result<Self, Vec<Problem>> {
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
            let scope = registry.component("transform", &node.id, node.transform.component_type());
            match scope.within(|| Step::build(&node.id, &node.transform)) {
                Ok(step) => {
                    step.warn(&node.id, &config.hidden);
                    let output = |port: Option<String>| Output {
                        sent: sent_events(port.as_deref()),
                        consumers: consumers
                            .get(&OutputId {
                                component: node.id.clone(),
                                port,
                            })
                            .cloned()
                            .unwrap_or_default(),
                    };
                    nodes.push(scope.within(|| Node {
                        step,
                        outputs: node.transform.ports().into_iter().map(output).collect(),
                        received: received_events(),
                    }));
                }
                Err(messages) => problems.extend(messages.into_iter().map(|message| {
                    Problem::of(component_name("transform", &node.id), message)
                        .at(node.line)
                        .in_file(&node.file)
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
                        open.extend(self.nodes[number].consumers());
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
            open.extend(node.consumers().map(|&next| (next, behind_program)));
        }
        wanted
    }

    /// Hands an event to consumers, through all transforms behind them. `arrive` gets what comes out at a sink.
    ///
    /// `counted` is false for an event that is done again, which has been counted already.
    pub(super) fn push(
        &self,
        runtime: &mut Runtime,
        event: LogEvent,
        consumers: &[Consumer],
        counted: bool,
        arrive: &mut impl FnMut(usize, LogEvent),
    ) {
        let Some((last, others)) = consumers.split_last() else {
            return;
        };
        for consumer in others {
            self.hand(runtime, event.clone(), *consumer, counted, arrive);
        }
        self.hand(runtime, event, *last, counted, arrive);
    }

    fn hand(
        &self,
        runtime: &mut Runtime,
        event: LogEvent,
        consumer: Consumer,
        counted: bool,
        arrive: &mut impl FnMut(usize, LogEvent),
    ) {
        let number = match consumer {
            Consumer::Sink(number) => return arrive(number, event),
            Consumer::Transform(number) => number,
        };
        let node = &self.nodes[number];
        let count = |counter: &Counter, events: usize| {
            if counted {
                counter.increment(events as u64);
            }
        };
        count(&node.received, 1);
        match &node.step {
            Step::Remap(remap) => {
                let output = &node.outputs[0];
                match remap.apply(runtime, event, counted) {
                    Remapped::Dropped => {}
                    // The second output, which such a `remap` has.
                    Remapped::Rerouted(event) => {
                        if let Some(dropped) = node.outputs.get(1) {
                            count(&dropped.sent, 1);
                            self.push(runtime, event, &dropped.consumers, counted, arrive);
                        }
                    }
                    Remapped::One(event) => {
                        count(&output.sent, 1);
                        self.push(runtime, event, &output.consumers, counted, arrive);
                    }
                    Remapped::Many(events) => {
                        count(&output.sent, events.len());
                        for event in events {
                            self.push(runtime, event, &output.consumers, counted, arrive);
                        }
                    }
                }
            }
            Step::Filter(filter) => {
                if filter.passes(runtime, &event, counted) {
                    let output = &node.outputs[0];
                    count(&output.sent, 1);
                    self.push(runtime, event, &output.consumers, counted, arrive);
                }
            }
            Step::Route(route) => {
                // All conditions first, since the last consumer of the last output may move the event.
                let mut matched: Vec<Consumer> = Vec::new();
                route.matches(runtime, &event, counted, |output| {
                    let output = &node.outputs[output];
                    count(&output.sent, 1);
                    matched.extend_from_slice(&output.consumers);
                });
                self.push(runtime, event, &matched, counted, arrive);
            }
        }
    }
}

impl Node {
    fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.outputs.iter().flat_map(|output| &output.consumers)
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

    fn warn(&self, id: &str, hidden: &Hidden) {
        let warn = |warnings: &str| {
            // They show lines of the program, in which the environment may have put something.
            let warnings = hidden.hide(warnings);
            tracing::warn!(component_kind = "transform", component_id = %id, "program compiled with warnings:\n{warnings}");
        };
        match self {
            Self::Remap(remap) => remap.warnings().into_iter().for_each(warn),
            Self::Filter(filter) => filter.warnings().into_iter().for_each(warn),
            Self::Route(route) => route.warnings().for_each(warn),
        }
    }
}
