//! Random histories of servers, cut, forgotten, replayed and lagging, against what may be lost: nothing without a word.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::envelope;

/// A line of the history, and the names of its events, each used once.
#[derive(Clone, Debug)]
struct Written {
    index: u64,
    events: Vec<u32>,
    /// Whether the subscription gets it.
    matches: bool,
}

/// What servers, the network and the clock do.
#[derive(Clone, Debug)]
enum Action {
    /// A write, in one to three lines of one index (CSI claims make more than two).
    Append {
        step: u64,
        lines: Vec<usize>,
        matches: bool,
    },
    /// So many lines reach us.
    Deliver(usize),
    /// A line reaches us that is too long, or no JSON: then its index is not known.
    Garble {
        index_known: bool,
    },
    Heartbeat,
    Cut,
    /// A subscription is accepted. Servers before 1.0.7 send no `{}` at once.
    Connect {
        greeted: bool,
    },
    /// All but so many of the newest lines are forgotten.
    Evict {
        kept: usize,
    },
    /// The server starts anew and replays its log from so many lines before the end, to a client that comes early.
    Restart {
        kept: usize,
        early: bool,
    },
    /// Another server takes over, that lacks so many lines and has kept so many.
    Lag {
        lacks: usize,
        kept: usize,
    },
    /// The server gets lines that it lacks.
    CatchUp(usize),
    Pass(u64),
}

/// What came of a history.
#[derive(Debug, Default)]
struct Outcome {
    log: Vec<Written>,
    /// How many lines were forgotten when the first connection was made.
    before_first_connect: usize,
    connected: bool,
    emitted: Vec<Emitted>,
    gaps: Vec<(u64, Option<u64>)>,
}

impl Outcome {
    /// A gap whose end is not known ends with the next index that is taken.
    fn close_gaps(&mut self, taken: u64) {
        for (from, to) in &mut self.gaps {
            if to.is_none() && *from < taken {
                *to = Some(taken);
            }
        }
    }
}

/// An event that was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Emitted {
    index: u64,
    event: u32,
    /// The number of the connection that it came through.
    connection: usize,
}

/// Where the machine is told to begin.
#[derive(Clone, Copy, Debug)]
enum Start {
    Nothing,
    From(u64),
    After(u64),
}

impl Start {
    fn mark(self) -> Mark {
        match self {
            Self::Nothing => Mark::Nothing,
            Self::From(index) => Mark::From(RaftIndex(index)),
            Self::After(index) => Mark::After(RaftIndex(index)),
        }
    }

    fn wants(self, index: u64) -> bool {
        match self {
            Self::Nothing => true,
            // Its own lines may be evicted before they are read; the design takes the index for the proof.
            Self::From(from) => index > from,
            Self::After(after) => index > after,
        }
    }
}

/// A server and the machine.
struct World {
    machine: Machine,
    now: Duration,
    outcome: Outcome,
    /// The first line that the server still has.
    head: usize,
    /// How many lines of the log the server has seen.
    visible: usize,
    replays: bool,
    /// The line that the connection gets next.
    cursor: Option<usize>,
    connections: usize,
    wanted_index: u64,
}

impl World {
    fn new(start: Start) -> Self {
        let rules = Rules {
            endpoints: 2,
            backoff_max: Duration::from_secs(30),
            proof_key: ProofKey::new(42),
        };
        let mut world = Self {
            machine: Machine::new(rules, start.mark()),
            now: Duration::from_secs(1000),
            outcome: Outcome::default(),
            head: 0,
            visible: 0,
            replays: false,
            cursor: None,
            connections: 0,
            wanted_index: 0,
        };
        world.step(Input::Begin);
        world
    }

