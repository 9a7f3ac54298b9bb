//! The README is true where a machine can tell.

pub(crate) mod dashboards;
pub(crate) mod deploy;
pub(crate) mod images;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nomad_events::options::{
    DEFAULT_BACKOFF_MAX_SECS, DEFAULT_CONNECT_TIMEOUT_SECS, DEFAULT_ENDPOINT,
    DEFAULT_IDLE_TIMEOUT_SECS, DEFAULT_MAX_LINE_BYTES, DEFAULT_NAMESPACE_REFRESH_SECS,
    DEFAULT_QUEUE_BYTES, DEFAULT_STATUS_INTERVAL_SECS, DEFAULT_STOP_TIMEOUT_SECS, DEFAULT_TOPICS,
    Options,
};

const README: &str = "README.md";
const CONFIGURATION: &str = "docs/configuration.md";
/// Every page that speaks of files, commands and tests.
const PAGES: [&str; 15] = [
    README,
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "deploy/demo/README.md",
    "deploy/nomad/README.md",
    "deploy/systemd/README.md",
    CONFIGURATION,
    "docs/design.md",
    "docs/events.md",
    "docs/grafana.md",
    "docs/metrics.md",
    "docs/nomad.md",
    "docs/reference.md",
    "tests/servers/README.md",
    "vector/UPSTREAM.md",
];
/// A piece of code that begins with one of these is a path from the root of the repository.
const FOLDERS: [&str; 10] = [
    ".ci/",
    "benches/",
    "config/",
    "deploy/",
    "docs/",
    "examples/",
    "src/",
    "tests/",
    "vector/",
    "vrl/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn text_of(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The text from a heading to the next heading of any level.
fn section<'t>(page: &'t str, heading: &str) -> &'t str {
    let (_, rest) = page
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("there is no {heading:?}"));
    rest.split("\n#").next().unwrap_or(rest)
}

/// The cells of the rows of the tables in a text, without the heads.
pub(crate) fn rows(text: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut in_body = false;
    for line in text.lines() {
        let Some(cells) = line
            .strip_prefix("| ")
            .or_else(|| line.strip_prefix('|'))
            .and_then(|line| line.strip_suffix('|'))
        else {
            in_body = false;
            continue;
        };
        if cells.starts_with("---") {
            in_body = true;
        } else if in_body {
            rows.push(cells.split('|').map(str::trim).collect());
        }
    }
    rows
}

/// What stands in backticks on a line.
pub(crate) fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// All code of a page: the lines of its blocks, and what stands in backticks elsewhere.
fn code(page: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            pieces.push(line);
        } else {
            pieces.extend(spans(line));
        }
    }
    pieces
}

