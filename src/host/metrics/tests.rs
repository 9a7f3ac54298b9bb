use super::METRICS as HOST_METRICS;
use crate::error::ErrorKind;
use crate::telemetry::{METRICS, Metric, MetricKind};

const PAGE: &str = include_str!("../../../docs/metrics.md");

/// The row that a metric must have in the documentation.
fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
    };
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|label| format!("`{label}`"))
        .collect();
    format!(
        "| `{}` | {kind} | {} | {} | {} |",
        metric.name,
        metric.unit,
        labels.join(", "),
        metric.description
    )
}

#[test]
fn the_documentation_has_every_metric_as_it_is_and_no_other() {
    let documented: Vec<&str> = PAGE
        .lines()
        .filter(|line| line.contains("| counter |") || line.contains("| gauge |"))
        .collect();
    let expected: Vec<String> = METRICS.iter().chain(&HOST_METRICS).map(row).collect();
    assert_eq!(
        documented,
        expected,
        "copy from here:\n{}",
        expected.join("\n")
    );
}

#[test]
fn the_documentation_names_every_cause() {
    for kind in ErrorKind::ALL {
        let word = format!("`{}`", kind.as_str());
        assert!(PAGE.contains(&word), "{word}");
    }
}

/// An alert on a metric that does not exist is never raised.
#[test]
fn alerts_name_metrics_that_exist() {
    let known: Vec<String> = METRICS
        .iter()
        .chain(&HOST_METRICS)
        .map(|metric| format!("vector_{}", metric.name))
        .collect();
    let named: Vec<&str> = PAGE
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("vector_") && word.len() > "vector_".len())
        .collect();
    assert!(named.len() >= 5);
    for name in named {
        assert!(known.iter().any(|known| known == name), "{name}");
    }
}
