//! Servers, a network, the machine, the outbox, a disk and a host: what a script does to them, and what is seen of it.
//!
//! What stands between the machine and the outbox in production is the driver, which waits and cannot run here; the few lines
//! of it that decide something stand here again.

mod cluster;
mod host;
mod runs;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use self::cluster::{Cluster, LogLine};
use self::host::Host;
use self::runs::Runs;
use self::wire::Wire;
use super::super::{Input, Machine, Output, PROOF_TIMEOUT, Rules};
use super::rule::{Rule, Ruled};
use super::script::{Action, End, Lists, Script, Start};
use crate::checkpoint::{GapCause, OpenGap};
use crate::event::{BatchId, Event, RaftIndex};
use crate::invariants::{History, Range, Seen, Written};
use crate::nomad::Tables;
use crate::payload::time::{EventTime, TimeSource};
use crate::position::proof::ProofKey;
use crate::position::{Delivery, Epoch, Position};
use crate::stream::machine::doubt::LOWER_FOR;
use crate::stream::notice::{Gap, IndexReset, Notice, NoticeKind};
use crate::stream::outbox::{Outbox, kept_bytes};

/// A list that answers soon does so after this.
const LIST_DELAY: Duration = Duration::from_millis(200);

/// No passing of time has more moments at which something is due.
const MAX_MOMENTS: usize = 100;

pub(crate) struct World {
    machine: Ruled,
    outbox: Arc<Outbox>,
    without: Option<Rule>,
    queue_bytes: usize,
    /// The machine's clock. It stands still while nothing is read.
    now: Duration,
    /// The outbox's clock, which does not.
    clock: Duration,
    history: History,
    cluster: Cluster,
    wire: Wire,
    runs: Runs,
    host: Host,
    /// How lists answer.
    lists: Lists,
    /// The machine waits for the tables' indexes, which were these when it asked, and come at this moment.
    asked: Option<(Tables, Option<Duration>)>,
}

impl World {
    pub(crate) fn new(script: &Script, without: Option<Rule>) -> Self {
        let rules = Rules {
            endpoints: script.servers,
            backoff_max: Duration::from_secs(30),
            proof_key: ProofKey::new(0),
        };
        let mut world = Self {
            machine: Ruled::new(
                Machine::new(rules, crate::stream::mark::Mark::Nothing),
                without,
            ),
            outbox: Outbox::new(script.queue_bytes, None),
            without,
            queue_bytes: script.queue_bytes,
            now: Duration::from_secs(1000),
            clock: Duration::ZERO,
            history: History::default(),
            cluster: Cluster::new(script.servers),
            wire: Wire::default(),
            runs: Runs::new(rules, script.start),
            host: Host::default(),
            lists: Lists::Soon,
            asked: None,
        };
        if let Start::Latest(lines) = script.start {
            (0..lines).for_each(|_| world.cluster.append(2, &[1], 0));
        }
        world.begin(script.topics);
        world
    }

    /// Does what the script says, and gives what was seen.
    pub(crate) fn run(mut self, script: &Script) -> History {
        for action in &script.actions {
            self.act(action);
        }
        match script.end {
            End::Stop => self.stop(),
            End::Settle(silent) => self.settle(silent),
        }
        self.history.written = self.written();
        self.history
    }

    pub(crate) fn act(&mut self, action: &Action) {
        match *action {
            Action::Append {
                step,
                ref lines,
                topic,
            } => self.cluster.append(step, lines, topic),
            Action::Read { lines, chunk } => self.read(lines, chunk),
            Action::CutInside(at) => self.cut_inside(at),
            Action::Garble(how) => self.garble(how),
            Action::Heartbeat => self.heartbeat(),
            Action::Cut => self.cut(),
            Action::Connect { greeted } => self.connect(greeted),
            Action::Refuse(how) => self.refuse(how),
            Action::Evict { server, kept } => self.evict(server, kept),
            Action::Restart {
                server,
                kept,
                early,
            } => self.fail(server, 0, kept, early),
            Action::Lag {
                server,
                lacks,
                kept,
            } => self.fail(server, lacks, kept, false),
            Action::CatchUp { server, lines } => self.cluster.catch_up(server, lines),
            Action::Rebuild { back } => self.rebuild(back),
            Action::Pass(time) => self.pass(time),
            Action::Lists(lists) => self.lists = lists,
            Action::AnswerTables { stale } => self.tables_answer(stale),
            Action::Take(items) => (0..items).for_each(|_| {
                self.take();
            }),
            Action::Answer { which, delivery } => self.answer(which, delivery),
            Action::AnswerTooEarly => {
                if self.host.waits_for_batches() {
                    let next = BatchId(self.host.last_id + 1);
                    self.outbox.resolve(self.clock, next, Delivery::Rejected);
                    self.attend();
                }
            }
            Action::AnswerAgain { which, delivery } => self.answer_again(which, delivery),
            Action::Fail { which, times } => self.fail_again(which, times),
            Action::Wait => {
                self.wait();
            }
            Action::Save => self.save(),
            Action::BeginSave => self.begin_save(),
            Action::Crash { lands, away } => self.crash(lands, away),
            Action::Stop { away } => {
                self.stop();
                if !away {
                    self.begin(0);
                }
            }
            Action::Start { topics, damage } => self.start(topics, damage),
            Action::AnswerGone { which, delivery } => self.answer_gone(which, delivery),
        }
    }

