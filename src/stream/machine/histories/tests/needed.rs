//! Scripts in which a rule is needed that is seldom needed.

use std::time::Duration;

use crate::position::Delivery;
use crate::stream::machine::histories::rule::Rule;
use crate::stream::machine::histories::script::{Action, End, Script, Start};

/// The actions of a script, with some that often follow each other.
#[derive(Default)]
struct Actions(Vec<Action>);

impl Actions {
    /// Writes of one event each, so many indexes one after the other.
    fn append(mut self, steps: &[u64], topic: usize) -> Self {
        self.0.extend(steps.iter().map(|&step| Action::Append {
            step,
            lines: vec![1],
            topic,
        }));
        self
    }

    /// A connection, and all that comes through it.
    fn read(self) -> Self {
        self.and(Action::Connect { greeted: true })
            .and(Action::Read {
                lines: 8,
                chunk: 1 << 16,
            })
    }

    /// The host takes what there is, and so many batches are delivered.
    fn deliver(mut self, batches: usize) -> Self {
        self.0.push(Action::Take(8));
        self.0.extend((0..batches).map(|_| Action::Answer {
            which: 0,
            delivery: Delivery::Delivered,
        }));
        self
    }

    /// Another cluster, or an older state of it, of which index 5 is another one than was read. Index 3 is not seen.
    fn index_five_is_another_one(self) -> Self {
        self.append(&[5], 0)
            .read()
            .deliver(1)
            .and(Action::Save)
            .and(Action::Rebuild { back: 4 })
            .append(&[2, 2], 0)
            .read()
    }

    fn and(mut self, action: Action) -> Self {
        self.0.push(action);
        self
    }
}

/// One in which the rule is needed, if chance alone does not find one soon.
pub(super) fn script(rule: Rule) -> Option<Script> {
    let evict = Action::Evict { server: 0, kept: 0 };
    let crash = Action::Crash {
        lands: false,
        away: false,
    };
    let begin = Actions::default;
    let actions = match rule {
        // The index behind the last one is gone before anybody comes for it, and nothing else is written for a while.
        Rule::NoProofInTimeIsGap => begin()
            .append(&[1], 0)
            .read()
            .and(Action::Cut)
            .append(&[1], 0)
            .and(evict)
            .and(Action::Connect { greeted: true })
            .and(Action::Pass(Duration::from_secs(30)))
            .append(&[1], 0)
            .and(Action::Read {
                lines: 8,
                chunk: 1 << 16,
            }),
        // What came before the end would pass for a proof afterwards.
        Rule::UnprovenEndIsGap => begin().index_five_is_another_one().and(Action::Cut).read(),
        // The same, when the end is that of the process.
        Rule::DoubtIsKept => begin()
            .index_five_is_another_one()
            .deliver(1)
            .and(Action::Save)
            .and(crash)
            .read(),
        // The notice was with a host that died.
        Rule::OpenGapsAreToldAgain => begin()
            .append(&[1], 0)
            .read()
            .deliver(1)
            .and(Action::Cut)
            .append(&[1], 0)
            .and(evict)
            .append(&[1], 0)
            .read()
            .deliver(1)
            .and(Action::Save)
            .and(crash),
        Rule::AddedIsGap => begin()
            .append(&[1], 0)
            .append(&[1], 1)
            .append(&[1], 0)
            .read()
            .deliver(2)
            .and(Action::Stop { away: true })
            .and(Action::Start {
                topics: 2,
                damage: None,
            }),
        // Index 10 is answered when the new cluster is at index 1.
        Rule::OldEpochMovesNothing => begin()
            .append(&[9, 1], 0)
            .read()
            .deliver(1)
            .and(Action::Rebuild { back: u64::MAX })
            .append(&[1], 0)
            .read()
            .and(Action::Pass(Duration::from_secs(61)))
            .read()
            .deliver(1),
        _ => return None,
    };
    Some(of(actions))
}

/// A connection shows half of index 5, the next one all of it.
pub(super) fn doubtful_lines_come_again() -> Script {
    let actions = Actions::default()
        .append(&[5, 1], 0)
        .and(Action::Connect { greeted: true })
        .and(Action::Read {
            lines: 1,
            chunk: 1 << 16,
        })
        .deliver(1)
        .and(Action::Rebuild { back: 4 })
        .and(Action::Append {
            step: 3,
            lines: vec![1, 1],
            topic: 0,
        })
        .and(Action::Evict { server: 0, kept: 1 })
        .read()
        .deliver(1)
        .and(Action::Cut)
        .and(Action::Restart {
            server: 0,
            kept: 2,
            early: false,
        })
        .read()
        .deliver(1)
        .and(Action::Save);
    of(actions)
}

/// Index 2 is evicted, a crash follows, and the cluster that is there afterwards has evicted index 2, too. The one before was at 5.
pub(super) fn a_rebuilt_cluster_has_the_same_gap() -> Script {
    let evict = Action::Evict { server: 0, kept: 0 };
    let actions = Actions::default()
        .append(&[1], 0)
        .read()
        .deliver(1)
        .and(Action::Save)
        .and(Action::Cut)
        .append(&[1], 0)
        .and(evict.clone())
        .append(&[1], 0)
        .read()
        .and(Action::Save)
        .and(Action::Crash {
            lands: false,
            away: false,
        })
        .deliver(0)
        .append(&[1, 1], 0)
        .and(Action::Rebuild { back: u64::MAX })
        .append(&[2], 0)
        .and(evict)
        .append(&[1, 3], 0)
        .read()
        .deliver(2)
        .and(Action::Save);
    of(actions)
}

fn of(actions: Actions) -> Script {
    Script {
        start: Start::Nothing,
        servers: 1,
        topics: 1,
        queue_bytes: 1 << 20,
        actions: actions.0,
        end: End::Settle(Duration::ZERO),
    }
}
