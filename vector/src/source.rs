//! The running source: items of the engine become log events, and what becomes of these is told to the engine.
//!
//! Vector bounds what waits between source and sinks in events, whatever their size. So the bound that counts is the engine's
//! `queue_bytes`, over everything that was read and not answered for; a notifier on every batch makes each answer come, whether
//! or not a sink asks for acknowledgements.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::future::join;
use futures::{FutureExt, StreamExt};
use nomad_events::options::{NOTICES_OUTPUT, Settings, UNMATCHED_OUTPUT};
use nomad_events::payload::value::{Parts, SOURCE_TYPE, Shaper};
use nomad_events::telemetry::CountBytes;
use nomad_events::{BatchId, Delivery, Event, EventStream, Item};
use tokio::time::{Instant, timeout_at};
use tracing::warn;
use vector::SourceSender;
use vector::config::{ComponentKey, LogNamespace, SourceContext, log_schema};
use vector::event::LogEvent;
use vector::internal_events::{EndpointBytesReceived, EventsReceived, StreamClosedError};
use vector::shutdown::ShutdownSignal;
use vector_lib::EstimatedJsonEncodedSizeOf;
use vector_lib::finalization::{BatchNotifier, BatchStatus};
use vector_lib::finalizer::UnorderedFinalizer;
use vector_lib::internal_event::{CountByteSize, InternalEventHandle, Registered};
use vector_lib::json_size::JsonSize;
use vector_lib::lookup::{event_path, metadata_path};
use vector_lib::{emit, register};
use vrl::value::Value;

use crate::internal_events::NomadEventsStreamEndedError;

/// What is ours in an event: fields under this name, which the payload's own cannot meet.
pub(crate) const NOMAD: &str = "nomad";

/// Events are sent when their text is as long as this (bytes): small lines together, since each sending has its price, and a line
/// of thousands of events in parts, before all of them are trees.
const SEND_TEXT_BYTES: usize = 128 * 1024;

/// A source that is ready to run.
pub(crate) struct NomadEventsSource {
    settings: Settings,
    shape: Shape,
}

/// How events become log events.
struct Shape {
    component: ComponentKey,
    shaper: Shaper,
    log_namespace: LogNamespace,
}

/// The way to the outputs.
struct Outputs {
    out: SourceSender,
    ports: Vec<Port>,
    /// Texts of the topics with a port of their own, each with the number of the port.
    by_topic: Vec<(String, usize)>,
    notices: usize,
    others: usize,
    pending_text: usize,
    /// Of the batches of which not every event was sent yet. An event that is dropped counts as delivered, so what cannot be
    /// sent must not be answered for by that.
    unsent: Vec<BatchNotifier>,
    received: Registered<EventsReceived>,
}

/// An output, and what waits for it to be sent.
struct Port {
    /// `None` for the output that has no name of its own.
    name: Option<String>,
    pending: Vec<LogEvent>,
}

/// The engine has ended by itself.
struct EngineEnded;