    // --- what the driver does ---

    fn step(&mut self, input: Input, line_bytes: usize) {
        let outputs = self.machine.step(self.now, input);
        if let Some(known) = self.machine.machine.namespaces_to_save() {
            self.outbox.note_namespaces(known);
        }
        for output in outputs {
            match output {
                Output::Connect {
                    endpoint, index, ..
                } => {
                    self.asked = None;
                    self.wire.want(endpoint, index);
                }
                Output::Emit(batch) => {
                    let time = EventTime {
                        nanos: 0,
                        source: TimeSource::Receipt,
                    };
                    let index = batch.index;
                    let events: Vec<Event> = batch
                        .events
                        .into_iter()
                        .map(|event| event.dated(index, time))
                        .collect();
                    let first = host::name(&events[0]);
                    self.cluster.emits(first);
                    if std::mem::take(&mut self.runs.anew) {
                        self.history.seen.push(Seen::Follows { since: first });
                    }
                    let filter_keys = events.iter().map(|event| &event.filter_keys);
                    let kept = kept_bytes(line_bytes, filter_keys);
                    self.runs.has_proofs = true;
                    self.host.note_pushed(kept, self.wire.connections);
                    self.outbox.push_batch(index, events, line_bytes, None);
                }
                Output::Gap(gap) => {
                    if self.host.gap_waits && self.machine.lacks(Rule::GapsAreMerged) {
                        let _ = self.poll();
                    }
                    if self.outbox.open_gap(self.kept(&gap)) {
                        self.tell_gap(gap);
                    } else {
                        let (from, to) = (gap.from, gap.to);
                        self.history.seen.push(Seen::GapKnown(Range { from, to }));
                    }
                }
                Output::StartMark(index) => self.first_line(index),
                Output::Doubt(from) => {
                    let gap = Gap::of_all(from, None, GapCause::Unproven);
                    if !self.machine.lacks(Rule::DoubtIsKept) {
                        self.outbox.suspect(self.kept(&gap));
                    }
                }
                Output::Continuous(from) => self.outbox.close_doubt(from),
                Output::AskTables { .. } => {
                    let at = (self.lists != Lists::Late).then_some(self.now + LIST_DELAY);
                    self.asked = Some((self.tables(), at));
                }
                Output::Reset { from, to } => self.reset(from, to),
                Output::Connected { endpoint, .. } => self.came_upon(endpoint),
                Output::Duplicates(_)
                | Output::Disconnected { .. }
                | Output::NamespacesAdded(_)
                | Output::OnlyOlderLines { .. } => {}
            }
        }
        self.look();
    }

    fn kept(&self, gap: &Gap) -> OpenGap {
        OpenGap {
            epoch: self.outbox.positions().read.epoch,
            from: gap.from,
            to: gap.to,
            cause: gap.cause,
            namespace: None,
            topics_left: self.runs.subscription().topics,
            newest: None,
        }
    }

    fn tell_gap(&mut self, gap: Gap) {
        self.host.gap_waits = true;
        self.tell(gap.to.unwrap_or(gap.from), NoticeKind::Gap(gap));
    }

    fn tell(&self, index: RaftIndex, kind: NoticeKind) {
        let at = 0;
        self.outbox.push_notice(Notice { at, index, kind });
    }

    fn reset(&mut self, from: RaftIndex, to: Option<RaftIndex>) {
        let gap = Gap::of_all(RaftIndex(0), None, GapCause::IndexReset);
        let (epoch, gaps_given_up) = self.outbox.begin_epoch(self.kept(&gap));
        self.runs.reset = Some(Range {
            from: gap.from,
            to: gap.to,
        });
        self.runs.anew = true;
        self.runs.began_in.insert(epoch, self.cluster.number);
        self.history.seen.push(Seen::EpochBegan(epoch));
        if self.machine.lacks(Rule::ResetIsTold) {
            return;
        }
        let reset = IndexReset {
            epoch,
            from,
            to,
            gaps_given_up,
        };
        self.tell(from, NoticeKind::IndexReset(reset));
        self.tell_gap(gap);
    }

