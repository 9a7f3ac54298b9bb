//! Dashboard and alert rules: each query is asked as Grafana would ask it, of a Loki with the shipped settings that got its lines
//! from the shipped programs.

mod shown;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::documentation::dashboards::queries::{
    Kind, Query, filled, items, queries, rules, shipped, text,
};
use crate::documentation::text_of;
use crate::servers::loki::{Entry, LokiServer};
use crate::servers::{Process, folder, now_nanos, wait_for, without_cluster};

/// Until the recording is at Loki: a second, and the rest is for busy machines.
const PLAYED_LIMIT: Duration = Duration::from_secs(60);
/// More lines than any query finds, and as many as Loki gives by default.
const ALL_LINES: u64 = 5000;
/// In examples, the end of the time range that the table means where it says nothing else.
const EXAMPLES_END: &str = "2026-11-22T11:00:00Z";
const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Time ranges of a dashboard that people choose: an hour, a day and a week, in seconds.
const RANGES: [i64; 3] = [3600, 24 * 3600, 7 * 24 * 3600];

/// A series with its last value, or a line, and what is known of it.
pub(super) struct Row {
    /// Labels, structured metadata and parsed fields; `value` or `line` is among them.
    pub(super) fields: BTreeMap<String, String>,
    /// Time of a line in nanoseconds since 1970; 0 for a series.
    pub(super) nanos: i64,
    /// What a series was at each step; one for a query that has no steps.
    pub(super) points: Vec<(i64, f64)>,
}

/// A Loki with events, and when they ended.
struct Board<'l> {
    loki: &'l LokiServer,
    /// As the table calls them.
    events: &'static str,
    /// End of the time range, in nanoseconds since 1970.
    end: i64,
    /// How much later the events are here than in the table.
    shift: i64,
}

#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn dashboard_and_rules_show_what_is_in_the_examples() {
    let loki = LokiServer::start_as_shipped();
    let end = now_nanos();
    let shift = end - nanos_of(EXAMPLES_END);
    loki.push(&examples(shift));
    Board {
        loki: &loki,
        events: "examples",
        end,
        shift,
    }
    .assert_right();
    assert_eq!(loki.stop().1, [], "left by Loki");
}

#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn dashboard_and_rules_show_what_is_in_the_recording() {
    let loki = LokiServer::start_as_shipped();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-events"));
    let url = format!("http://{}", loki.address());
    without_cluster(&mut command).args(["demo", "--loki", &url]);
    let mut demo = Process::start_with_output("demo", folder("demo"), &mut command, Stdio::null());
    let status = wait_for("the recording is played", PLAYED_LIMIT, || {
        demo.ended().ok_or_else(|| "the demo runs".to_owned())
    });
    assert!(status.success(), "{status}: {}", demo.log());
    Board {
        loki: &loki,
        events: "recording",
        end: now_nanos(),
        shift: 0,
    }
    .assert_right();
    assert_eq!(loki.stop().1, [], "left by Loki");
}

fn nanos_of(time: &str) -> i64 {
    let time: Timestamp = time.parse().expect("a time");
    i64::try_from(time.as_nanosecond()).expect("a time before 2262")
}

/// What the programs make of the examples beside them, as the shipped sink pushes it. A test of the programs says that they do,
/// and these have notices that no stream gives at will.
fn examples(shift: i64) -> Vec<Entry> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vrl");
    // Others make messages for a webhook.
    let pipeline = text_of("config/vector.toml");
    let mut entries = Vec::new();
    for file in fs::read_dir(folder).expect("the programs") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let Some(name) = name.strip_suffix(".examples.json") else {
            continue;
        };
        if !pipeline.contains(&format!("vrl/{name}.vrl")) {
            continue;
        }
        let file = fs::read_to_string(&path).expect("examples");
        let examples: Vec<Value> = serde_json::from_str(&file).expect("examples are JSON");
        for mut example in examples {
            let Value::Object(event) = example["expected"].take() else {
                panic!("{} expects nothing", example["name"]);
            };
            let is_filtered = event["topic"] == "Node" && event["type"] == "AllocationUpdated";
            if !is_filtered {
                entries.push(entry(event, shift));
            }
        }
    }
    entries
}

fn entry(mut event: Map<String, Value>, shift: i64) -> Entry {
    let time = event.remove("timestamp").expect("a time");
    let meta = event.remove("meta").expect("structured metadata");
    let labels = ["namespace", "topic", "type", "service_name"];
    Entry {
        labels: labels
            .map(|name| (name.to_owned(), plain(&event[name])))
            .into(),
        metadata: fields(&meta),
        nanos: nanos_of(text(&time)) + shift,
        line: Value::Object(event).to_string(),
    }
}

/// A scalar as text, without quotes.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn fields(object: &Value) -> BTreeMap<String, String> {
    let object = object.as_object().into_iter().flatten();
    object
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

