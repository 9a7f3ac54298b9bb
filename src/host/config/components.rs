//! From the tables of a file to its components, and from their inputs to a graph.

use serde::Deserialize;
use toml::de::DeTable;

use super::document::{Document, Owner, Table, component_name};
use super::outputs::{self, DEFAULT, Joint, UNMATCHED, source_ports};
use super::problem::{Problem, Warnings};
use super::{
    Acknowledgements, Config, Env, Files, SinkConfig, SinkNode, SourceNode, TransformConfig,
    TransformNode, vector_options,
};
use crate::host::USE_VECTOR;
use crate::host::transforms::program::ProgramText;
use crate::host::transforms::remap::{RemapConfig, RemapOptions};
use crate::options::Options;

/// The types that this program has, for messages.
const SOURCE_TYPES: &str = "`nomad_events`";
const TRANSFORM_TYPES: &str = "`filter`, `remap`, `route`";
const SINK_TYPES: &str = "`blackhole`, `console`, `http`, `loki`";

/// Reads a text in which variables are put in already.
pub(super) fn read(
    text: &str,
    env: Env<'_>,
    files: Files<'_>,
) -> Result<(Config, Warnings), Vec<Problem>> {
    let document = Document::new(text);
    let mut root = document.parse()?;
    let mut reader = Reader {
        document,
        env,
        files,
        problems: Vec::new(),
        joints: Vec::new(),
        global_acknowledgements: Acknowledgements::default(),
    };
    let global = Owner {
        kind: "",
        id: "",
        component_type: "",
    };
    match document.take(global, &mut root, "acknowledgements") {
        Ok(found) => reader.global_acknowledgements = found.unwrap_or_default(),
        Err(problem) => reader.problems.push(problem),
    }
    let sources = reader.section(&mut root, "sources", "source", Reader::source);
    let transforms = reader.section(&mut root, "transforms", "transform", Reader::transform);
    let sinks = reader.section(&mut root, "sinks", "sink", Reader::sink);
    reader.refuse_rest(&root.entries);
    reader.check_shape();
    reader.connect(sources, transforms, sinks)
}

struct Reader<'t, 'a> {
    document: Document<'t>,
    env: Env<'a>,
    files: Files<'a>,
    problems: Vec<Problem>,
    joints: Vec<Joint>,
    global_acknowledgements: Acknowledgements,
}

/// A component whose type and inputs are known.
struct Component<'t> {
    kind: &'static str,
    id: String,
    component_type: String,
    line: usize,
    table: Table<'t>,
}

impl Component<'_> {
    fn owner(&self) -> Owner<'_> {
        Owner {
            kind: self.kind,
            id: &self.id,
            component_type: &self.component_type,
        }
    }
}

