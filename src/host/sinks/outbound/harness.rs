//! Sinks under test: one at work, and a transport that is scripted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use vrl::value::{ObjectMap, Value};

use super::client::{Answer, Failure, Transport};
use super::{Batch, Format, Outbound};
use crate::host::buffer::Capacity;
use crate::host::channel::{self, Sender};
use crate::host::event::{Finalizer, LogEvent};
use crate::host::sinks::Sink as _;
use crate::position::Delivery;
use crate::testing::tls::ServerTls;

/// For what has to happen; generous, since nothing waits for it to pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A sink at work.
pub(crate) struct Harness {
    sender: Sender,
    pub(crate) task: JoinHandle<()>,
    pub(crate) deliveries: Vec<mpsc::Receiver<Delivery>>,
}

impl Harness {
    pub(crate) fn start<F, T>(sink: Outbound<F, T>) -> Self
    where
        F: Format,
        F::Batch: Batch<Key = F::Key>,
        F::Key: 'static,
        T: Transport,
    {
        Self::start_with_room(sink, 1 << 20)
    }

    /// With a channel in front of the sink that holds so many events.
    pub(crate) fn start_with_room<F, T>(sink: Outbound<F, T>, room: usize) -> Self
    where
        F: Format,
        F::Batch: Batch<Key = F::Key>,
        F::Key: 'static,
        T: Transport,
    {
        let (sender, receiver) = channel::channel(Capacity {
            events: room,
            bytes: room,
        });
        Self {
            sender,
            task: tokio::spawn(Box::new(sink).run(receiver)),
            deliveries: Vec::new(),
        }
    }

    /// Hands events over together, each with a finalizer of its own.
    pub(crate) async fn send(&mut self, values: impl IntoIterator<Item = Value>) {
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

    /// What is known about each event by now.
    pub(crate) fn delivered(&self) -> Vec<Option<Delivery>> {
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
    pub(crate) async fn finish(self) -> Vec<Delivery> {
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

pub(crate) fn all(delivery: Delivery, events: usize) -> Vec<Delivery> {
    vec![delivery; events]
}

/// A transport that does what it is told and remembers what it was given.
#[derive(Clone, Default)]
pub(crate) struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
pub(crate) struct Script {
    replies: VecDeque<Reply>,
    /// When the replies are used up.
    afterwards: Reply,
    pub(crate) pushes: Vec<(Instant, Request<Bytes>)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Reply {
    Status(u16),
    /// This status, with a wait that is asked for.
    Later(u16, Duration),
    Broken,
    Never,
    After(Duration),
    #[default]
    Fine,
}

impl Scripted {
    pub(crate) fn replying(replies: &[Reply], afterwards: Reply) -> Self {
        let scripted = Self::default();
        scripted.script().replies.extend(replies);
        scripted.script().afterwards = afterwards;
        scripted
    }

    pub(crate) fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When each push came, since `start`.
    pub(crate) fn times(&self, start: Instant) -> Vec<Duration> {
        let script = self.script();
        script
            .pushes
            .iter()
            .map(|(time, _)| *time - start)
            .collect()
    }

    /// Lets every task do what it can without time passing.
    pub(crate) async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

impl Transport for Scripted {
    async fn send(&self, request: Request<Bytes>) -> Result<Answer, Failure> {
        let reply = {
            let mut script = self.script();
            script.pushes.push((Instant::now(), request));
            let afterwards = script.afterwards;
            script.replies.pop_front().unwrap_or(afterwards)
        };
        let (status, retry_after) = match reply {
            Reply::Status(status) => (status, None),
            Reply::Later(status, wait) => (status, Some(wait)),
            Reply::Broken => return Err(Failure::Transport("broken".to_owned())),
            Reply::Never => std::future::pending().await,
            Reply::After(wait) => {
                tokio::time::sleep(wait).await;
                (204, None)
            }
            Reply::Fine => (204, None),
        };
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            text: String::new(),
            retry_after,
        })
    }
}

/// Something that speaks TLS and hands on to a server that does not.
pub(crate) struct TlsFront {
    address: SocketAddr,
    task: AbortHandle,
}

impl TlsFront {
    /// Listens on a free loopback port.
    pub(crate) async fn start(server: SocketAddr, tls: &ServerTls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let serve = async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                open.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut behind = TcpStream::connect(server).await.unwrap();
                    // How a connection ends is the client's business.
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
                });
            }
        };
        Self {
            address,
            task: tokio::spawn(serve).abort_handle(),
        }
    }

    /// `https` to it.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}
