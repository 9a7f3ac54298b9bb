//! What is served: recorded events between a first one, which has a time, and odd ones.

use bytes::Bytes;
use nomad_events::testing::nomad::{BatchText, EventText};
use nomad_events::testing::recording::Recording;

/// The topic of what a source tells of its stream.
pub(super) const NOTICES: &str = "NomadEvents";

/// The last event's key.
pub(super) const LAST: &str = "the-last-event";

/// When the recording ends, in nanoseconds since 1970: at the end of 2023, so that its times are ahead of no clock.
pub(super) const ENDS_AT: i64 = 1_704_067_199_999_999_999;

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// What is served.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// All of the recording.
    Whole,
    /// Some event of nearly each topic and type.
    Sample,
}

impl Stream {
    /// The lines, all there when the source comes: then no event is dated by the clock.
    pub(super) fn lines(self) -> Vec<Bytes> {
        let recording = match self {
            Self::Whole => Recording::embedded(),
            Self::Sample => Recording::sample(),
        };
        let recording = recording.shifted_to_end_at(ENDS_AT);
        let began = recording.lines().iter().map(|line| line.received_nanos);
        let began = began.min().expect("a recording has lines");
        let mut lines = vec![registered(1, "the-first-event", began - SECOND)];
        lines.extend(recording.batches());
        lines.extend(odd());
        lines.push(registered(3_000_000, LAST, ENDS_AT - SECOND));
        lines
    }
}

/// A registered job, whose time is that of its submission.
fn registered(index: u64, id: &str, at: i64) -> Bytes {
    let payload = format!(
        r#"{{"Job":{{"ID":"{id}","Name":"{id}","Namespace":"default","SubmitTime":{at},"Type":"service","Version":0}}}}"#
    );
    let event = EventText::new("Job", "JobRegistered", id).payload(payload);
    bytes_of(&BatchText::new(index).event(event))
}

/// Events whose forms no Nomad has today, with everything that JSON and a path of VRL can make hard.
fn odd() -> Vec<Bytes> {
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let payloads = [
        "null",
        "true",
        "0",
        "\"text\"",
        "[]",
        "[1, [2, {\"a\": null}], \"x\"]",
        "{}",
        r#"{"Numbers": [0, -0, -0.0, 0.0, 1.0, 1e2, 1E+2, 1.5e300, -1e-300, 0.1, 0.30000000000000004, 1e16, 1e15, 123456789012345680000,
            9223372036854775807, 9223372036854775808, -9223372036854775808, -9223372036854775809, 18446744073709551615,
            18446744073709551616, 9007199254740993, 3.141592653589793238462643, 2.2250738585072011e-308, 5e-324, 1e-400]}"#,
        r#"{"Large": 1e400}"#,
        r#"{"Texts": ["", " ", "\u0000", "\u001f\u007f\u0080", "\ud83d\ude00", "é", "\\", "\"", "/", "\/", "\b\f\n\r\t", "\u2028",
            "<&>", "{{ Topic }}", "%Y", "${HOME}", "a,b", "a=b", "2023-12-31T23:59:59Z"]}"#,
        r#"{"Half": "\ud83d"}"#,
        r#"{"": "empty", " ": "blank", "a.b": "dot", "a b": "gap", "a\"b": "quote", "a\\b": "back", "ü": "umlaut", "*": "star", "%": "per cent",
            "0": "digit", "a-b": "minus", "A.b": "dot", "a_b": "line", "@x": "at", "lane": "no lane of mine"}"#,
        r#"{"Twice": 1, "Twice": 2, "Inner": {"Twice": 3, "Other": 0, "Twice": {"a": 1}}}"#,
        r#"{"Job": null, "Allocation": [], "Node": "none", "Evaluation": {"ID": 7}, "Deployment": {"ID": ["x"]}, "Service": {"ID": {}}}"#,
        r#"{"Job": {"ID": null, "TaskGroups": [null, 1, {"Tasks": {}}], "Env": {"A": "secret"}}}"#,
        &deep,
    ];
    let topics = [
        ("Job", "JobRegistered"),
        ("Allocation", "AllocationUpdated"),
        ("Evaluation", "EvaluationUpdated"),
        ("Deployment", "DeploymentStatusUpdate"),
        ("Node", "NodeDrain"),
        ("Service", "ServiceRegistration"),
        ("Novelty", "NoveltyMade"),
    ];
    let mut lines = Vec::new();
    for payload in payloads {
        let index = 1_000_000 + lines.len() as u64;
        let batch = topics
            .iter()
            .fold(BatchText::new(index), |batch, (topic, event_type)| {
                batch.event(
                    EventText::new(topic, event_type, "odd").payload(payload.replace('\n', " ")),
                )
            });
        lines.push(bytes_of(&batch));
    }
    let names = BatchText::new(2_000_000)
        .event(EventText::new("", "", "").namespace(""))
        .event(
            EventText::new("Ünder_score-Topic", "a type", "a \"key\"\\\n")
                .namespace("a,b=c ü")
                .filter_keys([]),
        )
        .event(EventText::new("Job", "JobRegistered", "keys").filter_keys(["one", "", "two\u{0}"]));
    lines.push(bytes_of(&names));
    lines
}

fn bytes_of(batch: &BatchText) -> Bytes {
    batch.to_bytes().expect("a line of JSON")
}
