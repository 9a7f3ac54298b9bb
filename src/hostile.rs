//! Whatever comes off the wire: nothing panics, nothing is made of half a line, and no secret comes out.

mod fields;
mod host;
mod planted;
mod trees;

use std::io::Read;

use bytes::Bytes;
use bytestring::ByteString;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::envelope::{self, Envelope, Line, RawEvent};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Origin, RaftIndex};
use crate::frame::{Frame, Remainder};
use crate::fuzzing;
use crate::options::Options;
use crate::payload::time::{Dating, EventTime, Received, TimeSource};
use crate::payload::value::Shaper;
use crate::position::proof::{Proof, ProofKey};

/// Lines of a real server, shortest first, so that cuts fall everywhere and not only in the longest.
fn recorded() -> Vec<Bytes> {
    let mut lines = recording();
    lines.sort_by_key(Bytes::len);
    lines.truncate(700);
    lines
}

/// All lines of the recording that have events.
fn recording() -> Vec<Bytes> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(
        &include_bytes!("../tests/fixtures/nomad-1.11.3-events.ndjson.gz")[..],
    )
    .read_to_end(&mut text)
    .unwrap();
    text.split(|&byte| byte == b'\n')
        .filter(|line| line.len() > 2)
        .map(Bytes::copy_from_slice)
        .collect()
}

/// What is read of a stream that brings these bytes and then ends.
fn read(bytes: &[u8], chunk: usize) -> (Vec<Frame>, Remainder) {
    fuzzing::split(bytes, 1 << 20, chunk)
}

fn raw(topic: &str, payload: &[u8]) -> RawEvent {
    RawEvent {
        topic: ByteString::from(topic),
        event_type: ByteString::from_static("JobRegistered"),
        key: ByteString::from_static("k"),
        namespace: ByteString::from_static("default"),
        filter_keys: None,
        payload: Bytes::copy_from_slice(payload),
    }
}

fn event(raw: RawEvent, index: RaftIndex, time: EventTime) -> Event {
    Event {
        topic: raw.topic,
        event_type: raw.event_type,
        key: raw.key,
        namespace: raw.namespace,
        filter_keys: raw.filter_keys,
        index,
        payload: raw.payload,
        time,
        origin: Origin::Stream,
        changes: None,
    }
}

/// Everything that is done to an event between the wire and a sink.
fn take(batch: Envelope, received: Received, clear: bool) -> String {
    let mut dating = Dating::default();
    let mut shown = String::new();
    for _ in 0..2 {
        let times = dating.date(&batch.events, received);
        for (one, time) in batch.events.iter().cloned().zip(times) {
            let _ = Proof::of(ProofKey::new(42), batch.index.0, &one);
            let shaped = Shaper::new(!clear, Some("eu"));
            shown += &format!("{one:?}");
            let one = event(one, batch.index, time);
            shown += &format!("{one:?}");
            shown += &serde_json::to_string(&shaped.log_event(&one)).unwrap();
        }
    }
    shown
}

const TOPICS: [&str; 9] = [
    "Job",
    "Allocation",
    "Evaluation",
    "Deployment",
    "Node",
    "Service",
    "HostVolume",
    "Variable",
    "",
];

/// Pieces of payloads, which put together at random are sometimes JSON and often nearly.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "null",
        "true",
        "1e999",
        "-0",
        "0.5",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "\"ModifyTime\":",
        "\"SubmitTime\":",
        "\"StatusUpdatedAt\":",
        "\"Events\":",
        "\"Timestamp\":",
        "\"0001-01-01T00:00:00Z\"",
        "\"1700-01-01T00:00:00Z\"",
        "\"2262-04-11T23:47:16.9Z\"",
        "{\"Job\":",
        "{\"Allocation\":",
        "{\"Evaluation\":",
        "{\"Node\":",
        "{\"Volume\":",
        "{\"Metadata\":",
        "\"Env\":",
        "\"Config\":",
        "\"Meta\":",
        "\"TaskStates\":",
        "\"Artifacts\":",
        "\"image\":",
        "\"http://u:p@h/x?y\"",
        "\"://\"",
        "\"://@\"",
        "\"?\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\u{fffd}",
        "{\"Index\":5,\"Events\":[{\"Topic\":\"Job\",\"Payload\":",
        "}]}",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..30).prop_map(|pieces| pieces.concat())
}

