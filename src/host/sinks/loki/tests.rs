//! The sink as a whole: with a scripted transport where time matters, with the fake Loki where bytes matter.

mod batching;
mod failures;
mod over_http;

use std::collections::VecDeque;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vrl::value::{ObjectMap, Value};

use super::client::{Answer, Failure, Target};
use super::*;
use crate::host::channel::{self, Sender};
use crate::host::event::Finalizer;
use crate::loki_push::PushRequest;
use crate::position::Delivery;

/// For what has to happen; generous, since nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(20);

/// A time that Loki can hold.
const NANOS: i64 = 1_700_000_000_123_456_789;

/// A configuration without network, to which options are added.
const SCRIPTED: &str = "endpoint = 'http://127.0.0.1:9'\nhealthcheck = false\n";

/// Labels and encoding of tests to which they do not matter.
const PLAIN: &str = "labels.app = 'test'\nencoding.codec = 'json'\n";

fn object(json: &str) -> ObjectMap {
    match serde_json::from_str(json).unwrap() {
        Value::Object(fields) => fields,
        other => panic!("no object: {other:?}"),
    }
}

/// A value with the fields of `json` and a timestamp.
fn value(json: &str, nanos: i64) -> Value {
    let mut fields = object(json);
    let time = chrono::DateTime::from_timestamp_nanos(nanos);
    fields.insert("timestamp".into(), Value::Timestamp(time));
    Value::Object(fields)
}

/// A sink at work.
struct Harness {
    sender: Sender,
    task: JoinHandle<()>,
    deliveries: Vec<mpsc::Receiver<Delivery>>,
}

impl Harness {
    fn start(sink: LokiSink<impl Transport>) -> Self {
        Self::start_with_room(sink, 1 << 20)
    }

    /// With a channel in front of the sink that holds so many events.
    fn start_with_room(sink: LokiSink<impl Transport>, room: usize) -> Self {
        let (sender, receiver) = channel::channel(room);
        Self {
            sender,
            task: tokio::spawn(Box::new(sink).run(receiver)),
            deliveries: Vec::new(),
        }
    }

    /// Hands events over together, each with a finalizer of its own.
    async fn send(&mut self, values: impl IntoIterator<Item = Value>) {
        let mut events = Vec::new();
        for value in values {
            let (finalizer, delivery) = Finalizer::observed();
            self.deliveries.push(delivery);
            events.push(LogEvent {
                value,
                metadata: Value::Object(ObjectMap::new()),
                finalizer,
                weight: 1,
            });
        }
        self.sender.send(events).await.unwrap();
    }

    /// Hands over so many events of the same form, numbered.
    async fn send_numbered(&mut self, numbers: std::ops::Range<i64>) {
        self.send(numbers.map(|number| value(&format!(r#"{{"n":{number}}}"#), NANOS + number)))
            .await;
    }

    /// What is known about each event by now.
    fn delivered(&self) -> Vec<Option<Delivery>> {
        let answers = self.deliveries.iter().map(mpsc::Receiver::try_recv);
        answers
            .map(|answer| match answer {
                Ok(delivery) => Some(delivery),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => panic!("asked twice"),
            })
            .collect()
    }

    /// Closes the channel, waits until the sink is done, and says what became of each event.
    async fn finish(self) -> Vec<Delivery> {
        let Self {
            sender,
            task,
            deliveries,
        } = self;
        drop(sender);
        tokio::time::timeout(DEADLINE, task)
            .await
            .expect("the sink ends when its input ends")
            .unwrap();
        deliveries
            .iter()
            .map(|delivery| delivery.try_recv().expect("every event is answered"))
            .collect()
    }
}

fn all(delivery: Delivery, events: usize) -> Vec<Delivery> {
    vec![delivery; events]
}

/// A transport that does what it is told and remembers what it was given.
#[derive(Clone, Debug, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    replies: VecDeque<Reply>,
    /// When the replies are used up.
    afterwards: Reply,
    pushes: Vec<(Instant, Bytes)>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Reply {
    Status(u16),
    Broken,
    Never,
    After(Duration),
    #[default]
    Fine,
}

impl Scripted {
    fn replying(replies: &[Reply], afterwards: Reply) -> Self {
        let scripted = Self::default();
        scripted.script().replies.extend(replies);
        scripted.script().afterwards = afterwards;
        scripted
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sink(&self, options: &str) -> LokiSink<Self> {
        let config: LokiConfig = toml::from_str(&format!("{SCRIPTED}{options}")).unwrap();
        config.sink("loki", |_: Target, _| self.clone()).unwrap()
    }

    /// When each push came, since `start`.
    fn times(&self, start: Instant) -> Vec<Duration> {
        let script = self.script();
        script
            .pushes
            .iter()
            .map(|(time, _)| *time - start)
            .collect()
    }

    /// The lines of each push, streams one after the other.
    fn lines(&self) -> Vec<Vec<String>> {
        let requests = self.requests();
        requests
            .iter()
            .map(|request| {
                let entries = request.streams.iter().flat_map(|stream| &stream.entries);
                entries
                    .map(|entry| String::from_utf8(entry.line.to_vec()).unwrap())
                    .collect()
            })
            .collect()
    }

    fn requests(&self) -> Vec<PushRequest> {
        let script = self.script();
        let bodies = script.pushes.iter().map(|(_, body)| body);
        bodies
            .map(|body| {
                let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap();
                PushRequest::decode(Bytes::from(plain)).unwrap()
            })
            .collect()
    }

    /// Lets every task do what it can without time passing.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

impl Transport for Scripted {
    async fn push(&self, body: Bytes) -> Result<Answer, Failure> {
        let reply = {
            let mut script = self.script();
            script.pushes.push((Instant::now(), body));
            let afterwards = script.afterwards;
            script.replies.pop_front().unwrap_or(afterwards)
        };
        let status = match reply {
            Reply::Status(status) => status,
            Reply::Broken => return Err(Failure::Transport("broken".to_owned())),
            Reply::Never => std::future::pending().await,
            Reply::After(wait) => {
                tokio::time::sleep(wait).await;
                204
            }
            Reply::Fine => 204,
        };
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            text: String::new(),
        })
    }

    async fn ready(&self) -> Result<Answer, Failure> {
        Err(Failure::Timeout)
    }
}
