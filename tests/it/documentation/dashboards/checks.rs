//! What has to hold between dashboard, alert rules, data source and the table of queries. Each check gives what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::queries::{filled, items, queries, rules, text, variables};

/// Columns of Grafana's grid.
const GRID_WIDTH: u64 = 24;
/// Variables that Grafana fills in by itself: those that are used here.
const BUILT_IN: [&str; 6] = [
    "__all",
    "__auto",
    "__data",
    "__range",
    "__url_time_range",
    "__value",
];
/// Variables that provisioning takes from Grafana's environment.
pub(super) const ENVIRONMENT: [&str; 2] = ["LOKI_ADDR", "NOMAD_UI"];

/// Gives what is wrong, one sentence for each finding.
type Check = fn(&Value) -> Vec<String>;

const CHECKS: [Check; 9] = [
    ids,
    data_sources,
    table,
    variables_exist,
    rules_lead_to_panels,
    texts_of_rules,
    grid,
    units,
    columns,
];

/// What all checks find.
pub(super) fn findings(shipped: &Value) -> Vec<String> {
    CHECKS.iter().flat_map(|check| check(shipped)).collect()
}

pub(super) fn panels(shipped: &Value) -> impl Iterator<Item = &Value> {
    items(&shipped["dashboard"]["panels"]).iter()
}

fn provisioned_source(shipped: &Value) -> &Value {
    &shipped["sources"]["datasources"][0]["uid"]
}

/// All texts below a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// All values of a field, wherever it stands below a value.
fn fields<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| fields(item, name)).collect(),
        Value::Object(object) => {
            let below = object.values().flat_map(|below| fields(below, name));
            object.get(name).into_iter().chain(below).collect()
        }
        _ => Vec::new(),
    }
}

fn names(list: &Value) -> BTreeSet<&str> {
    items(list).iter().map(|item| text(&item["name"])).collect()
}

/// Each thing that occurs more than once.
fn twice(kind: &str, things: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    things
        .filter(|thing| !seen.insert(thing.clone()))
        .map(|thing| format!("{kind} {thing} stands twice"))
        .collect()
}

fn ids(shipped: &Value) -> Vec<String> {
    let mut findings = twice(
        "panel",
        panels(shipped).map(|panel| panel["id"].to_string()),
    );
    for part in ["uid", "title"] {
        let values = rules(shipped).map(|rule| text(&rule[part]).to_owned());
        findings.extend(twice(&format!("rule {part}"), values));
    }
    let places = queries(shipped).into_iter().map(|query| query.place);
    findings.extend(twice("query", places));
    findings
}

fn data_sources(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let uid = provisioned_source(shipped);
    let dashboard = &shipped["dashboard"];
    let choice = items(&dashboard["templating"]["list"])
        .iter()
        .find(|variable| variable["name"] == "datasource");
    if choice.map(|choice| (&choice["type"], &choice["current"]["value"]))
        != Some((&json!("datasource"), uid))
    {
        findings.push(format!("the variable `datasource` is not set to {uid}"));
    }
    for source in fields(dashboard, "datasource") {
        let is_chosen = source["type"] == "loki" && source["uid"] == "${datasource}";
        let is_own = source["type"] == "grafana" && source["uid"] == "-- Grafana --";
        if !is_chosen && !is_own {
            findings.push(format!("{source} is no data source of the dashboard"));
        }
    }
    for rule in rules(shipped) {
        for data in items(&rule["data"]) {
            let source = &data["datasourceUid"];
            let is_query = data["model"]["expr"].is_string();
            if (is_query && source != uid) || (!is_query && source != "__expr__") {
                findings.push(format!("rule {}: data source {source}", rule["uid"]));
            }
        }
    }
    for target in panels(shipped).flat_map(|panel| items(&panel["targets"])) {
        if target["datasource"].is_null() {
            findings.push(format!("{target} has no data source"));
        }
    }
    findings
}

