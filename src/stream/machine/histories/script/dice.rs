//! A script made of bytes: each choice takes some of them.

use std::time::Duration;

use super::{Action, Damage, End, Garbled, Lists, Refusal, Script, Start, Weather};
use crate::position::Delivery;
use crate::stream::machine::doubt::{LOWER_FOR, UNDECIDED_TIMEOUT};
use crate::stream::machine::{FIRST_LINE_TIMEOUT, OLDER_LINES_TIMEOUT, PROOF_TIMEOUT};

/// Longer scripts show nothing more.
const MAX_ACTIONS: usize = 80;

impl Script {
    /// Reads a script out of bytes; any will do.
    pub(crate) fn of(bytes: &[u8], weather: Weather) -> Self {
        let mut dice = Dice(bytes);
        let calm = weather == Weather::Calm;
        let start = match dice.below(5) {
            3 if !calm => Start::From(1 + dice.number(11)),
            4 if !calm => Start::Latest(1 + dice.below(4)),
            _ => Start::Nothing,
        };
        let servers = 1 + dice.below(3);
        // One line at a time, some lines, all.
        let queue_bytes = [1, 1500, 1 << 20][dice.below(3)];
        let end = match dice.below(4) {
            0 if !calm => End::Stop,
            1 if !calm => End::Settle(PROOF_TIMEOUT),
            _ => End::Settle(Duration::ZERO),
        };
        let topics = 1 + dice.below(2);
        let mut actions = Vec::new();
        while !dice.0.is_empty() && actions.len() < MAX_ACTIONS {
            match weather {
                Weather::Any => actions.push(any_action(&mut dice)),
                Weather::Calm => actions.push(calm_action(&mut dice)),
                Weather::Losses => losses(&mut dice, &mut actions),
            }
        }
        Self {
            start,
            servers,
            topics,
            queue_bytes,
            actions,
            end,
        }
    }
}

/// Choices, out of bytes. When they are used up, the first choice is taken.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn below(&mut self, bound: usize) -> usize {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                usize::from(*first) % bound
            }
            None => 0,
        }
    }

    fn number(&mut self, bound: usize) -> u64 {
        self.below(bound) as u64
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 1
    }
}

fn calm_action(dice: &mut Dice<'_>) -> Action {
    match dice.below(40) {
        0..7 => append(dice),
        7..12 => read(dice),
        12 => Action::Heartbeat,
        13 | 14 => Action::Cut,
        15 => Action::CutInside(dice.below(256)),
        16..21 => Action::Connect {
            greeted: dice.below(4) > 0,
        },
        21 => Action::Refuse(refusal(dice)),
        22 => Action::CatchUp {
            server: dice.below(3),
            lines: dice.below(4),
        },
        23 => Action::Lag {
            server: dice.below(3),
            lacks: dice.below(4),
            kept: usize::MAX,
        },
        24 => Action::Restart {
            server: dice.below(3),
            kept: usize::MAX,
            early: dice.yes(),
        },
        25..28 => Action::Take(1 + dice.below(4)),
        28..32 => Action::Save,
        32 => Action::BeginSave,
        33 => Action::Crash {
            lands: dice.yes(),
            away: dice.yes(),
        },
        34 => Action::Stop { away: dice.yes() },
        35 => start(dice),
        _ => answer(dice),
    }
}

fn any_action(dice: &mut Dice<'_>) -> Action {
    // Few are kept, so that an index is often cut in half.
    match dice.below(16) {
        0 => Action::Garble(match dice.below(8) {
            0..3 => Garbled::NotJson,
            3..6 => Garbled::TooLong,
            _ => Garbled::FarTooLong,
        }),
        1 => Action::Evict {
            server: dice.below(3),
            kept: dice.below(4),
        },
        2 => match dice.below(8) {
            0 => rebuild(dice),
            1 => Action::AnswerTooEarly,
            2..5 => Action::Restart {
                server: dice.below(3),
                kept: dice.below(4),
                early: dice.yes(),
            },
            _ => Action::Lag {
                server: dice.below(3),
                lacks: dice.below(4),
                kept: dice.below(4),
            },
        },
        3 => Action::Pass(pause(dice)),
        4 => match dice.below(6) {
            0 => Action::Lists(Lists::Soon),
            1 => Action::Lists(Lists::Late),
            2 => Action::Lists([Lists::InPart, Lists::Refused][dice.below(2)]),
            3 => Action::Start {
                topics: 1 + dice.below(2),
                damage: None,
            },
            4 => Action::AnswerGone {
                which: dice.below(8),
                delivery: Delivery::Delivered,
            },
            _ => Action::AnswerTables { stale: dice.yes() },
        },
        _ => calm_action(dice),
    }
}

