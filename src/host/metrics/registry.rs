//! Where the metrics of a run are kept: a recorder for the `metrics` facade that forgets nothing.
//!
//! What is registered shows as zero until it is written to, and stays for as long as the process. Each run has a registry of its
//! own instead of one for the process, so that a component is registered in the [`Scope`] that names it, and tests do not see
//! each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::telemetry::MetricKind;

/// Series beyond this number are counted by nobody. Every label has values from a closed set or from the configuration, so it is
/// far away; it bounds what a defect could cost.
const MAX_SERIES: usize = 10_000;

/// The labels of a series, in the order of their names.
pub(crate) type Labels = BTreeMap<String, String>;

/// All metrics of a run. A clone is the same registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    families: BTreeMap<String, Family>,
    series: usize,
}

/// All series of one name.
#[derive(Debug)]
struct Family {
    kind: MetricKind,
    help: Arc<str>,
    /// The values by labels; those of gauges are the bits of a float.
    series: BTreeMap<Labels, Arc<AtomicU64>>,
}

/// The value of a series at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(f64),
}

/// A series at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The name, without a namespace.
    pub(crate) name: String,
    /// What the metric says, in one sentence.
    pub(crate) help: Arc<str>,
    /// Its labels.
    pub(crate) labels: Labels,
    /// Its value.
    pub(crate) value: Value,
}

/// A component to which everything that is registered belongs.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    registry: Registry,
    labels: Vec<(&'static str, String)>,
}

impl Registry {
    /// The scope of a component: `kind` is `source`, `transform` or `sink`.
    pub(crate) fn component(&self, kind: &str, id: &str, component_type: &str) -> Scope {
        Scope {
            registry: self.clone(),
            labels: vec![
                ("component_id", id.to_owned()),
                ("component_kind", kind.to_owned()),
                ("component_type", component_type.to_owned()),
            ],
        }
    }

    /// The scope of what belongs to no component.
    pub(crate) fn process(&self) -> Scope {
        Scope {
            registry: self.clone(),
            labels: Vec::new(),
        }
    }

    /// Every series with its value now, in the order of names and labels.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let state = self.lock();
        let mut samples = Vec::with_capacity(state.series);
        for (name, family) in &state.families {
            for (labels, value) in &family.series {
                let bits = value.load(Ordering::Relaxed);
                samples.push(Sample {
                    name: name.clone(),
                    help: Arc::clone(&family.help),
                    labels: labels.clone(),
                    value: match family.kind {
                        MetricKind::Counter => Value::Counter(bits),
                        MetricKind::Gauge => Value::Gauge(f64::from_bits(bits)),
                    },
                });
            }
        }
        samples
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: &KeyName, kind: MetricKind, help: &SharedString) {
        let mut state = self.lock();
        let family = state.family(name.as_str(), kind);
        if family.help.is_empty() {
            family.help = Arc::from(&**help);
        }
    }

    /// The value of a series, made when it is new. One that cannot be shown gets a value of its own, which nobody reads.
    fn value(&self, name: &str, kind: MetricKind, labels: Labels) -> Arc<AtomicU64> {
        let mut state = self.lock();
        let full = state.series >= MAX_SERIES;
        let family = state.family(name, kind);
        if family.kind != kind {
            debug_assert!(false, "{name} is registered as another kind already");
            return Arc::default();
        }
        if let Some(value) = family.series.get(&labels) {
            return Arc::clone(value);
        }
        let value = Arc::<AtomicU64>::default();
        if !full {
            family.series.insert(labels, Arc::clone(&value));
            state.series += 1;
        }
        value
    }
}

impl State {
    fn family(&mut self, name: &str, kind: MetricKind) -> &mut Family {
        self.families
            .entry(name.to_owned())
            .or_insert_with(|| Family {
                kind,
                help: Arc::from(""),
                series: BTreeMap::new(),
            })
    }
}

impl Scope {
    /// Runs `register`; whatever it registers with the facade belongs to this component.
    pub(crate) fn within<T>(&self, register: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(self, register)
    }

    /// Labels of the component and of the key. A label that the key has already wins, as with the spans of Vector.
    fn labels(&self, key: &Key) -> Labels {
        let own = key
            .labels()
            .map(|label| (label.key().to_owned(), label.value().to_owned()));
        self.labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .chain(own)
            .collect()
    }
}

impl Recorder for Scope {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.registry.describe(&name, MetricKind::Counter, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.registry.describe(&name, MetricKind::Gauge, &help);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = self.labels(key);
        Counter::from_arc(self.registry.value(key.name(), MetricKind::Counter, labels))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels = self.labels(key);
        Gauge::from_arc(self.registry.value(key.name(), MetricKind::Gauge, labels))
    }

    // Nothing in this program records one; the table of metrics has no such kind.
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(registry: &Registry) -> Vec<String> {
        let text = |sample: Sample| {
            let labels: Vec<String> = sample.labels.into_values().collect();
            format!("{} {} {:?}", sample.name, labels.join(" "), sample.value)
        };
        registry.samples().into_iter().map(text).collect()
    }

    #[test]
    fn the_same_name_in_two_components_is_two_series() {
        let registry = Registry::default();
        for (id, value) in [("a", 3.0), ("b", 5.0)] {
            let scope = registry.component("source", id, "nomad_events");
            scope.within(|| metrics::gauge!("queued").set(value));
        }
        assert_eq!(
            texts(&registry),
            [
                "queued a source nomad_events Gauge(3.0)",
                "queued b source nomad_events Gauge(5.0)",
            ]
        );
    }

    #[test]
    fn a_component_that_names_itself_is_not_named_twice() {
        let registry = Registry::default();
        let scope = registry.component("sink", "loki", "loki");
        scope.within(|| metrics::counter!("sent", "component_id" => "itself").increment(2));
        assert_eq!(texts(&registry), ["sent itself sink loki Counter(2)"]);
    }

    #[test]
    fn registered_twice_is_one_series_and_written_to_by_both() {
        let registry = Registry::default();
        let scope = registry.process();
        scope.within(|| metrics::counter!("sent").increment(1));
        scope.within(|| metrics::counter!("sent").increment(1));
        assert_eq!(texts(&registry), ["sent  Counter(2)"]);
    }

    #[test]
    fn what_was_registered_and_never_written_to_is_there() {
        let registry = Registry::default();
        registry.process().within(|| {
            metrics::describe_gauge!("up", "Whether it is up");
            let _ = metrics::gauge!("up");
        });
        let samples = registry.samples();
        assert_eq!(samples[0].value, Value::Gauge(0.0));
        assert_eq!(&*samples[0].help, "Whether it is up");
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let registry = Registry::default();
        registry.process().within(|| {
            for number in 0..MAX_SERIES + 5 {
                metrics::counter!("hostile", "value" => number.to_string()).increment(1);
            }
        });
        assert_eq!(registry.samples().len(), MAX_SERIES);
    }
}