/// The names of the fields of [`Options`], from what it says about one that it does not know.
fn option_names() -> Vec<String> {
    let error = serde_json::from_str::<Options>(r#"{"no such option": 1}"#)
        .unwrap_err()
        .to_string();
    let (_, expected) = error.split_once("expected one of ").unwrap();
    spans(expected).map(str::to_owned).collect()
}

#[test]
fn the_table_of_tls_is_that_of_its_options() {
    let error = serde_json::from_str::<Options>(r#"{"tls": {"no such option": 1}}"#)
        .unwrap_err()
        .to_string();
    let (_, expected) = error.split_once("expected one of ").unwrap();
    let options: Vec<String> = spans(expected).map(|name| format!("tls.{name}")).collect();
    let page = text_of(CONFIGURATION);
    let table = rows(section(&page, "## TLS"));
    let names: Vec<&str> = table
        .iter()
        .filter_map(|row| spans(row[0]).next())
        .collect();
    assert_eq!(names, options, "in the order of the struct");
}

/// The default of an option as a configuration would write it; `None` where there is none.
fn default_of(option: &str) -> Option<String> {
    let settings = Options::default().settings(|_| None).unwrap();
    Some(match option {
        "endpoints" => format!("{:?}", [DEFAULT_ENDPOINT]),
        "topics" => format!("{DEFAULT_TOPICS:?}"),
        // Only the log of the start shows the namespace.
        "namespace" => {
            assert!(format!("{settings:?}").contains(r#"namespace: "*","#));
            r#""*""#.to_owned()
        }
        "region" => return settings.region().map(str::to_owned),
        "tls" => {
            assert!(format!("{settings:?}").contains("tls: None,"));
            return None;
        }
        "data_dir" => {
            assert!(format!("{settings:?}").contains("data_dir: None,"));
            return None;
        }
        "token" | "token_file" => {
            assert!(format!("{settings:?}").contains("token: None,"));
            return None;
        }
        "start_at" => format!("{:?}", Options::default().start_at.to_string()),
        "redact" => settings.redact().to_string(),
        "job_changes" => settings.job_changes().to_string(),
        "multiple_outputs" => settings.multiple_outputs().to_string(),
        "max_line_bytes" => DEFAULT_MAX_LINE_BYTES.to_string(),
        "queue_bytes" => DEFAULT_QUEUE_BYTES.to_string(),
        "connect_timeout_secs" => DEFAULT_CONNECT_TIMEOUT_SECS.to_string(),
        "idle_timeout_secs" => DEFAULT_IDLE_TIMEOUT_SECS.to_string(),
        "backoff_max_secs" => DEFAULT_BACKOFF_MAX_SECS.to_string(),
        "namespace_refresh_secs" => DEFAULT_NAMESPACE_REFRESH_SECS.to_string(),
        "status_interval_secs" => DEFAULT_STATUS_INTERVAL_SECS.to_string(),
        "stop_timeout_secs" => DEFAULT_STOP_TIMEOUT_SECS.to_string(),
        other => panic!("the option {other} is new: say here what its default is"),
    })
}

#[test]
fn the_table_of_options_is_that_of_the_source() {
    let page = text_of(README);
    let table = rows(section(&page, "### The source `nomad_events`"));
    let names: Vec<&str> = table
        .iter()
        .filter_map(|row| spans(row[0]).next())
        .collect();
    assert_eq!(names, option_names(), "in the order of the struct");
    for row in &table {
        let name = spans(row[0]).next().unwrap();
        let written = spans(row[1]).next().map(str::to_owned);
        assert_eq!(written, default_of(name), "the default of {name}");
        if written.is_none() {
            assert_eq!(row[1], "none", "the default of {name}");
        }
    }
}

#[test]
fn files_and_links_lead_somewhere() {
    for page in PAGES {
        let text = text_of(page);
        let here = root().join(page);
        let folder = here.parent().unwrap();
        let mut found = 0;

        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.starts_with("https://") {
                found += 1;
                assert!(folder.join(target).exists(), "{page} links to {target}");
            }
        }
        for piece in code(&text) {
            for word in piece.split(|c: char| c.is_whitespace() || "\"'`,;()=".contains(c)) {
                let word = word.trim_end_matches(['.', ':']);
                // What a build makes is not there yet, and a feature of Vector's looks like a path.
                let is_no_file = word.contains('*')
                    || word.starts_with("vector/target/")
                    || piece.contains("--features vector/");
                if FOLDERS.iter().any(|folder| word.starts_with(folder)) && !is_no_file {
                    found += 1;
                    assert!(root().join(word).exists(), "{page} names {word}");
                }
            }
        }
        assert!(
            page != README || found > 20,
            "only {found} found: the search is broken"
        );
    }
}

/// The standard output of the program for `--help`, with these words before it.
fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_nomad-events"))
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "nomad-events {words:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn commands_and_their_options_exist() {
    let manifest = text_of("Cargo.toml") + &text_of("vector/Cargo.toml");
    let mut commands = BTreeSet::new();
    for page in PAGES {
        let text = text_of(page);
        for piece in code(&text) {
            let piece = piece.split(" #").next().unwrap_or(piece);
            let words: Vec<&str> = piece.split_whitespace().collect();
            for (place, pair) in words.windows(2).enumerate() {
                let [before, word] = *pair else { continue };
                let is_ours = before == "nomad-events" || (before == "--" && words[0] == "cargo");
                if is_ours && word.chars().all(|c| c.is_ascii_lowercase()) {
                    let options = help(&[word]);
                    commands.insert(word.to_owned());
                    for option in words[place + 2..].iter().filter(|w| w.starts_with("--")) {
                        assert!(options.contains(option), "{page}: {word} has no {option}");
                    }
                }
                let named = match before {
                    // A feature of Vector's, as an example.
                    "--features" if word.starts_with("vector/") => continue,
                    "--features" => format!("\n{word} = ["),
                    "--bench" | "--test" | "--example" => format!("\nname = \"{word}\"\n"),
                    _ => continue,
                };
                assert!(manifest.contains(&named), "{page}: {before} {word}");
            }
        }
    }
    let expected = ["demo", "graph", "run", "tail", "test", "validate"].map(str::to_owned);
    assert_eq!(commands, BTreeSet::from(expected));
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let page = text_of(README);
    let written: Vec<&str> = rows(section(&page, "## Exit codes, logs, metrics"))
        .iter()
        .filter_map(|row| spans(row[0]).next())
        .collect();
    let help = help(&[]).replace('\n', " ");
    let (_, codes) = help.split_once("Exit codes: ").unwrap();
    let codes = codes.split('.').next().unwrap();
    let told: Vec<&str> = codes
        .split(", ")
        .filter_map(|code| code.split_whitespace().next())
        .collect();
    assert_eq!(written, told);
}

#[test]
fn every_promise_names_tests_that_exist() {
    let tests = names_of_tests(
        &["src", "tests", "vector/src", "vector/tests"].map(|folder| root().join(folder)),
    );
    let page = text_of(README);
    let promises = section(&page, "## What is promised");
    let (promised, _) = promises.split_once("What is **not** promised").unwrap();
    let table = rows(promised);
    assert!(table.len() > 10, "the table was not found");
    for row in table {
        let named: Vec<&str> = spans(row[1]).collect();
        assert!(!named.is_empty(), "nothing shows: {}", row[0]);
        for name in named {
            assert!(tests.contains(name), "there is no test {name}");
        }
    }
}

/// The names of all functions behind an attribute `test`.
fn names_of_tests(folders: &[PathBuf]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in folders {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names.append(&mut names_of_tests(&[path]));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let plain = text.split("test]").skip(1);
                let with_arguments = text.split("::test(").skip(1);
                for after in plain.chain(with_arguments) {
                    // Other attributes and comments may stand between.
                    let name = after.split("fn ").nth(1).unwrap_or_default();
                    names.insert(name.split('(').next().unwrap_or_default().to_owned());
                }
            }
        }
    }
    names
}

