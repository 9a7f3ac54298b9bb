use std::path::Path;

use super::*;
use crate::host::config::{Config, ConfigErrors};

/// A way through every kind of transform: `cut` fails on what has no `n`.
const CONFIG: &str = r#"
[sources.nomad]
type = "nomad_events"

[transforms.split]
type = "route"
inputs = ["nomad"]
route.big = '(int(.n) ?? 0) > 10'
route.odd = 'mod(int(.n) ?? 0, 2) == 1'

[transforms.cut]
type = "remap"
inputs = ["split.big"]
source = '''
.cut = true
.twice = int!(.n) * 2
if .n == 13 { abort }
if .n == 20 { . = [{"part": 1}, {"part": 2}] }
'''

[transforms.keep]
type = "filter"
inputs = ["cut", "split.odd"]
condition = '.n != 15'

[sinks.out]
type = "blackhole"
inputs = ["keep", "split._unmatched"]
"#;

fn load(tests: &str) -> Result<Config, ConfigErrors> {
    let text = format!("{CONFIG}{tests}");
    let files = |_: &Path| Ok(text.clone());
    Config::load(Path::new("some.toml"), &|_| None, &files).map(|(config, _)| config)
}

/// What each test says, by its name; or why they cannot be run.
fn outcomes(tests: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let config = load(tests).map_err(|errors| errors.to_string())?;
    let workbench = Workbench::build(&config).unwrap();
    let mut problems = Vec::new();
    let mut outcomes = Vec::new();
    for definition in &config.tests {
        match UnitTest::build(definition, &workbench) {
            Ok(test) => outcomes.push((test.name.clone(), test.run(&workbench))),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(outcomes)
    } else {
        Err(ConfigErrors::new("some.toml", problems).to_string())
    }
}

/// One test with a number that goes in at `split`, and the rest of the test.
fn with_number(n: i64, rest: &str) -> String {
    format!(
        "\n[[tests]]\nname = \"t\"\n{rest}\n[[tests.inputs]]\ninsert_at = \"split\"\ntype = \"log\"\nlog_fields.n = {n}\n"
    )
}

fn failures(n: i64, rest: &str) -> Vec<String> {
    let mut outcomes = outcomes(&with_number(n, rest)).unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).1
}

#[test]
fn events_are_seen_at_every_output_they_come_to() {
    for (n, rest) in [
        (
            12,
            "no_outputs_from = ['split.odd', 'split._unmatched']\noutputs = [{ extract_from = 'split.big', expected_event_count = 1 }]",
        ),
        // Both routes, and so `keep` gets two.
        (
            11,
            "outputs = [{ extract_from = 'keep', expected_event_count = 2, conditions = ['.cut == true', '!exists(.cut)'] }]",
        ),
        (
            11,
            "outputs = [{ extract_from = ['split.big', 'split.odd'], expected_event_count = 2 }]",
        ),
        (2, "outputs = [{ extract_from = 'split._unmatched' }]"),
        // Aborted, dropped by the filter, made into several.
        (13, "no_outputs_from = ['cut']"),
        (
            15,
            "no_outputs_from = ['keep']\noutputs = [{ extract_from = 'cut' }]",
        ),
        (
            20,
            "outputs = [{ extract_from = 'keep', expected_event_count = 2, conditions = ['.part == 1', '.part == 2'] }]",
        ),
        (
            12,
            "outputs = [{ extract_from = 'cut', conditions = [{ type = 'vrl', source = '.twice == 24' }] }]",
        ),
        (
            2,
            "outputs = [{ extract_from = 'cut', expected_event_count = 0 }]",
        ),
    ] {
        assert_eq!(failures(n, rest), [""; 0], "{n}: {rest}");
    }
}