impl<'t> Reader<'t, '_> {
    /// Reads all components of a kind. Those that cannot be read leave problems behind.
    fn section<T>(
        &mut self,
        root: &mut Table<'t>,
        key: &str,
        kind: &'static str,
        read: impl Fn(&mut Self, Component<'t>) -> Option<(T, Vec<Option<String>>)>,
    ) -> Vec<T> {
        let Some(value) = root.entries.remove(key) else {
            return Vec::new();
        };
        let global = Owner {
            kind: "",
            id: "",
            component_type: "",
        };
        let section = match self.document.table(global, key, value) {
            Ok(section) => section,
            Err(problem) => {
                self.problems.push(problem);
                return Vec::new();
            }
        };
        let mut nodes = Vec::new();
        for (name, value) in section.entries {
            let line = self.document.line(name.span().start);
            let id = name.into_inner().into_owned();
            let owner = Owner {
                kind,
                id: &id,
                component_type: "",
            };
            let mut joint = Joint {
                kind,
                id: id.clone(),
                line,
                inputs: Vec::new(),
                ports: None,
            };
            match self.document.table(owner, &id, value) {
                Ok(table) => {
                    let node = self
                        .component(kind, id, line, table, &mut joint.inputs)
                        .and_then(|component| read(self, component));
                    if let Some((node, ports)) = node {
                        joint.ports = Some(ports);
                        nodes.push(node);
                    }
                }
                Err(problem) => self.problems.push(problem),
            }
            self.joints.push(joint);
        }
        nodes
    }

    /// Reads what all components of a kind have: the type, and the inputs.
    fn component(
        &mut self,
        kind: &'static str,
        id: String,
        line: usize,
        mut table: Table<'t>,
        inputs: &mut Vec<String>,
    ) -> Option<Component<'t>> {
        let owner = Owner {
            kind,
            id: &id,
            component_type: "",
        };
        if id.is_empty() || id.contains('.') {
            self.problems.push(
                Problem::of(
                    component_name(kind, &id),
                    "an id must not be empty or contain a \".\", which separates a component from its output",
                )
                .at(line),
            );
        }
        let component_type: Option<String> =
            self.required(owner, line, &mut table, "type", || match kind {
                "source" => SOURCE_TYPES,
                "transform" => TRANSFORM_TYPES,
                _ => SINK_TYPES,
            });
        if kind != "source" {
            let found: Option<Vec<String>> = self.required(
                owner,
                line,
                &mut table,
                "inputs",
                || "the components it takes events from",
            );
            match found {
                Some(found) if found.is_empty() => self.problem(owner, line, "`inputs` is empty, so it would never see an event; name the components it takes events from"),
                Some(found) => *inputs = found,
                None => {}
            }
        }
        Some(Component {
            kind,
            component_type: component_type?,
            id,
            line,
            table,
        })
    }

    fn required<T: Deserialize<'t>>(
        &mut self,
        owner: Owner<'_>,
        line: usize,
        table: &mut Table<'t>,
        key: &str,
        what: impl Fn() -> &'static str,
    ) -> Option<T> {
        match self.document.take(owner, table, key) {
            Ok(Some(value)) => return Some(value),
            Ok(None) => self.problem(
                owner,
                line,
                format!("option `{key}` is missing: {}", what()),
            ),
            Err(problem) => self.problems.push(problem),
        }
        None
    }

    fn problem(&mut self, owner: Owner<'_>, line: usize, message: impl Into<String>) {
        self.problems.push(Problem {
            line: Some(line),
            component: owner.name(),
            message: message.into(),
        });
    }

    /// Reads the options that are left in a component's table.
    fn options<T: Deserialize<'t>>(&mut self, component: &mut Component<'t>) -> Option<T> {
        let table = Table {
            entries: std::mem::take(&mut component.table.entries),
            span: component.table.span.clone(),
        };
        match self.document.read(component.owner(), table) {
            Ok(options) => Some(options),
            Err(problems) => {
                // A missing option has no place of its own in the file.
                self.problems
                    .extend(problems.into_iter().map(|problem| Problem {
                        line: problem.line.map(|line| line.max(component.line)),
                        ..problem
                    }));
                None
            }
        }
    }

    fn unknown_type(&mut self, component: &Component<'_>, types: &str) {
        let name = &component.component_type;
        let message = if vector_options::component_type(component.kind, name) {
            format!("type `{name}`: Vector has it, this program has only {types}; {USE_VECTOR}")
        } else {
            format!("unknown type `{name}`, expected {types}")
        };
        self.problem(component.owner(), component.line, message);
    }

    fn source(
        &mut self,
        mut component: Component<'t>,
    ) -> Option<(SourceNode, Vec<Option<String>>)> {
        if component.component_type != "nomad_events" {
            self.unknown_type(&component, SOURCE_TYPES);
            return None;
        }
        let options: Options = self.options(&mut component)?;
        match options.settings(self.env) {
            Ok(settings) => {
                let ports = source_ports(&settings);
                let node = SourceNode {
                    id: component.id,
                    settings,
                };
                Some((node, ports))
            }
            Err(error) => {
                self.problem(component.owner(), component.line, error.to_string());
                None
            }
        }
    }

    fn transform(
        &mut self,
        mut component: Component<'t>,
    ) -> Option<(TransformNode, Vec<Option<String>>)> {
        let transform = match component.component_type.as_str() {
            "remap" => {
                let options = self.options(&mut component)?;
                TransformConfig::Remap(self.remap(&component, options)?)
            }
            "route" => TransformConfig::Route(self.options(&mut component)?),
            "filter" => TransformConfig::Filter(self.options(&mut component)?),
            _ => {
                self.unknown_type(&component, TRANSFORM_TYPES);
                return None;
            }
        };
        if let TransformConfig::Route(route) = &transform {
            for reserved in [UNMATCHED, DEFAULT] {
                if route.route.contains_key(reserved) {
                    self.problem(
                        component.owner(),
                        component.line,
                        format!("option `route.{reserved}`: the name is reserved; choose another"),
                    );
                }
            }
        }
        let ports = transform.ports();
        let node = TransformNode {
            id: component.id,
            line: component.line,
            inputs: Vec::new(),
            transform,
        };
        Some((node, ports))
    }

    fn remap(&mut self, component: &Component<'_>, options: RemapOptions) -> Option<RemapConfig> {
        let RemapOptions {
            source,
            file,
            drop_on_error,
            drop_on_abort,
            reroute_dropped,
        } = options;
        let program = match (source, file) {
            (Some(text), None) => ProgramText { text, file: None },
            (None, Some(path)) => match (self.files)(&path) {
                Ok(text) => ProgramText {
                    text,
                    file: Some(path),
                },
                Err(error) => {
                    self.problem(
                        component.owner(),
                        component.line,
                        format!(
                            "option `file`: cannot read {}: {error}; a relative path starts from the working directory",
                            path.display()
                        ),
                    );
                    return None;
                }
            },
            (Some(_), Some(_)) => {
                self.problem(
                    component.owner(),
                    component.line,
                    "`source` and `file` are both set; keep one of them",
                );
                return None;
            }
            (None, None) => {
                self.problem(
                    component.owner(),
                    component.line,
                    "there is no program; set `source`, or `file` with the path of one",
                );
                return None;
            }
        };
        Some(RemapConfig {
            program,
            drop_on_error,
            drop_on_abort,
            reroute_dropped,
        })
    }

    /// Reads an option that all sinks have.
    fn take_common<T: Deserialize<'t> + Default>(
        &mut self,
        component: &mut Component<'t>,
        key: &str,
    ) -> T {
        let owner = Owner {
            kind: component.kind,
            id: &component.id,
            component_type: &component.component_type,
        };
        match self.document.take(owner, &mut component.table, key) {
            Ok(found) => found.unwrap_or_default(),
            Err(problem) => {
                self.problems.push(problem);
                T::default()
            }
        }
    }

    fn sink(&mut self, mut component: Component<'t>) -> Option<(SinkNode, Vec<Option<String>>)> {
        let acknowledgements: Acknowledgements =
            self.take_common(&mut component, "acknowledgements");
        let buffer = self.take_common(&mut component, "buffer");
        let sink = match component.component_type.as_str() {
            "loki" => SinkConfig::Loki(self.options(&mut component)?),
            "http" => SinkConfig::Http(self.options(&mut component)?),
            "console" => SinkConfig::Console(self.options(&mut component)?),
            "blackhole" => SinkConfig::Blackhole(self.options(&mut component)?),
            _ => {
                self.unknown_type(&component, SINK_TYPES);
                return None;
            }
        };
        let node = SinkNode {
            id: component.id,
            line: component.line,
            inputs: Vec::new(),
            // A sink's own word wins over the global one.
            acknowledgements: acknowledgements
                .0
                .or(self.global_acknowledgements.0)
                .unwrap_or(false),
            buffer,
            sink,
        };
        Some((node, Vec::new()))
    }

    /// Refuses what is left at the top of the file.
    fn refuse_rest(&mut self, rest: &DeTable<'_>) {
        for key in rest.keys() {
            let name = key.get_ref();
            let message = if vector_options::top(name) {
                format!(
                    "`{name}`: Vector has it, this program does not; remove it, or {USE_VECTOR}"
                )
            } else {
                format!(
                    "unknown table or option `{name}`, expected `sources`, `transforms`, `sinks` or `acknowledgements`"
                )
            };
            self.problems
                .push(Problem::general(message).at(self.document.line(key.span().start)));
        }
    }

    fn check_shape(&mut self) {
        for (kind, key) in [("source", "sources"), ("sink", "sinks")] {
            if !self.joints.iter().any(|joint| joint.kind == kind) {
                self.problems.push(Problem::general(format!(
                    "there is no {kind}; add a table [{key}.<id>]"
                )));
            }
        }
        for (place, joint) in self.joints.iter().enumerate() {
            if let Some(first) = self.joints[..place]
                .iter()
                .find(|other| other.id == joint.id)
            {
                self.problems.push(
                    Problem::of(
                        component_name(joint.kind, &joint.id),
                        format!(
                            "there is a {} of the same name on line {}; ids are unique over all kinds",
                            first.kind, first.line
                        ),
                    )
                    .at(joint.line),
                );
            }
        }
    }

    /// Connects the components by their inputs.
    fn connect(
        mut self,
        sources: Vec<SourceNode>,
        mut transforms: Vec<TransformNode>,
        mut sinks: Vec<SinkNode>,
    ) -> Result<(Config, Warnings), Vec<Problem>> {
        let inputs = match outputs::resolve(&self.joints) {
            Ok(inputs) => inputs,
            Err(problems) => {
                self.problems.extend(problems);
                return Err(self.problems);
            }
        };
        if let Some(chain) = outputs::cycle(&self.joints, &inputs) {
            self.problems.push(Problem::general(format!(
                "the transforms form a cycle: {}",
                chain.join(" -> ")
            )));
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let warnings = Warnings(outputs::unconsumed(&self.joints, &inputs));
        for (joint, inputs) in self.joints.iter().zip(inputs) {
            if let Some(node) = transforms
                .iter_mut()
                .find(|node| joint.kind == "transform" && node.id == joint.id)
            {
                node.inputs = inputs;
            } else if let Some(node) = sinks
                .iter_mut()
                .find(|node| joint.kind == "sink" && node.id == joint.id)
            {
                node.inputs = inputs;
            }
        }
        let config = Config {
            file: String::new(),
            sources,
            transforms,
            sinks,
        };
        Ok((config, warnings))
    }
}
