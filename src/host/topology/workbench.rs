//! The transforms of a configuration by themselves: events go in anywhere, and everything that comes out is seen.

use vrl::compiler::runtime::Runtime;

use super::graph::{Consumer, Graph};
use crate::host::buffer::BufferConfig;
use crate::host::config::{Config, ConfigErrors, OutputId, SinkConfig, SinkNode};
use crate::host::event::LogEvent;
use crate::host::metrics::registry::Registry;
use crate::host::sinks::blackhole::BlackholeConfig;

/// All transforms of a configuration, compiled and connected as they would run, without sources and sinks.
#[derive(Debug)]
pub(crate) struct Workbench {
    graph: Graph,
    transforms: Vec<String>,
    /// The name of each output.
    outputs: Vec<String>,
}

/// An output of a transform on its workbench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(usize);

impl Workbench {
    /// Compiles the programs.
    ///
    /// # Errors
    ///
    /// Every program that does not compile.
    pub(crate) fn build(config: &Config) -> Result<Self, ConfigErrors> {
        let outputs: Vec<OutputId> = config
            .transforms
            .iter()
            .flat_map(|node| {
                node.transform.ports().into_iter().map(|port| OutputId {
                    component: node.id.clone(),
                    port,
                })
            })
            .collect();
        let mut tapped = config.clone();
        // A sink at every output is told what comes by. It is never started.
        tapped.sinks = outputs
            .iter()
            .map(|output| SinkNode {
                id: output.to_string(),
                file: String::new(),
                line: 0,
                inputs: vec![output.clone()],
                acknowledgements: false,
                buffer: BufferConfig::default(),
                sink: SinkConfig::Blackhole(BlackholeConfig {}),
            })
            .collect();
        // Nobody looks at what tests count.
        let graph = Graph::build(&tapped, &Registry::default())
            .map_err(|problems| ConfigErrors::new(&config.file, problems).hiding(&config.hidden))?;
        Ok(Self {
            graph,
            transforms: config
                .transforms
                .iter()
                .map(|node| node.id.clone())
                .collect(),
            outputs: outputs.iter().map(OutputId::to_string).collect(),
        })
    }

    /// The number of a transform.
    pub(crate) fn transform(&self, id: &str) -> Option<usize> {
        self.transforms.iter().position(|other| other == id)
    }

    /// The output of this name, `transform` or `transform.port`.
    pub(crate) fn output(&self, name: &str) -> Option<Slot> {
        self.outputs
            .iter()
            .position(|other| other == name)
            .map(Slot)
    }

    /// The outputs that an event which goes in at a transform can come to.
    pub(crate) fn reachable(&self, transform: usize) -> Vec<Slot> {
        let start = [Consumer::Transform(transform)];
        let sinks = self.graph.sinks_behind(start.iter());
        sinks.into_iter().map(Slot).collect()
    }

    /// Gives an event to a transform; `seen` is told of everything that comes out of any output, in order.
    pub(crate) fn insert(
        &self,
        runtime: &mut Runtime,
        transform: usize,
        event: LogEvent,
        mut seen: impl FnMut(Slot, LogEvent),
    ) {
        let start = [Consumer::Transform(transform)];
        let mut arrive = |sink, event| seen(Slot(sink), event);
        self.graph.push(runtime, event, &start, true, &mut arrive);
    }
}
