//! What the exit codes mean. Written in the README too.

use std::process::ExitCode;

/// How a command ended. Code 2, for arguments that cannot be read, is given by the parser of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done; after a stop signal: everything that was taken was answered for.
    Success,
    /// Something failed that no configuration could have shown.
    Failure,
    /// Stopped, and the time for stopping was over before every event was answered for (`EX_TEMPFAIL`).
    Unanswered,
    /// The configuration cannot be used (`EX_CONFIG`, as Vector has it).
    Config,
}

/// A second stop signal ends the process at once with this code, as a shell reports an interrupt.
pub(super) const SECOND_SIGNAL: i32 = 130;

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Unanswered => 75,
            Exit::Config => 78,
        })
    }
}
