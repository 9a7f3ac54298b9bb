//! Servers in memory, for tests with a paused clock: each connection gets its answer byte for byte, as a list of acts.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::dial::{Dial, Wire};
use crate::options::{Endpoint, Place};
use crate::testing::nomad::FakeNomad;

/// What a server does next. Each `Bytes` is one read of the client at least.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// The end of the connection.
    Close,
    /// The end of the connection, as an error.
    Reset,
    /// Nothing more, and no end.
    Hold,
}

impl Act {
    /// Every byte by itself.
    pub(crate) fn byte_by_byte(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.iter().map(|&byte| Self::Bytes(vec![byte]))
    }
}

/// A request as it came, head only.
pub(crate) type Request = String;

type Script = Box<dyn Fn(usize, &Request) -> Vec<Act> + Send + Sync>;

/// Answers connections by a script, which is given a request, and how many of its path have come before.
pub(crate) struct Memory {
    script: Script,
    requests: Mutex<Vec<Request>>,
}

impl Memory {
    pub(crate) fn new(
        script: impl Fn(usize, &Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            requests: Mutex::default(),
        })
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn answer(&self, request: Request) -> VecDeque<Act> {
        let mut requests = self.requests.lock().unwrap();
        let path = path_of(&request);
        let before = requests.iter().filter(|request| path_of(request) == path);
        let acts = (self.script)(before.count(), &request);
        requests.push(request);
        acts.into()
    }
}

fn path_of(request: &Request) -> &str {
    request.split(['?', '\r']).next().unwrap_or_default()
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

/// Shared, so that a test keeps it to look at the requests.
#[derive(Clone, Debug)]
pub(crate) struct Dialer(pub(crate) Arc<Memory>);

impl Dial for Dialer {
    fn dial<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Wire>>> {
        let wire = Scripted {
            memory: Arc::clone(&self.0),
            request: Vec::new(),
            acts: None,
            pause: None,
            reader: None,
        };
        Box::pin(async move { Ok(Box::new(wire) as Box<dyn Wire>) })
    }
}

/// The fake servers, which are known by their ports, without their sockets.
#[derive(Debug)]
pub(crate) struct Fakes(pub(crate) Vec<Arc<FakeNomad>>);

impl Dial for Fakes {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Wire>>> {
        let fake = self.0.iter().find(|fake| {
            matches!(&endpoint.place, Place::Tcp { port, .. } if *port == fake.address().port())
        });
        Box::pin(async move {
            let fake = fake.ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(fake.connect_in_memory()?) as Box<dyn Wire>)
        })
    }
}

/// The client's end of a connection.
struct Scripted {
    memory: Arc<Memory>,
    request: Vec<u8>,
    /// What is left of the answer; `None` before the request has come.
    acts: Option<VecDeque<Act>>,
    pause: Option<Pin<Box<Sleep>>>,
    reader: Option<Waker>,
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            let Some(acts) = &mut this.acts else {
                this.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            match acts.front_mut() {
                Some(Act::Bytes(bytes)) => {
                    let count = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..count]);
                    bytes.drain(..count);
                    if bytes.is_empty() {
                        acts.pop_front();
                    }
                    // An empty read would be the end.
                    if count > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Some(Act::Pause(duration)) => {
                    this.pause = Some(Box::pin(tokio::time::sleep(*duration)));
                    acts.pop_front();
                }
                Some(Act::Hold) => return Poll::Pending,
                Some(Act::Reset) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Some(Act::Close) | None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.request.extend_from_slice(bytes);
        if self.acts.is_none() && self.request.ends_with(b"\r\n\r\n") {
            let request = String::from_utf8(std::mem::take(&mut self.request)).unwrap();
            self.acts = Some(self.memory.answer(request));
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
