//! Every option has a test in which changing it changes what happens: the table is `options.toml` beside this file.
//!
//! Nobody lists the options: whatever the reader of configurations reads, it reads through two functions of [`Document`]
//! (`take` and `read`), and both call [`note`] in tests. It asks the struct behind an option for its fields, by giving it one
//! that it cannot know.

mod probe;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::super::components::{SINK_TYPES, SOURCE_TYPES, TRANSFORM_TYPES};

const TABLE: &str = "src/host/config/tests/options.toml";

/// From `sink.loki` to its options.
type Options = BTreeMap<String, BTreeSet<String>>;

thread_local! {
    /// Nothing is noted where there is nothing to note it in: asking takes time.
    static NOTED: RefCell<Option<Options>> = RefCell::default();
}

/// Notes that a component reads an option, or all that is left in its table, as a `T`.
pub(in crate::host::config) fn note<'de, T: Deserialize<'de>>(
    kind: &str,
    component_type: &str,
    key: Option<&str>,
) {
    if NOTED.with_borrow(Option::is_none) {
        return;
    }
    let owner = match (kind, component_type) {
        ("", _) => "global".to_owned(),
        // Read before the type is known, so the same for all.
        (kind, "") => format!("{kind}.every"),
        (kind, component_type) => format!("{kind}.{component_type}"),
    };
    let options =
        probe::options::<T>()
            .into_iter()
            .filter_map(|option| match (key, option.as_str()) {
                (Some(key), "") => Some(key.to_owned()),
                (Some(key), option) => Some(format!("{key}.{option}")),
                (None, "") => None,
                (None, option) => Some(option.to_owned()),
            });
    NOTED.with_borrow_mut(|noted| {
        let noted = noted.get_or_insert_default();
        noted.entry(owner).or_default().extend(options);
    });
}

/// The options of all components, from reading one of each type.
fn options_there_are() -> Options {
    let mut text = String::new();
    for (section, types) in [
        ("sources", SOURCE_TYPES),
        ("transforms", TRANSFORM_TYPES),
        ("sinks", SINK_TYPES),
    ] {
        for name in types.split('`').skip(1).step_by(2) {
            text += &format!("[{section}.a_{name}]\ntype = \"{name}\"\ninputs = [\"nothing\"]\n");
        }
    }
    NOTED.set(Some(Options::new()));
    // What is wrong with it does not matter.
    let _ = super::load(&text);
    NOTED.take().unwrap()
}

/// The rows: owner, option, the names of the tests.
fn rows() -> BTreeMap<String, BTreeMap<String, String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    let table: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>> =
        toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut rows = BTreeMap::new();
    for (kind, types) in table {
        for (name, options) in types {
            let owner = match kind.as_str() {
                "global" => kind.clone(),
                _ => format!("{kind}.{name}"),
            };
            rows.insert(owner, options);
        }
    }
    rows
}

/// The text of all tests, in `src` and `tests`.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn every_option_names_a_test_in_which_changing_it_changes_what_happens() {
    let there = options_there_are();
    assert!(
        there.values().map(BTreeSet::len).sum::<usize>() > 50,
        "{there:?}"
    );
    let rows = rows();
    let mut text = String::new();
    for folder in ["src", "tests"] {
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut text,
        );
    }
    let mut wrong = Vec::new();
    for (owner, options) in &there {
        for option in options {
            if !rows
                .get(owner)
                .is_some_and(|rows| rows.contains_key(option))
            {
                wrong.push(format!(
                    "no row: [{owner}] \"{option}\" = \"name_of_the_test\""
                ));
            }
        }
    }
    for (owner, options) in &rows {
        for (option, tests) in options {
            if !there.get(owner).is_some_and(|there| there.contains(option)) {
                wrong.push(format!(
                    "there is no option `{option}` of {owner}: remove its row from {TABLE}"
                ));
            }
            for test in tests.split(", ") {
                if !text.contains(&format!("fn {test}(")) {
                    wrong.push(format!(
                        "there is no test `{test}`, which {TABLE} names for the option `{option}` of {owner}: name the one \
                         that shows what the option does"
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n\nFor an option without a row: write a test in which another value of it changes what the program does (not only \
         what the reader of files says), and add the row to {TABLE}, under the head in brackets.",
        wrong.join("\n")
    );
}

#[test]
fn options_are_found_wherever_they_stand() {
    let there = options_there_are();
    for (owner, option) in [
        ("global", "acknowledgements.enabled"),
        ("source.every", "type"),
        ("sink.every", "inputs"),
        ("source.nomad_events", "stop_timeout_secs"),
        ("transform.filter", "condition.source"),
        ("transform.route", "route.<name>.source"),
        ("sink.loki", "labels"),
        ("sink.loki", "auth.password"),
        ("sink.loki", "auth.token"),
        ("sink.loki", "healthcheck.enabled"),
        ("sink.loki", "encoding.json.pretty"),
        ("sink.loki", "request.retry_attempts"),
        ("sink.console", "acknowledgements.enabled"),
    ] {
        assert!(
            there[owner].contains(option),
            "{owner} {option}: {there:#?}"
        );
    }
    // Those that are read only to be refused are none.
    assert!(!there["sink.loki"].contains("proxy"), "{there:#?}");
}
