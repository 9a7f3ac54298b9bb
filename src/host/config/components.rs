//! From the tables of a file to its components, and from their inputs to a graph.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::DeTable;

use super::document::{Document, Owner, Table, component_name};
use super::metrics::{ExporterNode, InternalMetricsNode, Observability};
use super::nearest::did_you_mean;
use super::outputs::{self, DEFAULT, Joint, UNMATCHED, source_ports};
use super::positions::DataDir;
use super::problem::{Problem, Warnings};
use super::{
    Acknowledgements, Config, Env, Files, Hidden, SinkConfig, SinkNode, SourceNode, TestDefinition,
    TransformConfig, TransformNode, unit_test, vector_options,
};
use crate::host::USE_VECTOR;
use crate::host::sinks::prometheus_exporter;
use crate::host::transforms::program::ProgramText;
use crate::host::transforms::remap::{RemapConfig, RemapOptions};
use crate::options::Options;
use crate::shown;

/// The types that this program has, for messages.
pub(super) const SOURCE_TYPES: &str = "`internal_metrics`, `nomad_events`";
pub(super) const TRANSFORM_TYPES: &str = "`filter`, `remap`, `route`";
pub(super) const SINK_TYPES: &str = "`blackhole`, `console`, `http`, `loki`, `prometheus_exporter`";
/// What stands at the top of a file, for messages.
const TOP: &str =
    "`sources`, `transforms`, `sinks`, `tests`, `acknowledgements`, `data_dir` or `api`";

