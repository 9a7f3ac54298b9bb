//! What the demo has shown, in numbers, and what to do next.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anstyle::Style;

use crate::cli::terminal::topic_style;
use crate::payload::mask::{Kind, masked};
use crate::stream::notice::NOTICE_TOPIC;
use crate::testing::loki::Entry;

/// Types named for each topic, so that a row fits into a line.
const TYPES_NAMED: usize = 3;

/// How a run went.
pub(super) struct Course {
    /// Events that the pipeline has taken.
    pub(super) events: u64,
    /// When it had taken all of them; `None` when it was stopped before.
    pub(super) taken_after: Option<Duration>,
    /// When everything was over.
    pub(super) ended_after: Duration,
    /// Whether the user's own Loki has less than was printed.
    pub(super) missing_in_loki: bool,
}

/// Numbers of a run.
pub(super) struct Summary {
    lines: usize,
    topics: BTreeMap<String, BTreeMap<String, usize>>,
    course: Course,
    loki: Option<String>,
}

impl Summary {
    pub(super) fn of(entries: &[Entry], course: Course, loki: Option<&str>) -> Self {
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
            topics,
            course,
            // It may hold a password.
            loki: loki.map(|url| masked(url, Kind::Address).unwrap_or_else(|| url.to_owned())),
        }
    }

    fn total(&self, topic: &str) -> usize {
        self.topics
            .get(topic)
            .map_or(0, |types| types.values().sum())
    }

    fn write_topics(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (topic, types) in &self.topics {
            let mut by_count: Vec<(&String, &usize)> = types.iter().collect();
            by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let mut named: Vec<String> = by_count
                .iter()
                .take(TYPES_NAMED)
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            let others: usize = by_count
                .iter()
                .skip(TYPES_NAMED)
                .map(|(_, count)| **count)
                .sum();
            if others > 0 {
                named.push(format!("others {others}"));
            }
            let style = topic_style(topic);
            let total = self.total(topic);
            writeln!(
                f,
                "{total:>6}  {style}{topic:<11}{style:#}  {}",
                named.join(", ")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    /// In colours, for an output that takes them out where they do not belong.
    #[allow(clippy::cast_precision_loss)] // a rate for people
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Course {
            events,
            taken_after,
            ended_after,
            missing_in_loki,
        } = self.course;
        writeln!(f)?;
        self.write_topics(f)?;

        writeln!(
            f,
            "\n{events} events, recorded from a cluster with Nomad 1.11.3, became {} lines at Loki.",
            self.lines
        )?;
        let notices = self.total(NOTICE_TOPIC);
        let filtered = events.saturating_sub((self.lines - notices) as u64);
        writeln!(
            f,
            "{notices} of the lines are notices of the source itself. config/vector.toml filters {filtered} events: Node, AllocationUpdated."
        )?;
        match taken_after {
            Some(taken) => writeln!(
                f,
                "Read, parsed and reshaped in {:.2} s{}: {:.0} events/s.",
                taken.as_secs_f64(),
                if cfg!(debug_assertions) {
                    " (not optimized: cargo run --release)"
                } else {
                    ""
                },
                events as f64 / taken.as_secs_f64().max(0.001),
            )?,
            None => writeln!(f, "Stopped before the recording was over.")?,
        }
        if taken_after.is_some() && !missing_in_loki {
            writeln!(
                f,
                "Everything was at Loki after {:.1} s: a batch waits up to a second.",
                ended_after.as_secs_f64()
            )?;
        }
        match &self.loki {
            Some(loki) if missing_in_loki => {
                writeln!(f, "Not all of them are in {loki}, see above.")?
            }
            Some(loki) => writeln!(f, "The same lines are in {loki}.")?,
            None => {}
        }
        let bold = Style::new().bold();
        write!(
            f,
            "\nNext, with a cluster of your own (NOMAD_ADDR and NOMAD_TOKEN as for the nomad command):\n  \
             {bold}nomad-events tail{bold:#}                               what happens in it, live\n  \
             {bold}nomad-events run --config config/vector.toml{bold:#}    the same into your Loki at LOKI_ADDR\n",
        )
    }
}