    /// A server has said yes. What it has at this moment is there for a source that begins.
    fn came_upon(&mut self, server: usize) {
        if !std::mem::replace(&mut self.runs.follows, true) {
            let since = self.cluster.first_event(server);
            self.history.seen.push(Seen::Follows { since });
        }
    }

    /// What the tables say of all topics that are asked for.
    fn tables(&self) -> Tables {
        let in_part = self.lists == Lists::InPart;
        let topics = if in_part { 1 } else { self.runs.asked_topics() };
        Tables {
            newest: RaftIndex(self.cluster.newest(topics)),
            complete: !in_part,
        }
    }

    fn tables_answer(&mut self, stale: bool) {
        if self.wire.is_blocked() {
            return;
        }
        if let Some((then, _)) = self.asked.take() {
            let now = if stale { then } else { self.tables() };
            let refused = self.lists == Lists::Refused;
            let mark = self.machine.machine.mark.index();
            if !refused && now.complete && now.newest == mark {
                self.tables_show_nothing();
            }
            self.step(Input::Tables((!refused).then_some(now)), 0);
        }
    }

    /// The machine's clock stands still while nothing is read.
    fn pass(&mut self, time: Duration) {
        self.clock += time;
        self.attend();
        if self.wire.is_blocked() || !self.runs.up {
            return;
        }
        let until = self.now + time;
        for _ in 0..MAX_MOMENTS {
            let deadline = self.machine.machine.deadline();
            let answer = self.asked.and_then(|(_, at)| at);
            // What has come is looked at before a deadline is.
            if let Some(at) = answer
                && at <= until
                && deadline.is_none_or(|deadline| at <= deadline)
            {
                self.now = self.now.max(at);
                self.tables_answer(false);
            } else if let Some(at) = deadline
                && at <= until
            {
                self.now = self.now.max(at);
                self.step(Input::Deadline, 0);
            } else {
                self.now = until;
                return;
            }
        }
        // One that stays due would keep the driver busy for ever.
        panic!("{:?}", self.machine);
    }

    // --- the end ---

    /// Everything that can still come has come, after some silence, and what was suspected has been said: before a first line
    /// was taken that is when one comes.
    fn settle(&mut self, silent: Duration) {
        self.start(0, None);
        self.lists = Lists::Soon;
        self.cut();
        self.drain();
        self.cluster.all_catch_up();
        self.connect(true);
        self.drain();
        self.pass(silent);
        self.cluster.append(1, &[1], 0);
        self.read_all();
        // Twice, since a reset makes another connection.
        for _ in 0..2 {
            self.pass(PROOF_TIMEOUT + LOWER_FOR * 2);
            self.connect(true);
            self.read_all();
        }
        let read = self.outbox.positions().read;
        let newest = RaftIndex(self.cluster.newest(usize::MAX));
        // A user may ask for an index that is still to come.
        let asked_for = matches!(self.runs.start, Start::From(from) if read == at(RaftIndex(from)));
        assert!(
            read.index <= newest || asked_for,
            "{read} is none of the cluster"
        );
        // Nothing that lies behind it is claimed, so it is the newest that has to be answered for.
        self.cluster.append(1, &[1], 0);
        self.read_all();
        self.save();
        self.history.seen.push(Seen::Settled);
        let status = self.outbox.status(tokio::time::Instant::now());
        assert_eq!(self.host.told_lost, status.rejected_events, "not told");
    }

    fn read_all(&mut self) {
        self.read(usize::MAX, 1 << 16);
        self.drain();
    }

    fn written(&self) -> Vec<Written> {
        let wanted = |line: &LogLine| {
            let of_start = match self.runs.start {
                // Where indexes began anew, all is.
                _ if line.cluster > 0 => true,
                Start::Nothing => true,
                // Its own lines may be evicted before they are read.
                Start::From(from) => line.index > from,
                Start::Latest(lines) => line.index > 2 * lines as u64,
            };
            let mut marks = self.runs.marks.iter();
            of_start
                && !line.cannot_be_missed
                && !marks.any(|(cluster, mark)| line.cluster == *cluster && line.index <= *mark)
        };
        let mut written = Vec::new();
        for line in &self.cluster.log {
            written.extend(line.events.iter().map(|&event| Written {
                index: RaftIndex(line.index),
                event,
                topic: line.topic,
                wanted: wanted(line),
                cluster: line.cluster,
            }));
        }
        written
    }
}

/// A place before any reset.
fn at(index: RaftIndex) -> Position {
    Position {
        epoch: Epoch::default(),
        index,
    }
}