/// Some actions that belong together, so that short scripts come far.
fn losses(dice: &mut Dice<'_>, actions: &mut Vec<Action>) {
    match dice.below(16) {
        0..3 => actions.push(append(dice)),
        3..6 => {
            actions.push(Action::Connect { greeted: true });
            actions.push(Action::Read {
                lines: 1 + dice.below(8),
                chunk: 1 << 16,
            });
        }
        6 | 7 => {
            let batches = 1 + dice.below(4);
            // Notices are taken too.
            actions.push(Action::Take(batches + 2));
            actions.extend((0..batches).map(|_| Action::Answer {
                which: 0,
                delivery: Delivery::Delivered,
            }));
        }
        8 => actions.push(Action::Take(1 + dice.below(4))),
        9 => actions.push(Action::Save),
        10 => actions.push(match dice.below(3) {
            0 => Action::Stop { away: true },
            _ => Action::Crash {
                lands: dice.yes(),
                away: true,
            },
        }),
        11 => actions.push(Action::Start {
            topics: dice.below(3),
            damage: None,
        }),
        12 => actions.push(match dice.below(3) {
            0 => Action::Evict {
                server: 0,
                kept: dice.below(3),
            },
            _ => rebuild(dice),
        }),
        13 => actions.push(Action::Pass(pause(dice))),
        14 => actions.push(match dice.below(4) {
            0 => Action::BeginSave,
            1 => Action::Lists(Lists::Refused),
            2 => Action::Lists(Lists::Late),
            _ => Action::Cut,
        }),
        _ => actions.extend([
            answer(dice),
            Action::Wait,
            Action::Take(1),
            Action::AnswerAgain {
                which: dice.below(8),
                delivery: Delivery::Delivered,
            },
        ]),
    }
}

fn append(dice: &mut Dice<'_>) -> Action {
    let lines = [1, 1, 2, 3][dice.below(4)];
    Action::Append {
        step: 1 + dice.number(3),
        lines: (0..lines).map(|_| 1 + dice.below(2)).collect(),
        topic: [2, 1, 0, 0, 0][dice.below(5)],
    }
}

/// With the subscription of the run before: another one makes a gap.
fn start(dice: &mut Dice<'_>) -> Action {
    Action::Start {
        topics: 0,
        damage: match dice.below(4) {
            0 => Some(Damage::CutAt(dice.below(256))),
            1 => Some(Damage::Flipped(2 * dice.below(256))),
            _ => None,
        },
    }
}

fn rebuild(dice: &mut Dice<'_>) -> Action {
    Action::Rebuild {
        back: [u64::MAX, u64::MAX, 1, 0, 4][dice.below(5)],
    }
}

fn pause(dice: &mut Dice<'_>) -> Duration {
    match dice.below(6) {
        0 => Duration::from_secs(1),
        1 => PROOF_TIMEOUT - Duration::from_secs(1),
        2 => PROOF_TIMEOUT.max(FIRST_LINE_TIMEOUT),
        3 => LOWER_FOR,
        4 => UNDECIDED_TIMEOUT,
        _ => OLDER_LINES_TIMEOUT + Duration::from_secs(1),
    }
}

fn read(dice: &mut Dice<'_>) -> Action {
    Action::Read {
        lines: 1 + dice.below(4),
        chunk: [1 << 16, 1 << 16, 200, 17][dice.below(4)],
    }
}

fn refusal(dice: &mut Dice<'_>) -> Refusal {
    match dice.below(3) {
        0 => Refusal::Plain,
        1 => Refusal::LooksLikeSuccess,
        _ => Refusal::Silent,
    }
}

fn answer(dice: &mut Dice<'_>) -> Action {
    let one = dice.below(32);
    let (which, other) = (one % 8, dice.below(8));
    // One time in four something that goes with answers.
    match (one / 8, other) {
        (3, 0..4) => Action::Fail {
            which,
            times: 2 + other,
        },
        (3, 4) => Action::AnswerAgain {
            which,
            delivery: Delivery::Rejected,
        },
        (3, 5) => Action::AnswerAgain {
            which,
            delivery: Delivery::Delivered,
        },
        (3, _) => Action::Wait,
        (_, other) => Action::Answer {
            which,
            delivery: match other {
                0 => Delivery::Rejected,
                1 => Delivery::Errored,
                _ => Delivery::Delivered,
            },
        },
    }
}
