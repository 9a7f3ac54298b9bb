mod buffers;
mod dropped;
mod scrapes;
mod sieve;
mod wanted;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use bytestring::ByteString;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use vrl::value::ObjectMap;

use super::*;
use crate::checkpoint::GapCause;
use crate::event::{Batch, BatchId, Origin, RaftIndex};
use crate::host::event::{Answer, LogEvent};
use crate::payload::time::{EventTime, TimeSource};
use crate::position::Delivery;
use crate::position::Epoch;
use crate::stream::Item;
use crate::stream::notice::{Gap, Notice, NoticeKind};

/// A feed that gives what a test sends, and keeps the answers.
struct TestFeed {
    items: mpsc::UnboundedReceiver<Item>,
    answers: Answers,
    given: usize,
}

#[derive(Clone, Debug, Default)]
struct Answers(Arc<Mutex<BTreeMap<BatchId, Delivery>>>);

impl Answers {
    fn get(&self) -> Vec<(u64, Delivery)> {
        let answers = self.0.lock().unwrap();
        answers
            .iter()
            .map(|(id, delivery)| (id.0, *delivery))
            .collect()
    }
}

impl Answer for Answers {
    fn resolve(&self, id: BatchId, delivery: Delivery) {
        let before = self.0.lock().unwrap().insert(id, delivery);
        assert_eq!(before, None, "answered twice");
    }
}

impl Stream for TestFeed {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let item = self.items.poll_recv(cx);
        if let Poll::Ready(Some(Item::Batch(_))) = &item {
            self.given += 1;
        }
        item
    }
}

impl Feed for TestFeed {
    type Answer = Answers;

    fn answer(&self) -> Answers {
        self.answers.clone()
    }

    async fn close(self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        loop {
            let unanswered = self.given - self.answers.get().len();
            if unanswered == 0 || Instant::now() >= until {
                return unanswered;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What a sink was given: its events as JSON, one after the other, in the lots in which they came.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<Vec<String>>>>);

impl Seen {
    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap().concat()
    }

    fn lots(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(Vec::len).collect()
    }

    fn note(&self, events: &[LogEvent]) {
        let lot = events
            .iter()
            .map(|event| serde_json::to_string(&event.value).unwrap())
            .collect();
        self.0.lock().unwrap().push(lot);
    }
}

/// What a test sink does.
enum Behaviour {
    /// Notes events and says this.
    Answers(Delivery),
    /// Takes nothing, until it is let go.
    Waits(oneshot::Receiver<()>),
    /// Takes events and keeps them for ever.
    Keeps,
    /// Takes one lot, then ends.
    Ends,
    /// Takes one lot, then panics with it.
    Panics,
}

struct TestSink {
    behaviour: Behaviour,
    seen: Seen,
}

impl Sink for TestSink {
    fn run(self: Box<Self>, mut input: Receiver) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let seen = self.seen;
            let mut kept = Vec::new();
            let delivery = match self.behaviour {
                Behaviour::Waits(go) => {
                    let _ = go.await;
                    Delivery::Delivered
                }
                Behaviour::Answers(delivery) => delivery,
                Behaviour::Keeps => {
                    while let Some(events) = input.recv().await {
                        seen.note(&events);
                        kept.push(events);
                    }
                    return std::future::pending().await;
                }
                Behaviour::Ends => {
                    let events = input.recv().await.unwrap_or_default();
                    for event in &events {
                        event.finalizer.note(Delivery::Rejected);
                    }
                    return;
                }
                Behaviour::Panics => {
                    kept.extend(input.recv().await);
                    panic!("a test wanted this");
                }
            };
            while let Some(events) = input.recv().await {
                seen.note(&events);
                for event in events {
                    event.finalizer.note(delivery);
                }
            }
        })
    }
}

/// A built topology with test sinks, and the way to feed it.
struct Bench {
    topology: Topology,
    sinks: BTreeMap<String, Seen>,
    feeds: Mutex<VecDeque<TestFeed>>,
    input: Option<mpsc::UnboundedSender<Item>>,
    answers: Answers,
    next: u64,
}

