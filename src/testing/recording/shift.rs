//! Moves the times in a line of JSON, and nothing else.
//!
//! A scan of the bytes, no parser: a demo shifts 7 MB before its first event, and every byte that is not a time must stay as
//! Nomad wrote it.

use std::io::Write;
use std::ops::RangeInclusive;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use memchr::memchr2;

use super::NANOS_PER_SECOND;

/// How far from the recording a value may be and still be one of its times. Deadlines and token expiries lie ahead of it, zero
/// times (`0001-01-01T00:00:00Z`, `0`) and dates in a job's own text far from it.
const WINDOW_SECONDS: i64 = 366 * 24 * 3600;

/// Length of `2026-11-22T10:31:06`, the part of an RFC 3339 time that whole seconds change.
const DATE_AND_TIME: usize = 19;

/// Digits of nanoseconds since 1970, from the year 2001 to 2262.
const NANOSECOND_DIGITS: usize = 19;

/// Digits of seconds since 1970, from the year 2001 to 2286.
const SECOND_DIGITS: usize = 10;

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
        let mut at = 0;
        let mut key: &[u8] = b"";
        while let Some(&byte) = line.get(at) {
            let start = match byte {
                b'"' => at + 1,
                b'-' | b'0'..=b'9' => at,
                _ => {
                    at += 1;
                    continue;
                }
            };
            let is_text = byte == b'"';
            let end = if is_text {
                text_end(line, start)
            } else {
                number_end(line, start)
            };
            let token = line.get(start..end).unwrap_or_default();
            at = if is_text { end + 1 } else { end };

            if is_text && line.get(at) == Some(&b':') {
                key = token;
                continue;
            }
            let moved_len = if is_text { DATE_AND_TIME } else { token.len() };
            let moved = if is_text {
                self.text(token)
            } else {
                self.number(key, token)
            };
            if let Some(moved) = moved {
                out.extend_from_slice(line.get(copied..start).unwrap_or_default());
                out.extend_from_slice(&moved);
                copied = start + moved_len;
            }
        }
        out.extend_from_slice(line.get(copied..).unwrap_or_default());
    }

    /// The moved number, if `token` under `key` is nanoseconds (`ModifyTime`, `Time`, ...) or seconds (`StatusUpdatedAt`).
    ///
    /// Length, key and window together: a hash of 19 digits has no such key, a duration is far from the window.
    fn number(&self, key: &[u8], token: &[u8]) -> Option<Vec<u8>> {
        let (scale, suffix): (i64, &[u8]) = match token.len() {
            NANOSECOND_DIGITS => (NANOS_PER_SECOND, b"Time"),
            SECOND_DIGITS => (1, b"At"),
            _ => return None,
        };
        if !key.ends_with(suffix) {
            return None;
        }
        let value: i64 = std::str::from_utf8(token).ok()?.parse().ok()?;
        if !self.window.contains(&(value / scale)) {
            return None;
        }
        let moved = value.saturating_add(self.seconds.saturating_mul(scale));
        Some(moved.to_string().into_bytes())
    }

    /// The moved date and time, if all of `token` is an RFC 3339 time; its fraction and offset stay.
    fn text(&self, token: &[u8]) -> Option<Vec<u8>> {
        // Nearly every string fails here, on its length or one byte.
        if !(20..=35).contains(&token.len()) || token.get(10) != Some(&b'T') {
            return None;
        }
        let text = std::str::from_utf8(token).ok()?;
        let (local, rest) = text.split_at_checked(DATE_AND_TIME)?;
        if !is_fraction_and_offset(rest) {
            return None;
        }
        // As if the offset were zero: moving by seconds is the same at any offset.
        let local: DateTime = local.parse().ok()?;
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

/// Where the string that begins at `start`, after its quote, has its closing quote.
fn text_end(line: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(found) = line.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if line.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    line.len()
}

/// Where the number that begins at `start` ends.
fn number_end(line: &[u8], start: usize) -> usize {
    let rest = line.get(start..).unwrap_or_default();
    let length = rest
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        .unwrap_or(rest.len());
    start + length
}

/// Whether `text` is what may follow the seconds: `Z`, `.803665669Z`, `-04:00`, `.5+05:30`.
fn is_fraction_and_offset(text: &str) -> bool {
    let offset = match text.strip_prefix('.') {
        None => text,
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if !(1..=9).contains(&(fraction.len() - offset.len())) {
                return false;
            }
            offset
        }
    };
    match offset.as_bytes() {
        [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit())
        }
        _ => false,
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
                r#"{"Time": 1795343466358977475 }"#,
                r#"{"Time": 1795347066358977475 }"#,
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
