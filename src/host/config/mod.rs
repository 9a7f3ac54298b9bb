//! Configuration files, in Vector's form.
//!
//! Loading is pure apart from what is passed in: a lookup for environment variables and a function that reads files. It finds
//! every mistake it can before it gives up, and refuses what this program does not do rather than ignore it.

mod components;
mod document;
mod format;
mod interpolate;
mod json;
mod metrics;
mod nearest;
mod outputs;
mod positions;
mod problem;
mod tree;
mod unit_test;
mod vector_options;
mod yaml;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::buffer::BufferConfig;
use super::sinks::Sink;
use super::sinks::blackhole::{Blackhole, BlackholeConfig};
use super::sinks::console::{Console, ConsoleConfig};
use super::sinks::http::HttpConfig;
use super::sinks::loki::LokiConfig;
use super::transforms::filter::FilterConfig;
use super::transforms::remap::{DROPPED, RemapConfig};
use super::transforms::route::RouteConfig;
use crate::options::Settings;
pub(crate) use document::component_name;
pub(crate) use format::Format;
pub(crate) use interpolate::Hidden;
pub(crate) use metrics::Observability;
pub(crate) use outputs::{NOTICES, OutputId, UNMATCHED};
pub(crate) use positions::DataDir;
pub(crate) use problem::{ConfigErrors, Problem, Warnings};
pub(crate) use unit_test::{InputEvent, TestDefinition, TestInput};

/// Files longer than this are not read: a configuration or a program is never that long.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A configuration that was checked, except for what only building shows: programs that do not compile, sinks that refuse.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file, or the files, as messages name them.
    pub(crate) file: String,
    /// What is not to be seen in messages.
    pub(crate) hidden: Hidden,
    /// Where sources save their positions, unless they say otherwise.
    pub(crate) data_dir: Option<DataDir>,
    /// Where events come from.
    pub(crate) sources: Vec<SourceNode>,
    /// What happens to them.
    pub(crate) transforms: Vec<TransformNode>,
    /// Where they go.
    pub(crate) sinks: Vec<SinkNode>,
    /// What shows how the process is.
    pub(crate) observability: Observability,
    /// Its unit tests; a run does not look at them.
    pub(crate) tests: Vec<TestDefinition>,
}

/// A source of type `nomad_events`.
#[derive(Clone, Debug)]
pub(crate) struct SourceNode {
    /// The component id.
    pub(crate) id: String,
    /// The file it stands in.
    pub(crate) file: String,
    /// The line it begins on.
    pub(crate) line: usize,
    /// The line of its own `data_dir`, where it has one.
    pub(crate) data_dir_line: Option<usize>,
    /// Its options, checked and completed.
    pub(crate) settings: Settings,
}

/// A transform and what it takes its events from.
#[derive(Clone, Debug)]
pub(crate) struct TransformNode {
    /// The component id.
    pub(crate) id: String,
    /// The file it stands in.
    pub(crate) file: String,
    /// The line it begins on.
    pub(crate) line: usize,
    /// The outputs it takes, each once.
    pub(crate) inputs: Vec<OutputId>,
    /// Its type with its options.
    pub(crate) transform: TransformConfig,
}

/// The types of transforms.
#[derive(Clone, Debug)]
pub(crate) enum TransformConfig {
    /// Changes events by a program.
    Remap(RemapConfig),
    /// Copies events to the outputs whose conditions they meet.
    Route(RouteConfig),
    /// Passes on events that meet a condition.
    Filter(FilterConfig),
}

/// A sink and what it takes its events from.
#[derive(Clone, Debug)]
pub(crate) struct SinkNode {
    /// The component id.
    pub(crate) id: String,
    /// The file it stands in.
    pub(crate) file: String,
    /// The line it begins on.
    pub(crate) line: usize,
    /// The outputs it takes, each once.
    pub(crate) inputs: Vec<OutputId>,
    /// Whether the source waits until this sink has delivered.
    pub(crate) acknowledgements: bool,
    /// What waits in front of it.
    pub(crate) buffer: BufferConfig,
    /// Its type with its options.
    pub(crate) sink: SinkConfig,
}

/// The types of sinks.
#[derive(Clone, Debug)]
pub(crate) enum SinkConfig {
    /// Pushes to Loki.
    Loki(Box<LokiConfig>),
    /// Sends requests with events as their bodies.
    Http(Box<HttpConfig>),
    /// Writes to the standard output or error.
    Console(ConsoleConfig),
    /// Takes and drops.
    Blackhole(BlackholeConfig),
}