impl Bench {
    /// Builds a configuration with one source, whose options (`source`) and the rest are given. Sinks are of type `blackhole`
    /// in the text and note what they see.
    fn new(source: &str, rest: &str) -> Self {
        let text = format!("[sources.nomad]\ntype = \"nomad_events\"\n{source}\n{rest}");
        let files = move |_: &Path| -> io::Result<String> { Ok(text.clone()) };
        let (config, _) = Config::load(Path::new("t.toml"), &|_| None, &files)
            .unwrap_or_else(|errors| panic!("{errors}"));
        let mut topology = Topology::build(config).unwrap_or_else(|errors| panic!("{errors}"));
        let mut sinks = BTreeMap::new();
        for built in &mut topology.sinks {
            let seen = Seen::default();
            built.sink = Box::new(TestSink {
                behaviour: Behaviour::Answers(Delivery::Delivered),
                seen: seen.clone(),
            });
            sinks.insert(built.id.clone(), seen);
        }
        let (input, items) = mpsc::unbounded_channel();
        let answers = Answers::default();
        let feed = TestFeed {
            items,
            answers: answers.clone(),
            given: 0,
        };
        Self {
            topology,
            sinks,
            feeds: Mutex::new(VecDeque::from([feed])),
            input: Some(input),
            answers,
            next: 0,
        }
    }

    fn behave(&mut self, sink: &str, behaviour: Behaviour) {
        let seen = self.sinks[sink].clone();
        let built = self
            .topology
            .sinks
            .iter_mut()
            .find(|built| built.id == sink)
            .unwrap();
        built.sink = Box::new(TestSink { behaviour, seen });
    }

    /// Sends a batch with events of these topics and keys.
    fn batch(&mut self, events: &[(&str, &str)]) {
        self.next += 1;
        let events: Vec<Event> = events
            .iter()
            .map(|(topic, key)| Event {
                topic: ByteString::from(*topic),
                event_type: ByteString::from("T"),
                key: ByteString::from(*key),
                namespace: ByteString::from("default"),
                filter_keys: None,
                index: RaftIndex(self.next),
                payload: Bytes::from_static(b"{}"),
                time: EventTime {
                    nanos: 0,
                    source: TimeSource::Receipt,
                },
                origin: Origin::Stream,
                changes: None,
            })
            .collect();
        self.send(Item::Batch(Batch {
            id: BatchId(self.next),
            epoch: Epoch::default(),
            index: RaftIndex(self.next),
            events,
            text_bytes: 2,
            redelivery: 0,
        }));
    }

    fn send(&self, item: Item) {
        self.input.as_ref().unwrap().send(item).unwrap();
    }

    /// Runs until the feed ends, which it does after what was sent.
    async fn run_to_end(mut self) -> (RunSummary, BTreeMap<String, Vec<String>>, Answers) {
        self.input = None;
        self.run(std::future::pending()).await
    }

    async fn run(
        self,
        stop: impl Future<Output = ()>,
    ) -> (RunSummary, BTreeMap<String, Vec<String>>, Answers) {
        let feeds = self.feeds;
        let open = |_: &SourceNode| {
            let feed = feeds.lock().unwrap().pop_front().unwrap();
            (feed, shape as fn(&Event, &Wanted) -> Value)
        };
        let summary = self.topology.run_with(open, stop).await;
        let seen = self
            .sinks
            .into_iter()
            .map(|(id, seen)| (id, seen.get()))
            .collect();
        (summary, seen, self.answers)
    }
}

/// A small tree, for lines that are easy to compare.
fn shape(event: &Event, _: &Wanted) -> Value {
    Value::Object(ObjectMap::from([
        ("k".into(), Value::from(event.key.to_string())),
        ("t".into(), Value::from(event.topic.to_string())),
    ]))
}

