//! What the demo has shown, in numbers, and what to do next.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::testing::loki::Entry;

/// Numbers of a run.
pub(super) struct Summary {
    lines: usize,
    events: u64,
    elapsed: Duration,
    topics: BTreeMap<String, BTreeMap<String, usize>>,
    loki: Option<String>,
}

impl Summary {
    pub(super) fn of(
        entries: &[Entry],
        events: u64,
        elapsed: Duration,
        loki: Option<&str>,
    ) -> Self {
        let mut topics: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for entry in entries {
            let label = |name| entry.labels.get(name).cloned().unwrap_or_default();
            *topics
                .entry(label("topic"))
                .or_default()
                .entry(label("type"))
                .or_default() += 1;
        }
        Self {
            lines: entries.len(),
            events,
            elapsed,
            topics,
            loki: loki.map(str::to_owned),
        }
    }
}

impl fmt::Display for Summary {
    #[allow(clippy::cast_precision_loss)] // a rate for people
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f)?;
        for (topic, types) in &self.topics {
            let total: usize = types.values().sum();
            let mut types: Vec<(&String, &usize)> = types.iter().collect();
            types.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let types: Vec<String> = types
                .iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            writeln!(f, "{total:>6}  {topic:<11}  {}", types.join(", "))?;
        }
        writeln!(
            f,
            "\n{} events of a recorded cluster (Nomad 1.11.3) became {} lines in Loki in {seconds:.1} s, {:.0} events/s,",
            self.events,
            self.lines,
            self.events as f64 / seconds.max(0.001),
        )?;
        writeln!(
            f,
            "a batch's second of waiting included. Node events of type AllocationUpdated are filtered by config/vector.toml."
        )?;
        if let Some(loki) = &self.loki {
            writeln!(f, "The same lines are in {loki}.")?;
        }
        f.write_str(
            "\nNext, with a cluster of your own (NOMAD_ADDR and NOMAD_TOKEN as for the nomad command):\n  \
             nomad-events tail                               what happens in it, live\n  \
             nomad-events run --config config/vector.toml    the same into your Loki at LOKI_ADDR\n",
        )
    }
}