/// Reads the documents of files, each with its name, in which variables are put in already.
pub(super) fn read(
    files: &[(&str, Document<'_>)],
    env: Env<'_>,
    programs: Files<'_>,
) -> Result<(Config, Warnings), Vec<Problem>> {
    let mut reader = Reader {
        file: "",
        document: Document::toml(""),
        env,
        files: programs,
        problems: Vec::new(),
        joints: Vec::new(),
        warnings: Vec::new(),
        global_acknowledgements: Acknowledgements::default(),
        data_dir: None,
        observability: Observability::default(),
    };
    let mut roots = Vec::with_capacity(files.len());
    for (file, document) in files {
        match document.parse() {
            Ok(root) => roots.push((*file, *document, root)),
            Err(problems) => reader
                .problems
                .extend(problems.into_iter().map(|problem| problem.in_file(file))),
        }
    }
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    // Components of any file fall back to what stands at the top of any other.
    for (file, document, root) in &mut roots {
        reader.in_file(file, *document, |reader| reader.globals(root));
    }
    let mut nodes = Nodes::default();
    for (file, document, mut root) in roots {
        reader.in_file(file, document, |reader| {
            let root = &mut root;
            nodes
                .sources
                .extend(reader.section(root, "sources", "source", Reader::source));
            nodes.transforms.extend(reader.section(
                root,
                "transforms",
                "transform",
                Reader::transform,
            ));
            nodes
                .sinks
                .extend(reader.section(root, "sinks", "sink", Reader::sink));
            if let Some(tests) = root.entries.remove(unit_test::TESTS) {
                let (tests, problems) = unit_test::read(document, file, tests);
                nodes.tests.extend(tests);
                let problems = problems.into_iter().map(|problem| problem.in_file(file));
                reader.problems.extend(problems);
            }
            reader.refuse_rest(&root.entries);
        });
    }
    if reader.joints.is_empty() && !nodes.tests.is_empty() {
        return Err(vec![unit_test::only_tests()]);
    }
    reader.check_shape();
    reader.connect(nodes)
}

/// What was read of all files.
#[derive(Default)]
struct Nodes {
    sources: Vec<SourceNode>,
    transforms: Vec<TransformNode>,
    sinks: Vec<SinkNode>,
    tests: Vec<TestDefinition>,
}

struct Reader<'t, 'a> {
    /// The file that is being read, and its document.
    file: &'t str,
    document: Document<'t>,
    env: Env<'a>,
    files: Files<'a>,
    problems: Vec<Problem>,
    joints: Vec<Joint>,
    warnings: Vec<String>,
    global_acknowledgements: Acknowledgements,
    data_dir: Option<DataDir>,
    observability: Observability,
}

/// A component whose type and inputs are known.
struct Component<'t> {
    kind: &'static str,
    id: String,
    component_type: String,
    line: usize,
    /// The line of every option.
    lines: BTreeMap<String, usize>,
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
    /// Reads something of a file, and says of every problem that comes up that it is there.
    fn in_file(&mut self, file: &'t str, document: Document<'t>, read: impl FnOnce(&mut Self)) {
        self.file = file;
        self.document = document;
        let before = self.problems.len();
        read(self);
        for problem in self.problems.iter_mut().skip(before) {
            problem.file = Some(file.to_owned());
        }
    }

    /// Reads the options at the top of a file.
    fn globals(&mut self, root: &mut Table<'t>) {
        let global = Owner {
            kind: "",
            id: "",
            component_type: "",
        };
        let line = |key: &str| {
            let found = root.entries.get_key_value(key);
            found.map(|(key, _)| self.document.line(key.span().start))
        };
        let (acknowledgements_line, api_line) = (line("acknowledgements"), line("api"));
        let data_dir_line = line("data_dir");
        match self.document.take(global, root, "acknowledgements") {
            Ok(found) => {
                let found: Acknowledgements = found.unwrap_or_default();
                match (self.global_acknowledgements.0, found.0) {
                    (Some(other), Some(enabled)) if other != enabled => {
                        let message = format!(
                            "option `acknowledgements.enabled`: another file has {other}; keep one of them"
                        );
                        self.problems
                            .push(Problem::general(message).at(acknowledgements_line));
                    }
                    (first, found) => {
                        self.global_acknowledgements = Acknowledgements(first.or(found));
                    }
                }
            }
            Err(problem) => self.problems.push(problem),
        }
        match self.document.take(global, root, DataDir::OPTION) {
            Ok(None) => {}
            Ok(Some(path)) => {
                let found = DataDir {
                    path,
                    file: self.file.to_owned(),
                    line: data_dir_line,
                };
                match found.beside(self.data_dir.take()) {
                    Ok(data_dir) => self.data_dir = Some(data_dir),
                    Err(problem) => self.problems.push(problem),
                }
            }
            Err(problem) => self.problems.push(problem),
        }
        match self.document.take(global, root, "api") {
            Ok(None) => {}
            Ok(Some(found)) => {
                if let Err(other) = self.observability.api.merge(found) {
                    let message =
                        format!("option `api.address`: another file has {other}; keep one of them");
                    self.problems.push(Problem::general(message).at(api_line));
                }
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    /// Reads all components of a kind. Those that cannot be read leave problems behind.
    fn section<T>(
        &mut self,
        root: &mut Table<'t>,
        key: &str,
        kind: &'static str,
        read: impl Fn(&mut Self, Component<'t>) -> Option<(Option<T>, Vec<Option<String>>)>,
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
                file: self.file.to_owned(),
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
                        nodes.extend(node);
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
            lines: table
                .entries
                .keys()
                .map(|key| {
                    let line = self.document.line(key.span().start);
                    (key.get_ref().clone().into_owned(), line)
                })
                .collect(),
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

    /// A problem with an option, on the line on which it stands.
    fn problem_of(&mut self, component: &Component<'_>, option: &str, message: impl Into<String>) {
        let line = component.lines.get(option).copied();
        self.problem(component.owner(), line.unwrap_or(component.line), message);
    }

    fn problem(&mut self, owner: Owner<'_>, line: usize, message: impl Into<String>) {
        self.problems.push(owner.problem(message).at(line));
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
            let near = did_you_mean(name, types.split('`').skip(1).step_by(2));
            format!(
                "unknown type `{}`{near}, expected {types}",
                shown::name(name)
            )
        };
        self.problem(component.owner(), component.line, message);
    }

    /// Reads a source. One of metrics is kept apart: it has no place in the graph of events.
    fn source(
        &mut self,
        mut component: Component<'t>,
    ) -> Option<(Option<SourceNode>, Vec<Option<String>>)> {
        if component.component_type == "internal_metrics" {
            let config = self.options(&mut component)?;
            let id = component.id;
            let sources = &mut self.observability.sources;
            sources.push(InternalMetricsNode { id, config });
            return Some((None, vec![None]));
        }
        if component.component_type != "nomad_events" {
            self.unknown_type(&component, SOURCE_TYPES);
            return None;
        }
        let options: Options = self.options(&mut component)?;
        match options.settings(self.env) {
            Ok(settings) => {
                let name = component_name(component.kind, &component.id);
                let warnings = settings.warnings();
                self.warnings
                    .extend(warnings.iter().map(|warning| format!("{name}: {warning}")));
                let ports = source_ports(&settings);
                let node = SourceNode {
                    file: self.file.to_owned(),
                    line: component.line,
                    data_dir_line: component.lines.get(DataDir::OPTION).copied(),
                    id: component.id,
                    settings,
                };
                Some((Some(node), ports))
            }
            Err(error) => {
                self.problem_of(&component, &error.option, error.to_string());
                None
            }
        }
    }

    fn transform(
        &mut self,
        mut component: Component<'t>,
    ) -> Option<(Option<TransformNode>, Vec<Option<String>>)> {
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
            file: self.file.to_owned(),
            line: component.line,
            inputs: Vec::new(),
            transform,
        };
        Some((Some(node), ports))
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
                    self.problem_of(
                        component,
                        "file",
                        format!(
                            "option `file`: cannot read {}: {error}; a relative path starts from the working directory",
                            shown::path(&path)
                        ),
                    );
                    return None;
                }
            },
            (Some(_), Some(_)) => {
                self.problem_of(
                    component,
                    "file",
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

    /// Reads a sink. One that shows metrics is kept apart: it has no place in the graph of events.
    fn sink(
        &mut self,
        mut component: Component<'t>,
    ) -> Option<(Option<SinkNode>, Vec<Option<String>>)> {
        if component.component_type == prometheus_exporter::TYPE {
            return self.exporter(component);
        }
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
            file: self.file.to_owned(),
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
        Some((Some(node), Vec::new()))
    }

    fn exporter<T>(
        &mut self,
        mut component: Component<'t>,
    ) -> Option<(Option<T>, Vec<Option<String>>)> {
        let config = self.options(&mut component)?;
        self.observability.exporters.push(ExporterNode {
            id: component.id,
            file: self.file.to_owned(),
            line: component.line,
            inputs: Vec::new(),
            config,
        });
        Some((None, Vec::new()))
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
                let near = did_you_mean(name, TOP.split('`').skip(1).step_by(2));
                format!(
                    "unknown table or option `{}`{near}, expected {TOP}",
                    shown::name(name)
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
                            "there is a {} of the same name on line {}{}; ids are unique over all kinds",
                            first.kind,
                            first.line,
                            if first.file == joint.file {
                                String::new()
                            } else {
                                format!(" of {}", first.file)
                            }
                        ),
                    )
                    .at(joint.line)
                    .in_file(&joint.file),
                );
            }
        }
    }

    /// Connects the components by their inputs.
    fn connect(mut self, nodes: Nodes) -> Result<(Config, Warnings), Vec<Problem>> {
        let Nodes {
            sources,
            mut transforms,
            mut sinks,
            tests,
        } = nodes;
        let inputs = match outputs::resolve(&self.joints) {
            Ok(inputs) => inputs,
            Err(problems) => {
                self.problems.extend(problems);
                return Err(self.problems);
            }
        };
        if let Some(chain) = outputs::cycle(&self.joints, &inputs) {
            let problem = Problem::general(format!(
                "the transforms form a cycle: {}",
                chain.join(" -> ")
            ));
            let first = self.joints.iter().find(|joint| chain.contains(&joint.id));
            self.problems.push(match first {
                Some(joint) => problem.at(joint.line).in_file(&joint.file),
                None => problem,
            });
        }
        let mismatches = self.observability.connect(&self.joints, &inputs);
        self.problems.extend(mismatches);
        for test in &tests {
            self.problems
                .extend(test.check_targets(|name| outputs::exists(&self.joints, name)));
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut warnings = Warnings(self.warnings);
        warnings
            .0
            .extend(outputs::unconsumed(&self.joints, &inputs));
        warnings.0.extend(self.observability.warnings());
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
            hidden: Hidden::default(),
            data_dir: self.data_dir,
            sources,
            transforms,
            sinks,
            observability: self.observability,
            tests,
        };
        Ok((config, warnings))
    }
}