/// The table of queries and the queries are the same.
fn table(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let table = &shipped["table"];
    let mut entries: BTreeMap<&str, &Value> = items(&table["queries"])
        .iter()
        .map(|entry| (text(&entry["where"]), entry))
        .collect();
    for query in queries(shipped) {
        let Some(entry) = entries.remove(&*query.place) else {
            findings.push(format!("{} is not in the table", query.place));
            continue;
        };
        let expr = filled(&query.expr, |name| match name {
            "__range" | "__auto" => Some(text(&table["range"]).to_owned()),
            name => table["variables"][name].as_str().map(str::to_owned),
        });
        for (what, found, written) in [
            ("query", &*expr, &entry["logql"]),
            ("title", &*query.title, &entry["title"]),
            ("kind", query.kind.name(), &entry["kind"]),
        ] {
            if found != text(written) {
                findings.push(format!(
                    "the {what} of {} is {found}, the table has {written}",
                    query.place
                ));
            }
        }
        let events: BTreeSet<&str> = items(&entry["checks"])
            .iter()
            .map(|check| text(&check["events"]))
            .collect();
        if events != BTreeSet::from(["examples", "recording"]) {
            findings.push(format!("{} is checked with {events:?}", query.place));
        }
    }
    findings.extend(
        entries
            .keys()
            .map(|place| format!("nobody asks the query {place} of the table")),
    );
    findings
}

fn variables_exist(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let dashboard = &shipped["dashboard"];
    let own = names(&dashboard["templating"]["list"]);
    let mut used: BTreeSet<String> = texts(dashboard).into_iter().flat_map(variables).collect();
    for source in items(&shipped["sources"]["datasources"]) {
        for text in texts(source) {
            // `$$` is a dollar sign: what is behind it is for the dashboard.
            let ours = text.replace("$$", "");
            let environment = variables(&ours);
            let unknown = environment
                .iter()
                .filter(|name| !ENVIRONMENT.contains(&&***name));
            findings.extend(unknown.map(|name| format!("nothing sets ${name} for {text}")));
            used.extend(variables(&text.replace("$$", "$")));
        }
    }
    used.retain(|name| !ENVIRONMENT.contains(&&**name));
    for name in &used {
        if !own.contains(&**name) && !BUILT_IN.contains(&&**name) {
            findings.push(format!("there is no variable ${name}"));
        }
    }
    for name in own.iter().chain(&BUILT_IN) {
        if !used.contains(*name) {
            findings.push(format!("nobody uses ${name}"));
        }
    }
    for link in texts(dashboard)
        .into_iter()
        .filter(|text| text.contains("var-"))
    {
        for part in link.split("var-").skip(1) {
            let name = part.split('=').next().unwrap_or_default();
            if !own.contains(name) {
                findings.push(format!("a link sets the variable {name}"));
            }
        }
        if !link.starts_with(&format!("/d/{}/?", text(&dashboard["uid"]))) {
            findings.push(format!("{link} does not lead to the dashboard"));
        }
    }
    findings
}

fn rules_lead_to_panels(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for rule in rules(shipped) {
        let annotations = &rule["annotations"];
        let goal = (&rule["dashboardUid"], rule["panelId"].to_string());
        let annotated = text(&annotations["__panelId__"]).to_owned();
        if goal != (&annotations["__dashboardUid__"], annotated) {
            findings.push(format!("rule {} leads to two panels", rule["uid"]));
        }
        let exists = panels(shipped).any(|panel| panel["id"] == rule["panelId"]);
        if *goal.0 != shipped["dashboard"]["uid"] || !exists {
            findings.push(format!("rule {} leads to no panel", rule["uid"]));
        }
    }
    findings
}

/// What a rule says is about the labels and the values that its query has; its condition is there.
fn texts_of_rules(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for rule in rules(shipped) {
        let uid = &rule["uid"];
        let data = items(&rule["data"]);
        let steps: BTreeSet<&str> = data.iter().map(|data| text(&data["refId"])).collect();
        let exprs: Vec<&str> = fields(&rule["data"], "expr")
            .into_iter()
            .map(text)
            .collect();
        let labels: BTreeSet<&str> = exprs
            .iter()
            .flat_map(|expr| expr.split("by (").skip(1))
            .flat_map(|list| list.split(')').next().unwrap_or_default().split(", "))
            .collect();
        let inputs = data
            .iter()
            .filter_map(|data| data["model"]["expression"].as_str());
        for step in inputs.chain([text(&rule["condition"])]) {
            if !steps.contains(step) {
                findings.push(format!("rule {uid}: there is no step {step:?}"));
            }
        }
        for said in texts(&rule["annotations"]) {
            for part in said.split('$').skip(1) {
                let name = |prefix: &str| -> Option<&str> {
                    let rest = part.strip_prefix(prefix)?;
                    rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .next()
                };
                let is_there = name("labels.").is_some_and(|label| labels.contains(label))
                    || name("values.").is_some_and(|step| steps.contains(step));
                if !is_there {
                    findings.push(format!("rule {uid}: nothing fills in ${part}"));
                }
            }
        }
        if exprs.iter().any(|expr| expr.contains('$')) {
            findings.push(format!("rule {uid}: a rule knows no variables"));
        }
    }
    findings
}

