//! `route`: copies of an event to every output whose condition it meets.

use std::collections::BTreeMap;

use serde::Deserialize;
use vrl::compiler::runtime::Runtime;
use vrl::path::OwnedTargetPath;

use super::condition::{Condition, ConditionText};
use crate::host::event::LogEvent;
use crate::host::metrics::ComponentMetrics;

/// The options of `route`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteConfig {
    /// A condition for each named output.
    pub(crate) route: BTreeMap<String, ConditionText>,
    /// Whether an event that meets no condition goes to the output `_unmatched`, which otherwise does not exist (default true).
    #[serde(default = "yes")]
    pub(crate) reroute_unmatched: bool,
}

fn yes() -> bool {
    true
}

/// A `route` whose conditions compiled. Its outputs are numbered: the routes in the order of their names, then `_unmatched`.
#[derive(Debug)]
pub(crate) struct Route {
    routes: Vec<Condition>,
    reroute_unmatched: bool,
    metrics: ComponentMetrics,
}

impl Route {
    /// Compiles the conditions.
    ///
    /// # Errors
    ///
    /// For every condition that does not compile, its name and the compiler's diagnostics.
    pub(crate) fn new(id: &str, config: &RouteConfig) -> Result<Self, Vec<(String, String)>> {
        let mut routes = Vec::with_capacity(config.route.len());
        let mut errors = Vec::new();
        for (name, text) in &config.route {
            match Condition::new(text) {
                Ok(condition) => routes.push(condition),
                Err(error) => errors.push((name.clone(), error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            routes,
            reroute_unmatched: config.reroute_unmatched,
            metrics: ComponentMetrics::new("transform", id, "route"),
        })
    }

    /// What the compiler warns of.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(Condition::warnings)
    }

    /// What of an event the conditions read.
    pub(crate) fn queries(&self) -> impl Iterator<Item = &OwnedTargetPath> {
        self.routes.iter().flat_map(Condition::queries)
    }

    /// The counters.
    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &ComponentMetrics {
        &self.metrics
    }

    /// Calls `matched` with the number of every output that the event goes to. `counted` is false for an event that is done
    /// again: conditions that fail on it were counted the first time.
    pub(crate) fn matches(
        &self,
        runtime: &mut Runtime,
        event: &LogEvent,
        counted: bool,
        mut matched: impl FnMut(usize),
    ) {
        let metrics = counted.then_some(&self.metrics);
        let mut any = false;
        for (output, condition) in self.routes.iter().enumerate() {
            if condition.check(runtime, event, metrics) {
                any = true;
                matched(output);
            }
        }
        if !any && self.reroute_unmatched {
            matched(self.routes.len());
        }
    }
}
