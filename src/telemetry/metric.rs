//! What a metric is, and how it is registered.

use metrics::{Counter, Gauge, Label, Unit};

/// Whether a metric only rises, or goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Rises, and begins at zero with the process.
    Counter,
    /// Any value at any time.
    Gauge,
}

/// A metric, as scrapes show it and as the documentation describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name, before a host puts its namespace in front of it.
    pub name: &'static str,
    /// What its value does.
    pub kind: MetricKind,
    /// What it counts: `events`, `bytes`, `seconds`, ...
    pub unit: &'static str,
    /// Its own labels, each with values from a closed set.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub description: &'static str,
}

/// A row of the table of a counter.
pub(crate) const fn counter(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    description: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricKind::Counter,
        unit,
        labels,
        description,
    }
}

/// A row of the table of a gauge.
pub(crate) const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    description: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricKind::Gauge,
        unit,
        labels,
        description,
    }
}

impl Metric {
    /// Registers a counter of this name with the recorder of the scope. It shows as zero from then on.
    pub(crate) fn counter(&self, labels: &[(&'static str, &'static str)]) -> Counter {
        debug_assert_eq!(self.kind, MetricKind::Counter, "{}", self.name);
        metrics::describe_counter!(self.name, Unit::Count, self.description);
        metrics::counter!(self.name, self.labels(labels))
    }

    /// Registers a gauge of this name with the recorder of the scope. It shows as zero from then on.
    pub(crate) fn gauge(&self, labels: &[(&'static str, &'static str)]) -> Gauge {
        debug_assert_eq!(self.kind, MetricKind::Gauge, "{}", self.name);
        metrics::describe_gauge!(self.name, Unit::Count, self.description);
        metrics::gauge!(self.name, self.labels(labels))
    }

    /// The same as [`counter`](Self::counter), with the value of a label that comes from the configuration.
    #[cfg(feature = "host")]
    pub(crate) fn counter_of(&self, label: &'static str, value: &str) -> Counter {
        debug_assert!(self.labels.contains(&label), "{}", self.name);
        metrics::describe_counter!(self.name, Unit::Count, self.description);
        metrics::counter!(self.name, vec![Label::new(label, value.to_owned())])
    }

    fn labels(&self, labels: &[(&'static str, &'static str)]) -> Vec<Label> {
        debug_assert!(
            labels.iter().all(|(name, _)| self.labels.contains(name)),
            "{} has labels that the table does not name",
            self.name
        );
        labels
            .iter()
            .map(|&(name, value)| Label::from_static_parts(name, value))
            .collect()
    }
}

/// One counter for each word of a closed set.
pub(super) struct Words(Vec<(&'static str, Counter)>);

impl Words {
    pub(super) fn register(
        metric: &Metric,
        label: &'static str,
        words: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let counters = words
            .into_iter()
            .map(|word| (word, metric.counter(&[(label, word)])));
        Self(counters.collect())
    }

    pub(super) fn increment(&self, word: &str) {
        self.increment_by(word, 1);
    }

    pub(super) fn increment_by(&self, word: &str, times: u64) {
        match self.0.iter().find(|(known, _)| *known == word) {
            Some((_, counter)) => counter.increment(times),
            None => debug_assert!(false, "{word} is not in the set"),
        }
    }
}
