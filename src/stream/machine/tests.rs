use super::*;

mod doubts;
use crate::envelope;

/// A machine with a clock, and what it last said, in words.
pub(super) struct Lab {
    pub(super) machine: Machine,
    now: Duration,
}

impl Lab {
    pub(super) fn new(mark: Mark) -> Self {
        let rules = Rules {
            endpoints: 2,
            backoff_max: Duration::from_secs(30),
            proof_key: ProofKey::new(42),
        };
        Self {
            machine: Machine::new(rules, mark),
            now: Duration::from_secs(1000),
        }
    }

    /// A stream that was followed up to index 7 and then broke; the next one is accepted.
    pub(super) fn resumed_at_seven() -> Self {
        let mut lab = Self::new(Mark::Nothing);
        lab.step(Input::Begin);
        lab.step(Input::Accepted);
        lab.beat();
        lab.line(5, &["a"]);
        lab.line(7, &["b", "c"]);
        lab.end();
        lab.step(Input::Accepted);
        lab
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<String> {
        self.machine
            .step(self.now, input)
            .iter()
            .map(words)
            .collect()
    }

    pub(super) fn beat(&mut self) -> Vec<String> {
        self.step(Input::Line(Line::Heartbeat, Bytes::from_static(b"{}")))
    }

    pub(super) fn line(&mut self, index: u64, payloads: &[&str]) -> Vec<String> {
        let events: Vec<String> = payloads
            .iter()
            .map(|payload| {
                format!(r#"{{"Topic":"Job","Type":"T","Key":"k","Payload":{{"Job":"{payload}"}}}}"#)
            })
            .collect();
        let text = Bytes::from(format!(
            r#"{{"Index":{index},"Events":[{}]}}"#,
            events.join(",")
        ));
        let line = envelope::parse(&text).unwrap();
        self.step(Input::Line(line, text))
    }

    /// The tables' answer.
    pub(super) fn tables(&mut self, newest: u64, complete: bool) -> Vec<String> {
        let newest = RaftIndex(newest);
        self.step(Input::Tables(Some(Tables { newest, complete })))
    }

    pub(super) fn end(&mut self) -> Vec<String> {
        self.step(Input::Ended(Error::new(ErrorKind::Closed, "the end")))
    }

    pub(super) fn wait(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        match self.machine.deadline() {
            Some(deadline) if deadline <= self.now => self.step(Input::Deadline),
            _ => Vec::new(),
        }
    }
}

fn words(output: &Output) -> String {
    match output {
        Output::Connect {
            endpoint,
            index,
            pause,
        } => format!("connect {endpoint} at {index} within {pause:?}"),
        Output::Emit(batch) => {
            let payloads: Vec<&str> = batch
                .events
                .iter()
                .map(|event| std::str::from_utf8(&event.payload).unwrap())
                .map(|payload| {
                    payload
                        .trim_start_matches(r#"{"Job":""#)
                        .trim_end_matches(r#""}"#)
                })
                .collect();
            format!("emit {} {}", batch.index, payloads.join(" "))
        }
        Output::Duplicates(count) => format!("duplicates {count}"),
        Output::Connected {
            endpoint,
            resumed_at,
        } => format!("connected {endpoint} at {resumed_at}"),
        Output::Disconnected { endpoint, error } => {
            format!("disconnected {endpoint} {}", error.kind().as_str())
        }
        Output::Gap(gap) => {
            let to = gap.to.map_or(String::new(), |to| format!(" to {to}"));
            let from = if gap.to.is_none() { "from " } else { "" };
            let of = gap
                .namespace
                .as_ref()
                .map_or(String::new(), |name| format!(" of {name}"));
            format!("gap {from}{}{to} {}{of}", gap.from, gap.cause)
        }
        Output::StartMark(index) => format!("starts with {index}"),
        Output::Doubt(index) => format!("doubt at {index}"),
        Output::Continuous(index) => format!("continuous at {index}"),
        Output::AskTables { endpoint } => format!("ask {endpoint}"),
        Output::Reset { from, to } => {
            let to = to.map_or(String::new(), |to| format!(", tables at {to}"));
            format!("reset at {from}{to}")
        }
        Output::NamespacesAdded(names) => format!("namespaces {}", names.join(" ")),
        Output::OnlyOlderLines { below } => format!("only older than {below}"),
    }
}

#[test]
fn the_straight_way() {
    let mut lab = Lab::new(Mark::Nothing);
    assert_eq!(lab.step(Input::Begin), ["connect 0 at 0 within 0ns"]);
    assert!(lab.step(Input::Accepted).is_empty());
    assert_eq!(lab.beat(), ["connected 0 at 0"]);
    assert_eq!(lab.line(5, &["dead"]), ["starts with 5", "emit 5 dead"]);
    assert_eq!(lab.line(5, &["pending"]), ["emit 5 pending"]);
    assert_eq!(lab.line(9, &["x", "y"]), ["emit 9 x y"]);
    assert_eq!(lab.machine.deadline(), None);
    assert_eq!(
        lab.end(),
        ["disconnected 0 closed", "connect 1 at 9 within 500ms"]
    );
}

#[test]
fn a_batch_can_be_the_first_line() {
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    assert_eq!(
        lab.line(5, &["a"]),
        ["connected 0 at 0", "starts with 5", "emit 5 a"]
    );
}

#[test]
fn a_resume_is_proved_by_an_event_that_comes_again() {
    let mut lab = Lab::resumed_at_seven();
    assert_eq!(lab.beat(), ["connected 1 at 7"]);
    // The order inside the line differs, and one event was not there before.
    assert_eq!(
        lab.line(7, &["c", "new", "b"]),
        ["duplicates 2", "emit 7 new"]
    );
    assert_eq!(lab.machine.deadline(), None);
    assert_eq!(lab.line(8, &["d"]), ["emit 8 d"]);
}

#[test]
fn the_second_line_of_an_index_is_not_lost_when_the_connection_broke_between() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    assert_eq!(lab.line(7, &["b", "c"]), ["duplicates 2"]);
    assert_eq!(lab.line(7, &["second"]), ["emit 7 second"]);
}

#[test]
fn a_first_line_above_is_a_gap() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    assert_eq!(lab.line(12, &["x"]), ["gap 7 to 12 evicted", "emit 12 x"]);
    assert_eq!(lab.line(13, &["y"]), ["emit 13 y"]);
}

#[test]
fn the_index_alone_proves_nothing() {
    // Another cluster, or an index of which half was evicted.
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    assert_eq!(lab.line(7, &["other"]), ["doubt at 7", "emit 7 other"]);
    assert_eq!(lab.line(7, &["another"]), ["emit 7 another"]);
    assert_eq!(lab.line(9, &["x"]), ["gap 7 to 9 evicted", "emit 9 x"]);
}

#[test]
fn what_proved_nothing_does_not_prove_the_next_connection() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    // Another cluster, and its connection breaks before more of it is seen.
    assert_eq!(lab.line(7, &["other"]), ["doubt at 7", "emit 7 other"]);
    assert_eq!(
        lab.end(),
        [
            "gap from 7 unproven",
            "disconnected 1 closed",
            "connect 0 at 7 within 1s"
        ]
    );
    lab.step(Input::Accepted);
    assert_eq!(
        lab.line(7, &["other"]),
        ["connected 0 at 7", "duplicates 1"]
    );
    assert_eq!(lab.line(9, &["x"]), ["emit 9 x"]);
}

#[test]
fn a_proof_may_come_in_a_later_line_of_the_index() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    assert_eq!(lab.line(7, &["half"]), ["doubt at 7", "emit 7 half"]);
    assert_eq!(
        lab.line(7, &["b", "c"]),
        ["continuous at 7", "duplicates 2"]
    );
    assert_eq!(lab.line(9, &["x"]), ["emit 9 x"]);
}

