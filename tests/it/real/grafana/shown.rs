//! What a panel would show, as text: `cargo test --features real-servers real::grafana -- --nocapture`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Row;
use crate::documentation::dashboards::queries::{Query, items};

/// Rows of a table, and series of a graph, that are shown.
const ROWS: usize = 8;
/// Characters of a cell.
const WIDTH: usize = 60;
/// Heights of a point in a graph.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The first rows, for a message.
pub(super) fn some(rows: &[Row]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .take(ROWS)
        .map(|row| format!("{:?}", row.fields))
        .collect();
    rows.join("\n    ")
}

fn cut(text: &str) -> String {
    text.chars().take(WIDTH).collect()
}

/// Prints a table, with the columns of its panel if it is one, or lines with their levels.
pub(super) fn rows(shipped: &Value, query: &Query, rows: &[Row]) {
    let id = query.place.split('/').nth(1).unwrap_or_default();
    let panel = items(&shipped["dashboard"]["panels"])
        .iter()
        .find(|panel| panel["id"].as_u64() == id.parse().ok());
    let order = panel.and_then(|panel| {
        let mut steps = items(&panel["transformations"]).iter();
        steps.find_map(|step| step["options"]["indexByName"].as_object())
    });
    let columns: BTreeSet<&str> = match order {
        // What is taken of a group is called after it.
        Some(order) => order
            .keys()
            .filter_map(|name| name.split(" (").next())
            .collect(),
        None if panel.is_some_and(|panel| panel["type"] == "logs") => {
            BTreeSet::from(["level", "line"])
        }
        None => rows
            .iter()
            .flat_map(|row| row.fields.keys())
            .map(String::as_str)
            .collect(),
    };
    let mut columns: Vec<&str> = columns.into_iter().collect();
    let place_of = |column: &str| {
        let mut order = order.into_iter().flatten();
        let found = order.find(|(name, _)| name.split(" (").next() == Some(column));
        found.and_then(|(_, place)| place.as_u64())
    };
    columns.sort_by_key(|column| place_of(column));
    println!("\n{} {:?}, {} rows", query.place, query.title, rows.len());
    println!("  {}", columns.join(" | "));
    for row in rows.iter().take(ROWS) {
        let cells: Vec<String> = columns
            .iter()
            .map(|name| cut(row.fields.get(*name).map_or("", String::as_str)))
            .collect();
        println!("  {}", cells.join(" | "));
    }
}

/// Prints each series of a graph as a line of bars, from its first point to its last.
pub(super) fn series(query: &Query, rows: &[Row]) {
    println!("\n{} {:?}, {} series", query.place, query.title, rows.len());
    for row in rows.iter().take(ROWS) {
        let highest = row.points.iter().map(|point| point.1).fold(0.0, f64::max);
        let bars: String = row
            .points
            .iter()
            .map(|point| {
                let part = if highest > 0.0 {
                    point.1 / highest
                } else {
                    0.0
                };
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                BARS[(part * 7.0) as usize]
            })
            .collect();
        let mut labels = row.fields.clone();
        labels.remove("value");
        let labels: Vec<String> = labels.into_values().collect();
        println!("  {} {bars} at most {highest}", cut(&labels.join(" ")));
    }
}
