//! `filter`: passes on the events that meet a condition.

use serde::Deserialize;
use vrl::compiler::runtime::Runtime;
use vrl::path::OwnedTargetPath;

use super::condition::{Condition, ConditionText};
use crate::host::event::LogEvent;
use crate::host::metrics::ComponentMetrics;

/// The options of `filter`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilterConfig {
    /// What an event must meet to go on.
    pub(crate) condition: ConditionText,
}

/// A `filter` whose condition compiled.
#[derive(Debug)]
pub(crate) struct Filter {
    condition: Condition,
    metrics: ComponentMetrics,
}

impl Filter {
    /// Compiles the condition.
    ///
    /// # Errors
    ///
    /// The compiler's diagnostics.
    pub(crate) fn new(id: &str, config: &FilterConfig) -> Result<Self, String> {
        Ok(Self {
            condition: Condition::new(&config.condition)?,
            metrics: ComponentMetrics::new("transform", id, "filter"),
        })
    }

    /// What the compiler warns of.
    pub(crate) fn warnings(&self) -> Option<&str> {
        self.condition.warnings()
    }

    /// What of an event the program reads, as the compiler has found it.
    pub(crate) fn queries(&self) -> &[OwnedTargetPath] {
        self.condition.queries()
    }

    /// The counters.
    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &ComponentMetrics {
        &self.metrics
    }

    /// Whether the event goes on; what does not is counted, unless it is done again and was `counted` the first time.
    pub(crate) fn passes(&self, runtime: &mut Runtime, event: &LogEvent, counted: bool) -> bool {
        let metrics = counted.then_some(&self.metrics);
        let passes = self.condition.check(runtime, event, metrics);
        if !passes && counted {
            self.metrics.add_discarded();
        }
        passes
    }
}
