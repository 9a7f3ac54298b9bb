//! Random scripts of what servers, the network, the clock and a host do, made of bytes: so the same model serves property
//! tests, seeds that are committed, and fuzzers.

mod dice;

use std::time::Duration;

use crate::position::Delivery;

/// What happens, from the first connect on.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) start: Start,
    pub(crate) servers: usize,
    /// The first run subscribes to the first so many topics.
    pub(crate) topics: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) actions: Vec<Action>,
    pub(crate) end: End,
}

/// Where the machine is told to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Nothing,
    From(u64),
    /// Behind what there is, which is of so many lines.
    Latest(usize),
}

/// How a script ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The host stops, wherever things stand.
    Stop,
    /// Everything that can still come comes, after so much silence, and is answered.
    Settle(Duration),
}

/// What servers, the network, the clock and the host do.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A write, in one to three lines of one index (CSI claims make more than two), of so many events each, all of one topic.
    Append {
        step: u64,
        lines: Vec<usize>,
        topic: usize,
    },
    /// So many lines reach us, in reads of so many bytes.
    Read {
        lines: usize,
        chunk: usize,
    },
    /// A line reaches us in part, and then the end.
    CutInside(usize),
    /// A line reaches us that cannot be taken.
    Garble(Garbled),
    Heartbeat,
    Cut,
    /// A subscription is accepted. Servers before 1.0.7 send no `{}` at once.
    Connect {
        greeted: bool,
    },
    Refuse(Refusal),
    /// All but so many of the newest lines are forgotten by one server.
    Evict {
        server: usize,
        kept: usize,
    },
    /// One server starts anew, with so many lines, and replays them from the first on to a client that comes early.
    Restart {
        server: usize,
        kept: usize,
        early: bool,
    },
    /// One server falls behind by so many lines, and has kept so many.
    Lag {
        server: usize,
        lacks: usize,
        kept: usize,
    },
    /// One server gets lines that it lacks.
    CatchUp {
        server: usize,
        lines: usize,
    },
    /// The cluster is lost and made anew, or an older state of it is put in its place: indexes go on from so many before the
    /// newest.
    Rebuild {
        back: u64,
    },
    Pass(Duration),
    /// How lists answer that are asked for the tables' indexes, from now on.
    Lists(Lists),
    /// One that is late answers, with what there is now, or there was when it was asked.
    AnswerTables {
        stale: bool,
    },
    /// The host takes so many items.
    Take(usize),
    /// The host answers one of the batches that it has taken.
    Answer {
        which: usize,
        delivery: Delivery,
    },
    /// The host answers for a batch that it has not been given.
    AnswerTooEarly,
    /// The host answers once more for a batch that it has answered for.
    AnswerAgain {
        which: usize,
        delivery: Delivery,
    },
    /// A sink fails so many times with the same batch, each as soon as it comes.
    Fail {
        which: usize,
        times: usize,
    },
    /// Time passes, for the host alone, until something is due again.
    Wait,
    /// The state is saved.
    Save,
    /// The state is being written as it is now. It is on disk with the next save.
    BeginSave,
    /// The process is gone. What was being written is there, or not. Another one begins at once, or is away for a while.
    Crash {
        lands: bool,
        away: bool,
    },
    /// The host stops.
    Stop {
        away: bool,
    },
    /// A process that was away begins, with a subscription to the first so many topics; 0: to as many as the one before. The file
    /// may be damaged at first.
    Start {
        topics: usize,
        damage: Option<Damage>,
    },
    /// A host answers for a batch of a run that has stopped.
    AnswerGone {
        which: usize,
        delivery: Delivery,
    },
}

/// How lists answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lists {
    /// Soon.
    Soon,
    /// When the script says so.
    Late,
    /// One of them cannot be read.
    InPart,
    /// Not, as without the right to read them.
    Refused,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    /// It ends here.
    CutAt(usize),
    /// One byte is another one.
    Flipped(usize),
}

/// Why a line cannot be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Garbled {
    NotJson,
    TooLong,
    /// With its index out of sight.
    FarTooLong,
}

/// How a subscription is not accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// Nobody listens, or the status says no.
    Plain,
    /// 200, and then the end: from 1.11.2 on.
    LooksLikeSuccess,
    /// 200, and then nothing.
    Silent,
}

/// Which actions are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything.
    Any,
    /// What happens in the life of servers that forget nothing.
    Calm,
    /// Processes and clusters that are lost, and little else.
    Losses,
}
