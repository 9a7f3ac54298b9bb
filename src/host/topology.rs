//! The running host: sources, the graph of transforms, sinks.
//!
//! Transforms have no tasks and no channels. One task per source takes batches from its stream and pushes each event through
//! the whole graph; the tree of an event is built just before. Only sinks have a task, with a channel in front that is bounded
//! in bytes. So there is one place where events can wait, one order, and back-pressure reaches the stream at once.

mod graph;
mod observation;
mod pipeline;
mod sieve;
mod workbench;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use vrl::compiler::runtime::Runtime;
use vrl::value::Value;

use super::buffer::{BufferConfig, WhenFull};
use super::channel::{self, Receiver, Sender};
use super::config::{
    Config, ConfigErrors, Hidden, NOTICES, OutputId, Problem, SourceNode, UNMATCHED, component_name,
};
use super::metrics::registry::{Registry, Scope};
use super::metrics::{ComponentMetrics, received_events, sent_events};
use super::sinks::Sink;
use crate::event::Event;
use crate::payload::value::Shaper;
use crate::payload::wanted::Wanted;
use crate::stream::{Acknowledger, EventStream};
use graph::Graph;
use observation::Observation;
use pipeline::{Feed, Outlet, Pipeline, Port, Ports};
use sieve::Sieve;
pub(crate) use workbench::{Slot, Workbench};

/// A pipeline keeps to the stop timeout by itself; this is how much longer it is waited for before it counts as hung.
const PIPELINE_GRACE: Duration = Duration::from_secs(1);

/// A configuration that was built: programs compiled, sinks checked, everything connected.
pub(crate) struct Topology {
    graph: Arc<Graph>,
    sources: Vec<SourceNode>,
    sinks: Vec<BuiltSink>,
    observation: Observation,
    file: String,
    hidden: Hidden,
}

struct BuiltSink {
    id: String,
    component_type: &'static str,
    /// What it registers belongs to it.
    scope: Scope,
    acknowledgements: bool,
    buffer: BufferConfig,
    sink: Box<dyn Sink>,
}

impl BuiltSink {
    /// The channel in front of it, within a bound in bytes.
    fn channel(&self, bytes: usize) -> (Sender, Receiver) {
        let (sender, receiver) = channel::channel(self.buffer.capacity(bytes));
        match self.buffer.when_full {
            WhenFull::Block => (sender, receiver),
            WhenFull::DropNewest => {
                let metrics = ComponentMetrics::new("sink", &self.id, self.component_type);
                (sender.dropping(Arc::new(metrics)), receiver)
            }
        }
    }
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunSummary {
    /// Why it ended.
    pub(crate) ended: Ended,
    /// Batches that no sink has answered for when the time was over. They come again after a restart with a saved position.
    pub(crate) unanswered_batches: usize,
    /// Sinks that still had events when the time was over.
    pub(crate) undrained_sinks: Vec<String>,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to.
    Stopped,
    /// No source gives anything any more.
    NoSourceLeft,
    /// No sink takes anything any more, as when a pipe was closed.
    NoSinkLeft,
    /// A component broke, which is a defect of this program. Names it.
    Failed(String),
}

/// What a task reports when it ends.
enum Report {
    Pipeline {
        unanswered: usize,
    },
    /// `early`: a source may still have had events for it.
    Sink {
        early: bool,
    },
    Service,
}

/// The tasks of a run, by name.
struct Tasks {
    set: JoinSet<Report>,
    pipelines: HashMap<Id, String>,
    sinks: HashMap<Id, String>,
    services: HashMap<Id, String>,
    summary: RunSummary,
}

impl Topology {
    /// Compiles the programs and checks the sinks of a configuration. Its sources save no positions.
    ///
    /// # Errors
    ///
    /// Every program that does not compile and every sink that refuses its options.
    pub(crate) fn build(config: Config) -> Result<Self, ConfigErrors> {
        Self::build_beside(config, Vec::new())
    }

    /// The same, and the sources go on where they were when they stopped, as far as the configuration says where that is saved.
    /// Looks at it, and changes nothing; blocks on the file system.
    ///
    /// # Errors
    ///
    /// Also every position that cannot be read, or has no place to be.
    pub(crate) fn build_saving(mut config: Config) -> Result<Self, ConfigErrors> {
        let problems = config.keep_positions();
        Self::build_beside(config, problems)
    }

