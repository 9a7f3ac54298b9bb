//! The event stream of a real Nomad 1.11.3, recorded line by line, compiled into the program.
//!
//! Three minutes of a small cluster with ACLs: registrations, failures, deployments, drains, volumes. See [`Recording`].

mod shift;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use shift::Shift;

const EVENTS: &[u8] = include_bytes!("../../tests/fixtures/nomad-1.11.3-events.ndjson.gz");
const EVENTS_TIMES: &str = include_str!("../../tests/fixtures/nomad-1.11.3-events.times");
const SAMPLE: &[u8] = include_bytes!("../../tests/fixtures/nomad-1.11.3-sample.ndjson");
const SAMPLE_TIMES: &str = include_str!("../../tests/fixtures/nomad-1.11.3-sample.times");

/// What Nomad sends when there is nothing to send, without its newline.
pub(super) const HEARTBEAT: &[u8] = b"{}";

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// One line of the recorded stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedLine {
    /// The line without its newline: a batch, or the heartbeat `{}`.
    pub text: Bytes,
    /// When its last byte came, in nanoseconds since 1970.
    pub received_nanos: i64,
}

impl RecordedLine {
    /// Whether the line is the heartbeat `{}`, which carries nothing.
    #[must_use]
    pub fn is_heartbeat(&self) -> bool {
        self.text.as_ref() == HEARTBEAT
    }
}

/// How much a recording holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines with events.
    pub batches: usize,
    /// Lines `{}`.
    pub heartbeats: usize,
    /// Events in all batches.
    pub events: usize,
}

/// Lines of a real event stream, with the time at which each was received.
///
/// # Examples
///
/// ```
/// use nomad_events::testing::recording::Recording;
///
/// let sample = Recording::sample();
/// assert_eq!(sample.lines().len(), 71);
/// let today = sample.shifted_to_end_at(1_900_000_000_000_000_000);
/// assert_ne!(today.lines()[1].text, sample.lines()[1].text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    lines: Vec<RecordedLine>,
}

impl Recording {
    /// The whole recording: 1,035 batches with 2,607 events, and 7 heartbeats; 7.4 MB, unpacked at each call.
    #[must_use]
    pub fn embedded() -> Self {
        let mut text = Vec::new();
        GzDecoder::new(EVENTS)
            .read_to_end(&mut text)
            .expect("the recording was packed before it was compiled in");
        Self::new(&Bytes::from(text), EVENTS_TIMES)
    }

    /// A sample of the recording, small enough to read: 68 batches, one for nearly each pair of topic and type, and 3
    /// heartbeats.
    #[must_use]
    pub fn sample() -> Self {
        Self::new(&Bytes::from_static(SAMPLE), SAMPLE_TIMES)
    }

    /// Cuts `text` into lines and gives each its time; both come from our own files, whose agreement a test shows.
    fn new(text: &Bytes, times: &str) -> Self {
        let lines = text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .zip(times.lines())
            .map(|(line, time)| RecordedLine {
                text: text.slice_ref(line),
                received_nanos: parse_received(time),
            })
            .collect();
        Self { lines }
    }

    /// All lines in the order in which they came, heartbeats included.
    #[must_use]
    pub fn lines(&self) -> &[RecordedLine] {
        &self.lines
    }

    /// The text of every line with events, ready for
    /// [`FakeNomadBuilder::lines`](super::nomad::FakeNomadBuilder::lines).
    pub fn batches(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.lines
            .iter()
            .filter(|line| !line.is_heartbeat())
            .map(|line| line.text.clone())
    }

    /// Counts lines and events; reads the whole text for it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        #[derive(Deserialize)]
        struct Events<'a> {
            #[serde(borrow, rename = "Events")]
            events: Vec<&'a RawValue>,
        }
        let mut counts = Counts::default();
        for line in &self.lines {
            if line.is_heartbeat() {
                counts.heartbeats += 1;
            } else if let Ok(batch) = serde_json::from_slice::<Events<'_>>(&line.text) {
                counts.batches += 1;
                counts.events += batch.events.len();
            }
        }
        counts
    }

    /// When the last line with events was received, in nanoseconds since 1970.
    #[must_use]
    pub fn last_event_nanos(&self) -> Option<i64> {
        self.lines
            .iter()
            .rev()
            .find(|line| !line.is_heartbeat())
            .map(|line| line.received_nanos)
    }

    /// Moves every time, those in the text and those of receipt, so that the last batch comes at `now_nanos`.
    ///
    /// All times move by the same whole number of seconds, so the last batch comes less than a second before `now_nanos`, never
    /// after it. Whole seconds, because Nomad writes one moment in several forms (nanoseconds, seconds, text with up to 9
    /// digits) and only so they still agree afterwards; they keep their forms and lengths. What only looks like a time
    /// stays: ids (also `encode/dispatch-1795343478-93b543dc`), durations, sizes, hashes.
    #[must_use]
    pub fn shifted_to_end_at(&self, now_nanos: i64) -> Self {
        let Some(last) = self.last_event_nanos() else {
            return self.clone();
        };
        let seconds = now_nanos.saturating_sub(last).div_euclid(NANOS_PER_SECOND);
        let shift = Shift::new(seconds, last.div_euclid(NANOS_PER_SECOND));

        let bytes = self.lines.iter().map(|line| line.text.len()).sum();
        let mut text = Vec::with_capacity(bytes);
        let ranges: Vec<Range<usize>> = self
            .lines
            .iter()
            .map(|line| {
                let start = text.len();
                shift.line(&line.text, &mut text);
                start..text.len()
            })
            .collect();
        let text = Bytes::from(text);
        let lines = self
            .lines
            .iter()
            .zip(ranges)
            .map(|(line, range)| RecordedLine {
                text: text.slice(range),
                received_nanos: line
                    .received_nanos
                    .saturating_add(seconds.saturating_mul(NANOS_PER_SECOND)),
            })
            .collect();
        Self { lines }
    }
}

/// The nanoseconds of a line `1795343465.120 4159` (Unix time with milliseconds, bytes of the line).
fn parse_received(line: &str) -> i64 {
    let time = line.split(' ').next().unwrap_or_default();
    let (seconds, millis) = time.split_once('.').unwrap_or((time, "0"));
    let parse = |digits: &str| digits.parse::<i64>().unwrap_or_default();
    parse(seconds) * NANOS_PER_SECOND + parse(millis) * 1_000_000
}
