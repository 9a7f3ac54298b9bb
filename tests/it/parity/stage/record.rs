//! What has come out of a host.

use std::collections::BTreeMap;

use nomad_events::testing::loki::Entry;
use serde::{Deserialize, Serialize};

use super::stream::{ENDS_AT, NOTICES};

/// How many differences are shown.
const SHOWN: usize = 2;

/// As much of a record as is shown.
const SHOWN_BYTES: usize = 4000;

/// Records by where they came out: in order, but for those at Loki, which knows none.
pub(super) type Lanes = BTreeMap<String, Vec<Record>>;

/// One thing that a sink has given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// An entry at Loki.
    Entry {
        tenant: Option<String>,
        labels: BTreeMap<String, String>,
        timestamp: i64,
        line: String,
        structured_metadata: BTreeMap<String, String>,
    },
    /// A line on the standard output.
    Line { lane: String, text: String },
    /// A request.
    Request {
        path: String,
        method: String,
        headers: BTreeMap<String, String>,
        body: String,
    },
}

impl From<Entry> for Record {
    fn from(entry: Entry) -> Self {
        Self::Entry {
            tenant: entry.tenant,
            labels: entry.labels,
            timestamp: entry.timestamp_nanos,
            line: entry.line,
            structured_metadata: entry.structured_metadata,
        }
    }
}

impl Record {
    /// A line of JSON says by a field `lane` by which way it has come; of several ways only each has an order.
    pub(super) fn of_line(text: &str) -> Self {
        let event: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let lane = event["lane"].as_str().or_else(|| event["Topic"].as_str());
        Self::Line {
            lane: lane.unwrap_or("no lane").to_owned(),
            text: text.to_owned(),
        }
    }

    fn lane(&self) -> String {
        match self {
            Self::Entry { .. } => "loki".to_owned(),
            Self::Line { lane, .. } => format!("console {lane}"),
            // Requests that events have set apart are under way beside one another.
            Self::Request { path, headers, .. } => {
                let own = headers.iter().filter(|(name, _)| name.starts_with("x-"));
                let own: Vec<_> = own.map(|(_, value)| value.as_str()).collect();
                format!("http {path} {}", own.join(" "))
            }
        }
    }

    /// Whether it tells of the stream itself. Such events have times of their own.
    fn is_notice(&self) -> bool {
        match self {
            Self::Entry { labels, line, .. } => {
                line.contains(NOTICES) || labels.values().any(|label| label == NOTICES)
            }
            Self::Line { text, .. } => text.contains(NOTICES),
            Self::Request { .. } => false,
        }
    }

    /// Whether it has the time at which it was read, and so another one in each run.
    pub(super) fn is_dated_by_the_clock(&self) -> bool {
        !self.is_notice()
            && match self {
                Self::Entry { timestamp, .. } => *timestamp > ENDS_AT,
                Self::Line { text, .. } => text.contains(r#""timestamp_source":"receipt""#),
                Self::Request { body, .. } => body.contains(r#""timestamp_source":"receipt""#),
            }
    }
}

/// Sorts records by where they came out, without notices.
pub(super) fn in_lanes(records: Vec<Record>) -> Lanes {
    let mut lanes = Lanes::new();
    for record in records {
        if !record.is_notice() {
            lanes.entry(record.lane()).or_default().push(record);
        }
    }
    if let Some(entries) = lanes.get_mut("loki") {
        entries.sort();
    }
    lanes
}

/// Says what is different, if anything is.
pub(super) fn difference(expected: &Lanes, found: &Lanes) -> Option<String> {
    let mut differences = Vec::new();
    let empty = Vec::new();
    let mut lanes: Vec<&String> = expected.keys().chain(found.keys()).collect();
    lanes.dedup();
    lanes.sort();
    lanes.dedup();
    for lane in lanes {
        let expected = expected.get(lane).unwrap_or(&empty);
        let found = found.get(lane).unwrap_or(&empty);
        if expected == found {
            continue;
        }
        let missing = expected.iter().filter(|record| !found.contains(record));
        let surplus = found.iter().filter(|record| !expected.contains(record));
        let (missing, surplus): (Vec<_>, Vec<_>) = (missing.collect(), surplus.collect());
        differences.push(format!(
            "{lane}: {} records, expected {}; {} are missing, {} are not expected{}",
            found.len(),
            expected.len(),
            missing.len(),
            surplus.len(),
            if missing.is_empty() && surplus.is_empty() {
                "; the order is another one, or some come more often"
            } else {
                ""
            },
        ));
        for (what, records) in [("missing", &missing), ("surplus", &surplus)] {
            for record in records.iter().take(SHOWN) {
                let text = serde_json::to_string(record).expect("a record is JSON");
                let shown: String = text.chars().take(SHOWN_BYTES).collect();
                differences.push(format!("  {what}: {shown}"));
            }
        }
    }
    (!differences.is_empty()).then(|| differences.join("\n"))
}