    /// Adds what else is wrong to `problems`.
    fn build_beside(config: Config, mut problems: Vec<Problem>) -> Result<Self, ConfigErrors> {
        let registry = Registry::default();
        let graph = match Graph::build(&config, &registry) {
            Ok(graph) => Some(Arc::new(graph)),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        let mut sinks = Vec::with_capacity(config.sinks.len());
        for node in &config.sinks {
            let component_type = node.sink.component_type();
            let scope = registry.component("sink", &node.id, component_type);
            match scope.within(|| node.sink.build(&node.id)) {
                Ok(sink) => sinks.push(BuiltSink {
                    id: node.id.clone(),
                    component_type,
                    scope,
                    acknowledgements: node.acknowledgements,
                    buffer: node.buffer,
                    sink,
                }),
                Err(message) => problems.push(
                    Problem::of(component_name("sink", &node.id), message)
                        .at(node.line)
                        .in_file(&node.file),
                ),
            }
        }
        let observation = match Observation::build(&config.observability, registry) {
            Ok(observation) => Some(observation),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        match (graph, observation) {
            (Some(graph), Some(observation)) if problems.is_empty() => Ok(Self {
                graph,
                sources: config.sources,
                sinks,
                observation,
                file: config.file,
                hidden: config.hidden,
            }),
            _ => Err(ConfigErrors::new(config.file, problems).hiding(&config.hidden)),
        }
    }

    /// Where events come from.
    pub(crate) fn sources(&self) -> &[SourceNode] {
        &self.sources
    }

    /// All metrics of the run.
    #[cfg(test)]
    pub(crate) fn registry(&self) -> Registry {
        self.observation.registry.clone()
    }

    /// Puts another sink in the place of the one of that id, with its inputs.
    pub(crate) fn replace_sink(&mut self, id: &str, sink: Box<dyn Sink>) {
        if let Some(built) = self.sinks.iter_mut().find(|built| built.id == id) {
            built.sink = sink;
        }
    }

    /// Begins to listen for scrapes and health checks, if the configuration asks for them. Without this, nobody is answered.
    ///
    /// # Errors
    ///
    /// Every address that cannot be listened on, with a remedy.
    pub(crate) async fn listen(&mut self) -> Result<(), ConfigErrors> {
        let listening = self.observation.listen().await;
        listening.map_err(|problems| ConfigErrors::new(&self.file, problems).hiding(&self.hidden))
    }

    /// Runs until `stop` ends, or until there is nothing left to do, then delivers what is in hand within the largest stop
    /// timeout of the sources.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts every task; what was not delivered by then is lost to this process.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> RunSummary {
        self.run_observed(|_| (), stop).await
    }

    /// The same; `observe` is given a handle to each source's stream, from which its progress can be read.
    pub(crate) async fn run_observed(
        self,
        observe: impl Fn(Acknowledger),
        stop: impl Future<Output = ()>,
    ) -> RunSummary {
        let follow = |source: &SourceNode| {
            let (stream, shape) = follow(source);
            observe(stream.acknowledger());
            (stream, shape)
        };
        self.run_with(follow, stop).await
    }

    /// The same as [`run`](Self::run), but only those events of each stream go on that its copy of `keep` wants. Notices all do.
    pub(crate) async fn run_sieved(
        self,
        keep: impl FnMut(&Event) -> bool + Clone + Send + Unpin + 'static,
        stop: impl Future<Output = ()>,
    ) -> RunSummary {
        let follow = |source: &SourceNode| {
            let (feed, shape) = follow(source);
            let keep = keep.clone();
            (Sieve { feed, keep }, shape)
        };
        self.run_with(follow, stop).await
    }

    /// The same, with feeds and shapes by `open`.
    async fn run_with<F, Shape>(
        self,
        open: impl Fn(&SourceNode) -> (F, Shape),
        stop: impl Future<Output = ()>,
    ) -> RunSummary
    where
        F: Feed,
        Shape: Fn(&Event, &Wanted) -> Value + Send + 'static,
    {
        let stop_timeout = self
            .sources
            .iter()
            .map(|source| source.settings.stop_timeout())
            .max()
            .unwrap_or_default();
        let (ask, asked) = watch::channel(false);
        let mut tasks = self.spawn(open, &asked);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                // With metrics alone there may be nothing to wait for.
                joined = tasks.set.join_next_with_id(), if !tasks.set.is_empty() => match joined {
                    Some(joined) => if tasks.note(joined, false) { break },
                    None => break,
                },
            }
        }
        // Ignored: every pipeline may have ended already.
        let _ = ask.send(true);
        tasks.drain(Instant::now() + stop_timeout).await
    }