impl Board<'_> {
    /// Every query answers what the table says.
    fn assert_right(&self) {
        let shipped = shipped();
        let table = &shipped["table"];
        let mut findings = Vec::new();
        let mut asked = 0;
        for query in queries(&shipped) {
            let entry = items(&table["queries"])
                .iter()
                .find(|entry| entry["where"] == *query.place)
                .unwrap_or_else(|| panic!("{} is not in the table", query.place));
            let checks = items(&entry["checks"]).iter();
            for check in checks.filter(|check| check["events"] == self.events) {
                asked += 1;
                if let Err(problem) = self.check(&shipped, &query, check) {
                    findings.push(format!(
                        "{} {:?}: {}\n  {check}\n  {problem}",
                        query.place, query.title, query.expr
                    ));
                }
            }
        }
        assert!(asked > 30, "only {asked} checks with {}", self.events);
        assert!(findings.is_empty(), "{}", findings.join("\n\n"));
    }

    fn check(&self, shipped: &Value, query: &Query, check: &Value) -> Result<(), String> {
        let table = &shipped["table"];
        let is_usual = check["at"].is_null() && check["variables"].is_null();
        let end = match check["at"].as_str() {
            Some(at) => nanos_of(at) + self.shift,
            None => self.end,
        };
        let variable = |name: &str| match name {
            "__range" | "__auto" => Some(text(&table["range"]).to_owned()),
            name => [&check["variables"], &table["variables"]]
                .iter()
                .find_map(|variables| variables[name].as_str().map(str::to_owned)),
        };
        let expr = filled(&query.expr, variable);
        let minutes: i64 = text(&table["range"])
            .trim_end_matches('m')
            .parse()
            .expect("a range in minutes");
        let start = end - minutes * 60 * NANOS_PER_SECOND;
        let rows = match &query.kind {
            Kind::Instant | Kind::Range { .. } => self.instant(&expr, end)?,
            Kind::Log { .. } => self.lines(&expr, start, end, ALL_LINES)?,
            Kind::Label(label) => self.values(label, &expr, start, end)?,
        };
        compare(check, &rows)?;
        if let Some(rule) =
            rules(shipped).find(|rule| query.place.split('/').nth(1) == rule["uid"].as_str())
        {
            let firing = rows.iter().filter(|row| fires(rule, row)).count();
            if check["fires"].as_u64() != u64::try_from(firing).ok() {
                return Err(format!("{firing} of {} series fire", rows.len()));
            }
        }
        match &query.kind {
            Kind::Log { limit } => {
                let newest = self.lines(&expr, start, end, *limit)?;
                are_the_newest(&newest, &rows, *limit)?;
            }
            Kind::Range { points } if is_usual => {
                for seconds in RANGES {
                    let step = seconds / points;
                    let expr = filled(&query.expr, |name| match name {
                        "__auto" => Some(format!("{step}s")),
                        name => variable(name),
                    });
                    let steps = self.steps(&expr, end, seconds, step)?;
                    agree(query, &rows, &steps).map_err(|problem| {
                        format!("{seconds} s in steps of {step} s: {problem}")
                    })?;
                    if seconds == RANGES[0] {
                        shown::series(query, &steps);
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        if is_usual {
            shown::rows(shipped, query, &rows);
        }
        Ok(())
    }

    fn instant(&self, expr: &str, end: i64) -> Result<Vec<Row>, String> {
        let query = [("query", expr), ("time", &*end.to_string())];
        let answer = self.loki.ask("/loki/api/v1/query", &query)?;
        series(&answer, |series| Some(vec![series["value"].clone()]))
    }

    /// The metric at each step, as Grafana asks for it.
    fn steps(&self, expr: &str, end: i64, range: i64, step: i64) -> Result<Vec<Row>, String> {
        let query = [
            ("query", expr),
            ("start", &*(end - range * NANOS_PER_SECOND).to_string()),
            ("end", &*end.to_string()),
            ("step", &*format!("{}ms", step * 1000)),
            ("direction", "backward"),
        ];
        let answer = self.loki.ask("/loki/api/v1/query_range", &query)?;
        series(&answer, |series| series["values"].as_array().cloned())
    }

    /// Lines, the newest first, as Grafana asks for them.
    fn lines(&self, expr: &str, start: i64, end: i64, limit: u64) -> Result<Vec<Row>, String> {
        let query = [
            ("query", expr),
            ("start", &*start.to_string()),
            // The end of a range is not in it.
            ("end", &*(end + 1).to_string()),
            ("limit", &*limit.to_string()),
            ("direction", "backward"),
        ];
        let answer = self.loki.ask("/loki/api/v1/query_range", &query)?;
        let mut rows = Vec::new();
        for stream in items(&answer["result"]) {
            for value in items(&stream["values"]) {
                let mut fields = fields(&stream["stream"]);
                fields.insert("line".to_owned(), plain(&value[1]));
                rows.push(Row {
                    fields,
                    nanos: text(&value[0])
                        .parse()
                        .map_err(|_| format!("no time: {value}"))?,
                    points: Vec::new(),
                });
            }
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.nanos));
        Ok(rows)
    }

    /// The values of a label, one row for each.
    fn values(&self, label: &str, expr: &str, start: i64, end: i64) -> Result<Vec<Row>, String> {
        let query = [
            ("match[]", expr),
            ("start", &*start.to_string()),
            ("end", &*end.to_string()),
        ];
        let answer = self.loki.ask("/loki/api/v1/series", &query)?;
        let mut values: Vec<&str> = items(&answer).iter().map(|s| text(&s[label])).collect();
        values.sort_unstable();
        values.dedup();
        let row = |value: &str| Row {
            fields: BTreeMap::from([(label.to_owned(), value.to_owned())]),
            nanos: 0,
            points: Vec::new(),
        };
        Ok(values.into_iter().map(row).collect())
    }
}

/// A row for each series that has a point.
fn series(
    answer: &Value,
    points: impl Fn(&Value) -> Option<Vec<Value>>,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for series in items(&answer["result"]) {
        let mut row = Row {
            fields: fields(&series["metric"]),
            nanos: 0,
            points: Vec::new(),
        };
        for point in points(series).ok_or("a series without points")? {
            let value = text(&point[1]);
            row.fields.insert("value".to_owned(), value.to_owned());
            // Loki writes whole seconds, or a fraction; a step is never shorter.
            let seconds = point[0].as_f64().ok_or("a point without time")?;
            let value = value.parse().map_err(|_| format!("no value: {point}"))?;
            #[allow(clippy::cast_possible_truncation)]
            row.points.push((seconds as i64, value));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn compare(check: &Value, rows: &[Row]) -> Result<(), String> {
    if check["rows"].as_u64() != u64::try_from(rows.len()).ok() {
        return Err(format!("{} rows came: {}", rows.len(), shown::some(rows)));
    }
    for wanted in items(&check["has"]) {
        let is_there = rows.iter().any(|row| {
            fields(wanted)
                .iter()
                .all(|(name, value)| row.fields.get(name).map_or("", String::as_str) == value)
        });
        if !is_there {
            return Err(format!("no row has {wanted}: {}", shown::some(rows)));
        }
    }
    Ok(())
}

/// Whether a series meets the condition of a rule.
fn fires(rule: &Value, row: &Row) -> bool {
    let value: f64 = row.fields["value"].parse().expect("a number");
    let evaluator = items(&rule["data"])
        .iter()
        .find(|data| data["refId"] == rule["condition"])
        .map(|data| &data["model"]["conditions"][0]["evaluator"])
        .expect("a condition");
    let bound = |place: usize| evaluator["params"][place].as_f64().expect("a bound");
    match text(&evaluator["type"]) {
        "gt" => value > bound(0),
        "lt" => value < bound(0),
        "within_range" => value > bound(0) && value < bound(1),
        other => panic!("the condition {other:?} is new: say here what it means"),
    }
}

/// With its limit, a panel has the newest lines.
fn are_the_newest(limited: &[Row], all: &[Row], limit: u64) -> Result<(), String> {
    let limit = usize::try_from(limit).map_err(|_| "a limit that is no number")?;
    let times = |rows: &[Row]| -> Vec<i64> { rows.iter().map(|row| row.nanos).collect() };
    let newest = &all[..all.len().min(limit)];
    if limit == 0 || times(limited) != times(newest) {
        return Err(format!(
            "with its limit {limit}, {} lines come that are not the newest",
            limited.len()
        ));
    }
    Ok(())
}

/// Whatever the time range is, nothing is missing between steps and nothing counts twice: counts add up, the largest of all steps is
/// the largest of the whole range, and a state is at last what it is now.
fn agree(query: &Query, rows: &[Row], steps: &[Row]) -> Result<(), String> {
    let by_labels = |rows: &[Row]| -> BTreeMap<String, f64> {
        let value = |row: &Row| {
            let mut points = row.points.iter().map(|point| point.1);
            let value = if query.expr.contains("count_over_time") {
                Some(points.sum())
            } else if query.expr.contains("$__auto") {
                points.reduce(f64::max)
            } else {
                points.next_back()
            };
            value.unwrap_or_default()
        };
        let name = |row: &Row| {
            let mut labels = row.fields.clone();
            labels.remove("value");
            format!("{labels:?}")
        };
        rows.iter().map(|row| (name(row), value(row))).collect()
    };
    let (now, over_steps) = (by_labels(rows), by_labels(steps));
    if now != over_steps {
        return Err(format!("at once {now:?}, step by step {over_steps:?}"));
    }
    Ok(())
}