/// Looks an environment variable up.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Reads a file as text.
pub(crate) type Files<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// A file to load.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConfigPath {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is written in; `None` when its name tells.
    pub(crate) format: Option<Format>,
}

impl Config {
    /// Loads a file whose name tells its form.
    ///
    /// # Errors
    ///
    /// See [`Config::load_all`].
    pub(crate) fn load(
        path: &Path,
        env: Env<'_>,
        files: Files<'_>,
    ) -> Result<(Self, Warnings), ConfigErrors> {
        let path = ConfigPath {
            path: path.to_owned(),
            format: None,
        };
        Self::load_all(&[path], env, files)
    }

    /// Loads files that make one configuration together, as Vector does it: each can name the components of the others, an id
    /// stands in one of them only, and what stands at the top of several must not contradict itself.
    ///
    /// `env` is asked for variables in the text and for Nomad's own (`NOMAD_ADDR`, ...); `files` reads the files themselves
    /// and the programs that they name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with its place and a remedy.
    pub(crate) fn load_all(
        paths: &[ConfigPath],
        env: Env<'_>,
        files: Files<'_>,
    ) -> Result<(Self, Warnings), ConfigErrors> {
        // In the order of their names, each once, as in Vector.
        let mut paths = paths.to_vec();
        paths.sort();
        paths.dedup();
        let names: Vec<String> = paths
            .iter()
            .map(|path| path.path.display().to_string())
            .collect();
        let file = names.join(", ");
        let mut texts = Vec::with_capacity(paths.len());
        let mut hidden = Hidden::default();
        let mut problems = Vec::new();
        for (path, name) in paths.iter().zip(&names) {
            match Text::read(path, env, files, &mut hidden) {
                Ok(text) => texts.push(text),
                Err(found) => {
                    problems.extend(found.into_iter().map(|problem| problem.in_file(name)));
                }
            }
        }
        let inputs: Vec<(&str, document::Document<'_>)> = names
            .iter()
            .map(String::as_str)
            .zip(texts.iter().map(Text::document))
            .collect();
        // What can be read is judged only when all can: the others may name it.
        let read = if problems.is_empty() {
            components::read(&inputs, env, files)
        } else {
            Err(problems)
        };
        match read {
            Ok((mut config, mut warnings)) => {
                for warning in &mut warnings.0 {
                    *warning = hidden.hide(warning);
                }
                config.file = file;
                config.hidden = hidden;
                Ok((config, warnings))
            }
            Err(problems) => Err(ConfigErrors::new(file, problems).hiding(&hidden)),
        }
    }

    /// Adds a copy of a `loki` sink that pushes to another address, under another id.
    ///
    /// # Errors
    ///
    /// When there is no such sink, or the new id is taken.
    pub(crate) fn duplicate_loki(
        &mut self,
        id: &str,
        new_id: &str,
        endpoint: &str,
    ) -> Result<(), ConfigErrors> {
        let refuse =
            |message: String| ConfigErrors::new(&self.file, vec![Problem::general(message)]);
        let taken = self.sources.iter().any(|node| node.id == new_id)
            || self.transforms.iter().any(|node| node.id == new_id)
            || self.sinks.iter().any(|node| node.id == new_id);
        if taken {
            return Err(refuse(format!("there is a component \"{new_id}\" already")));
        }
        let Some(mut copy) = self.sinks.iter().find(|node| node.id == id).cloned() else {
            return Err(refuse(format!("there is no sink \"{id}\"")));
        };
        let SinkConfig::Loki(loki) = &mut copy.sink else {
            return Err(refuse(format!(
                "{} is no `loki` sink",
                component_name("sink", id)
            )));
        };
        endpoint.clone_into(&mut loki.endpoint);
        new_id.clone_into(&mut copy.id);
        self.sinks.push(copy);
        Ok(())
    }
}

impl TransformConfig {
    /// The type, as configurations write it.
    pub(crate) fn component_type(&self) -> &'static str {
        match self {
            Self::Remap(_) => "remap",
            Self::Route(_) => "route",
            Self::Filter(_) => "filter",
        }
    }

    /// The outputs, in the order in which the transform numbers them.
    pub(crate) fn ports(&self) -> Vec<Option<String>> {
        match self {
            Self::Remap(remap) if remap.reroute_dropped => vec![None, Some(DROPPED.to_owned())],
            Self::Remap(_) | Self::Filter(_) => vec![None],
            Self::Route(route) => route
                .route
                .keys()
                .cloned()
                .chain(route.reroute_unmatched.then(|| UNMATCHED.to_owned()))
                .map(Some)
                .collect(),
        }
    }
}