#[test]
fn a_server_that_replays_its_log_is_waited_for() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    for index in 1..=6 {
        assert!(lab.wait(9).is_empty());
        assert_eq!(lab.line(index, &["old"]), ["duplicates 1"]);
    }
    assert_eq!(lab.line(7, &["b", "c"]), ["duplicates 2"]);
    assert_eq!(lab.machine.deadline(), None);
}

#[test]
fn nothing_but_older_lines_is_said_once() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    lab.line(1, &["old"]);
    let mut said = Vec::new();
    for index in 2..7 {
        said.extend(lab.wait(9));
        lab.line(index, &["old"]);
        said.extend(lab.wait(9));
        lab.line(index, &["old"]);
    }
    assert_eq!(said, ["only older than 7", "ask 1"]);
    assert_eq!(lab.line(6, &["old"]), ["duplicates 1"]);
}

#[test]
fn silence_after_200_is_no_success() {
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    assert!(lab.wait(9).is_empty());
    assert_eq!(
        lab.wait(1),
        [
            "disconnected 0 no_first_line",
            "connect 1 at 0 within 500ms"
        ]
    );
    lab.step(Input::Accepted);
    assert_eq!(
        lab.end(),
        ["disconnected 1 no_first_line", "connect 0 at 0 within 1s"]
    );
}