#[test]
fn what_fails_is_told_in_the_words_of_vector() {
    let said = failures(
        12,
        "outputs = [{ extract_from = 'cut', conditions = ['.twice == 24', '.twice == 5'] }]",
    );
    assert_eq!(said.len(), 3, "{said:#?}");
    assert_eq!(
        said[0],
        "check[0] for transforms [\"cut\"] failed conditions:"
    );
    assert_eq!(
        said[1],
        "  condition[1]: source execution resolved to false\n      .twice == 5"
    );
    let (head, event) = said[2].split_once('\n').unwrap();
    assert_eq!(
        head,
        "output payloads from [\"cut\"] (events encoded as JSON):"
    );
    assert!(
        event.starts_with("  {\"cut\":true,\"message\":\"\",\"n\":12,"),
        "{event}"
    );

    // Tables with the same outputs are checks of one.
    let said = failures(
        12,
        "outputs = [{ extract_from = 'cut', conditions = ['true'] }, { extract_from = 'cut', conditions = ['false'] }]",
    );
    assert_eq!(
        said[0],
        "check[1] for transforms [\"cut\"] failed conditions:"
    );
    assert!(said[1].contains("condition[0]"), "{said:#?}");

    let said = failures(
        12,
        "outputs = [{ extract_from = 'cut', expected_event_count = 3 }]",
    );
    assert_eq!(
        said[0],
        "expected 3 events from transforms [\"cut\"], but received 1"
    );

    let said = failures(
        2,
        "outputs = [{ extract_from = 'cut', conditions = ['true'] }]",
    );
    assert_eq!(
        said,
        [
            "checks for transforms [\"cut\"] failed: no events received. Topology may be disconnected or transform is missing inputs."
        ]
    );

    let said = failures(12, "no_outputs_from = ['split.big', 'split.odd']");
    assert_eq!(
        said,
        ["check for transforms [\"split.big\"] failed: expected no outputs"]
    );

    // Why it failed, with its place; each reason once, however many events.
    let said = failures(
        20,
        "outputs = [{ extract_from = 'cut', conditions = ['assert_eq!(.part, 3)'] }]",
    );
    assert_eq!(said.len(), 4, "{said:#?}");
    for (said, part) in said[1..3].iter().zip(["1", "2"]) {
        assert!(
            said.starts_with("  condition[0]: source execution failed: ")
                && said.contains(&format!("assertion failed: {part} == 3")),
            "{said}"
        );
    }
    let said = failures(
        20,
        "outputs = [{ extract_from = 'cut', conditions = ['.part == 3'] }]",
    );
    assert_eq!(said.len(), 3, "{said:#?}");
    let said = failures(
        12,
        "outputs = [{ extract_from = 'cut', conditions = ['if true { abort }; true'] }]",
    );
    assert!(
        said[1].starts_with("  condition[0]: source execution aborted: "),
        "{said:#?}"
    );
}

#[test]
fn inputs_are_of_three_types_and_go_in_anywhere() {
    let tests = r#"
[[tests]]
name = "raw is the default"
input = { insert_at = "keep", value = "a line" }
[[tests.outputs]]
extract_from = "keep"
conditions = ['.message == "a line" && is_timestamp(.timestamp)']

[[tests]]
name = "a program makes the event, its metadata too"
[[tests.inputs]]
insert_at = "cut"
type = "vrl"
source = '. = {"n": 21, "at": t'2026-11-22T00:00:00Z'}; %who = "me"'
[[tests.inputs]]
insert_at = "split"
type = "log"
[tests.inputs.log_fields]
n = 3
"a.b" = [1, { c = 2.5 }]
'"x y"' = "quoted"
"%who" = "you"
[[tests.outputs]]
extract_from = "keep"
expected_event_count = 2
conditions = [
  '.twice == 42 && %who == "me" && .at == t'2026-11-22T00:00:00Z' && !exists(.message)',
  '.a.b[1].c == 2.5 && ."x y" == "quoted" && %who == "you" && .message == "" && is_timestamp(.timestamp)',
]
"#
    .replace("source = '. =", "source = '''. =")
    .replace("%who = \"me\"'", "%who = \"me\"'''")
    .replace("  '.twice", "  '''.twice")
    .replace("exists(.message)'", "exists(.message)'''");
    for (name, failures) in outcomes(&tests).unwrap() {
        assert_eq!(failures, [""; 0], "{name}");
    }
}