    fn spawn<F, Shape>(
        self,
        open: impl Fn(&SourceNode) -> (F, Shape),
        stop: &watch::Receiver<bool>,
    ) -> Tasks
    where
        F: Feed,
        Shape: Fn(&Event, &Wanted) -> Value + Send + 'static,
    {
        let registry = self.observation.registry.clone();
        let scope = |source: &SourceNode| registry.component("source", &source.id, "nomad_events");
        let ports: Vec<Ports> = self
            .sources
            .iter()
            .map(|source| scope(source).within(|| connect(&self.graph, source)))
            .collect();
        let received: Vec<Counter> = self
            .sinks
            .iter()
            .map(|sink| sink.scope.within(received_events))
            .collect();
        let behind: Vec<Vec<usize>> = ports
            .iter()
            .map(|ports| self.graph.sinks_behind(ports.all()))
            .collect();
        let channels: Vec<(Sender, Receiver)> = (0..self.sinks.len())
            .map(|sink| {
                let capacity = self
                    .sources
                    .iter()
                    .zip(&behind)
                    .filter(|(_, sinks)| sinks.contains(&sink))
                    .map(|(source, _)| source.settings.queue_bytes())
                    .max();
                let node = &self.sinks[sink];
                node.scope.within(|| node.channel(capacity.unwrap_or(1)))
            })
            .collect();
        let alive: Vec<Arc<()>> = self.sinks.iter().map(|_| Arc::default()).collect();
        let mut tasks = Tasks {
            set: JoinSet::new(),
            pipelines: HashMap::new(),
            sinks: HashMap::new(),
            services: HashMap::new(),
            summary: RunSummary {
                ended: Ended::Stopped,
                unanswered_batches: 0,
                undrained_sinks: Vec::new(),
            },
        };
        for ((source, ports), behind) in self.sources.iter().zip(ports).zip(behind) {
            let outlets = behind
                .into_iter()
                .map(|sink| Outlet {
                    sink,
                    sender: channels[sink].0.clone(),
                    _alive: Arc::clone(&alive[sink]),
                    received: received[sink].clone(),
                    acknowledgements: self.sinks[sink].acknowledgements,
                    pending: Vec::new(),
                    pending_weight: 0,
                })
                .collect();
            // What the source registers belongs to it.
            let ((feed, shape), received) =
                scope(source).within(|| (open(source), received_events()));
            let pipeline = Box::new(Pipeline {
                source_id: source.id.clone(),
                graph: Arc::clone(&self.graph),
                ports,
                outlets,
                received,
                shape,
                arrived: Vec::new(),
                runtime: Runtime::default(),
                stop_timeout: source.settings.stop_timeout(),
            });
            let stop = stop.clone();
            let task = tasks.set.spawn(async move {
                Report::Pipeline {
                    unanswered: pipeline.run(feed, stop).await,
                }
            });
            tasks
                .pipelines
                .insert(task.id(), component_name("source", &source.id));
        }
        // The senders kept here are dropped, so a sink ends when the pipelines have let go of theirs.
        for ((built, (_, receiver)), alive) in self.sinks.into_iter().zip(channels).zip(alive) {
            let running = built.scope.within(|| built.sink.run(receiver));
            let alive = Arc::downgrade(&alive);
            let task = tasks.set.spawn(async move {
                running.await;
                Report::Sink {
                    early: alive.strong_count() > 0,
                }
            });
            tasks.sinks.insert(task.id(), built.id);
        }
        // Last, so that the first reading shows every metric.
        for (name, service) in self.observation.services(stop) {
            let task = tasks.set.spawn(async move {
                service.await;
                Report::Service
            });
            tasks.services.insert(task.id(), name);
        }
        tasks
    }
}