#[test]
fn the_backoff_doubles_up_to_its_limit_and_starts_anew_after_a_healthy_minute() {
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    let pauses: Vec<String> = (0..9)
        .map(|_| lab.end()[1].rsplit(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        pauses,
        ["500ms", "1s", "2s", "4s", "8s", "16s", "30s", "30s", "30s"]
    );

    // A stream that begins and breaks is not healthy.
    lab.step(Input::Accepted);
    lab.beat();
    lab.wait(59);
    assert!(lab.end()[1].ends_with("within 30s"));
    lab.step(Input::Accepted);
    lab.beat();
    lab.wait(60);
    assert!(lab.end()[1].ends_with("within 500ms"));
}

#[test]
fn the_start_mark_is_saved_with_the_gap_before_it() {
    // The server said yes, and had forgotten everything before a line came.
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    lab.beat();
    lab.end();
    lab.step(Input::Accepted);
    lab.beat();
    let said = lab.line(5, &["a"]);
    let place = |what: &str| said.iter().position(|said| said.starts_with(what));
    assert!(place("gap").is_some(), "{said:?}");
    assert!(place("gap") < place("starts with 5"), "{said:?}");
    assert!(place("starts with 5") < place("emit"), "{said:?}");
}

#[test]
fn a_start_index_that_is_gone_is_a_gap() {
    let mut lab = Lab::new(Mark::From(RaftIndex(5)));
    assert_eq!(lab.step(Input::Begin), ["connect 0 at 5 within 0ns"]);
    lab.step(Input::Accepted);
    lab.beat();
    assert_eq!(lab.line(9, &["x"]), ["gap 5 to 9 evicted", "emit 9 x"]);
}

#[test]
fn a_start_index_that_never_was_is_no_gap() {
    let mut lab = Lab::new(Mark::From(RaftIndex(5)));
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    lab.beat();
    // The server's buffer reaches back to before the index, so nothing was evicted behind it.
    assert_eq!(lab.line(4, &["old"]), ["duplicates 1"]);
    assert_eq!(lab.line(9, &["x"]), ["emit 9 x"]);
}

#[test]
fn what_went_by_between_two_connects_before_the_first_line_was_taken_is_a_gap() {
    for (mark, asked) in [
        (Mark::Nothing, 0),
        (Mark::From(RaftIndex(5)), 5),
        (Mark::Now(RaftIndex(5)), 5),
        (Mark::After(RaftIndex(5)), 5),
    ] {
        let mut lab = Lab::new(mark);
        lab.step(Input::Begin);
        lab.step(Input::Accepted);
        // Connected, so what comes from here on is wanted; nothing comes.
        lab.beat();
        lab.end();
        lab.step(Input::Accepted);
        lab.beat();
        let mut said = lab.line(900, &["x"]);
        said.retain(|said| said != "starts with 900");
        assert_eq!(
            said,
            [
                format!("gap {asked} to 900 evicted"),
                "emit 900 x".to_owned()
            ]
        );
    }
}

/// The server has forgotten the mark long ago, as one buffer is filled by the events of all topics.
#[test]
fn the_first_event_of_a_narrow_subscription_from_now_on_is_no_gap() {
    let mut lab = Lab::new(Mark::Now(RaftIndex(5)));
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    assert_eq!(lab.line(900, &["x"]), ["connected 0 at 5", "emit 900 x"]);
    // Once something was taken it has to be shown again, as ever.
    lab.end();
    lab.step(Input::Accepted);
    lab.beat();
    assert_eq!(
        lab.line(990, &["y"]),
        ["gap 900 to 990 evicted", "emit 990 y"]
    );
}

#[test]
fn start_at_latest_drops_the_mark_itself() {
    let mut lab = Lab::new(Mark::Now(RaftIndex(5)));
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    // Asked for more than it has, Nomad repeats its last line.
    assert_eq!(lab.line(5, &["old"]), ["connected 0 at 5", "duplicates 1"]);
    assert_eq!(lab.line(6, &["x"]), ["emit 6 x"]);
}

#[test]
fn debug_output_shows_nothing_of_a_line() {
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    lab.line(5, &["hunter2"]);
    let input = Input::Line(Line::Heartbeat, Bytes::from_static(b"hunter2"));
    let shown = format!("{:?} {input:?}", lab.machine);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_discarded_line_is_a_gap_of_its_index() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    assert_eq!(
        lab.step(Input::Discarded(Some(RaftIndex(9)))),
        ["gap 9 to 9 line_discarded"]
    );
    assert_eq!(
        lab.step(Input::Discarded(None)),
        ["gap from 7 line_discarded"]
    );
}

#[test]
fn a_discarded_line_from_behind_the_mark_is_no_gap() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    // A server that replays its log: the line was discarded before, or taken.
    assert!(lab.step(Input::Discarded(Some(RaftIndex(6)))).is_empty());
    assert!(lab.wait(9).is_empty());
    assert!(lab.step(Input::Discarded(Some(RaftIndex(6)))).is_empty());
    assert!(lab.wait(9).is_empty());

    let mut lab = Lab::new(Mark::After(RaftIndex(5)));
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    assert_eq!(
        lab.step(Input::Discarded(Some(RaftIndex(5)))),
        ["connected 0 at 5"]
    );
    assert_eq!(lab.line(9, &["x"]), ["emit 9 x"]);
}

