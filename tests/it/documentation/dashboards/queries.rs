//! What is shipped for Grafana, and the queries in it as Grafana would send them.

use serde_json::{Value, json};

use crate::documentation::text_of;

/// All that is shipped, and the table of what a Loki has to answer.
pub(crate) fn shipped() -> Value {
    let yaml = |name: &str| -> Value {
        let text = text_of(&format!("config/grafana/provisioning/{name}"));
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let json = |name: &str| -> Value {
        serde_json::from_str(&text_of(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    json!({
        "dashboard": json("config/grafana/dashboards/nomad-events.json"),
        "rules": yaml("alerting/nomad-events.yaml"),
        "sources": yaml("datasources/loki.yaml"),
        "table": json("tests/fixtures/grafana-queries.json"),
    })
}

/// A query, with its variables still in it.
pub(crate) struct Query {
    /// Where it stands, as the table names it.
    pub(crate) place: String,
    /// The title of the panel or the rule.
    pub(crate) title: String,
    /// The LogQL.
    pub(crate) expr: String,
    /// How Grafana asks.
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A metric at the end of the time range.
    Instant,
    /// A metric at each step: so many points at most.
    Range { points: i64 },
    /// The newest lines.
    Log { limit: u64 },
    /// The values of a label.
    Label(String),
}

impl Kind {
    /// As the table names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Instant | Self::Range { .. } => "metric",
            Self::Log { .. } => "log",
            Self::Label(_) => "label",
        }
    }
}

/// The items of a list; of what is no list, none.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text; of what is none, nothing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The rules of all groups.
pub(crate) fn rules(shipped: &Value) -> impl Iterator<Item = &Value> {
    items(&shipped["rules"]["groups"])
        .iter()
        .flat_map(|group| items(&group["rules"]))
}

/// Every query of the dashboard and of the rules.
pub(crate) fn queries(shipped: &Value) -> Vec<Query> {
    let dashboard = &shipped["dashboard"];
    let mut queries = Vec::new();
    for variable in items(&dashboard["templating"]["list"]) {
        if variable["type"] == "query" {
            queries.push(Query {
                place: format!("variable/{}", text(&variable["name"])),
                title: text(&variable["label"]).to_owned(),
                expr: text(&variable["query"]["stream"]).to_owned(),
                kind: Kind::Label(text(&variable["query"]["label"]).to_owned()),
            });
        }
    }
    for annotation in items(&dashboard["annotations"]["list"]) {
        if annotation["builtIn"] != 1 {
            let name = text(&annotation["name"]);
            queries.push(Query {
                place: format!("annotation/{name}"),
                title: name.to_owned(),
                expr: text(&annotation["expr"]).to_owned(),
                kind: Kind::Log {
                    limit: annotation["maxLines"].as_u64().unwrap_or_default(),
                },
            });
        }
    }
    for panel in items(&dashboard["panels"]) {
        let shows_lines = ["table", "logs"].contains(&text(&panel["type"]));
        for target in items(&panel["targets"]) {
            let kind = match text(&target["queryType"]) {
                "range" if shows_lines => Kind::Log {
                    limit: target["maxLines"].as_u64().unwrap_or_default(),
                },
                "range" => Kind::Range {
                    points: panel["maxDataPoints"].as_i64().unwrap_or_default(),
                },
                _ => Kind::Instant,
            };
            queries.push(Query {
                place: format!("panel/{}/{}", panel["id"], text(&target["refId"])),
                title: text(&panel["title"]).to_owned(),
                expr: text(&target["expr"]).to_owned(),
                kind,
            });
        }
    }
    for rule in rules(shipped) {
        for data in items(&rule["data"]) {
            if data["model"]["expr"].is_string() {
                queries.push(Query {
                    place: format!("rule/{}/{}", text(&rule["uid"]), text(&data["refId"])),
                    title: text(&rule["title"]).to_owned(),
                    expr: text(&data["model"]["expr"]).to_owned(),
                    kind: Kind::Instant,
                });
            }
        }
    }
    queries
}

/// Replaces `$NAME`, `${NAME}` and `${NAME:format}` by what `value` has for the name. What it has nothing for stays.
pub(crate) fn filled(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut parts = text.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let inside = part.strip_prefix('{').unwrap_or(part);
        let length = inside
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(inside.len());
        let (name, rest) = inside.split_at(length);
        let rest = match part.starts_with('{') {
            true => rest.split_once('}').map_or("", |(_, rest)| rest),
            false => rest,
        };
        match (!name.is_empty()).then(|| value(name)).flatten() {
            Some(value) => {
                filled.push_str(&value);
                filled.push_str(rest);
            }
            None => {
                filled.push('$');
                filled.push_str(part);
            }
        }
    }
    filled
}

/// The names of the variables in a text.
pub(crate) fn variables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    filled(text, |name| {
        names.push(name.to_owned());
        None
    });
    names
}