#[test]
fn a_wrong_test_is_shown_with_its_line_and_what_to_do() {
    // The test begins after the configuration and an empty line.
    let line = CONFIG.lines().count() + 2;
    let input = "input = { insert_at = 'cut', value = 'x' }\n";
    let output = "outputs = [{ extract_from = 'cut' }]\n";
    for (rest, part) in [
        (output.to_owned(), "there is no input"),
        (input.to_owned(), "nothing is looked at"),
        (
            format!("{output}input = {{ insert_at = 'nowhere', value = 'x' }}"),
            "`inputs[0]`: there is no transform \"nowhere\"",
        ),
        (
            format!("{output}input = {{ insert_at = 'nomad', value = 'x' }}"),
            "there is no transform \"nomad\"",
        ),
        (
            format!("{output}input = {{ insert_at = 'keep', value = 'x' }}"),
            "nothing leads from \"keep\" to an output",
        ),
        (
            format!("{output}input = {{ insert_at = 'cut' }}"),
            "type `raw` needs the option `value`",
        ),
        (
            format!("{output}input = {{ insert_at = 'cut', type = 'vrl', value = 'x' }}"),
            "`value` would not be looked at",
        ),
        (
            format!(
                "{output}input = {{ insert_at = 'cut', type = 'log', log_fields = {{ 'a[' = 1 }} }}"
            ),
            "\"a[\" is no path",
        ),
        (
            format!("{output}input = {{ insert_at = 'cut', type = 'vrl', source = '.a = ' }}"),
            "`source` does not compile",
        ),
        (
            format!(
                "{output}input = {{ insert_at = 'cut', type = 'vrl', source = 'assert!(false)' }}"
            ),
            "source execution failed",
        ),
        (
            format!("{output}input = {{ insert_at = 'cut', type = 'metric', metric = {{}} }}"),
            "metric",
        ),
        (
            format!("{output}input = {{ value = 'x' }}"),
            "insert_at` is missing",
        ),
        (
            format!("{input}outputs = [{{ extract_from = 'cutt' }}]"),
            "`outputs[0].extract_from`: there is no output \"cutt\"",
        ),
        (
            format!("{input}outputs = [{{ extract_from = 'nomad' }}]"),
            "there is no output \"nomad\"",
        ),
        (
            format!("{input}outputs = [{{ extract_from = 'split' }}]"),
            "there is no output \"split\"",
        ),
        (
            format!("{input}outputs = [{{ extract_from = [] }}]"),
            "looks at nothing",
        ),
        (
            format!("{input}outputs = [{{ extract_from = ['cut', 'cut'] }}]"),
            "\"cut\" is named twice",
        ),
        (
            format!("{input}no_outputs_from = ['cut']\n{output}"),
            "also in `no_outputs_from`",
        ),
        (
            format!("{input}no_outputs_from = ['split.small']"),
            "`no_outputs_from`: there is no output \"split.small\"",
        ),
        (
            format!("{input}outputs = [{{ extract_from = 'cut', conditions = ['.a ='] }}]"),
            "`outputs[0]`: `conditions[0]` does not compile",
        ),
        (
            format!("{input}outputs = [{{ extract_from = 'cut', conditions = ['.a'] }}]"),
            "must give a boolean",
        ),
        (
            format!(
                "{input}outputs = [{{ extract_from = 'cut', conditions = [{{ type = 'is_log' }}] }}]"
            ),
            "Vector has `is_log`",
        ),
        (
            format!(
                "{input}outputs = [{{ extract_from = 'cut', expected_event_count = 0, conditions = ['true'] }}]"
            ),
            "no event that `conditions` could look at",
        ),
        (
            format!(
                "{input}outputs = [{{ extract_from = 'cut', expected_event_count = 1 }}, {{ extract_from = 'cut', expected_event_count = 2 }}]"
            ),
            "is 2, and 1 in another",
        ),
        (
            format!("{input}{output}outptus = []"),
            "unknown option `outptus`",
        ),
    ] {
        let error = outcomes(&format!("\n[[tests]]\nname = \"t\"\n{rest}")).unwrap_err();
        assert!(error.contains(part), "{part:?} is not in {error}");
        let first = error.lines().next().unwrap();
        let place: usize = first
            .strip_prefix("some.toml:")
            .and_then(|rest| rest.split_once(": test \"t\": "))
            .unwrap_or_else(|| panic!("no place in {error}"))
            .0
            .parse()
            .unwrap();
        assert!((line..line + 5).contains(&place), "line {line}: {error}");
    }
    let error = outcomes("\n[[tests]]\n").unwrap_err();
    assert!(
        error.contains("test \"\": option `name` is missing"),
        "{error}"
    );
    let error = outcomes("\n[tests.one]\nname = 'x'\n").unwrap_err();
    assert!(error.contains("write [[tests]] above each test"), "{error}");
}

#[test]
fn a_run_looks_at_the_shape_of_tests_and_not_at_their_programs() {
    let broken = "\n[[tests]]\nname = \"t\"\ninput = { insert_at = 'nowhere', type = 'vrl', source = '.a =' }\n\
                  outputs = [{ extract_from = 'nomad', conditions = ['.b ='] }]\n";
    let config = load(broken).expect("as in Vector");
    assert_eq!(config.tests.len(), 1);
    assert!(outcomes(broken).is_err());
}
