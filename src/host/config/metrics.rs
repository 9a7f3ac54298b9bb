//! Metrics in a configuration: what may be connected to what, and who listens where.
//!
//! Metrics are no events in this program: `internal_metrics` gives them to `prometheus_exporter`, and to nobody else.

use std::net::SocketAddr;

use super::document::component_name;
use super::outputs::{Joint, OutputId};
use super::problem::Problem;
use crate::host::USE_VECTOR;
use crate::host::api::ApiConfig;
use crate::host::sinks::prometheus_exporter::PrometheusExporterConfig;
use crate::host::sources::internal_metrics::InternalMetricsConfig;

/// A source of type `internal_metrics`.
#[derive(Clone, Debug)]
pub(crate) struct InternalMetricsNode {
    /// The component id.
    pub(crate) id: String,
    /// Its options.
    pub(crate) config: InternalMetricsConfig,
}

/// A sink of type `prometheus_exporter`.
#[derive(Clone, Debug)]
pub(crate) struct ExporterNode {
    /// The component id.
    pub(crate) id: String,
    /// The file it stands in.
    pub(crate) file: String,
    /// The line it begins on.
    pub(crate) line: usize,
    /// The sources it takes, each once.
    pub(crate) inputs: Vec<OutputId>,
    /// Its options.
    pub(crate) config: PrometheusExporterConfig,
}

/// What shows how the process is: metrics and the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observability {
    /// Who reads metrics.
    pub(crate) sources: Vec<InternalMetricsNode>,
    /// Who shows them.
    pub(crate) exporters: Vec<ExporterNode>,
    /// Who answers health checks.
    pub(crate) api: ApiConfig,
}

impl Observability {
    /// Connects the exporters, and finds what cannot be connected. `inputs` are in the order of `joints`.
    pub(super) fn connect(&mut self, joints: &[Joint], inputs: &[Vec<OutputId>]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (joint, inputs) in joints.iter().zip(inputs) {
            let exporter = self
                .exporters
                .iter_mut()
                .find(|node| joint.kind == "sink" && node.id == joint.id);
            let takes_metrics = exporter.is_some();
            for input in inputs {
                let is_metrics = self.sources.iter().any(|node| node.id == input.component);
                let message = match (is_metrics, takes_metrics) {
                    (true, true) | (false, false) => continue,
                    (true, false) => format!(
                        "input \"{input}\" gives metrics, which only a sink of type `prometheus_exporter` takes in this program; \
                         {USE_VECTOR}"
                    ),
                    (false, true) => format!(
                        "input \"{input}\" gives events, and a `prometheus_exporter` takes metrics; name a source of type \
                         `internal_metrics`"
                    ),
                };
                problems.push(
                    Problem::of(component_name(joint.kind, &joint.id), message)
                        .at(joint.line)
                        .in_file(&joint.file),
                );
            }
            if let Some(exporter) = exporter {
                exporter.inputs.clone_from(inputs);
            }
        }
        problems.extend(self.same_address());
        problems
    }

    /// Finds addresses that two would listen on. A free port, 0, is another one each time.
    fn same_address(&self) -> Vec<Problem> {
        let api = self
            .api
            .enabled
            .then_some(("`api`".to_owned(), None, self.api.address));
        let listeners: Vec<Listener<'_>> = self
            .exporters
            .iter()
            .map(|node| {
                (
                    component_name("sink", &node.id),
                    Some((&*node.file, node.line)),
                    node.config.address,
                )
            })
            .chain(api)
            .collect();
        let mut problems = Vec::new();
        for (number, (name, place, address)) in listeners.iter().enumerate() {
            let first = listeners
                .iter()
                .take(number)
                .find(|(_, _, other)| clash(*address, *other));
            if let Some((first, first_place, _)) = first {
                // The API has no place of its own.
                let (owner, other, place) = match place {
                    Some(place) => (name, first, Some(place)),
                    None => (first, name, first_place.as_ref()),
                };
                let message = format!(
                    "option `address`: {other} listens on {address} too; choose another port"
                );
                let problem = Problem::of(owner.clone(), message);
                problems.push(match place {
                    Some((file, line)) => problem.at(*line).in_file(file),
                    None => problem,
                });
            }
        }
        problems
    }

    /// What is suspicious: series that come and go because they are read more rarely than they are kept.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for exporter in &self.exporters {
            for source in &self.sources {
                let (interval, kept) =
                    (source.config.scrape_interval, exporter.config.flush_period);
                let connected = exporter
                    .inputs
                    .iter()
                    .any(|input| input.component == source.id);
                if connected && interval >= kept {
                    warnings.push(format!(
                        "Sink \"{}\" drops a series after {} s (`flush_period_secs`), and source \"{}\" reads them every {} s \
                         (`scrape_interval_secs`): they may come and go",
                        exporter.id,
                        kept.as_secs_f64(),
                        source.id,
                        interval.as_secs_f64(),
                    ));
                }
            }
        }
        warnings
    }
}

/// A name, the file and line where it stands, and an address.
type Listener<'c> = (String, Option<(&'c str, usize)>, SocketAddr);

/// Whether two cannot listen at the same time: the same port, and the same address or all of them.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || everywhere)
}

#[cfg(test)]
mod tests;