#[test]
fn the_reason_for_an_end_before_the_first_line_is_told() {
    for kind in [ErrorKind::Closed, ErrorKind::Broken, ErrorKind::Idle] {
        let mut lab = Lab::new(Mark::Nothing);
        lab.step(Input::Begin);
        lab.step(Input::Accepted);
        let error = Error::new(kind, "event dropped from buffer");
        let outputs = lab.machine.step(lab.now, Input::Ended(error));
        let Output::Disconnected { error, .. } = &outputs[0] else {
            panic!("{outputs:?}")
        };
        assert_eq!(error.kind(), ErrorKind::NoFirstLine);
        assert!(
            error.to_string().contains("event dropped from buffer"),
            "{error}"
        );
    }
}

fn list(lab: &mut Lab, rows: &[(&str, u64)]) -> Vec<String> {
    let rows = rows
        .iter()
        .map(|&(name, index)| Namespace {
            name: name.to_owned(),
            create_index: RaftIndex(index),
        })
        .collect();
    lab.step(Input::Namespaces(rows))
}

#[test]
fn new_namespaces_are_subscribed_to_at_once_and_together() {
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    assert!(list(&mut lab, &[("default", 1)]).is_empty());
    lab.step(Input::Accepted);
    lab.beat();
    lab.line(5, &["a"]);
    lab.line(9, &["b"]);
    assert!(list(&mut lab, &[("default", 1)]).is_empty());
    // One was made before the last line that was read: its events up to there went by.
    assert_eq!(
        list(&mut lab, &[("default", 1), ("x", 7), ("y", 12)]),
        [
            "namespaces x y",
            "gap 7 to 9 namespace_added of x",
            "connect 0 at 9 within 0ns"
        ]
    );
    // The list that is read before the next subscription has them too, and then they are covered.
    assert!(list(&mut lab, &[("default", 1), ("x", 7), ("y", 12)]).is_empty());
    lab.step(Input::Accepted);
    lab.beat();
    assert_eq!(lab.line(9, &["b", "of x"]), ["duplicates 1", "emit 9 of x"]);
    assert!(list(&mut lab, &[("default", 1), ("y", 12)]).is_empty());
}

#[test]
fn a_namespace_made_before_a_reconnect_is_a_gap_and_nothing_more() {
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    list(&mut lab, &[("default", 1)]);
    lab.step(Input::Accepted);
    lab.beat();
    lab.line(9, &["b"]);
    lab.end();
    assert_eq!(
        list(&mut lab, &[("default", 1), ("x", 7)]),
        ["namespaces x", "gap 7 to 9 namespace_added of x"]
    );
    lab.step(Input::Accepted);
    assert_eq!(lab.beat(), ["connected 1 at 9"]);
}

#[test]
fn to_subscribe_again_is_no_failure() {
    let mut lab = Lab::new(Mark::Nothing);
    lab.step(Input::Begin);
    list(&mut lab, &[]);
    lab.end();
    lab.end();
    lab.step(Input::Accepted);
    lab.beat();
    assert_eq!(
        list(&mut lab, &[("x", 1)]),
        ["namespaces x", "connect 0 at 0 within 0ns"]
    );
    // The two failures still count.
    assert!(lab.end()[1].ends_with("within 2s"));
}

#[test]
fn to_subscribe_again_keeps_a_suspicion() {
    let mut lab = Lab::resumed_at_seven();
    lab.machine.covered.take(Vec::new());
    lab.beat();
    lab.line(7, &["other"]);
    assert_eq!(
        list(&mut lab, &[("x", 8)]),
        [
            "namespaces x",
            "gap from 7 unproven",
            "connect 1 at 7 within 0ns"
        ]
    );
}