impl SinkConfig {
    /// The value of `type`.
    pub(crate) fn component_type(&self) -> &'static str {
        match self {
            Self::Loki(_) => "loki",
            Self::Http(_) => "http",
            Self::Console(_) => "console",
            Self::Blackhole(_) => "blackhole",
        }
    }

    /// Checks what can be checked without a connection, and makes the sink.
    ///
    /// # Errors
    ///
    /// What is wrong with the options.
    pub(crate) fn build(&self, id: &str) -> Result<Box<dyn Sink>, String> {
        match self {
            Self::Loki(config) => config.build(id).map_err(|error| error.to_string()),
            Self::Http(config) => config.build(id).map_err(|error| error.to_string()),
            Self::Console(config) => match Console::new(id, config) {
                Ok(console) => Ok(Box::new(console)),
                Err(error) => Err(format!("option `encoding`: {error}")),
            },
            Self::Blackhole(config) => Ok(Box::new(Blackhole::new(id, config))),
        }
    }
}

/// The variable of this process, with `HOSTNAME` known even where no shell has exported it, as in Vector.
pub(crate) fn process_env(name: &str) -> Option<String> {
    crate::options::process_env(name).or_else(|| {
        (name == "HOSTNAME")
            .then(hostname::get)
            .and_then(Result::ok)
            .and_then(|name| name.into_string().ok())
    })
}

/// Reads a file from the disk; a relative path starts from the working directory.
///
/// # Errors
///
/// Those of the system, text that is not UTF-8, and a file of more than 4 MiB.
pub(crate) fn disk_files(path: &Path) -> io::Result<String> {
    use std::io::Read as _;

    let mut text = String::new();
    let read = std::fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {MAX_FILE_BYTES} bytes"),
        ));
    }
    Ok(text)
}

/// Whether acknowledgements are on, as `true` or as a table with `enabled`; `None` where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Acknowledgements(Option<bool>);

impl<'de> Deserialize<'de> for Acknowledgements {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(default)]
            enabled: Option<bool>,
        }
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Acknowledgements;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false, or a table with `enabled`")
            }

            fn visit_bool<E>(self, enabled: bool) -> Result<Acknowledgements, E> {
                Ok(Acknowledgements(Some(enabled)))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Acknowledgements, A::Error> {
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Acknowledgements(table.enabled))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A file that was read, before its tables are looked at.
enum Text {
    Toml(String),
    Tree(tree::Tree),
}

impl Text {
    fn read(
        path: &ConfigPath,
        env: Env<'_>,
        files: Files<'_>,
        hidden: &mut Hidden,
    ) -> Result<Self, Vec<Problem>> {
        let text = files(&path.path).map_err(|error| {
            vec![Problem::general(format!(
                "cannot read the file: {}",
                unreadable(&error)
            ))]
        })?;
        let raw = document::Document::toml(&text);
        let done = interpolate::interpolate(&text, env).map_err(|missing| {
            missing
                .into_iter()
                .map(|missing| Problem::general(missing.message).at(raw.line(missing.at)))
                .collect::<Vec<_>>()
        })?;
        hidden.extend(done.hidden);
        match path.format.unwrap_or_else(|| Format::of(&path.path)) {
            Format::Toml => {
                let is_guess = path.format.is_none() && !Format::is_told_by(&path.path);
                let document = document::Document::toml(&done.text);
                if let Err(mut problems) = document.parse()
                    && is_guess
                {
                    problems.push(Problem::general(
                        "it was read as TOML, since its name ends in none of .toml, .yaml, .yml, .json; rename it, or give it \
                         with --config-yaml or --config-json",
                    ));
                    return Err(problems);
                }
                Ok(Self::Toml(done.text))
            }
            Format::Yaml => yaml::parse(&done.text).map(Self::Tree),
            Format::Json => json::parse(&done.text).map(Self::Tree),
        }
    }

    fn document(&self) -> document::Document<'_> {
        match self {
            Self::Toml(text) => document::Document::toml(text),
            Self::Tree(tree) => document::Document::tree(tree),
        }
    }
}

/// Why a file cannot be read, with what to do where the system's own words do not say it.
fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{error}; a relative path starts from the working directory")
        }
        io::ErrorKind::IsADirectory => format!("{error}; give the files in it one by one"),
        io::ErrorKind::InvalidData => "it is not UTF-8; save it as UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