impl Tasks {
    /// Takes in that a task has ended. Says whether the run is over.
    fn note(&mut self, joined: Result<(Id, Report), JoinError>, stopping: bool) -> bool {
        match joined {
            Ok((id, Report::Pipeline { unanswered })) => {
                self.pipelines.remove(&id);
                self.summary.unanswered_batches += unanswered;
                if self.pipelines.is_empty() && !stopping {
                    self.summary.ended = Ended::NoSourceLeft;
                    return true;
                }
            }
            Ok((id, Report::Sink { early })) => {
                let name = self.sinks.remove(&id);
                if early && !stopping {
                    tracing::warn!(
                        component_kind = "sink",
                        component_id = name.as_deref(),
                        "the sink takes no more events"
                    );
                    if self.sinks.is_empty() {
                        self.summary.ended = Ended::NoSinkLeft;
                        return true;
                    }
                }
            }
            Ok((id, Report::Service)) => {
                self.services.remove(&id);
            }
            Err(error) => {
                let id = error.id();
                let known = self.pipelines.remove(&id);
                let name = match known.or_else(|| self.services.remove(&id)) {
                    Some(name) => name,
                    None => component_name("sink", &self.sinks.remove(&id).unwrap_or_default()),
                };
                // The panic's own text has been printed by the panic hook; it may quote an event.
                tracing::error!(component = %name, "the component panicked, the run ends");
                self.summary.ended = Ended::Failed(name);
                return true;
            }
        }
        false
    }

    /// Waits for all tasks until the deadline, then drops what is left.
    async fn drain(mut self, deadline: Instant) -> RunSummary {
        while !self.pipelines.is_empty() || !self.sinks.is_empty() {
            let until = if self.pipelines.is_empty() {
                deadline
            } else {
                deadline + PIPELINE_GRACE
            };
            match tokio::time::timeout_at(until, self.set.join_next_with_id()).await {
                Ok(Some(joined)) => {
                    self.note(joined, true);
                }
                Ok(None) => break,
                Err(_) => break,
            }
        }
        if let Some(name) = self.pipelines.values().next() {
            tracing::error!(component = %name, "the component did not stop in time");
            self.summary.ended = Ended::Failed(name.clone());
        }
        self.summary.undrained_sinks = self.sinks.into_values().collect();
        self.summary.undrained_sinks.sort();
        // Aborts and waits, so that nothing runs on behind the caller's back.
        self.set.shutdown().await;
        self.summary
    }
}

impl Ports {
    fn all(&self) -> impl Iterator<Item = &graph::Consumer> {
        self.by_topic
            .values()
            .chain([&self.others, &self.notices])
            .flat_map(|port| &port.consumers)
    }
}

/// Opens the stream of a source, with what makes trees of its events.
fn follow(
    source: &SourceNode,
) -> (
    EventStream,
    impl Fn(&Event, &Wanted) -> Value + Send + 'static + use<>,
) {
    let settings = source.settings.clone();
    let shaper = Shaper::new(settings.redact(), settings.region());
    let shape = move |event: &Event, wanted: &Wanted| shaper.log_event_with(event, wanted);
    (EventStream::follow(settings), shape)
}

/// Finds the consumers of each topic of a source.
fn connect(graph: &Graph, source: &SourceNode) -> Ports {
    let consumers = |port: Option<&str>| {
        let consumers = graph.consumers(&OutputId {
            component: source.id.clone(),
            port: port.map(str::to_owned),
        });
        Port {
            wanted: graph.wanted(&consumers),
            consumers,
            sent: sent_events(port),
        }
    };
    if !source.settings.multiple_outputs() {
        return Ports {
            by_topic: BTreeMap::new(),
            others: consumers(None),
            notices: consumers(None),
        };
    }
    Ports {
        by_topic: source
            .settings
            .topic_outputs()
            .map(|(topic, name)| (topic.to_owned(), consumers(Some(&name))))
            .collect(),
        others: consumers(Some(UNMATCHED)),
        notices: consumers(Some(NOTICES)),
    }
}

#[cfg(test)]
mod tests;
