//! What a scrape gets: series with their values, in Prometheus' text format 0.0.4.
//!
//! Which series there are follows Vector's rule: one that was not seen again for `flush_period_secs` is dropped, and that is
//! looked after when metrics come. What lives in this process is seen at every reading, so it stays, however idle it is.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::host::metrics::registry::{Labels, Sample, Value};

/// The type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// The series that a sink shows.
#[derive(Debug)]
pub(crate) struct Exposition {
    families: BTreeMap<String, Family>,
    keep: Duration,
    with_timestamps: bool,
    last_flush: Instant,
}

/// All series of one name.
#[derive(Debug)]
struct Family {
    help: Arc<str>,
    series: BTreeMap<Labels, Shown>,
}

/// A value, from when it is, and when it was seen last.
#[derive(Debug)]
struct Shown {
    value: Value,
    /// Milliseconds since 1970.
    at: i64,
    seen: Instant,
}

impl Exposition {
    /// Shows nothing yet. Series are kept for `keep` after they were seen.
    pub(super) fn new(keep: Duration, with_timestamps: bool) -> Self {
        Self {
            families: BTreeMap::new(),
            keep,
            with_timestamps,
            last_flush: Instant::now(),
        }
    }

    /// Takes what was read at `at` (milliseconds since 1970).
    pub(crate) fn take(&mut self, samples: Vec<Sample>, at: i64) {
        let now = Instant::now();
        if now - self.last_flush > self.keep {
            self.last_flush = now;
            for family in self.families.values_mut() {
                family
                    .series
                    .retain(|_, shown| now - shown.seen < self.keep);
            }
            self.families.retain(|_, family| !family.series.is_empty());
        }
        for sample in samples {
            let family = self.families.entry(sample.name).or_insert_with(|| Family {
                help: sample.help,
                series: BTreeMap::new(),
            });
            let shown = Shown {
                value: sample.value,
                at,
                seen: now,
            };
            family.series.insert(sample.labels, shown);
        }
    }

    /// The number of series.
    pub(super) fn len(&self) -> usize {
        self.families
            .values()
            .map(|family| family.series.len())
            .sum()
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, family) in &self.families {
            let kind = match family.series.values().next() {
                Some(Shown {
                    value: Value::Counter(_),
                    ..
                }) => "counter",
                _ => "gauge",
            };
            if !family.help.is_empty() {
                writeln!(f, "# HELP {name} {}", Escaped::help(&family.help))?;
            }
            writeln!(f, "# TYPE {name} {kind}")?;
            for (labels, shown) in &family.series {
                f.write_str(name)?;
                write_labels(f, labels)?;
                f.write_char(' ')?;
                write_value(f, shown.value)?;
                if self.with_timestamps {
                    write!(f, " {}", shown.at)?;
                }
                f.write_char('\n')?;
            }
        }
        Ok(())
    }
}

fn write_labels(f: &mut fmt::Formatter<'_>, labels: &Labels) -> fmt::Result {
    let mut before = '{';
    for (name, value) in labels {
        write!(f, "{before}{name}=\"{}\"", Escaped::value(value))?;
        before = ',';
    }
    if !labels.is_empty() {
        f.write_char('}')?;
    }
    Ok(())
}

/// Floats as Go reads them, which is what the format asks for.
fn write_value(f: &mut fmt::Formatter<'_>, value: Value) -> fmt::Result {
    match value {
        Value::Counter(count) => write!(f, "{count}"),
        Value::Gauge(value) if value.is_nan() => f.write_str("NaN"),
        Value::Gauge(f64::INFINITY) => f.write_str("+Inf"),
        Value::Gauge(f64::NEG_INFINITY) => f.write_str("-Inf"),
        Value::Gauge(value) => write!(f, "{value}"),
    }
}

/// A text with the characters escaped that would end it.
struct Escaped<'t> {
    text: &'t str,
    quotes: bool,
}

impl<'t> Escaped<'t> {
    /// In a comment, where quotes are plain.
    fn help(text: &'t str) -> Self {
        Self {
            text,
            quotes: false,
        }
    }

    /// Between quotes.
    fn value(text: &'t str) -> Self {
        Self { text, quotes: true }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.text.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// Whether Prometheus takes this as the name of a metric.
pub(crate) fn is_metric_name(text: &str) -> bool {
    is_name(text, |byte| byte == b':')
}

/// Whether Prometheus takes this as the name of a label. Names that begin with two underscores are its own.
pub(crate) fn is_label_name(text: &str) -> bool {
    !text.starts_with("__") && is_name(text, |_| false)
}

fn is_name(text: &str, also: impl Fn(u8) -> bool) -> bool {
    text.bytes()
        .next()
        .is_some_and(|first| !first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || also(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, labels: &[(&str, &str)], value: Value) -> Sample {
        Sample {
            name: name.to_owned(),
            help: Arc::from("A \\ and a\nline \"more\""),
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            value,
        }
    }

    fn names(exposition: &Exposition) -> Vec<&str> {
        exposition.families.keys().map(String::as_str).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_text_is_prometheus_to_the_letter() {
        let mut exposition = Exposition::new(Duration::from_secs(60), true);
        let hostile = "back\\slash \"quote\"\nline é";
        exposition.take(
            vec![
                sample(
                    "b_total",
                    &[("z", "1"), ("a", hostile)],
                    Value::Counter(u64::MAX),
                ),
                sample("a_up", &[], Value::Gauge(1.5)),
                sample("a_up", &[("x", "")], Value::Gauge(f64::NEG_INFINITY)),
                sample("a_up", &[("x", "1")], Value::Gauge(f64::INFINITY)),
                sample("a_up", &[("x", "2")], Value::Gauge(f64::NAN)),
                sample("a_up", &[("x", "3")], Value::Gauge(123_456_789_012.0)),
            ],
            1_700_000_000_123,
        );
        assert_eq!(
            exposition.to_string(),
            "# HELP a_up A \\\\ and a\\nline \"more\"\n\
             # TYPE a_up gauge\n\
             a_up 1.5 1700000000123\n\
             a_up{x=\"\"} -Inf 1700000000123\n\
             a_up{x=\"1\"} +Inf 1700000000123\n\
             a_up{x=\"2\"} NaN 1700000000123\n\
             a_up{x=\"3\"} 123456789012 1700000000123\n\
             # HELP b_total A \\\\ and a\\nline \"more\"\n\
             # TYPE b_total counter\n\
             b_total{a=\"back\\\\slash \\\"quote\\\"\\nline é\",z=\"1\"} 18446744073709551615 1700000000123\n"
        );
        exposition.with_timestamps = false;
        assert!(exposition.to_string().contains("\na_up 1.5\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_series_goes_when_it_was_not_seen_for_the_flush_period() {
        for (period, left) in [(60, vec!["fast"]), (600, vec!["fast", "slow"])] {
            let mut exposition = Exposition::new(Duration::from_secs(period), true);
            exposition.take(vec![sample("slow", &[], Value::Counter(1))], 0);
            for second in 0..130 {
                exposition.take(vec![sample("fast", &[], Value::Counter(second))], 0);
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            assert_eq!(names(&exposition), left, "after {period} s");
        }
    }

    #[test]
    fn names_are_those_of_prometheus() {
        for (text, metric, label) in [
            ("vector", true, true),
            ("_a9", true, true),
            ("a:b", true, false),
            ("__name__", true, false),
            ("9a", false, false),
            ("", false, false),
            ("a-b", false, false),
            ("é", false, false),
        ] {
            assert_eq!(
                (is_metric_name(text), is_label_name(text)),
                (metric, label),
                "{text}"
            );
        }
    }
}
