//! Random histories of servers that cut, forget, replay, lag, refuse and lose their cluster, and of hosts that answer late, in
//! any order or not at all: judged by the promises of [`invariants`](crate::invariants).

mod rule;
mod script;
mod world;

pub(crate) use rule::Rule;
pub(crate) use script::{Script, Weather};
pub(crate) use world::World;

use crate::invariants::{History, Seen};

/// What is seen when these bytes are played as a script.
pub(crate) fn play(bytes: &[u8], weather: Weather, without: Option<Rule>) -> (Script, History) {
    let script = Script::of(bytes, weather);
    let mut world = World::new(&script, without);
    if weather == Weather::Calm {
        // A first line is taken, so there is something to prove by.
        for action in [
            script::Action::Append {
                step: 1,
                lines: vec![1],
                matches: true,
            },
            script::Action::Connect { greeted: true },
            script::Action::Read {
                lines: 1,
                chunk: 1 << 16,
            },
        ] {
            world.act(&action);
        }
    }
    let history = world.run(&script);
    (script, history)
}

/// Only a reason to suspect a loss makes a gap.
pub(crate) fn no_gap(history: &History) -> Result<(), String> {
    let gap = history
        .seen
        .iter()
        .find(|seen| matches!(seen, Seen::Gap { .. }));
    gap.map_or(Ok(()), |gap| Err(format!("announced for nothing: {gap:?}")))
}

#[cfg(test)]
mod tests;
