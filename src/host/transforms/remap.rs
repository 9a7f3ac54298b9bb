//! `remap`: a program that changes events.

use std::path::PathBuf;

use serde::Deserialize;
use vrl::compiler::TargetValueRef;
use vrl::compiler::runtime::Runtime;
use vrl::path::OwnedTargetPath;
use vrl::value::{ObjectMap, Secrets, Value};

use super::program::{Access, Compiled, ProgramText, Stopped};
use crate::host::event::LogEvent;
use crate::host::metrics::ComponentMetrics;

/// Where a value goes that is no object: Vector's name for the text of a log event.
const MESSAGE: &str = "message";

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
}

/// A `remap` whose program compiled.
#[derive(Debug)]
pub(crate) struct Remap {
    program: Compiled,
    drop_on_error: bool,
    drop_on_abort: bool,
    keep_original: bool,
    metrics: ComponentMetrics,
}

/// What became of an event.
#[derive(Debug)]
pub(crate) enum Remapped {
    /// It goes no further.
    Dropped,
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
            keep_original: (program.can_fail() && !config.drop_on_error)
                || (program.can_abort() && !config.drop_on_abort),
            program,
            drop_on_error: config.drop_on_error,
            drop_on_abort: config.drop_on_abort,
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
    pub(crate) fn metrics(&self) -> &ComponentMetrics {
        &self.metrics
    }

    /// Runs the program on an event.
    pub(crate) fn apply(&self, runtime: &mut Runtime, mut event: LogEvent) -> Remapped {
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
        let dropped = match &stopped {
            Stopped::Aborted => {
                if self.drop_on_abort {
                    self.metrics.add_discarded();
                }
                self.drop_on_abort
            }
            Stopped::Failed(failure) => {
                self.metrics.program_failed(failure, self.drop_on_error);
                self.drop_on_error
            }
        };
        if dropped {
            return Remapped::Dropped;
        }
        // Without a copy the compiler has shown that the program cannot end this way. Should it be wrong, a changed event is
        // better than none.
        if let Some((value, metadata)) = original {
            event.value = value;
            event.metadata = metadata;
        }
        Remapped::One(event)
    }
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