    fn step(&mut self, input: Input) {
        for output in self.machine.step(self.now, input) {
            match output {
                Output::Connect { index, .. } => {
                    self.cursor = None;
                    self.wanted_index = index.0;
                }
                Output::Emit(batch) => {
                    self.outcome.close_gaps(batch.index.0);
                    for event in &batch.events {
                        let name = std::str::from_utf8(&event.payload).unwrap();
                        self.outcome.emitted.push(Emitted {
                            index: batch.index.0,
                            event: name.parse().unwrap(),
                            connection: self.connections,
                        });
                    }
                }
                Output::Gap(gap) => self.outcome.gaps.push((gap.from.0, gap.to.map(|to| to.0))),
                Output::Connected { .. } if !self.outcome.connected => {
                    self.outcome.connected = true;
                    self.outcome.before_first_connect = self.head;
                }
                _ => {}
            }
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Append {
                step,
                ref lines,
                matches,
            } => self.append(step, lines, matches),
            Action::Deliver(count) => (0..count).for_each(|_| self.deliver()),
            Action::Garble { index_known } => {
                if let Some(line) = self.next_line() {
                    let index = index_known.then_some(RaftIndex(line.index));
                    self.step(Input::Discarded(index));
                }
            }
            Action::Heartbeat => {
                if self.cursor.is_some() {
                    self.step(Input::Line(Line::Heartbeat, Bytes::from_static(b"{}")));
                }
            }
            Action::Cut => self.cut(),
            Action::Connect { greeted } => self.connect(greeted),
            Action::Evict { kept } => {
                self.head = self.head.max(self.visible.saturating_sub(kept));
                if self.cursor.is_some_and(|cursor| cursor < self.head) {
                    self.cut();
                }
            }
            Action::Restart { kept, early } => {
                self.cut();
                self.visible = self.outcome.log.len();
                self.head = self.visible.saturating_sub(kept);
                self.replays = early;
            }
            Action::Lag { lacks, kept } => {
                self.cut();
                self.visible = self.outcome.log.len().saturating_sub(lacks);
                self.head = self.visible.saturating_sub(kept);
            }
            Action::CatchUp(count) => {
                self.visible = (self.visible + count).min(self.outcome.log.len());
            }
            Action::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                let due = |world: &Self| world.machine.deadline().is_some_and(|by| by <= world.now);
                if due(self) {
                    self.step(Input::Deadline);
                }
                // One that stays due would keep the driver busy for ever.
                assert!(!due(self), "{:?}", self.machine);
            }
        }
    }

    fn append(&mut self, step: u64, lines: &[usize], matches: bool) {
        let log = &mut self.outcome.log;
        let up_to_date = self.visible == log.len();
        let index = log.last().map_or(0, |line| line.index) + step;
        for &events in lines {
            let first = log.iter().map(|line| line.events.len()).sum::<usize>();
            let first = u32::try_from(first).unwrap();
            let events = (0..u32::try_from(events).unwrap()).map(|event| first + event);
            log.push(Written {
                index,
                events: events.collect(),
                matches,
            });
        }
        if up_to_date {
            self.visible = log.len();
        }
    }

    /// As `StartAtClosest` of Nomad's event buffer does it.
    fn connect(&mut self, greeted: bool) {
        if self.cursor.is_some() {
            return;
        }
        let lines = &self.outcome.log[self.head..self.visible];
        let reached = lines
            .iter()
            .position(|line| line.index >= self.wanted_index);
        let at = reached.unwrap_or(lines.len().saturating_sub(1));
        self.cursor = Some(if std::mem::take(&mut self.replays) {
            self.head
        } else {
            self.head + at
        });
        self.connections += 1;
        self.step(Input::Accepted);
        if greeted {
            self.act(&Action::Heartbeat);
        }
    }

    fn next_line(&mut self) -> Option<Written> {
        let mut cursor = self.cursor?;
        while cursor < self.visible {
            let line = self.outcome.log[cursor].clone();
            cursor += 1;
            self.cursor = Some(cursor);
            if line.matches {
                return Some(line);
            }
        }
        None
    }

    fn deliver(&mut self) {
        let Some(line) = self.next_line() else { return };
        let events: Vec<String> = line
            .events
            .iter()
            .map(|event| format!(r#"{{"Topic":"Job","Type":"T","Key":"k","Payload":{event}}}"#))
            .collect();
        let text = Bytes::from(format!(
            r#"{{"Index":{},"Events":[{}]}}"#,
            line.index,
            events.join(",")
        ));
        self.step(Input::Line(envelope::parse(&text).unwrap(), text));
    }

    fn cut(&mut self) {
        if self.cursor.is_some() {
            self.step(Input::Ended(Error::new(ErrorKind::Closed, "the end")));
        }
    }

    /// Everything that can still come has come, after some silence, and what was suspected has been said: before a first line
    /// was taken that is when one comes.
    fn settle(mut self, silent: Duration) -> Outcome {
        self.cut();
        self.visible = self.outcome.log.len();
        self.connect(true);
        self.act(&Action::Pass(silent.as_secs()));
        self.append(1, &[1], true);
        self.act(&Action::Deliver(self.visible));
        self.act(&Action::Pass(PROOF_TIMEOUT.as_secs()));
        self.outcome
    }
}

fn run(start: Start, actions: &[Action], silent: Duration) -> Outcome {
    let mut world = World::new(start);
    for action in actions {
        world.act(action);
    }
    world.settle(silent)
}

/// No event is handed on twice.
fn each_once(outcome: &Outcome) -> Result<(), String> {
    let mut seen = HashSet::new();
    match outcome.emitted.iter().find(|one| !seen.insert(one.event)) {
        Some(again) => Err(format!("came twice: {again:?}")),
        None => Ok(()),
    }
}

/// NE-4: in index order, and in wire order within an index. Events are named in the order in which they were written. (Through
/// another connection an earlier line of the index may come later, when the first server had forgotten it.)
fn in_order(outcome: &Outcome) -> Result<(), String> {
    let in_order = |pair: &[Emitted]| {
        let [one, next] = [pair[0], pair[1]];
        one.index < next.index
            || one.index == next.index
                && (one.connection < next.connection || one.event < next.event)
    };
    match outcome.emitted.windows(2).find(|pair| !in_order(pair)) {
        Some(pair) => Err(format!("out of order: {pair:?}")),
        None => Ok(()),
    }
}

/// NE-1: what is wanted and was not handed on was forgotten before the first connect, or lies in an announced gap.
fn nothing_lost_without_a_word(outcome: &Outcome, start: Start) -> Result<(), String> {
    let emitted: HashSet<u32> = outcome.emitted.iter().map(|one| one.event).collect();
    let covered = |index: u64| {
        outcome
            .gaps
            .iter()
            .any(|&(from, to)| from <= index && to.is_none_or(|to| index <= to))
    };
    let lost = outcome
        .log
        .iter()
        .skip(outcome.before_first_connect)
        .filter(|line| line.matches && start.wants(line.index) && !covered(line.index))
        .find(|line| line.events.iter().any(|event| !emitted.contains(event)));
    match lost {
        Some(line) => Err(format!("lost without a word: {line:?}")),
        None => Ok(()),
    }
}

/// Only a reason to suspect a loss makes a gap.
fn no_gap(outcome: &Outcome) -> Result<(), String> {
    match outcome.gaps.first() {
        Some(gap) => Err(format!("announced for nothing: {gap:?}")),
        None => Ok(()),
    }
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        3 => Just(Start::Nothing),
        1 => (1u64..12).prop_map(Start::From),
        1 => (1u64..12).prop_map(Start::After),
    ]
}