fn line(topic: &str, key: &str) -> String {
    format!(r#"{{"k":"{key}","t":"{topic}"}}"#)
}

fn blackhole(id: &str, inputs: &str) -> String {
    format!("[sinks.{id}]\ntype = \"blackhole\"\ninputs = {inputs}\n")
}

const ACKNOWLEDGED: &str = "acknowledgements.enabled = true\n";

fn gap() -> Notice {
    Notice {
        at: 0,
        index: RaftIndex(9),
        kind: NoticeKind::Gap(Gap {
            from: RaftIndex(1),
            to: None,
            cause: GapCause::Unproven,
            namespace: None,
            again: false,
        }),
    }
}

#[tokio::test]
async fn a_single_output_carries_everything_in_order() {
    let mut bench = Bench::new("", &blackhole("out", "[\"nomad\"]"));
    bench.batch(&[("Job", "a"), ("Node", "b")]);
    bench.send(Item::Notice(gap()));
    bench.batch(&[("Anything", "c")]);
    let (summary, seen, answers) = bench.run_to_end().await;
    assert_eq!(
        seen["out"],
        vec![
            line("Job", "a"),
            line("Node", "b"),
            line("NomadEvents", "nomad"),
            line("Anything", "c"),
        ]
    );
    assert_eq!(
        answers.get(),
        vec![(1, Delivery::Delivered), (2, Delivery::Delivered)]
    );
    assert_eq!(
        summary,
        RunSummary {
            ended: Ended::NoSourceLeft,
            unanswered_batches: 0,
            undrained_sinks: vec![],
        }
    );
}

#[tokio::test]
async fn topics_have_outputs_of_their_own() {
    let mut bench = Bench::new(
        "multiple_outputs = true\ntopics = [\"Job\", \"ACLToken\", \"Node\"]",
        &[
            blackhole("jobs", "[\"nomad.job\"]"),
            blackhole("tokens", "[\"nomad.acl_token\"]"),
            blackhole("notices", "[\"nomad.notices\"]"),
            blackhole("rest", "[\"nomad._unmatched\"]"),
            blackhole("all", "[\"nomad.*\"]"),
        ]
        .concat(),
    );
    bench.batch(&[
        ("Job", "a"),
        ("ACLToken", "b"),
        ("Service", "c"),
        ("Job", "d"),
    ]);
    bench.batch(&[("NomadEvents", "from the wire")]);
    bench.send(Item::Notice(gap()));
    let (_, seen, answers) = bench.run_to_end().await;
    assert_eq!(seen["jobs"], vec![line("Job", "a"), line("Job", "d")]);
    assert_eq!(seen["tokens"], vec![line("ACLToken", "b")]);
    assert_eq!(seen["notices"], vec![line("NomadEvents", "nomad")]);
    assert_eq!(
        seen["rest"],
        vec![line("Service", "c"), line("NomadEvents", "from the wire")]
    );
    assert_eq!(seen["all"].len(), 6);
    assert_eq!(answers.get().len(), 2);
}

#[tokio::test]
async fn events_without_consumers_are_not_built_and_count_as_delivered() {
    let mut bench = Bench::new(
        "multiple_outputs = true\ntopics = [\"Job\", \"Node\"]",
        &blackhole("out", "[\"nomad.job\"]"),
    );
    bench.batch(&[("Node", "a")]);
    bench.input = None;
    let feeds = bench.feeds;
    let open = |_: &SourceNode| {
        let feed = feeds.lock().unwrap().pop_front().unwrap();
        (feed, |_: &Event, _: &Wanted| -> Value {
            panic!("built for nobody")
        })
    };
    let summary = bench.topology.run_with(open, std::future::pending()).await;
    assert_eq!(summary.ended, Ended::NoSourceLeft);
    assert_eq!(bench.answers.get(), vec![(1, Delivery::Delivered)]);
}

#[tokio::test]
async fn branches_get_copies_of_their_own() {
    let mut bench = Bench::new(
        "",
        &format!(
            "[transforms.route]\ntype = \"route\"\ninputs = [\"nomad\"]\nroute.a = '.k == \"x\"'\nroute.b = '.t == \"Job\"'\n\
             [transforms.mark]\ntype = \"remap\"\ninputs = [\"route.a\"]\nsource = '.a = true'\n\
             [transforms.twice]\ntype = \"remap\"\ninputs = [\"route.b\"]\nsource = '. = [{{ \"n\": 1 }}, {{ \"n\": 2 }}]'\n\
             [transforms.only]\ntype = \"filter\"\ninputs = [\"mark\", \"nomad\"]\ncondition = 'exists(.a)'\n{}{}{}{}",
            blackhole("marked", "[\"mark\"]"),
            blackhole("doubled", "[\"twice\"]"),
            blackhole("filtered", "[\"only\"]"),
            blackhole("plain", "[\"nomad\", \"route._unmatched\"]"),
        ),
    );
    bench.batch(&[("Job", "x"), ("Job", "y"), ("Node", "x"), ("Node", "y")]);
    let (_, seen, answers) = bench.run_to_end().await;
    let marked = vec![
        r#"{"a":true,"k":"x","t":"Job"}"#,
        r#"{"a":true,"k":"x","t":"Node"}"#,
    ];
    assert_eq!(seen["marked"], marked);
    assert_eq!(seen["filtered"], marked);
    assert_eq!(
        seen["doubled"],
        vec![r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":1}"#, r#"{"n":2}"#]
    );
    assert_eq!(
        seen["plain"],
        vec![
            line("Job", "x"),
            line("Job", "y"),
            line("Node", "x"),
            // Twice: from the source, and as unmatched.
            line("Node", "y"),
            line("Node", "y"),
        ]
    );
    assert_eq!(answers.get(), vec![(1, Delivery::Delivered)]);
}

#[test]
fn an_edge_with_one_consumer_moves_the_event() {
    let source = "[sources.nomad]\ntype = \"nomad_events\"\n\
        [transforms.a]\ntype = \"filter\"\ninputs = [\"nomad\"]\ncondition = 'true'\n\
        [transforms.b]\ntype = \"route\"\ninputs = [\"a\"]\nroute.x = '.t == \"Job\"'\nroute.y = 'false'\n\
        [transforms.c]\ntype = \"remap\"\ninputs = [\"b.x\"]\nsource = '.seen = true'\n\
        [sinks.out]\ntype = \"blackhole\"\ninputs = [\"c\", \"b.y\", \"b._unmatched\"]\n";
    let (config, _) = Config::load(Path::new("t.toml"), &|_| None, &|_| Ok(source.to_owned()))
        .unwrap_or_else(|errors| panic!("{errors}"));
    let graph = Graph::build(&config, &Registry::default()).unwrap();
    let event = LogEvent {
        value: Value::Object(ObjectMap::from([
            ("big".into(), Value::from("a text")),
            ("t".into(), Value::from("Job")),
        ])),
        metadata: Value::Object(ObjectMap::new()),
        finalizer: crate::host::event::Finalizer::none(),
        weight: 1,
    };
    // The map's own storage shows whether it was cloned; texts are shared by clones.
    let entry = |event: &LogEvent| -> *const Value {
        let Value::Object(map) = &event.value else {
            panic!("an object");
        };
        &raw const map["big"]
    };
    let before = entry(&event);
    let mut arrived = Vec::new();
    let consumers = graph.consumers(&OutputId {
        component: "nomad".to_owned(),
        port: None,
    });
    graph.push(
        &mut Runtime::default(),
        event,
        &consumers,
        true,
        &mut |sink, event| arrived.push((sink, event)),
    );
    let [(0, arrived)] = &arrived[..] else {
        panic!("one event at the sink");
    };
    assert_eq!(entry(arrived), before);
}

#[tokio::test]
async fn the_worst_answer_of_all_sinks_counts_where_they_are_waited_for() {
    for (behaviours, acknowledged, expected) in [
        (
            [Delivery::Delivered, Delivery::Delivered],
            [true, true],
            Delivery::Delivered,
        ),
        (
            [Delivery::Delivered, Delivery::Errored],
            [true, true],
            Delivery::Errored,
        ),
        (
            [Delivery::Rejected, Delivery::Errored],
            [true, true],
            Delivery::Rejected,
        ),
        (
            [Delivery::Delivered, Delivery::Rejected],
            [true, false],
            Delivery::Delivered,
        ),
        (
            [Delivery::Rejected, Delivery::Rejected],
            [false, false],
            Delivery::Delivered,
        ),
    ] {
        let on = |on: bool| if on { ACKNOWLEDGED } else { "" };
        let mut bench = Bench::new(
            "",
            &[
                blackhole("a", "[\"nomad\"]"),
                on(acknowledged[0]).to_owned(),
                blackhole("b", "[\"nomad\"]"),
                on(acknowledged[1]).to_owned(),
            ]
            .concat(),
        );
        bench.behave("a", Behaviour::Answers(behaviours[0]));
        bench.behave("b", Behaviour::Answers(behaviours[1]));
        bench.batch(&[("Job", "x"), ("Job", "y")]);
        let (_, seen, answers) = bench.run_to_end().await;
        assert_eq!((seen["a"].len(), seen["b"].len()), (2, 2));
        assert_eq!(
            answers.get(),
            vec![(1, expected)],
            "for {behaviours:?}, {acknowledged:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_without_room_holds_the_source_up_and_nothing_is_lost() {
    // Each event weighs more than the channel, so one is in the channel and one waits.
    let mut bench = Bench::new(
        "queue_bytes = 1",
        &(blackhole("out", "[\"nomad\"]") + ACKNOWLEDGED),
    );
    let (go, wait) = oneshot::channel();
    bench.behave("out", Behaviour::Waits(wait));
    for key in 0..50 {
        bench.batch(&[("Job", &key.to_string())]);
    }
    let input = bench.input.take().unwrap();
    let seen = bench.sinks["out"].clone();
    let running = tokio::spawn(bench.run(std::future::pending()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.get().len(), 0);
    assert!(!running.is_finished());
    go.send(()).unwrap();
    drop(input);
    let (summary, seen, answers) = running.await.unwrap();
    let expected: Vec<String> = (0..50).map(|key| line("Job", &key.to_string())).collect();
    assert_eq!(seen["out"], expected);
    assert_eq!(answers.get().len(), 50);
    assert_eq!(summary.unanswered_batches, 0);
}

#[tokio::test(start_paused = true)]
async fn back_pressure_stops_reading() {
    let mut bench = Bench::new(
        "queue_bytes = 1",
        &(blackhole("out", "[\"nomad\"]") + ACKNOWLEDGED),
    );
    let (_go, wait) = oneshot::channel();
    bench.behave("out", Behaviour::Waits(wait));
    let built = Arc::new(Mutex::new(0));
    for _ in 0..50 {
        bench.batch(&[("Job", "x")]);
    }
    let feeds = bench.feeds;
    let counted = Arc::clone(&built);
    let open = move |_: &SourceNode| {
        let counted = Arc::clone(&counted);
        let shape = move |event: &Event, wanted: &Wanted| {
            *counted.lock().unwrap() += 1;
            shape(event, wanted)
        };
        (feeds.lock().unwrap().pop_front().unwrap(), shape)
    };
    let stop = tokio::time::sleep(Duration::from_secs(60));
    let summary = bench.topology.run_with(open, stop).await;
    // One in the channel, one in hand; no tree was built for the others.
    assert_eq!(*built.lock().unwrap(), 2);
    assert_eq!(summary.unanswered_batches, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_delivers_what_is_in_hand_and_reads_no_more() {
    let mut bench = Bench::new(
        "queue_bytes = 1\nstop_timeout_secs = 4",
        &(blackhole("out", "[\"nomad\"]") + ACKNOWLEDGED),
    );
    let (go, wait) = oneshot::channel();
    bench.behave("out", Behaviour::Waits(wait));
    for key in ["a", "b", "c"] {
        bench.batch(&[("Job", key)]);
    }
    let _input = bench.input.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let _ = go.send(());
    });
    let started = Instant::now();
    let (summary, seen, answers) = bench.run(tokio::time::sleep(Duration::from_secs(1))).await;
    assert_eq!(
        summary,
        RunSummary {
            ended: Ended::Stopped,
            unanswered_batches: 0,
            undrained_sinks: vec![],
        }
    );
    // `a` was in the channel and `b` in hand when the stop came; `c` was not read.
    assert_eq!(seen["out"], vec![line("Job", "a"), line("Job", "b")]);
    assert_eq!(answers.get().len(), 2);
    // As soon as it could, not at the deadline.
    assert!(started.elapsed() < Duration::from_millis(3_100));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_at_its_deadline_whatever_sinks_do() {
    for stuck in [true, false] {
        let mut bench = Bench::new(
            "queue_bytes = 1\nstop_timeout_secs = 4",
            &(blackhole("out", "[\"nomad\"]") + ACKNOWLEDGED),
        );
        let (_go, wait) = oneshot::channel();
        if stuck {
            bench.behave("out", Behaviour::Waits(wait));
        } else {
            bench.behave("out", Behaviour::Keeps);
        }
        for _ in 0..3 {
            bench.batch(&[("Job", "x")]);
        }
        let _input = bench.input.clone();
        let started = Instant::now();
        let (summary, _, answers) = bench.run(tokio::time::sleep(Duration::from_secs(10))).await;
        let took = started.elapsed();
        assert!(
            took >= Duration::from_secs(14) && took < Duration::from_millis(14_100),
            "took {took:?}"
        );
        assert_eq!(summary.ended, Ended::Stopped);
        // Stuck: one in the channel, one in hand, the third not read. Else: all three are with the sink.
        assert_eq!(summary.unanswered_batches, if stuck { 2 } else { 3 });
        assert_eq!(summary.undrained_sinks, vec!["out"]);
        drop(answers);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stuck_sink_keeps_nothing_from_the_others() {
    let mut bench = Bench::new(
        "queue_bytes = 1",
        &(blackhole("stuck", "[\"nomad\"]") + &blackhole("good", "[\"nomad\"]")),
    );
    let (_go, wait) = oneshot::channel();
    bench.behave("stuck", Behaviour::Waits(wait));
    bench.batch(&[("Job", "a")]);
    bench.batch(&[("Job", "b")]);
    bench.batch(&[("Job", "c")]);
    let _input = bench.input.clone();
    let (_, seen, _) = bench.run(tokio::time::sleep(Duration::from_secs(1))).await;
    // The second waits at the stuck sink; the good one has it all the same.
    assert_eq!(seen["good"], vec![line("Job", "a"), line("Job", "b")]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_ends_the_run_and_nothing_it_held_counts_as_delivered() {
    let mut bench = Bench::new(
        "",
        &(blackhole("bad", "[\"nomad\"]") + ACKNOWLEDGED + &blackhole("good", "[\"nomad\"]")),
    );
    bench.behave("bad", Behaviour::Panics);
    bench.batch(&[("Job", "a")]);
    bench.batch(&[("Job", "b")]);
    let _input = bench.input.clone();
    let (summary, seen, answers) = bench.run(std::future::pending()).await;
    assert_eq!(summary.ended, Ended::Failed("sink \"bad\"".to_owned()));
    assert_eq!(seen["good"][0], line("Job", "a"));
    assert!(
        answers
            .get()
            .iter()
            .all(|(_, delivery)| *delivery == Delivery::Errored),
        "{:?}",
        answers.get()
    );
    assert!(!answers.get().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_panics_ends_the_run() {
    let mut bench = Bench::new("", &(blackhole("out", "[\"nomad\"]") + ACKNOWLEDGED));
    bench.batch(&[("Job", "a")]);
    let _input = bench.input.clone();
    let feeds = bench.feeds;
    let open = |_: &SourceNode| {
        let feed = feeds.lock().unwrap().pop_front().unwrap();
        (feed, |_: &Event, _: &Wanted| -> Value {
            panic!("a test wanted this")
        })
    };
    let summary = bench.topology.run_with(open, std::future::pending()).await;
    assert_eq!(summary.ended, Ended::Failed("source \"nomad\"".to_owned()));
    assert_eq!(bench.answers.get(), vec![(1, Delivery::Errored)]);
}

#[tokio::test(start_paused = true)]
async fn the_run_ends_when_no_sink_is_left() {
    let mut bench = Bench::new("", &(blackhole("out", "[\"nomad\"]") + ACKNOWLEDGED));
    bench.behave("out", Behaviour::Ends);
    for key in ["a", "b", "c"] {
        bench.batch(&[("Job", key)]);
    }
    let _input = bench.input.clone();
    let (summary, _, answers) = bench.run(std::future::pending()).await;
    assert_eq!(summary.ended, Ended::NoSinkLeft);
    assert!(
        answers
            .get()
            .iter()
            .all(|(_, delivery)| *delivery == Delivery::Rejected)
    );
    assert!(!answers.get().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_ends_leaves_the_others_alone() {
    let mut bench = Bench::new(
        "",
        &(blackhole("ends", "[\"nomad\"]") + &blackhole("good", "[\"nomad\"]") + ACKNOWLEDGED),
    );
    bench.behave("ends", Behaviour::Ends);
    for key in ["a", "b", "c"] {
        bench.batch(&[("Job", key)]);
    }
    let (summary, seen, answers) = bench.run_to_end().await;
    assert_eq!(summary.ended, Ended::NoSourceLeft);
    assert_eq!(seen["good"].len(), 3);
    assert!(
        answers
            .get()
            .iter()
            .all(|(_, delivery)| *delivery == Delivery::Delivered)
    );
}

#[tokio::test]
async fn long_lines_are_handed_over_in_parts() {
    let sink = blackhole("out", "[\"nomad\"]") + "buffer.max_events = 100000\n";
    let mut bench = Bench::new("", &sink);
    // Each of 14 bytes of text, which count as 140.
    let events: Vec<(&str, &str)> = (0..20_000).map(|_| ("Job", "x")).collect();
    bench.batch(&events);
    let out = bench.sinks["out"].clone();
    let (_, seen, answers) = bench.run_to_end().await;
    assert_eq!(seen["out"].len(), 20_000);
    assert_eq!(out.lots(), vec![7_490, 7_490, 5_020]);
    assert_eq!(answers.get(), vec![(1, Delivery::Delivered)]);
}

#[test]
fn everything_that_does_not_build_is_reported() {
    let text = "[sources.nomad]\ntype = \"nomad_events\"\n\
        [transforms.a]\ntype = \"remap\"\ninputs = [\"nomad\"]\nfile = \"vrl/a.vrl\"\n\
        [transforms.b]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = '.x = '\n\
        [transforms.c]\ntype = \"filter\"\ninputs = [\"nomad\"]\ncondition = '5'\n\
        [transforms.d]\ntype = \"route\"\ninputs = [\"nomad\"]\nroute.x = 'true'\nroute.y = '.z'\n\
        [sinks.out]\ntype = \"blackhole\"\ninputs = [\"a\", \"b\", \"c\", \"d.*\"]\n";
    let files = |path: &Path| -> io::Result<String> {
        Ok(match path.to_str() {
            Some("vrl/a.vrl") => ".x = parse_json(.y)".to_owned(),
            _ => text.to_owned(),
        })
    };
    let (config, _) = Config::load(Path::new("t.toml"), &|_| None, &files).unwrap();
    let errors = Topology::build(config).err().unwrap().to_string();
    for part in [
        "t.toml:3: transform \"a\": vrl/a.vrl does not compile:\nerror[E103]",
        "t.toml:7: transform \"b\": option `source`: the program does not compile:\nerror[E20",
        "t.toml:11: transform \"c\": option `condition`: the condition does not compile:\na condition must give a boolean",
        "t.toml:15: transform \"d\": option `route.y`: the condition does not compile:",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
}

#[test]
fn shipped_configurations_load_and_compile_without_a_warning() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Their paths start from the root of the repository.
    let files = |path: &Path| std::fs::read_to_string(root.join(path));
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("config")).unwrap() {
        let path = entry.unwrap().path();
        // Files of tests are run with the configuration that they test.
        let only_tests = path.to_string_lossy().ends_with("tests.toml");
        if only_tests || path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        // The only variable without a default.
        let env =
            |name: &str| (name == "SLACK_WEBHOOK_URL").then(|| "http://127.0.0.1/".to_owned());
        let (config, warnings) =
            Config::load(&path, &env, &files).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(warnings.0, Vec::<String>::new(), "in {}", path.display());
        if let Err(problems) = Graph::build(&config, &Registry::default()) {
            panic!("{problems:?}");
        }
    }
    assert!(seen > 0);
}