/// The strings of the list that a manifest has under a name.
fn list<'t>(manifest: &'t str, name: &str) -> BTreeSet<&'t str> {
    let (_, rest) = manifest.split_once(&format!("\n{name} = [")).unwrap();
    let (list, _) = rest.split_once("\n]").unwrap();
    list.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_what_is_compiled_into_vector_is_that_of_its_features() {
    let manifest = text_of("vector/Cargo.toml");
    let features = list(&manifest, "pipeline");
    let page = text_of(README);
    let mut written = BTreeSet::new();
    for row in rows(section(&page, "## In Vector")) {
        let prefix = match row[0] {
            "others" => "",
            cell => match spans(cell).next() {
                Some(prefix) if prefix.ends_with('-') => prefix,
                // The other table of the section.
                _ => continue,
            },
        };
        written.extend(spans(row[1]).map(|name| format!("vector/{prefix}{name}")));
    }
    let features: BTreeSet<String> = features.into_iter().map(str::to_owned).collect();
    assert_eq!(written, features);
}

#[test]
fn the_readme_names_the_release_of_vector_that_is_built_on() {
    let manifest = text_of("vector/Cargo.toml");
    let tags: BTreeSet<&str> = manifest
        .split("tag = \"v")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let tags: Vec<&str> = tags.into_iter().collect();
    let [tag] = tags[..] else {
        panic!("one release of Vector: {tags:?}");
    };
    let page = text_of(README);
    let table = rows(section(&page, "## Tested with"));
    let row = table
        .iter()
        .find(|row| row[0].starts_with("Vector"))
        .unwrap();
    assert!(row[1].starts_with(tag), "{row:?}");
}
