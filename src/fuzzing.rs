//! What fuzzers feed: each function takes any bytes, and panics when something does not hold that should.
//!
//! `fuzz/` has a target for each, which needs a fuzzer and a compiler that instruments. The same functions run with the other
//! tests on any compiler, over the seeds of `fuzz/seeds` and random changes of them.

use bytes::Bytes;

use crate::changes::{self, MAX_FIELDS, MAX_TEXT_BYTES};
use crate::checkpoint::format;
use crate::envelope::{self, Line};
use crate::frame::{EDGE_BYTES, Frame, MAX_ERROR_TEXT_BYTES, Remainder, Splitter};
use crate::stream::fuzzing as histories;

#[cfg(feature = "host")]
mod config;
#[cfg(feature = "value")]
mod events;
#[cfg(test)]
mod tests;

#[cfg(feature = "host")]
pub use config::config;
#[cfg(feature = "value")]
pub use events::events;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name of its seeds.
pub const TARGETS: &[(&str, Target)] = &[
    ("lines", lines),
    ("envelope", envelope),
    ("histories", self::history),
    ("options", options),
    ("position", position),
    ("versions", versions),
    #[cfg(feature = "value")]
    ("events", events),
    #[cfg(feature = "host")]
    ("config", config),
];

/// Bytes cut into lines: in chunks of any size the lines are those of the whole, and nothing is longer than it may be.
///
/// The first two bytes choose the size of the chunks and the limit.
///
/// # Panics
///
/// When one of that does not hold.
pub fn lines(data: &[u8]) {
    let [size, limit, text @ ..] = data else {
        return;
    };
    let (size, limit) = (usize::from(*size) + 1, usize::from(*limit) * 32 + 1);
    let (whole, rest_of_whole) = split(text, limit, text.len().max(1));
    let (frames, rest) = split(text, limit, size);
    assert!(frames == whole && rest == rest_of_whole, "chunks matter");
    let mut wanted = text.split(|&byte| byte == b'\n').filter(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        !line.is_empty()
    });
    for frame in &frames {
        let line = wanted.next().unwrap_or_default();
        match frame {
            Frame::Line(kept) => {
                assert!(line.len() <= limit, "too long");
                assert_eq!(line.strip_suffix(b"\r").unwrap_or(line), kept);
            }
            Frame::TooLong(long) => {
                assert!(line.len() > limit && line.len() as u64 == long.bytes);
                assert_eq!(long.head, line[..line.len().min(EDGE_BYTES)]);
                assert_eq!(long.tail, line[line.len().saturating_sub(EDGE_BYTES)..]);
                let _ = envelope::index_of_discarded(long);
            }
        }
    }
    match rest {
        Remainder::Nothing => assert!(text.last().is_none_or(|&last| last == b'\n')),
        Remainder::ErrorText(text) => {
            // A byte that is no text becomes a character of three.
            assert!(!text.trim_start().starts_with('{') && text.len() <= 3 * MAX_ERROR_TEXT_BYTES);
        }
        Remainder::Cut(bytes) => assert!(bytes > 0 && bytes <= text.len() as u64),
    }
}

/// What is read of a stream that brings this text in chunks of that size, and then ends.
pub(crate) fn split(text: &[u8], limit: usize, size: usize) -> (Vec<Frame>, Remainder) {
    let mut splitter = Splitter::new(limit);
    let mut frames = Vec::new();
    for chunk in text.chunks(size) {
        splitter.push(Bytes::copy_from_slice(chunk));
        while let Some(frame) = splitter.next_frame() {
            frames.push(frame);
        }
    }
    let rest = splitter.finish();
    (frames, rest)
}

/// The versions of a job: whatever is read of an answer is bounded, and shows no value that is no image.
///
/// # Panics
///
/// When it is not, or does.
pub fn versions(data: &[u8]) {
    const HIDDEN: [&str; 2] = ["", "[REDACTED]"];
    for version in changes::read(data).unwrap_or_default() {
        let Some(changes) = version.changes else {
            continue;
        };
        assert!(changes.fields.len() <= MAX_FIELDS);
        assert!(changes.fields_left_out == 0 || changes.fields.len() == MAX_FIELDS);
        for field in changes.fields {
            let names = [&field.task_group, &field.task].into_iter().flatten();
            let texts = names.chain([&field.name, &field.old, &field.new]);
            assert!(texts.map(String::len).max() <= Some(MAX_TEXT_BYTES));
            let values = [field.old.as_str(), field.new.as_str()];
            assert!(field.is_image() || values.iter().all(|value| HIDDEN.contains(value)));
        }
    }
}

/// A line's envelope: read as a reading of the whole line reads it.
///
/// # Panics
///
/// When it differs.
pub fn envelope(data: &[u8]) {
    let line = Bytes::copy_from_slice(data);
    let Ok(Line::Batch(batch)) = envelope::parse(&line) else {
        return;
    };
    assert!(!batch.events.is_empty());
    // What is nested too deep, or a number too large, stays text for us.
    let Ok(whole) = serde_json::from_slice::<serde_json::Value>(data) else {
        return;
    };
    assert_eq!(whole["Index"], batch.index.0);
    let events = whole["Events"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(events.len(), batch.events.len());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    for (event, expected) in batch.events.iter().zip(events) {
        assert_eq!(&*event.topic, text(&expected["Topic"]));
        assert_eq!(&*event.event_type, text(&expected["Type"]));
        assert_eq!(&*event.key, text(&expected["Key"]));
        assert_eq!(&*event.namespace, text(&expected["Namespace"]));
        let keys: Option<Vec<String>> = event
            .filter_keys
            .as_ref()
            .map(|keys| keys.iter().map(ToString::to_string).collect());
        let expected_keys = expected["FilterKeys"]
            .as_array()
            .map(|keys| keys.iter().map(text).collect());
        assert_eq!(keys, expected_keys);
        let payload: Option<serde_json::Value> = serde_json::from_slice(&event.payload).ok();
        assert_eq!(payload.as_ref(), Some(&expected["Payload"]));
    }
}

/// A script of servers and a host, as the property tests play it.
///
/// # Panics
///
/// When a promise does not hold.
pub fn history(data: &[u8]) {
    histories::play(data);
}

/// The options of the source, as JSON: what is accepted has topics that Nomad sends once, and is shown without a secret.
///
/// # Panics
///
/// When one of that does not hold.
pub fn options(data: &[u8]) {
    const SECRET: &str = "hunter2-in-the-environment";
    let Ok(options) = serde_json::from_slice::<crate::Options>(data) else {
        return;
    };
    let env = |name: &str| match name {
        "NOMAD_TOKEN" | "NOMAD_HTTP_AUTH" => Some(SECRET.to_owned()),
        _ => None,
    };
    let shown = match options.settings(env) {
        Ok(settings) => {
            assert!(!settings.endpoint_names().is_empty() && !settings.topics.is_empty());
            assert!(settings.queue_bytes() > 0);
            format!("{settings:?}{settings}")
        }
        Err(error) => format!("{error}{error:?}"),
    };
    assert!(!shown.contains(SECRET), "{shown}");
}

/// A saved position, with its checksum or as the bare state within: what is accepted is saved again as the same.
///
/// # Panics
///
/// When it is not.
pub fn position(data: &[u8]) {
    let bare = serde_json::from_slice(data).ok();
    for state in format::decode(data).ok().into_iter().chain(bare) {
        let text = format::encode(&state).unwrap_or_default();
        assert_eq!(format::decode(&text), Ok(state));
    }
}
