//! Runs one after another over one saved position, against fake servers in memory, with a paused clock: what comes again, what is
//! missing, what is said of it, and what stands in the file.

mod answers;
mod files;
mod gaps;
mod marks;
mod probes;
mod proofs;
mod resets;
mod subscriptions;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, timeout, timeout_at};

use crate::checkpoint::{Folder, OpenGap, State};
use crate::event::{BatchId, RaftIndex};
use crate::nomad::memory::Fakes;
use crate::options::{Options, Settings};
use crate::payload::time::EventTime;
use crate::position::{Delivery, Epoch, Taken};
use crate::stream::{Acknowledger, EventStream, Item};
use crate::testing::nomad::{BatchText, EventText, FakeNomad, SeenRequest};

/// Nothing in these tests takes longer on the paused clock; only a failure does.
const PATIENCE: Duration = Duration::from_secs(900);

/// What a host gives a stop.
const STOP: Duration = Duration::from_secs(4);

/// A line with one event of a job, told apart by its status.
fn job(index: u64, status: &str) -> BatchText {
    BatchText::new(index).event(event("Job", status))
}

/// An event, told apart by its status.
fn event(topic: &str, status: &str) -> EventText {
    let namespace = if topic == "Node" { "" } else { "default" };
    EventText::new(topic, "JobRegistered", "web")
        .namespace(namespace)
        .payload(format!(r#"{{"{topic}":{{"Status":"{status}"}}}}"#))
}

/// Servers of one region or of several, and the folder in which a position is saved.
struct Site {
    data: TempDir,
    servers: Vec<Arc<FakeNomad>>,
}

impl Site {
    /// One server with these lines.
    async fn with(lines: impl IntoIterator<Item = BatchText>) -> Self {
        let mut site = Self {
            data: TempDir::new().unwrap(),
            servers: Vec::new(),
        };
        site.add(lines).await;
        site
    }

    /// Another server.
    async fn add(&mut self, lines: impl IntoIterator<Item = BatchText>) -> &FakeNomad {
        self.add_of_region("global", lines).await
    }

    async fn add_of_region(
        &mut self,
        region: &str,
        lines: impl IntoIterator<Item = BatchText>,
    ) -> &FakeNomad {
        let lines = lines.into_iter().map(|line| line.to_bytes().unwrap());
        let server = FakeNomad::builder()
            .region(region)
            .buffer_size(1000)
            .lines(lines)
            .start()
            .await
            .unwrap();
        self.servers.push(Arc::new(server));
        self.servers.last().unwrap()
    }

    /// The first server.
    fn server(&self) -> &FakeNomad {
        &self.servers[0]
    }

    fn folder(&self) -> Folder {
        Folder::of(self.data.path(), "nomad").unwrap()
    }

    /// What is saved.
    fn saved(&self) -> State {
        self.folder().read().unwrap().expect("nothing is saved")
    }

    /// Settings of a source at the first server.
    fn settings(&self, options: &str) -> Settings {
        self.settings_at(&self.servers[..1], options)
    }

    fn settings_at(&self, servers: &[Arc<FakeNomad>], options: &str) -> Settings {
        let mut options: Options = serde_json::from_str(options).unwrap();
        options.endpoints = Some(servers.iter().map(|server| server.url()).collect());
        let mut settings = options.settings(|_| None).unwrap();
        settings
            .keep_position(Some(self.data.path()), "nomad")
            .unwrap();
        settings
    }

    /// Starts a run at the first server. Each batch is delivered.
    fn start(&self, options: &str) -> Run {
        self.run(self.settings(options))
    }

    /// The same at another server.
    fn start_at(&self, server: usize, options: &str) -> Run {
        self.run(self.settings_at(&self.servers[server..=server], options))
    }

    fn run(&self, settings: Settings) -> Run {
        let dial = Arc::new(Fakes(self.servers.clone()));
        let stream = EventStream::follow_over(settings, dial, None);
        Run {
            acknowledger: stream.acknowledger(),
            stream,
            folder: self.folder(),
            events: Vec::new(),
            places: Vec::new(),
            notices: Vec::new(),
            held: None,
            answer: Delivery::Delivered,
            began: Instant::now(),
        }
    }

    /// Starts a run, takes everything up to the event, and stops with all of it answered and saved.
    async fn taken_up_to(&self, options: &str, last: &str) {
        let mut run = self.start(options);
        run.until_event(last).await;
        assert_eq!(run.stop().await, 0);
    }
}

/// The subscriptions of a server, oldest first, by the index that each asked for.
fn asked_for(server: &FakeNomad) -> Vec<String> {
    let requests = server.stream_requests();
    let index = |request: &SeenRequest| request.query_value("index").unwrap_or("none").to_owned();
    requests.iter().map(index).collect()
}

/// The probes: requests of lists that tell a table's index, when a run is past its start.
fn probes(server: &FakeNomad) -> Vec<SeenRequest> {
    let mut requests = server.requests();
    requests.retain(|request| {
        [
            "/v1/jobs",
            "/v1/evaluations",
            "/v1/allocations",
            "/v1/nodes",
        ]
        .contains(&request.path.as_str())
    });
    requests
}

/// A host in small, for as long as one process would live.
struct Run {
    stream: EventStream,
    acknowledger: Acknowledger,
    folder: Folder,
    /// `index:status` of each event, in the order in which they came.
    events: Vec<String>,
    /// The epoch of each, and when it happened by what was said.
    places: Vec<(Epoch, EventTime)>,
    /// Each notice as its JSON, with the moment since the start of the run.
    notices: Vec<(Duration, Value)>,
    /// Batches that are not answered yet, while answers are held back.
    held: Option<Vec<BatchId>>,
    answer: Delivery,
    began: Instant,
}

impl Run {
    async fn take(&mut self) {
        match self.stream.next().await.unwrap() {
            Item::Batch(batch) => {
                for event in &batch.events {
                    let payload: Value = serde_json::from_slice(&event.payload).unwrap();
                    let status = payload[&*event.topic]["Status"].as_str().unwrap();
                    self.events.push(format!("{}:{status}", event.index));
                    self.places.push((batch.epoch, event.time));
                }
                match &mut self.held {
                    Some(held) => held.push(batch.id),
                    None => self.acknowledger.resolve(batch.id, self.answer),
                }
            }
            Item::Notice(notice) => {
                let value = serde_json::to_value(&notice.kind).unwrap();
                self.notices.push((self.began.elapsed(), value));
            }
        }
    }

    /// Takes what comes for so long.
    async fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while timeout_at(end, self.take()).await.is_ok() {}
    }

    /// Takes what comes until the condition holds.
    async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(
                Instant::now() < end,
                "{what} did not come: {:?} {}",
                self.events,
                self.told()
            );
            // Some conditions are about what happens without an item.
            let _ = timeout(Duration::from_millis(50), self.take()).await;
        }
    }

    async fn until_event(&mut self, event: &str) {
        self.until(event, |run| run.events.iter().any(|seen| seen == event))
            .await;
    }

    async fn until_notice(&mut self, kind: &str) {
        self.until(kind, |run| !run.notices(kind).is_empty()).await;
    }

    /// Waits until what is saved is so. What cannot be read is none.
    async fn until_saved(&mut self, what: &str, condition: impl Fn(&State) -> bool) {
        self.until(
            what,
            |run| matches!(run.folder.read(), Ok(Some(state)) if condition(&state)),
        )
        .await;
    }

    /// Waits until this index is saved.
    async fn until_saved_at(&mut self, index: u64) {
        let what = format!("index {index} in the file");
        self.until_saved(&what, |state| state.position.index == RaftIndex(index))
            .await;
    }

    /// Answers nothing from now on.
    fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    /// Answers the oldest batch that is held.
    fn answer_oldest(&mut self, delivery: Delivery) {
        let id = self.held.as_mut().unwrap().remove(0);
        self.acknowledger.resolve(id, delivery);
    }

    /// The fields of the notices of one type.
    fn notices(&self, kind: &str) -> Vec<&Value> {
        self.notices
            .iter()
            .filter_map(|(_, notice)| notice.get(kind))
            .collect()
    }

    /// When the first notice of a type came.
    fn first(&self, kind: &str) -> Duration {
        let mut notices = self.notices.iter();
        let first = notices.find(|(_, notice)| notice.get(kind).is_some());
        first.unwrap().0
    }

    /// The gaps that were announced: from, to, cause.
    fn gaps(&self) -> Vec<(u64, Option<u64>, &str)> {
        let gap = |gap: &'_ Value| (gap["from"].as_u64().unwrap(), gap["to"].as_u64());
        self.notices("Gap")
            .into_iter()
            .map(|notice| {
                let (from, to) = gap(notice);
                (from, to, notice["cause"].as_str().unwrap())
            })
            .collect()
    }

    /// The fields of `Started`.
    fn started(&self) -> &Value {
        let started = self.notices("Started");
        assert_eq!(started.len(), 1);
        started[0]
    }

    /// Neither a gap nor a reset was announced.
    fn assert_quiet(&self) {
        assert_eq!(self.gaps(), [], "{}", self.told());
        assert!(self.notices("IndexReset").is_empty(), "{}", self.told());
    }

    /// What was announced, for messages.
    fn told(&self) -> String {
        let notices = self.notices.iter();
        notices
            .filter(|(_, notice)| notice.get("Status").is_none())
            .map(|(when, notice)| format!("\n{when:?} {notice}"))
            .collect()
    }

    /// Stops as a host does. Gives the number of batches without an answer.
    async fn stop(self) -> usize {
        self.stream.close(STOP).await
    }

    /// Is gone, as a process that is killed: nothing more is saved.
    async fn crash(self) {
        drop(self);
        // The tasks end when they are looked at next.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

/// The causes, bounds and topics of the gaps in a file.
fn open_gaps(state: &State) -> Vec<(u64, Option<u64>, &'static str)> {
    let gap = |gap: &OpenGap| (gap.from.0, gap.to.map(|to| to.0), gap.cause.as_str());
    state.gaps.iter().map(gap).collect()
}

/// How many proofs a state has; nothing where it has another mark.
fn proofs(state: &State) -> Option<usize> {
    match &state.taken {
        Taken::Proofs(proofs) => Some(proofs.len()),
        Taken::Nothing | Taken::All => None,
    }
}

fn at(state: &State) -> (Epoch, u64) {
    (state.position.epoch, state.position.index.0)
}

/// What one source has counted and measured, by name and labels.
#[derive(Debug, Default)]
struct Meters(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl Meters {
    fn meter(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: String = key
            .labels()
            .map(|label| format!(" {}", label.value()))
            .collect();
        let name = format!("{}{labels}", key.name());
        let mut meters = self.0.lock().unwrap();
        Arc::clone(meters.entry(name).or_default())
    }

    fn counter(&self, name: &str) -> u64 {
        let meters = self.0.lock().unwrap();
        meters
            .get(name)
            .map_or(0, |meter| meter.load(Ordering::Relaxed))
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.counter(name))
    }
}

impl Recorder for Meters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.meter(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.meter(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
