//! The task of a source: takes items from the stream, pushes each event through the graph, and hands to the sinks.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::future::{join, join_all};
use metrics::Counter;
use tokio::sync::watch;
use tokio::time::Instant;
use vrl::compiler::runtime::Runtime;
use vrl::value::{ObjectMap, Value};

use super::graph::{Consumer, Graph};
use crate::event::Event;
use crate::host::channel::Sender;
use crate::host::event::{Answer, Finalizer, LogEvent, PARSED_TO_TEXT};
use crate::payload::wanted::Wanted;
use crate::stream::{Acknowledger, EventStream, Item};

/// Events for one sink are handed over when they weigh this much together, so that a line with thousands of events does not
/// become thousands of trees before the first sink sees one (bytes, as `LogEvent::weight` counts them).
const HAND_OVER_WEIGHT: usize = 1024 * 1024;

/// Where items come from: the stream of a cluster, or a test.
pub(super) trait Feed: Stream<Item = Item> + Send + Unpin + 'static {
    /// Who is told what became of a batch.
    type Answer: Answer + Clone + 'static;

    /// The handle with which batches are answered.
    fn answer(&self) -> Self::Answer;

    /// Hands nothing out any more and waits for answers, at most for `deadline`. Gives the number of batches without one.
    fn close(self, deadline: Duration) -> impl Future<Output = usize> + Send;
}

impl Feed for EventStream {
    type Answer = Acknowledger;

    fn answer(&self) -> Acknowledger {
        self.acknowledger()
    }

    fn close(self, deadline: Duration) -> impl Future<Output = usize> + Send {
        Self::close(self, deadline)
    }
}

/// Who takes what each output of a source gives.
#[derive(Debug)]
pub(super) struct Ports {
    /// By topic, where topics have outputs of their own.
    pub(super) by_topic: BTreeMap<String, Port>,
    /// Events of every other topic.
    pub(super) others: Port,
    /// Notices.
    pub(super) notices: Port,
}

/// An output of a source.
#[derive(Debug)]
pub(super) struct Port {
    /// Who takes what it gives.
    pub(super) consumers: Vec<Consumer>,
    /// What of a payload the transforms behind it read.
    pub(super) wanted: Wanted,
    /// Counts what it gives, also to nobody.
    pub(super) sent: Counter,
}

/// The way to a sink.
#[derive(Debug)]
pub(super) struct Outlet {
    /// The number of the sink.
    pub(super) sink: usize,
    /// The channel in front of it.
    pub(super) sender: Sender,
    /// Lives as long as the sender, so that a sink that ends early can be told from one whose senders are gone.
    pub(super) _alive: Arc<()>,
    /// Counts the events that are handed over.
    pub(super) received: Counter,
    /// Whether the source waits for this sink. If not, an event counts as delivered when the sink's channel has taken it.
    pub(super) acknowledgements: bool,
    /// Events on their way to it, in order.
    pub(super) pending: Vec<LogEvent>,
    /// What they weigh.
    pub(super) pending_weight: usize,
}

/// What a source's events go through.
pub(super) struct Pipeline<Shape> {
    pub(super) source_id: String,
    pub(super) graph: Arc<Graph>,
    pub(super) ports: Ports,
    pub(super) outlets: Vec<Outlet>,
    /// Counts the events and notices of the source.
    pub(super) received: Counter,
    /// Makes the tree of an event, with the wanted parts of its payload.
    pub(super) shape: Shape,
    /// What has come to the sinks of the event in hand.
    pub(super) arrived: Vec<(usize, LogEvent)>,
    pub(super) runtime: Runtime,
    /// How long a stop may take.
    pub(super) stop_timeout: Duration,
}

