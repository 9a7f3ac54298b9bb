//! Who reads the metrics of a run and who shows them, beside the graph of events.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use metrics::Counter;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::info;

use crate::host::api::{self, ApiConfig};
use crate::host::config::{Observability, Problem, component_name};
use crate::host::listener::Listener;
use crate::host::metrics::registry::Registry;
use crate::host::metrics::{ProcessMetrics, received_events, sent_events};
use crate::host::sinks::prometheus_exporter::PrometheusExporter;
use crate::host::sources::internal_metrics::Reader;

/// What runs beside the events: reads metrics, answers scrapes and health checks. Has a name for messages.
pub(super) type Service = (String, Pin<Box<dyn Future<Output = ()> + Send>>);

/// What was configured to be read and shown.
pub(super) struct Observation {
    pub(super) registry: Registry,
    sources: Vec<Source>,
    exporters: Vec<Exporter>,
    api: ApiConfig,
    api_listener: Option<Listener>,
}

/// A source of metrics.
struct Source {
    id: String,
    reader: Reader,
    interval: Duration,
    to: Vec<PrometheusExporter>,
    received: Counter,
    sent: Counter,
}

struct Exporter {
    id: String,
    file: String,
    line: usize,
    address: std::net::SocketAddr,
    sink: PrometheusExporter,
    listener: Option<Listener>,
}

impl Observation {
    /// Makes the components, and registers their own metrics.
    ///
    /// # Errors
    ///
    /// Every sink that refuses its options.
    pub(super) fn build(config: &Observability, registry: Registry) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut exporters = Vec::with_capacity(config.exporters.len());
        for node in &config.exporters {
            match PrometheusExporter::new(&node.id, &node.config, &registry) {
                Ok(sink) => exporters.push(Exporter {
                    id: node.id.clone(),
                    file: node.file.clone(),
                    line: node.line,
                    address: node.config.address,
                    sink,
                    listener: None,
                }),
                Err(message) => problems.push(
                    Problem::of(component_name("sink", &node.id), message)
                        .at(node.line)
                        .in_file(&node.file),
                ),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let sources = config.sources.iter().map(|source| {
            let takes = config.exporters.iter().map(|node| {
                let mut inputs = node.inputs.iter();
                inputs.any(|input| input.component == source.id)
            });
            let (received, sent) = registry
                .component("source", &source.id, "internal_metrics")
                .within(|| (received_events(), sent_events(None)));
            Source {
                id: source.id.clone(),
                reader: source.config.reader(&registry),
                interval: source.config.scrape_interval,
                to: takes
                    .zip(&exporters)
                    .filter(|(takes, _)| *takes)
                    .map(|(_, exporter)| exporter.sink.clone())
                    .collect(),
                received,
                sent,
            }
        });
        Ok(Self {
            sources: sources.collect(),
            exporters,
            api: config.api,
            api_listener: None,
            registry,
        })
    }

    /// Begins to listen on every address.
    ///
    /// # Errors
    ///
    /// Every address that cannot be listened on.
    pub(super) async fn listen(&mut self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for exporter in &mut self.exporters {
            match Listener::bind(exporter.address).await {
                Ok(listener) => {
                    let address = listener.address();
                    info!(component_id = exporter.id, %address, "metrics are at http://{address}/metrics");
                    exporter.listener = Some(listener);
                }
                Err(message) => problems.push(
                    Problem::of(
                        component_name("sink", &exporter.id),
                        format!("option `address`: {message}"),
                    )
                    .at(exporter.line)
                    .in_file(&exporter.file),
                ),
            }
        }
        if self.api.enabled {
            match Listener::bind(self.api.address).await {
                Ok(listener) => {
                    let address = listener.address();
                    info!(%address, "health is at http://{address}/health");
                    self.api_listener = Some(listener);
                }
                Err(message) => {
                    problems.push(Problem::of("`api`", format!("option `address`: {message}")));
                }
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Everything that is to run as long as the run does. Metrics are read once before this returns, so that the first scrape
    /// shows all that is registered by now.
    pub(super) fn services(self, stopping: &watch::Receiver<bool>) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        let process = std::sync::Arc::new(ProcessMetrics::register(&self.registry));
        for source in self.sources {
            let process = std::sync::Arc::clone(&process);
            process.refresh();
            source.read();
            let name = component_name("source", &source.id);
            services.push((name, Box::pin(async move { source.run(&process).await })));
        }
        for exporter in self.exporters {
            if let Some(listener) = exporter.listener {
                let sink = exporter.sink;
                let serve = listener.serve(move |request| sink.respond(request));
                services.push((component_name("sink", &exporter.id), Box::pin(serve)));
            }
        }
        if let Some(listener) = self.api_listener {
            let stopping = stopping.clone();
            let serve = listener.serve(move |request| api::respond(request, &stopping));
            services.push(("`api`".to_owned(), Box::pin(serve)));
        }
        services
    }
}

impl Source {
    async fn run(&self, process: &ProcessMetrics) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            process.refresh();
            self.read();
        }
    }

    fn read(&self) {
        let samples = self.reader.samples();
        self.received.increment(samples.len() as u64);
        for exporter in &self.to {
            exporter.take(samples.clone());
        }
        self.sent.increment(samples.len() as u64);
    }
}

#[cfg(test)]
impl Observation {
    /// The sinks, in the order of the configuration.
    pub(super) fn exporters(&self) -> Vec<PrometheusExporter> {
        self.exporters
            .iter()
            .map(|exporter| exporter.sink.clone())
            .collect()
    }
}
