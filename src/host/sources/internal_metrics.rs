//! `internal_metrics`: reads the metrics of this process at an interval.
//!
//! In Vector they are events on their way through the topology. Here only `prometheus_exporter` takes them, so they are handed
//! over directly; what may be connected to what is checked with the configuration.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::host::metrics::registry::{Registry, Sample};
use crate::host::sinks::prometheus_exporter::exposition::{is_label_name, is_metric_name};

/// The longest interval that is accepted, as for the other options in seconds.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The label with the host's name, unless the configuration says otherwise.
const HOST_KEY: &str = "host";

/// The options of `internal_metrics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InternalMetricsConfig {
    /// How often the metrics are read (default 1 s). A scrape shows what was read last.
    #[serde(
        rename = "scrape_interval_secs",
        deserialize_with = "positive_interval"
    )]
    pub(crate) scrape_interval: Duration,
    /// What stands before every name, with an underscore (default `vector`).
    #[serde(deserialize_with = "namespace")]
    namespace: String,
    tags: Tags,
}

/// Labels that are added to every series.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tags {
    /// The label with the host's name; empty for none.
    #[serde(deserialize_with = "label")]
    host_key: String,
    /// The label with the process id; empty for none.
    #[serde(deserialize_with = "label")]
    pid_key: String,
}

impl Default for InternalMetricsConfig {
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_secs(1),
            namespace: "vector".to_owned(),
            tags: Tags::default(),
        }
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            host_key: HOST_KEY.to_owned(),
            pid_key: String::new(),
        }
    }
}

/// Reads the metrics of a registry as one source gives them.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    registry: Registry,
    namespace: String,
    /// Labels of every series. Where a series has the same one, these win, as in Vector.
    labels: Vec<(String, String)>,
}

impl InternalMetricsConfig {
    /// Prepares the source.
    pub(crate) fn reader(&self, registry: &Registry) -> Reader {
        let host = hostname::get()
            .ok()
            .and_then(|name| name.into_string().ok());
        let pid = std::process::id().to_string();
        let labels = [(&self.tags.host_key, host), (&self.tags.pid_key, Some(pid))]
            .into_iter()
            .filter(|(key, _)| !key.is_empty())
            .filter_map(|(key, value)| Some((key.clone(), value?)))
            .collect();
        Reader {
            registry: registry.clone(),
            namespace: self.namespace.clone(),
            labels,
        }
    }
}

impl Reader {
    /// Every series with its value now, named and labelled as the configuration says.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let mut samples = self.registry.samples();
        for sample in &mut samples {
            sample.name = format!("{}_{}", self.namespace, sample.name);
            sample.labels.extend(self.labels.iter().cloned());
        }
        samples
    }
}

fn positive_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let secs = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(secs)
        .ok()
        .filter(|interval| (Duration::from_millis(1)..=MAX_INTERVAL).contains(interval))
        .ok_or_else(|| {
            refuse(format_args!(
                "{secs} is not a number of seconds from 0.001 to {}",
                MAX_INTERVAL.as_secs()
            ))
        })
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_metric_name(&text) {
        return Ok(text);
    }
    Err(refuse(format_args!(
        "{text:?} cannot begin the name of a metric; use letters, digits and underscores, not a digit first"
    )))
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || is_label_name(&text) {
        return Ok(text);
    }
    Err(refuse(format_args!(
        "{text:?} is no name of a label; use letters, digits and underscores, not a digit first, or \"\" for none"
    )))
}

fn refuse<E: serde::de::Error>(message: fmt::Arguments<'_>) -> E {
    E::custom(message)
}
