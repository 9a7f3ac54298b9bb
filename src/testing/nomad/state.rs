//! What the connections of a fake server share: its history, its settings, its script, and what was seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::access::{Access, Acls, Caller};
use super::history::{Found, History, Place};
use super::line::Line;
use super::lists::Lists;
use super::request::SeenRequest;
use super::script::{Command, Script};
use super::shuffle::shuffled;
use super::subscription::Subscription;
use super::version::{Answer, Version};
use crate::testing::DeadlinePassed;
use crate::testing::tls::ServerTls;

/// So many requests are remembered; older ones are forgotten.
const MAX_SEEN_REQUESTS: usize = 10_000;

/// So many ended streams are remembered.
const MAX_ENDED_STREAMS: usize = 1_000;

/// A stream takes this many commands before it has obeyed the first.
const MAX_COMMANDS: usize = 16;

/// What does not change while the fake lives.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) version: Version,
    pub(super) buffer_size: usize,
    pub(super) heartbeat: Duration,
    pub(super) eof_delay: Duration,
    pub(super) write_timeout: Duration,
    pub(super) region: String,
    pub(super) event_broker: bool,
    pub(super) tls: Option<ServerTls>,
    pub(super) unix_socket: Option<PathBuf>,
    /// Where the order of maps comes from, when it is to change.
    pub(super) map_order: Option<u64>,
}

/// Shared by all connections.
pub(super) struct Shared {
    pub(super) settings: Settings,
    state: Mutex<State>,
    map_order: Option<Mutex<StdRng>>,
    /// Changes with every line that is written or forgotten.
    lines: watch::Sender<()>,
    /// Changes with everything that a test can wait for.
    seen: watch::Sender<()>,
}

/// What changes.
pub(super) struct State {
    pub(super) history: History,
    pub(super) lists: Lists,
    /// `None`: a cluster without ACLs.
    pub(super) acls: Option<Acls>,
    pub(super) denied: BTreeSet<String>,
    pub(super) scripts: VecDeque<Script>,
    pub(super) replay: Option<Vec<Arc<Line>>>,
    pub(super) requests: VecDeque<SeenRequest>,
    pub(super) streams: BTreeMap<u64, StreamState>,
    /// Serial after the newest line that some stream has sent, or passed over.
    pub(super) sent_through: u64,
    next_stream: u64,
}

/// What is known of a stream, also when it has ended.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) open: bool,
    pub(super) batches: u64,
    pub(super) last_index: Option<u64>,
    pub(super) commands: mpsc::Sender<Command>,
}

/// A subscription that was granted.
pub(super) struct Granted {
    pub(super) id: u64,
    pub(super) subscription: Subscription,
    pub(super) place: Place,
    pub(super) replay: VecDeque<Arc<Line>>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// A subscription that was not.
pub(super) enum Refused {
    /// Found wrong before anything else, so every version says it.
    Request(Answer),
    /// Found by the server behind the agent; versions that hijack have said 200 by then.
    Subscription(Answer),
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let state = State {
            history: History::new(settings.buffer_size),
            lists: Lists::new(),
            acls: None,
            denied: BTreeSet::new(),
            scripts: VecDeque::new(),
            replay: None,
            requests: VecDeque::new(),
            streams: BTreeMap::new(),
            sent_through: 0,
            next_stream: 0,
        };
        Self {
            map_order: (settings.map_order).map(|seed| Mutex::new(StdRng::seed_from_u64(seed))),
            settings,
            state: Mutex::new(state),
            lines: watch::Sender::new(()),
            seen: watch::Sender::new(()),
        }
    }