fn append() -> impl Strategy<Value = Action> {
    (
        1u64..4,
        proptest::collection::vec(1usize..3, 1..4),
        proptest::bool::weighted(0.8),
    )
        .prop_map(|(step, lines, matches)| Action::Append {
            step,
            lines,
            matches,
        })
}

/// What happens in the life of servers that forget nothing.
fn calm() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => append(),
        4 => (1usize..4).prop_map(Action::Deliver),
        1 => Just(Action::Heartbeat),
        2 => Just(Action::Cut),
        4 => any::<bool>().prop_map(|greeted| Action::Connect { greeted }),
        1 => (0usize..4).prop_map(Action::CatchUp),
    ]
}

fn any_action() -> impl Strategy<Value = Action> {
    // Few, so that an index is often cut in half.
    let kept = 0usize..4;
    prop_oneof![
        12 => calm(),
        1 => any::<bool>().prop_map(|index_known| Action::Garble { index_known }),
        2 => kept.clone().prop_map(|kept| Action::Evict { kept }),
        1 => (kept.clone(), any::<bool>()).prop_map(|(kept, early)| Action::Restart { kept, early }),
        1 => (0usize..4, kept).prop_map(|(lacks, kept)| Action::Lag { lacks, kept }),
        1 => prop_oneof![Just(1), Just(9), Just(10), Just(61)].prop_map(Action::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_servers_do_nothing_is_lost_without_a_word(
        start in start(),
        actions in proptest::collection::vec(any_action(), 1..40),
        silent in prop_oneof![Just(Duration::ZERO), Just(PROOF_TIMEOUT)],
    ) {
        let outcome = run(start, &actions, silent);
        prop_assert_eq!(each_once(&outcome), Ok(()), "{:?}", &outcome);
        prop_assert_eq!(in_order(&outcome), Ok(()), "{:?}", &outcome);
        prop_assert_eq!(nothing_lost_without_a_word(&outcome, start), Ok(()), "{:?}", &outcome);
    }

    #[test]
    fn cuts_alone_make_no_gap(
        actions in proptest::collection::vec(calm(), 1..40),
    ) {
        // A first line is taken, so there is something to prove by.
        let mut world = World::new(Start::Nothing);
        world.append(1, &[1], true);
        world.connect(true);
        world.deliver();
        for action in &actions {
            world.act(action);
        }
        let outcome = world.settle(Duration::ZERO);
        prop_assert_eq!(no_gap(&outcome), Ok(()), "{:?}", &outcome);
        let written: usize = outcome.log.iter().filter(|line| line.matches).map(|line| line.events.len()).sum();
        prop_assert_eq!(outcome.emitted.len(), written);
    }
}

/// A history that went wrong is found to have gone wrong.
#[test]
fn the_predicates_can_fail() {
    let written = |index: u64, events: &[u32]| Written {
        index,
        events: events.to_vec(),
        matches: true,
    };
    let good = || Outcome {
        log: vec![
            written(5, &[0, 1]),
            written(5, &[2]),
            written(7, &[3]),
            written(9, &[4]),
        ],
        before_first_connect: 0,
        connected: true,
        emitted: [(5, 0), (5, 1), (5, 2), (7, 3), (9, 4)]
            .map(|(index, event)| Emitted {
                index,
                event,
                connection: 1,
            })
            .to_vec(),
        gaps: Vec::new(),
    };
    let lost = |outcome: &Outcome| nothing_lost_without_a_word(outcome, Start::Nothing);
    assert_eq!(
        (each_once(&good()), in_order(&good()), lost(&good())),
        (Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(no_gap(&good()), Ok(()));

    let mut twice = good();
    twice.emitted.push(twice.emitted[4]);
    assert!(each_once(&twice).is_err());

    let mut swapped = good();
    swapped.emitted.swap(2, 3);
    assert!(in_order(&swapped).is_err());
    let mut swapped_within_an_index = good();
    swapped_within_an_index.emitted.swap(1, 2);
    assert!(in_order(&swapped_within_an_index).is_err());

    let mut missing = good();
    missing.emitted.remove(3);
    assert!(lost(&missing).is_err());
    for (gap, covers) in [
        ((5, Some(9)), true),
        ((7, Some(7)), true),
        ((7, None), true),
        ((8, None), false),
        ((5, Some(6)), false),
    ] {
        missing.gaps = vec![gap];
        assert_eq!(lost(&missing).is_ok(), covers, "{gap:?}");
        assert!(no_gap(&missing).is_err());
    }
    missing.gaps.clear();
    missing.before_first_connect = 3;
    assert!(lost(&missing).is_ok());
    assert!(nothing_lost_without_a_word(&missing, Start::After(7)).is_ok());
}
