//! Moves the times in a line of JSON, and nothing else.
//!
//! A search in the bytes, no parser: a demo shifts 7 MB before its first event, and every byte that is not a time must stay as
//! Nomad wrote it.

use std::io::Write;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use regex::bytes::Regex;

use super::NANOS_PER_SECOND;

/// What can be a time: nanoseconds under a key like `ModifyTime`, seconds under one like `StatusUpdatedAt`, a string that is all
/// RFC 3339.
///
/// Quotes inside a JSON string are escaped, so neither `Time":` nor the quotes around a date are ever found in one. Digits and key
/// together: a hash of 19 digits has no such key, a duration not so many digits.
static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?-u)Time":\d{19}|At":\d{10}|"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)""#,
    )
    .expect("the pattern is a constant, and tested")
});

/// How far from the recording a value may be and still be one of its times. Deadlines and token expiries lie ahead of it, zero
/// times (`0001-01-01T00:00:00Z`, `0`) and dates in a job's own text far from it.
const WINDOW_SECONDS: i64 = 366 * 24 * 3600;

/// Length of `2026-11-22T10:31:06`, the part of an RFC 3339 time that whole seconds change.
const DATE_AND_TIME: usize = 19;

/// A move by a whole number of seconds of all times near a recording.
pub(super) struct Shift {
    seconds: i64,
    window: RangeInclusive<i64>,
}

impl Shift {
    /// A move by `seconds` of the times around `recorded_at` (seconds since 1970).
    pub(super) fn new(seconds: i64, recorded_at: i64) -> Self {
        Self {
            seconds,
            window: recorded_at.saturating_sub(WINDOW_SECONDS)
                ..=recorded_at.saturating_add(WINDOW_SECONDS),
        }
    }

    /// Appends `line` to `out`, its times moved.
    pub(super) fn line(&self, line: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for candidate in CANDIDATE.find_iter(line) {
            let found = candidate.as_bytes();
            let after = line.get(candidate.end());
            let (start, length, moved) = match found {
                [b'"', time @ ..] => {
                    // The key of a map is a name.
                    if after == Some(&b':') {
                        continue;
                    }
                    let time = time.get(..DATE_AND_TIME).unwrap_or_default();
                    (candidate.start() + 1, DATE_AND_TIME, self.date(time))
                }
                [key, ..] => {
                    if matches!(after, Some(b'0'..=b'9' | b'.' | b'e' | b'E')) {
                        continue;
                    }
                    let digits = found.rsplit(|&byte| byte == b':').next();
                    let digits = digits.unwrap_or_default();
                    let scale = if *key == b'T' { NANOS_PER_SECOND } else { 1 };
                    let start = candidate.end() - digits.len();
                    (start, digits.len(), self.number(digits, scale))
                }
                [] => continue,
            };
            if let Some(moved) = moved {
                out.extend_from_slice(line.get(copied..start).unwrap_or_default());
                out.extend_from_slice(&moved);
                copied = start + length;
            }
        }
        out.extend_from_slice(line.get(copied..).unwrap_or_default());
    }

    /// The moved number, of `scale` to a second, if it is near the recording.
    fn number(&self, digits: &[u8], scale: i64) -> Option<Vec<u8>> {
        let value: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        if !self.window.contains(&(value / scale)) {
            return None;
        }
        let moved = value.saturating_add(self.seconds.saturating_mul(scale));
        Some(moved.to_string().into_bytes())
    }

