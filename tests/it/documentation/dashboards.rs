//! Dashboard, alert rules and data source, as far as they can be read without a Grafana: do the parts fit together?

mod checks;
pub(crate) mod queries;

use serde_json::Value;

use super::{names_of_tests, root, rows, section, spans, text_of};
use checks::{ENVIRONMENT, findings, panels};
use queries::{rules, shipped, text};

const PAGE: &str = "docs/grafana.md";

/// What is put at a place of what is shipped, and a part of what is found then.
const DAMAGES: &str = r#"
/dashboard/panels/1/id = 1 -> panel 1 stands twice
/dashboard/panels/13/targets/1/refId = "A" -> query panel/14/A stands twice
/rules/groups/0/rules/1/uid = "nomad-gap" -> rule uid nomad-gap stands twice
/dashboard/templating/list/0/current/value = "loki" -> the variable `datasource` is not set
/dashboard/panels/0/datasource/uid = "loki" -> is no data source of the dashboard
/dashboard/annotations/list/1/datasource/type = "tempo" -> is no data source of the dashboard
/dashboard/panels/0/targets/0/datasource = null -> has no data source
/rules/groups/0/rules/0/data/0/datasourceUid = "loki" -> nomad-allocation-failed": data source
/rules/groups/0/rules/0/data/1/datasourceUid = "nomad-loki" -> nomad-allocation-failed": data source
/dashboard/panels/0/id = 99 -> panel/99/A is not in the table
/dashboard/panels/0/id = 99 -> nobody asks the query panel/1/A
/dashboard/panels/0/targets/0/expr = "vector($__range)" -> the query of panel/1/A is vector(30m)
/dashboard/panels/0/title = "Failures" -> the title of panel/1/A is Failures
/dashboard/panels/7/type = "timeseries" -> the kind of panel/8/A is metric
/table/queries/0/checks = [] -> variable/namespace is checked with
/sources/datasources/0/url = "$LOKI_URL" -> nothing sets $LOKI_URL
/dashboard/links/0/url = "${nomad:raw}/ui" -> there is no variable $nomad
/dashboard/templating/list/2/name = "work" -> nobody uses $work
/dashboard/templating/list/2/name = "work" -> a link sets the variable job
/dashboard/uid = "other" -> does not lead to the dashboard
/dashboard/uid = "other" -> leads to no panel
/rules/groups/0/rules/0/panelId = 99 -> leads to no panel
/rules/groups/0/rules/0/annotations/__panelId__ = "8" -> leads to two panels
/rules/groups/0/rules/0/condition = "C" -> there is no step
/rules/groups/0/rules/0/data/1/model/expression = "C" -> there is no step
/rules/groups/0/rules/0/annotations/summary = "{{ $labels.job }}" -> nothing fills in $labels.job
/rules/groups/0/rules/0/annotations/summary = "{{ $values.C.Value }}" -> nothing fills in $values.C
/rules/groups/0/rules/0/data/0/model/expr = "vector($__range)" -> a rule knows no variables
/dashboard/panels/1/gridPos/x = 3 -> panel 2 lies over 1
/dashboard/panels/6/gridPos/x = 1 -> panel 7 is not on the grid
/dashboard/panels/6/fieldConfig/defaults/unit = "" -> panel 7 has no unit
/dashboard/panels/6/maxDataPoints = 0 -> panel 7 has no bound of its points
/dashboard/panels/13/fieldConfig/overrides/0/matcher/options = "D" -> there is no query D
/dashboard/panels/8/transformations = [] -> panel 9 has no columns
/dashboard/panels/8/targets/0/expr = "{} | keep time, index" -> the query has no job_id
/dashboard/panels/8/fieldConfig/overrides/0/matcher/options = "when" -> there is no column when
/dashboard/panels/8/description = "${__data.fields.when}" -> there is no column when
"#;

#[test]
fn dashboard_rules_and_data_source_fit_together() {
    let findings = findings(&shipped());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn page_lists_the_panels_and_the_rules() {
    let page = text_of(PAGE);
    let first_cells = |heading: &str| -> Vec<String> {
        rows(section(&page, heading))
            .iter()
            .map(|row| row[0].trim_end_matches(" (count)").to_owned())
            .collect()
    };
    let shipped = shipped();
    let titles: Vec<&str> = panels(&shipped)
        .map(|panel| text(&panel["title"]))
        .collect();
    assert_eq!(first_cells("## Panels"), titles);

    let written: Vec<[&str; 2]> = rows(section(&page, "## Alerts"))
        .iter()
        .map(|row| [row[0], row[1]])
        .collect();
    let found: Vec<[&str; 2]> = rules(&shipped)
        .map(|rule| [text(&rule["title"]), text(&rule["labels"]["severity"])])
        .collect();
    assert_eq!(written, found);

    let tests = names_of_tests(&[root().join("tests/it")]);
    let checks = rows(section(&page, "## Checks"));
    assert!(!checks.is_empty(), "the table of checks was not found");
    for name in checks.iter().flat_map(|row| spans(row[1])) {
        assert!(tests.contains(name), "there is no test {name}");
    }

    let written = rows(&page);
    for name in ENVIRONMENT {
        let cell = format!("`{name}`");
        assert!(written.iter().any(|row| row[0] == cell), "{name}");
    }
}

#[test]
fn every_check_finds_what_it_is_there_for() {
    let whole = shipped();
    for line in DAMAGES.trim().lines() {
        let (place, rest) = line.split_once(" = ").expect("a place");
        let (damage, finding) = rest.split_once(" -> ").expect("a finding");
        let damage: Value =
            serde_json::from_str(damage).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut damaged = whole.clone();
        let value = damaged
            .pointer_mut(place)
            .unwrap_or_else(|| panic!("{place} is not there"));
        assert_ne!(*value, damage, "{place}");
        *value = damage;
        let findings = findings(&damaged);
        assert!(
            findings.iter().any(|found| found.contains(finding)),
            "{line}: {findings:?}"
        );
    }
}