fn moment() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(1_795_343_465_120_000_001),
        any::<i64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cut anywhere, a line never becomes an event, neither at the end of a stream nor with the next line behind it.
    #[test]
    fn a_line_that_is_cut_yields_no_event(which in any::<Index>(), at in any::<Index>(), chunk in 1usize..5000) {
        use std::sync::LazyLock;
        static LINES: LazyLock<Vec<Bytes>> = LazyLock::new(recorded);
        let line = which.get(LINES.as_slice());
        // Nothing of it, and all of it, are no cuts.
        let cut = &line[..1 + at.index(line.len() - 1)];

        let (frames, rest) = read(cut, chunk);
        prop_assert!(frames.is_empty());
        prop_assert_eq!(rest, Remainder::Cut(cut.len() as u64));
        prop_assert!(envelope::parse(&Bytes::copy_from_slice(cut)).is_err());

        let (frames, rest) = read(&[cut, b"{}\n", line, b"\n"].concat(), chunk);
        prop_assert_eq!(rest, Remainder::Nothing);
        let parsed: Vec<_> = frames.iter().map(|frame| match frame {
            Frame::Line(line) => envelope::parse(line),
            Frame::TooLong(_) => panic!("{frame:?}"),
        }).collect();
        prop_assert_eq!(parsed.len(), 2);
        prop_assert!(parsed[0].is_err());
        prop_assert!(matches!(parsed[1], Ok(Line::Batch(_))));
    }

    #[test]
    fn no_line_panics(bytes in text(), at in moment(), live: bool) {
        let (frames, _) = read(&[&bytes[..], b"\n"].concat(), 7);
        for frame in frames {
            if let Frame::Line(line) = frame
                && let Ok(Line::Batch(batch)) = envelope::parse(&line)
            {
                take(batch, Received { at, live }, false);
            }
        }
        let long = crate::frame::TooLong {
            bytes: 1 << 30,
            head: Bytes::copy_from_slice(&bytes),
            tail: Bytes::copy_from_slice(&bytes),
        };
        let _ = envelope::index_of_discarded(&long);
    }

    #[test]
    fn no_payload_panics(bytes in text(), topic in proptest::sample::select(TOPICS.to_vec()), at in moment(), live: bool) {
        let batch = Envelope {
            index: RaftIndex(5),
            events: vec![raw(topic, &bytes), raw("Evaluation", br#"{"Evaluation":{"ModifyTime":1795343465120000001}}"#)],
        };
        take(batch, Received { at, live }, live);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What a user configures as a secret shows nowhere either.
    #[test]
    fn no_configured_secret_comes_out(secret in "hunter2[A-Za-z0-9]{1,40}") {
        let shown = |json: String| {
            let options: Result<Options, _> = serde_json::from_str(&json);
            match options {
                Ok(options) => match options.settings(|_| None) {
                    Ok(settings) => format!("{settings:?}"),
                    Err(error) => format!("{error} {error:?}"),
                },
                Err(error) => format!("{error} {error:?}"),
            }
        };
        for json in [
            format!(r#"{{"token":"{secret}"}}"#),
            format!(r#"{{"token":"{secret} {secret}"}}"#),
            format!(r#"{{"token":"{secret}","token_file":"/t"}}"#),
            format!(r#"{{"endpoints":["http://me:{secret}@h:1"]}}"#),
            format!(r#"{{"endpoints":["http://{secret}@h:1"]}}"#),
            format!(r#"{{"endpoints":["http://h:1/?token={secret}"]}}"#),
            format!(r#"{{"endpoints":["http://h:1/#{secret}"]}}"#),
            format!(r#"{{"endpoints":["http://me:{secret}@"]}}"#),
            format!(r#"{{"endpoints":["ftp://me:{secret}@h"]}}"#),
        ] {
            let shown = shown(json.clone());
            prop_assert!(!shown.contains(&secret), "{json}: {shown}");
        }
        let env = |name: &str| (name == "NOMAD_TOKEN").then(|| format!("{secret}\n"));
        let error = Options::default().settings(env).unwrap_err();
        let shown = format!("{error} {error:?}");
        prop_assert!(!shown.contains(&secret), "{shown}");
    }
}

/// The errors of the engine are made of its own words.
#[test]
fn an_error_shows_its_context_and_its_remedy_only() {
    for kind in ErrorKind::ALL {
        let error = Error::new(kind, "context");
        assert_eq!(error.to_string(), format!("context; {}", kind.remedy()));
        assert!(!kind.remedy().contains("  "), "{}", kind.remedy());
    }
}

#[test]
fn a_time_of_receipt_is_a_time() {
    let time = EventTime {
        nanos: i64::MIN,
        source: TimeSource::Receipt,
    };
    let one = event(raw("Job", b"{}"), RaftIndex(u64::MAX), time);
    let text = serde_json::to_string(&Shaper::new(true, None).log_event(&one)).unwrap();
    assert!(text.contains(r#""Index":"18446744073709551615""#), "{text}");
}
