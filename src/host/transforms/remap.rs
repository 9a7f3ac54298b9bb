//! `remap`: a program that changes events.

use std::path::PathBuf;

use serde::Deserialize;
use vrl::compiler::TargetValueRef;
use vrl::compiler::runtime::Runtime;
use vrl::path::OwnedTargetPath;
use vrl::value::{ObjectMap, Secrets, Value};

use super::program::{Access, Compiled, LastWords, ProgramText, Stopped};
use crate::host::event::LogEvent;
use crate::host::metrics::ComponentMetrics;

/// Where a value goes that is no object: Vector's name for the text of a log event.
const MESSAGE: &str = "message";

/// Where it is noted why an event was dropped, as Vector's `log_schema` has it by default.
const METADATA: &str = "metadata";

/// The output of dropped events, with `reroute_dropped`.
pub(crate) const DROPPED: &str = "dropped";

/// The options of `remap`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemapOptions {
    /// The program. Either this or `file`.
    #[serde(default)]
    pub(crate) source: Option<String>,
    /// A file with the program; a relative path starts from the working directory.
    #[serde(default)]
    pub(crate) file: Option<PathBuf>,
    /// Drop the event on which the program fails, instead of passing it on as it was (default false).
    #[serde(default)]
    pub(crate) drop_on_error: bool,
    /// Drop the event on which the program aborts, instead of passing it on as it was (default true).
    #[serde(default = "yes")]
    pub(crate) drop_on_abort: bool,
    /// Give events that are dropped for either reason to the output `dropped`, as they came and with the reason under
    /// `metadata.dropped` (default false).
    #[serde(default)]
    pub(crate) reroute_dropped: bool,
}

fn yes() -> bool {
    true
}

/// A `remap` whose program was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemapConfig {
    /// The program.
    pub(crate) program: ProgramText,
    /// See [`RemapOptions::drop_on_error`].
    pub(crate) drop_on_error: bool,
    /// See [`RemapOptions::drop_on_abort`].
    pub(crate) drop_on_abort: bool,
    /// See [`RemapOptions::reroute_dropped`].
    pub(crate) reroute_dropped: bool,
}

/// A `remap` whose program compiled.
#[derive(Debug)]
pub(crate) struct Remap {
    id: String,
    program: Compiled,
    drop_on_error: bool,
    drop_on_abort: bool,
    reroute_dropped: bool,
    keep_original: bool,
    metrics: ComponentMetrics,
}

/// What became of an event.
#[derive(Debug)]
pub(crate) enum Remapped {
    /// It goes no further.
    Dropped,
    /// It goes to the output of dropped events.
    Rerouted(LogEvent),
    /// It goes on.
    One(LogEvent),
    /// The program assigned an array to `.`: each element is an event.
    Many(Vec<LogEvent>),
}

impl Remap {
    /// Compiles the program.
    ///
    /// # Errors
    ///
    /// The compiler's diagnostics.
    pub(crate) fn new(id: &str, config: &RemapConfig) -> Result<Self, String> {
        let program = Compiled::new(&config.program, Access::ReadWrite)?;
        Ok(Self {
            // A copy costs as much as a small program, so it is made only where an event that was half changed would go on.
            keep_original: (program.can_fail()
                && (!config.drop_on_error || config.reroute_dropped))
                || (program.can_abort() && (!config.drop_on_abort || config.reroute_dropped)),
            id: id.to_owned(),
            program,
            drop_on_error: config.drop_on_error,
            drop_on_abort: config.drop_on_abort,
            reroute_dropped: config.reroute_dropped,
            metrics: ComponentMetrics::new("transform", id, "remap"),
        })
    }

    /// What the compiler warns of.
    pub(crate) fn warnings(&self) -> Option<&str> {
        self.program.warnings.as_deref()
    }

    /// What of an event the program reads, as the compiler has found it.
    pub(crate) fn queries(&self) -> &[OwnedTargetPath] {
        self.program.queries()
    }

    /// The counters.
    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &ComponentMetrics {
        &self.metrics
    }

    /// Runs the program on an event. `counted` is false for one that is done again: what it counts was counted the first time.
    pub(crate) fn apply(
        &self,
        runtime: &mut Runtime,
        mut event: LogEvent,
        counted: bool,
    ) -> Remapped {
        let original = self
            .keep_original
            .then(|| (event.value.clone(), event.metadata.clone()));
        let mut secrets = Secrets::new();
        let mut target = TargetValueRef {
            value: &mut event.value,
            metadata: &mut event.metadata,
            secrets: &mut secrets,
        };
        let stopped = match self.program.run(runtime, &mut target) {
            Ok(_) => return into_events(event),
            Err(stopped) => stopped,
        };
        let (reason, last_words, drop) = match &stopped {
            Stopped::Aborted(last_words) => ("abort", last_words, self.drop_on_abort),
            Stopped::Failed(_, last_words) => ("error", last_words, self.drop_on_error),
        };
        // A rerouted event is not lost, and says itself what happened to it.
        let rerouted = drop && self.reroute_dropped;
        match &stopped {
            _ if rerouted || !counted => {}
            Stopped::Aborted(_) if drop => self.metrics.add_discarded(),
            Stopped::Aborted(_) => {}
            Stopped::Failed(failure, _) => self.metrics.program_failed(failure, drop),
        }
        if drop && !rerouted {
            return Remapped::Dropped;
        }
        // Without a copy the compiler has shown that the program cannot end this way. Should it be wrong, a changed event is
        // better than none.
        if let Some((value, metadata)) = original {
            event.value = value;
            event.metadata = metadata;
        }
        if rerouted {
            let why = why(reason, last_words, &self.id);
            event
                .value
                .insert(&vrl::owned_value_path!(METADATA, DROPPED), why);
            return Remapped::Rerouted(event);
        }
        Remapped::One(event)
    }
}

/// Why an event was dropped, as Vector notes it.
fn why(reason: &str, last_words: &LastWords, id: &str) -> Value {
    let fields = [
        ("component_id", id.to_owned()),
        ("component_kind", "transform".to_owned()),
        ("component_type", "remap".to_owned()),
        ("message", last_words.text()),
        ("reason", reason.to_owned()),
    ];
    Value::Object(
        fields
            .into_iter()
            .map(|(name, text)| (name.into(), Value::from(text)))
            .collect(),
    )
}

/// The events that a program has left in `.`: an array gives one for each element, and what is no object becomes the field
/// `message` of one, as in Vector's default log namespace.
fn into_events(mut event: LogEvent) -> Remapped {
    match event.value {
        Value::Object(_) => Remapped::One(event),
        Value::Array(elements) => {
            let many = elements
                .into_iter()
                .map(|value| LogEvent {
                    value: object(value),
                    metadata: event.metadata.clone(),
                    finalizer: event.finalizer.clone(),
                    // Each may hold a copy of most of the event, so each counts like the event.
                    weight: event.weight,
                })
                .collect();
            Remapped::Many(many)
        }
        value => {
            event.value = object(value);
            Remapped::One(event)
        }
    }
}

fn object(value: Value) -> Value {
    match value {
        Value::Object(_) => value,
        value => Value::Object(ObjectMap::from([(MESSAGE.into(), value)])),
    }
}