/// The topology does not take events any more; this was told. What it has not taken is not answered for while this lives.
struct Closed(#[expect(dead_code, reason = "it is only held")] Vec<BatchNotifier>);

/// The same of a single sending.
struct SendingFailed;

impl NomadEventsSource {
    pub(crate) fn new(cx: &SourceContext, settings: Settings, log_namespace: LogNamespace) -> Self {
        let shape = Shape {
            component: cx.key.clone(),
            shaper: Shaper::new(settings.redact(), settings.region()),
            log_namespace,
        };
        Self { settings, shape }
    }

    /// Runs until it is told to stop, and then as long as sinks take to answer, at most for `stop_timeout_secs`. The position is
    /// saved within that time.
    ///
    /// No failure of Nomad or of the network ends it. It fails when the engine ends by itself, which is a defect; Vector then
    /// stops as a whole.
    pub(crate) async fn run(self, out: SourceSender, shutdown: ShutdownSignal) -> Result<(), ()> {
        let Self { settings, shape } = self;
        let stop_timeout = settings.stop_timeout();
        let outputs = Outputs::new(out, &settings);
        let count_bytes: CountBytes = Arc::new(|endpoint, byte_size| {
            // `http`, `https` or `unix`.
            let protocol = endpoint.split(':').next().unwrap_or_default();
            emit!(EndpointBytesReceived {
                byte_size,
                protocol,
                endpoint,
            });
        });
        let stream = EventStream::follow_counting(settings, count_bytes);
        let acknowledger = stream.acknowledger();
        // Without the signal: it goes on with answers until all of them are there.
        let (finalizer, mut statuses) = UnorderedFinalizer::<BatchId>::new(None);
        let answers = async {
            while let Some((status, batch)) = statuses.next().await {
                acknowledger.resolve(batch, delivery(status));
            }
            pending::<()>().await;
        };
        // The signal that stays here holds the stop open until the position is saved.
        let work = forward(
            stream,
            outputs,
            &shape,
            &finalizer,
            shutdown.clone(),
            stop_timeout,
        );
        let ended = tokio::select! {
            biased;
            ended = work => ended,
            () = answers => Ok(0),
        };
        match ended {
            Ok(0) => Ok(()),
            Ok(unanswered) => {
                warn!(
                    message = "Stopped before sinks have answered for all batches.",
                    unanswered
                );
                Ok(())
            }
            Err(EngineEnded) => {
                emit!(NomadEventsStreamEndedError);
                Err(())
            }
        }
    }
}

/// Takes items from the engine and sends them, until a stop is asked for, or nobody takes what we send. Gives the number of
/// batches without an answer then.
async fn forward(
    mut stream: EventStream,
    mut outputs: Outputs,
    shape: &Shape,
    finalizer: &UnorderedFinalizer<BatchId>,
    mut shutdown: ShutdownSignal,
    stop_timeout: Duration,
) -> Result<usize, EngineEnded> {
    loop {
        let first = tokio::select! {
            biased;
            _ = &mut shutdown => {
                // Sinks deliver what they hold when nothing more can come.
                drop(outputs);
                return Ok(stream.close(stop_timeout).await);
            }
            item = stream.next() => item.ok_or(EngineEnded)?,
        };
        // What is there already goes with it.
        let mut text = text_of(&first);
        let mut items = vec![first];
        while text < SEND_TEXT_BYTES
            && let Some(Some(item)) = stream.next().now_or_never()
        {
            text += text_of(&item);
            items.push(item);
        }
        let mut sending = Box::pin(outputs.send_all(items, shape, finalizer));
        let sent = tokio::select! {
            biased;
            sent = &mut sending => sent,
            // A sending that is blocked does not return because of a stop, and what is answered meanwhile has to be saved.
            _ = &mut shutdown => return Ok(finish(stream, sending, stop_timeout).await),
        };
        outputs = match sent {
            Ok(outputs) => outputs,
            Err(closed) => {
                let unanswered = stream.close(stop_timeout).await;
                drop(closed);
                return Ok(unanswered);
            }
        };
    }
}

/// Ends a stream while something of it is still being sent; neither takes longer than the timeout. Gives the number of batches
/// without an answer.
async fn finish(
    stream: EventStream,
    mut sending: Pin<Box<impl Future<Output = Result<Outputs, Closed>>>>,
    timeout: Duration,
) -> usize {
    let deadline = Instant::now() + timeout;
    // The outputs go as soon as all is sent: sinks deliver what they hold when nothing more can come.
    let rest = async { sending.as_mut().await.map(drop) };
    // What was not sent is dropped only afterwards: its events count as delivered then, and nobody must hear that any more.
    let (unanswered, _unsent) = join(stream.close(timeout), timeout_at(deadline, rest)).await;
    unanswered
}

/// How much text an item has, to put small ones together.
fn text_of(item: &Item) -> usize {
    match item {
        Item::Batch(batch) => batch.events.iter().map(text_of_event).sum(),
        // A notice, of a few fields.
        _ => size_of::<Event>(),
    }
}

fn text_of_event(event: &Event) -> usize {
    event.payload.len() + size_of::<Event>()
}

impl Outputs {
    fn new(out: SourceSender, settings: &Settings) -> Self {
        let names = settings.output_names();
        let place = |name: &str| {
            let named = names.as_deref().unwrap_or_default();
            named.iter().position(|other| other == name).unwrap_or(0)
        };
        let by_topic = settings
            .topic_outputs()
            .map(|(topic, name)| (topic.to_owned(), place(&name)))
            .collect();
        let (notices, others) = (place(NOTICES_OUTPUT), place(UNMATCHED_OUTPUT));
        let names = names.map_or_else(|| vec![None], |names| names.into_iter().map(Some).collect());
        Self {
            out,
            ports: names
                .into_iter()
                .map(|name| Port {
                    name,
                    pending: Vec::new(),
                })
                .collect(),
            by_topic,
            notices,
            others,
            pending_text: 0,
            unsent: Vec::new(),
            received: register!(EventsReceived),
        }
    }

    /// Makes log events of items and sends them all, in parts.
    async fn send_all(
        mut self,
        items: Vec<Item>,
        shape: &Shape,
        finalizer: &UnorderedFinalizer<BatchId>,
    ) -> Result<Self, Closed> {
        for item in items {
            if let Err(SendingFailed) = self.take(item, shape, finalizer).await {
                return Err(Closed(self.unsent));
            }
        }
        if let Err(SendingFailed) = self.send().await {
            return Err(Closed(self.unsent));
        }
        self.unsent.clear();
        Ok(self)
    }

    /// Makes log events of an item. Sends when enough is there.
    async fn take(
        &mut self,
        item: Item,
        shape: &Shape,
        finalizer: &UnorderedFinalizer<BatchId>,
    ) -> Result<(), SendingFailed> {
        match item {
            Item::Batch(batch) => {
                let (notifier, receiver) = BatchNotifier::new_with_receiver();
                finalizer.add(batch.id, receiver);
                self.unsent.push(notifier.clone());
                for event in batch.events {
                    let port = (self.by_topic.iter())
                        .find(|(topic, _)| **topic == *event.topic)
                        .map_or(self.others, |(_, port)| *port);
                    let text = text_of_event(&event);
                    let log_event = shape.log_event(&event).with_batch_notifier(&notifier);
                    drop(event);
                    self.push(port, log_event, text).await?;
                }
            }
            Item::Notice(notice) => {
                let event = notice.to_event(shape.component.id());
                let text = text_of_event(&event);
                let log_event = shape.log_event(&event);
                self.push(self.notices, log_event, text).await?;
            }
            // The engine may learn to say more than this version knows.
            _ => {}
        }
        Ok(())
    }

    async fn push(
        &mut self,
        port: usize,
        event: LogEvent,
        text: usize,
    ) -> Result<(), SendingFailed> {
        self.ports[port].pending.push(event);
        self.pending_text += text;
        if self.pending_text >= SEND_TEXT_BYTES {
            self.send().await?;
            // Those before the last one are sent as a whole.
            let whole = self.unsent.len().saturating_sub(1);
            self.unsent.drain(..whole);
        }
        // A tree is plain computation; a long line must not keep others from the thread.
        tokio::task::consume_budget().await;
        Ok(())
    }

    /// Sends what is pending, in order within each output.
    async fn send(&mut self) -> Result<(), SendingFailed> {
        self.pending_text = 0;
        for port in &mut self.ports {
            let events = std::mem::take(&mut port.pending);
            if events.is_empty() {
                continue;
            }
            let count = events.len();
            let size: JsonSize = events
                .iter()
                .map(EstimatedJsonEncodedSizeOf::estimated_json_encoded_size_of)
                .sum();
            self.received.emit(CountByteSize(count, size));
            let sent = match &port.name {
                None => self.out.send_batch(events).await,
                Some(name) => self.out.send_batch_named(name, events).await,
            };
            if sent.is_err() {
                emit!(StreamClosedError { count });
                return Err(SendingFailed);
            }
        }
        Ok(())
    }
}

impl Shape {
    /// The log event, in step with the schema in `config.rs`.
    fn log_event(&self, event: &Event) -> LogEvent {
        let Parts {
            fields,
            timestamp,
            nomad,
        } = self.shaper.parts(event);
        let mut log_event = LogEvent::from(fields);
        match self.log_namespace {
            LogNamespace::Legacy => {
                log_event.insert(event_path!(NOMAD), Value::Object(nomad));
                // Before the standard fields, which leave a time that is there.
                log_event.maybe_insert(log_schema().timestamp_key_target_path(), timestamp);
            }
            LogNamespace::Vector => {
                let mut metadata = nomad;
                metadata.insert("timestamp".into(), Value::Timestamp(timestamp));
                log_event.insert(metadata_path!(SOURCE_TYPE), Value::Object(metadata));
            }
        }
        self.log_namespace.insert_standard_vector_source_metadata(
            &mut log_event,
            SOURCE_TYPE,
            Utc::now(),
        );
        log_event
    }
}

fn delivery(status: BatchStatus) -> Delivery {
    match status {
        BatchStatus::Delivered => Delivery::Delivered,
        BatchStatus::Errored => Delivery::Errored,
        BatchStatus::Rejected => Delivery::Rejected,
    }
}

#[cfg(test)]
mod tests;
