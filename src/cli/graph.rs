//! `nomad-events graph`: a configuration as a picture, in Vector's form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::args::{GraphArgs, GraphFormat};
use super::exit::Exit;
use crate::host::config::{Config, OutputId, disk_files, process_env};

pub(super) fn run(args: &GraphArgs) -> anyhow::Result<Exit> {
    let config = match Config::load_all(&args.forms.with(&args.config), &process_env, &disk_files) {
        Ok((config, _)) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(Exit::Config);
        }
    };
    let picture = match args.format {
        GraphFormat::Dot => dot(&config),
        GraphFormat::Mermaid => mermaid(&config),
    };
    match io::stdout().lock().write_all(picture.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Success),
    }
}

/// A component of any kind, with what it takes its events from.
struct Node<'c> {
    id: &'c str,
    inputs: &'c [OutputId],
}

fn sources(config: &Config) -> impl Iterator<Item = Node<'_>> {
    let metrics = config.observability.sources.iter().map(|node| &node.id);
    let ids = config.sources.iter().map(|node| &node.id).chain(metrics);
    ids.map(|id| Node { id, inputs: &[] })
}

fn transforms(config: &Config) -> impl Iterator<Item = Node<'_>> {
    config.transforms.iter().map(|node| Node {
        id: &node.id,
        inputs: &node.inputs,
    })
}

fn sinks(config: &Config) -> impl Iterator<Item = Node<'_>> {
    let exporters = config.observability.exporters.iter();
    let exporters = exporters.map(|node| (&node.id, &node.inputs));
    let sinks = config.sinks.iter().map(|node| (&node.id, &node.inputs));
    sinks
        .chain(exporters)
        .map(|(id, inputs)| Node { id, inputs })
}

/// Vector's picture for Graphviz: the same shapes, and the name of an output on its edge.
fn dot(config: &Config) -> String {
    let mut text = String::from("digraph {\n");
    let mut add = |shape: &str, node: Node<'_>| {
        let id = quoted(node.id);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {id} [shape=\"{shape}\"]");
        for input in node.inputs {
            let from = quoted(&input.component);
            let _ = match &input.port {
                Some(port) => writeln!(text, "  {from} -> {id} [label={}]", quoted(port)),
                None => writeln!(text, "  {from} -> {id}"),
            };
        }
    };
    sources(config).for_each(|node| add("trapezium", node));
    transforms(config).for_each(|node| add("diamond", node));
    sinks(config).for_each(|node| add("invtrapezium", node));
    text.push_str("}\n");
    text
}

/// A text as Graphviz reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Vector's picture for Mermaid, which GitHub draws in a page of Markdown.
fn mermaid(config: &Config) -> String {
    let names: BTreeMap<&str, String> = sources(config)
        .chain(transforms(config))
        .chain(sinks(config))
        .enumerate()
        .map(|(number, node)| {
            let name = if is_plain(node.id) {
                node.id.to_owned()
            } else {
                format!("n{number}")
            };
            (node.id, name)
        })
        .collect();
    let name = |id: &str| names.get(id).map_or("", String::as_str).to_owned();
    let mut text = String::from("flowchart TD;\n");
    let mut section = |title: &str, (open, close): (&str, &str), nodes: &[Node<'_>]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n  %% {title}");
        for node in nodes {
            let id = name(node.id);
            let _ = writeln!(text, "  {id}{open}{}{close}", label(node.id));
            for input in node.inputs {
                let from = name(&input.component);
                let _ = match &input.port {
                    Some(port) => writeln!(text, "  {from} -->|{}| {id}", label(port)),
                    None => writeln!(text, "  {from} --> {id}"),
                };
            }
        }
    };
    section(
        "Sources",
        ("[/", "/]"),
        &sources(config).collect::<Vec<_>>(),
    );
    section(
        "Transforms",
        ("{", "}"),
        &transforms(config).collect::<Vec<_>>(),
    );
    section("Sinks", ("[\\", "\\]"), &sinks(config).collect::<Vec<_>>());
    text
}

/// Whether Mermaid takes a text as the name of a node. Vector writes every name as it is.
fn is_plain(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.chars().all(harmless) && !text.contains("--") && !text.eq_ignore_ascii_case("end")
}

/// A text as Mermaid shows it.
fn label(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('#', "#35;").replace('"', "#quot;"))
    }
}

#[cfg(test)]
mod tests;