    /// The state, for one look or one change. Never held over an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole when a panic could come, so a poisoned lock is as good as another.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes everybody.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.lines.send_replace(());
        self.seen.send_replace(());
        result
    }

    /// Tells of new lines.
    pub(super) fn watch_lines(&self) -> watch::Receiver<()> {
        self.lines.subscribe()
    }

    /// Remembers a request.
    pub(super) fn note_request(&self, request: SeenRequest) {
        {
            let requests = &mut self.state().requests;
            if requests.len() >= MAX_SEEN_REQUESTS {
                requests.pop_front();
            }
            requests.push_back(request);
        }
        self.seen.send_replace(());
    }

    /// Why an ordinary request is refused, if it is.
    pub(super) fn refusal(&self, request: &SeenRequest) -> Option<Answer> {
        let state = self.state();
        let region = request.query_value("region").unwrap_or_default();
        if request.path != "/v1/regions" && !region.is_empty() && region != self.settings.region {
            return Some(Answer::error(500, "No path to region"));
        }
        if state.denied.contains(&request.path) {
            return Some(Answer::error(403, "Permission denied"));
        }
        if !request.is_stream() {
            return state.caller(request).refusal(request);
        }
        None
    }

    /// The answer to an ordinary request that is permitted.
    pub(super) fn answer(&self, request: &SeenRequest) -> Answer {
        let state = self.state();
        let caller = state.caller(request);
        match request.path.as_str() {
            "/v1/agent/self" => Answer::json(format!(
                r#"{{"config":{{"Region":"{}","Server":{{"Enabled":true,"EnableEventBroker":{}}}}},"member":{{}},"stats":{{}}}}"#,
                self.settings.region, self.settings.event_broker,
            )),
            "/v1/regions" => Answer::json(format!(r#"["{}"]"#, self.settings.region)),
            "/v1/acl/token/self" => state.lists.with_meta(request, caller.identity()),
            _ => state
                .lists
                .answer(request, &|namespace| caller.sees(namespace)),
        }
    }

    /// Grants or refuses a stream.
    pub(super) fn subscribe(&self, request: &SeenRequest) -> Result<Granted, Refused> {
        if request.method != "GET" {
            return Err(Refused::Request(Answer::error(405, "Invalid method")));
        }
        let subscription = {
            let state = self.state();
            Subscription::from_query(&request.query, state.lists.namespaces())
                .map_err(|text| Refused::Request(Answer::error(400, text)))?
        };
        // Set before anything can go wrong, so an error of 1.11.1 has it too.
        let refused =
            |answer: Answer| Refused::Subscription(answer.header("Cache-Control", "no-cache"));
        if let Some(answer) = self.refusal(request) {
            return Err(refused(answer));
        }
        let may = {
            let state = self.state();
            let caller = state.caller(request);
            caller.may_subscribe(&subscription.topics(), &subscription.namespaces())
        };
        if !may {
            return Err(refused(Answer::error(403, "Permission denied")));
        }
        if !self.settings.event_broker {
            return Err(refused(Answer::error(500, "EventBroker not configured")));
        }
        Ok(self.change(|state| state.grant(subscription, self.settings.buffer_size)))
    }

    /// A line as it is written this time.
    pub(super) fn in_some_order(&self, line: Bytes) -> Bytes {
        match &self.map_order {
            None => line,
            Some(random) => {
                let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
                shuffled(&line, &mut random)
            }
        }
    }

    /// The next line of a stream; nothing when there is none yet.
    pub(super) fn find(&self, place: Place) -> Found {
        self.state().history.find(place)
    }

    /// A stream has sent a batch.
    pub(super) fn note_batch(&self, id: u64, index: u64) {
        if let Some(stream) = self.state().streams.get_mut(&id) {
            stream.batches += 1;
            stream.last_index = Some(index);
        }
        self.seen.send_replace(());
    }

    /// A stream is done with all lines before `place`.
    pub(super) fn note_place(&self, place: Place) {
        {
            let mut state = self.state();
            state.sent_through = state.sent_through.max(place.next);
        }
        self.seen.send_replace(());
    }

    /// A stream has ended, or its client has left.
    pub(super) fn note_end(&self, id: u64) {
        {
            let mut state = self.state();
            if let Some(stream) = state.streams.get_mut(&id) {
                stream.open = false;
            }
            let ended = |state: &State| state.streams.values().filter(|s| !s.open).count();
            while ended(&state) > MAX_ENDED_STREAMS {
                let oldest = state
                    .streams
                    .iter()
                    .find(|(_, s)| !s.open)
                    .map(|(&id, _)| id);
                oldest.and_then(|id| state.streams.remove(&id));
            }
        }
        self.seen.send_replace(());
    }

    /// Waits until the state is as wanted.
    ///
    /// # Errors
    ///
    /// It was not, for as long as `within`.
    pub(super) async fn wait(
        &self,
        what: String,
        within: Duration,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<(), DeadlinePassed> {
        let mut seen = self.seen.subscribe();
        let waiting = async {
            // The sender is ours, so it cannot be gone.
            while !wanted(&self.state()) && seen.changed().await.is_ok() {}
        };
        timeout(within, waiting)
            .await
            .map_err(|_| DeadlinePassed { what, within })
    }
}

impl State {
    /// Who a request comes from.
    pub(super) fn caller(&self, request: &SeenRequest) -> Caller<'_> {
        self.acls
            .as_ref()
            .map_or(Caller::AclsOff, |acls| acls.caller(request))
    }

    /// Gives a token these rights; that turns ACLs on.
    pub(super) fn grant_access(&mut self, token: &str, access: Access) {
        self.acls.get_or_insert_default().set(token, access);
    }

    /// Adds a line to the history.
    pub(super) fn append(&mut self, line: Arc<Line>) {
        self.lists.note(&line);
        self.history.push(line);
    }

    /// Streams that nobody has closed, on either side.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.values().filter(|stream| stream.open).count()
    }

    fn grant(&mut self, subscription: Subscription, buffer_size: usize) -> Granted {
        let id = self.next_stream;
        self.next_stream += 1;
        let replay = self.replay.take().unwrap_or_default();
        let place = if replay.is_empty() {
            self.history.start_at(subscription.index)
        } else {
            // The buffer is empty when this client comes, so its index means nothing; it sees the log applied again, from
            // the first line. Whoever comes later finds what the buffer kept of it.
            self.history.evict_all();
            let kept = replay.len().saturating_sub(buffer_size.saturating_add(1));
            for line in &replay {
                self.lists.note(line);
            }
            for line in replay.iter().skip(kept) {
                self.history.push(Arc::clone(line));
            }
            Place {
                next: self.history.end(),
                holds_one: true,
            }
        };
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        self.streams.insert(
            id,
            StreamState {
                open: true,
                batches: 0,
                last_index: None,
                commands: sender,
            },
        );
        Granted {
            id,
            subscription,
            place,
            replay: replay.into(),
            commands,
        }
    }
}
