//! Random histories of servers that cut, forget, replay, lag, refuse and lose their cluster, of hosts that answer late, in any
//! order or not at all, and of processes that crash, stop and begin again with what they saved: judged by the promises of [`invariants`](crate::invariants).

mod rule;
mod script;
mod world;

use rule::Rule;
use script::{Script, Weather};
use world::World;

use crate::invariants::{History, Seen};

/// What is seen when these bytes are played as a script.
fn play(bytes: &[u8], weather: Weather, without: Option<Rule>) -> (Script, History) {
    let script = Script::of(bytes, weather);
    let mut world = World::new(&script, without);
    if weather == Weather::Calm {
        // A first line is taken, so there is something to prove by.
        for action in [
            script::Action::Append {
                step: 1,
                lines: vec![1],
                topic: 0,
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
fn no_gap(history: &History) -> Result<(), String> {
    let gap = history
        .seen
        .iter()
        .find(|seen| matches!(seen, Seen::Gap { .. }));
    gap.map_or(Ok(()), |gap| Err(format!("announced for nothing: {gap:?}")))
}

/// Plays a script for a fuzzer. The first byte chooses the weather.
pub(crate) mod fuzzing {
    use super::{Weather, no_gap, play as play_script};

    /// Plays these bytes.
    ///
    /// # Panics
    ///
    /// When a promise does not hold.
    pub(crate) fn play(data: &[u8]) {
        let Some((first, script)) = data.split_first() else {
            return;
        };
        let weather = match first % 3 {
            0 => Weather::Any,
            1 => Weather::Calm,
            _ => Weather::Losses,
        };
        let (script, history) = play_script(script, weather, None);
        let holds = history.check();
        assert!(holds.is_ok(), "{holds:?}\n{script:?}\n{history:?}");
        if weather == Weather::Calm {
            let holds = no_gap(&history);
            assert!(holds.is_ok(), "{holds:?}\n{script:?}\n{history:?}");
        }
    }
}

#[cfg(test)]
mod tests;