impl<Shape> Pipeline<Shape>
where
    Shape: Fn(&Event, &Wanted) -> Value + Send + 'static,
{
    /// Runs until `stop` or the end of the feed, then finishes what is in hand, closes the feed and lets go of the sinks.
    ///
    /// Gives the number of batches without an answer. Takes no longer than the stop timeout after `stop`, whatever sinks do.
    pub(super) async fn run(
        self: Box<Self>,
        mut feed: impl Feed,
        mut stop: watch::Receiver<bool>,
    ) -> usize {
        let answer = feed.answer();
        let stop_timeout = self.stop_timeout;
        let mut pipeline = self;
        loop {
            let item = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                item = feed.next() => item,
            };
            let Some(item) = item else { break };
            let mut work = Box::pin(pipeline.take(answer.clone(), item));
            pipeline = tokio::select! {
                biased;
                pipeline = &mut work => pipeline,
                () = stopped(&mut stop) => {
                    return finish(feed, async { drop(work.await) }, stop_timeout).await;
                }
            };
        }
        // Dropping the senders tells the sinks that no more will come; they need that to deliver what they hold.
        finish(feed, async { drop(pipeline) }, stop_timeout).await
    }

    /// Pushes an item through to the channels of the sinks, and gives the pipeline back.
    async fn take(mut self: Box<Self>, answer: impl Answer + 'static, item: Item) -> Box<Self> {
        match item {
            Item::Batch(batch) => {
                let share = Finalizer::new(answer, batch.id);
                for event in batch.events {
                    self.push(&event, &share, false);
                    drop(event);
                    if self
                        .outlets
                        .iter()
                        .any(|o| o.pending_weight >= HAND_OVER_WEIGHT)
                    {
                        self.hand_over().await;
                    }
                    // Programs are plain computation; a long line must not keep others from the thread.
                    tokio::task::consume_budget().await;
                }
            }
            Item::Notice(notice) => {
                let event = notice.to_event(&self.source_id);
                self.push(&event, &Finalizer::none(), true);
            }
        }
        self.hand_over().await;
        self
    }

    /// Builds the tree of an event and pushes it through the graph. An event that nobody takes is not built.
    ///
    /// Of the payload only those parts are built that some program behind the port reads; what it does not read it can only
    /// pass on as `.Payload`. So an event that comes to a sink with that field is done again, with its whole payload, and so
    /// are all later events of the port.
    fn push(&mut self, event: &Event, finalizer: &Finalizer, is_notice: bool) {
        let Self {
            graph,
            ports,
            outlets,
            received,
            shape,
            runtime,
            arrived,
            ..
        } = self;
        let port = if is_notice {
            &mut ports.notices
        } else {
            ports
                .by_topic
                .get_mut(&event.topic[..])
                .unwrap_or(&mut ports.others)
        };
        received.increment(1);
        port.sent.increment(1);
        if port.consumers.is_empty() {
            return;
        }
        let mut again = false;
        loop {
            let log_event = LogEvent {
                value: shape(event, &port.wanted),
                metadata: Value::Object(ObjectMap::new()),
                finalizer: finalizer.clone(),
                weight: text_bytes(event) * PARSED_TO_TEXT,
            };
            let consumers = &port.consumers;
            graph.push(runtime, log_event, consumers, !again, &mut |sink, event| {
                arrived.push((sink, event));
            });
            if port.wanted == Wanted::All || !arrived.iter().any(|(_, event)| has_payload(event)) {
                break;
            }
            arrived.clear();
            port.wanted = Wanted::All;
            again = true;
        }
        for (sink, event) in arrived.drain(..) {
            if let Some(outlet) = outlets.iter_mut().find(|outlet| outlet.sink == sink) {
                outlet.pending_weight = outlet.pending_weight.saturating_add(event.weight);
                outlet.pending.push(event);
            }
        }
    }

    /// Hands what is pending to the sinks, to all at once, so that a sink that has no room does not keep events from another.
    async fn hand_over(&mut self) {
        let mut full = self
            .outlets
            .iter_mut()
            .filter(|outlet| !outlet.pending.is_empty());
        let (first, second) = (full.next(), full.next());
        match (first, second) {
            (None, _) => {}
            (Some(only), None) => only.hand_over().await,
            (Some(first), Some(second)) => {
                join_all(
                    [first, second]
                        .into_iter()
                        .chain(full)
                        .map(Outlet::hand_over),
                )
                .await;
            }
        }
    }
}

impl Outlet {
    async fn hand_over(&mut self) {
        let mut events = std::mem::take(&mut self.pending);
        self.pending_weight = 0;
        self.received.increment(events.len() as u64);
        // Kept until the channel has taken the events, then dropped, which counts as delivered.
        let released: Vec<Finalizer> = if self.acknowledgements {
            Vec::new()
        } else {
            events
                .iter_mut()
                .map(|event| std::mem::take(&mut event.finalizer))
                .collect()
        };
        // A sink that has ended has noted the events as lost; the topology has said so once.
        let _ = self.sender.send(events).await;
        drop(released);
    }
}

/// Closes the feed and lets `work` end, both within the timeout.
async fn finish<F: Feed>(feed: F, work: impl Future<Output = ()>, timeout: Duration) -> usize {
    let deadline = Instant::now() + timeout;
    tokio::pin!(work);
    // Work that is late is dropped only when the feed is closed: its events count as delivered when they are dropped, and
    // nobody must hear that any more.
    let (unanswered, _) = join(
        feed.close(timeout),
        tokio::time::timeout_at(deadline, work.as_mut()),
    )
    .await;
    unanswered
}

/// Ends when a stop was asked for, or when nobody can ask any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether an event still has the field of its payload.
fn has_payload(event: &LogEvent) -> bool {
    event
        .value
        .as_object()
        .is_some_and(|fields| fields.contains_key("Payload"))
}

/// The length of an event's text.
fn text_bytes(event: &Event) -> usize {
    let keys: usize = event
        .filter_keys
        .iter()
        .flatten()
        .map(|key| key.len())
        .sum();
    event.topic.len()
        + event.event_type.len()
        + event.key.len()
        + event.namespace.len()
        + keys
        + event.payload.len()
}