    /// The moved date and time, if it is near the recording.
    fn date(&self, local: &[u8]) -> Option<Vec<u8>> {
        // As if the offset were zero: moving by seconds is the same at any offset.
        let local: DateTime = std::str::from_utf8(local).ok()?.parse().ok()?;
        let second = Offset::UTC.to_timestamp(local).ok()?.as_second();
        if !self.window.contains(&second) {
            return None;
        }
        let moved = Timestamp::from_second(second)
            .ok()?
            .checked_add(SignedDuration::from_secs(self.seconds))
            .ok()?;
        let moved = Offset::UTC.to_datetime(moved);
        let mut out = Vec::with_capacity(DATE_AND_TIME);
        write!(
            out,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            moved.year(),
            moved.month(),
            moved.day(),
            moved.hour(),
            moved.minute(),
            moved.second()
        )
        .ok()?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T10:31:06Z, a moment of the recording.
    const RECORDED: i64 = 1_795_343_466;

    #[track_caller]
    fn check(seconds: i64, before: &str, after: &str) {
        let mut out = b"kept".to_vec();
        Shift::new(seconds, RECORDED).line(before.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("kept{after}"));
    }

    #[test]
    fn times_move_and_keep_their_form() {
        let cases = [
            (
                r#"{"ModifyTime":1795343466358977475}"#,
                r#"{"ModifyTime":1795347066358977475}"#,
            ),
            (
                r#"[{"Time":1795343466358977475}]"#,
                r#"[{"Time":1795347066358977475}]"#,
            ),
            (
                r#"{"StatusUpdatedAt":1795343466,"X":1}"#,
                r#"{"StatusUpdatedAt":1795347066,"X":1}"#,
            ),
            (r#"["2026-11-22T10:31:06Z"]"#, r#"["2026-11-22T11:31:06Z"]"#),
            (
                r#"["2026-11-22T23:31:06.803665669Z"]"#,
                r#"["2026-11-23T00:31:06.803665669Z"]"#,
            ),
            (
                r#"["2026-11-22T06:31:06.8-04:00"]"#,
                r#"["2026-11-22T07:31:06.8-04:00"]"#,
            ),
            (
                r#"["2026-11-22T16:01:06+05:30",1]"#,
                r#"["2026-11-22T17:01:06+05:30",1]"#,
            ),
        ];
        for (before, after) in cases {
            check(3600, before, after);
            check(-3600, after, before);
        }
    }

    #[test]
    fn what_only_looks_like_a_time_stays() {
        let cases = [
            // Zero times, and times far from the recording.
            r#"{"ModifyTime":0,"CreateTime":1395343466358977475}"#,
            r#"{"StartedAt":"0001-01-01T00:00:00Z","At":"2019-01-01T00:00:00Z"}"#,
            // Durations, sizes, indexes, hashes; and times under keys that are none.
            r#"{"KillTimeout":5000000000,"AllocationTime":57421,"ModifyIndex":1795343466}"#,
            r#"{"Hash":1795343466358977475,"MemoryMB":1795343466}"#,
            r#"{"ModifyTime":1795343466358977475.0,"CreateTime":17953434663589774750}"#,
            // Text that holds a time, or almost is one.
            r#"{"ID":"encode/dispatch-1795343478-93b543dc","StatusUpdatedAt":"1795343466"}"#,
            r#"["at 2026-11-22T10:31:06Z","2026-11-22T10:31:06","2026-11-22 10:31:06Z"]"#,
            r#"["2026-11-22T10:31:06.Z","2026-11-22T10:31:06.1234567890Z","2026-13-22T10:31:06Z"]"#,
            r#"["2026-11-22T10:31:06+0530","2026-11-22T10:31:06Z\n","2026-11-22T10:31:06Z "]"#,
            // A quoted quote does not end the string; what follows is still inside.
            r#"{"Text":"a\",\"ModifyTime\":1795343466358977475,\"b\\"}"#,
            // A time as a key of a map.
            r#"{"2026-11-22T10:31:06Z":1}"#,
            "not json, 1795343466358977475 \"open",
        ];
        for case in cases {
            check(3600, case, case);
        }
    }

    #[test]
    fn a_move_beyond_what_can_be_written_leaves_text_alone_and_saturates_numbers() {
        check(
            i64::MAX,
            r#"["2026-11-22T10:31:06Z",{"Time":1795343466358977475}]"#,
            r#"["2026-11-22T10:31:06Z",{"Time":9223372036854775807}]"#,
        );
    }
}