fn grid(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let mut taken: BTreeMap<(u64, u64), &Value> = BTreeMap::new();
    for panel in panels(shipped) {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_default();
        let (left, top, width, height) = (side("x"), side("y"), side("w"), side("h"));
        if width == 0 || height == 0 || left + width > GRID_WIDTH {
            findings.push(format!("panel {} is not on the grid", panel["id"]));
        }
        let mut over = BTreeSet::new();
        for column in left..left + width {
            for row in top..top + height {
                if let Some(other) = taken.insert((column, row), &panel["id"]) {
                    over.insert(other.to_string());
                }
            }
        }
        let overlaps = over
            .iter()
            .map(|other| format!("panel {} lies over {other}", panel["id"]));
        findings.extend(overlaps);
    }
    findings
}

/// Numbers have a unit, and what only holds for one query names one that is there.
fn units(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for panel in panels(shipped) {
        let shows_numbers = !["table", "logs"].contains(&text(&panel["type"]));
        if shows_numbers && text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty() {
            findings.push(format!("panel {} has no unit", panel["id"]));
        }
        // Without it, a graph has a point for every pixel, which Loki works out one by one.
        let has_steps = items(&panel["targets"])
            .iter()
            .any(|target| target["queryType"] == "range");
        let points = panel["maxDataPoints"].as_i64().unwrap_or_default();
        if shows_numbers && has_steps && points <= 0 {
            findings.push(format!("panel {} has no bound of its points", panel["id"]));
        }
        let steps: BTreeSet<&str> = items(&panel["targets"])
            .iter()
            .map(|target| text(&target["refId"]))
            .collect();
        for rule in items(&panel["fieldConfig"]["overrides"]) {
            let step = text(&rule["matcher"]["options"]);
            if rule["matcher"]["id"] == "byFrameRefID" && !steps.contains(step) {
                findings.push(format!("panel {}: there is no query {step}", panel["id"]));
            }
        }
    }
    findings
}

/// The columns of a table are what its query keeps; widths, colours and links are about columns that are there.
fn columns(shipped: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for panel in panels(shipped).filter(|panel| panel["type"] == "table") {
        let id = &panel["id"];
        let kept: BTreeSet<&str> = text(&panel["targets"][0]["expr"])
            .rsplit_once("| keep ")
            .map(|(_, list)| list.split(", ").collect())
            .unwrap_or_default();
        let order = items(&panel["transformations"])
            .iter()
            .find(|step| step["id"] == "organize")
            .and_then(|step| step["options"]["indexByName"].as_object());
        let columns: BTreeSet<&str> = order
            .into_iter()
            .flat_map(|order| order.keys())
            .map(String::as_str)
            .collect();
        if columns.is_empty() {
            findings.push(format!("panel {id} has no columns"));
        }
        for column in &columns {
            // How often a grouped column is called after what it takes of its group.
            let label = column.split(" (").next().unwrap_or_default();
            if !kept.contains(label) {
                findings.push(format!("panel {id}: the query has no {label}"));
            }
        }
        let overrides = items(&panel["fieldConfig"]["overrides"]).iter();
        let named = overrides.map(|rule| text(&rule["matcher"]["options"]));
        let linked = texts(panel).into_iter().flat_map(|text| {
            let parts = text.split("__data.fields.").skip(1);
            parts.filter_map(|part| part.split(['}', ':']).next())
        });
        for column in named.chain(linked) {
            if !columns.contains(column) {
                findings.push(format!("panel {id}: there is no column {column}"));
            }
        }
    }
    findings
}
