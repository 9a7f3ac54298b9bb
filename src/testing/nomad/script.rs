//! What is to go wrong with a stream: per connection, written down before it comes, or by hand while it runs.

use std::time::Duration;

/// Something that happens to a running stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing more is sent; the socket stays open until [`StreamHandle::resume`](super::StreamHandle::resume), another fault, or
    /// the end of the fake.
    Stall,
    /// The socket is closed as by a dead server: no last chunk, no `close_notify`, only the end.
    Close,
    /// The socket is reset: the client's next read or write fails.
    Reset,
    /// The body ends with this text and no newline. On 1.11.1 it is a chunk, the last chunk follows and the connection
    /// stays open for another request; later versions never do this, but a proxy might: text, then the end of the socket.
    Text(String),
    /// The server closes the subscription (token deleted, snapshot restored, shutdown). On 1.11.1 a text says so; later versions
    /// fall [silent](Self::Silence).
    SubscriptionClosed,
    /// Nothing more is sent, heartbeats included, and the socket closes after
    /// [`eof_delay`](super::FakeNomadBuilder::eof_delay), as when Go's garbage collector finds it.
    Silence,
}

impl Fault {
    /// Whether the chunk being written has to be completed first, because a proper end of the body follows.
    pub(super) fn ends_the_body(&self) -> bool {
        matches!(self, Self::Text(_) | Self::SubscriptionClosed)
    }
}

/// Where in the body of a stream a scripted fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Point {
    /// After this many bytes of the body, newlines counted and chunk headers not. 0 is after the head.
    Bytes(u64),
    /// After this many lines. The `{}` at the beginning and other heartbeats count.
    Lines(u64),
    /// In the middle of this line; 1 is the `{}` at the beginning.
    InsideLine(u64),
}

/// What is to become of one stream connection.
///
/// Queued with [`FakeNomad::script`](super::FakeNomad::script) for the next request of the stream; without one it goes well.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use nomad_events::testing::nomad::{Fault, Point, Script};
///
/// let slow_head = Script::new().delay_head(Duration::from_secs(5));
/// let cut = Script::new().one_byte_at_a_time().fault(Point::Bytes(1000), Fault::Close);
/// let busy = Script::answer(429, "Your IP is issuing too many concurrent connections, please rate limit your calls\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) opening: Opening,
    pub(super) head_delay: Duration,
    pub(super) first_line_delay: Duration,
    pub(super) byte_by_byte: bool,
    pub(super) fault: Option<(Point, Fault)>,
}

/// How the answer to a stream request begins.
#[derive(Clone, Debug, Default)]
pub(super) enum Opening {
    #[default]
    Stream,
    Refuse,
    Answer(u16, String),
}

impl Script {
    /// A connection on which all goes well.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Resets the connection instead of answering the request.
    ///
    /// For a refused *connection*, [stop](super::FakeNomad::stop) the fake: only then nobody listens.
    #[must_use]
    pub fn refuse() -> Self {
        Self {
            opening: Opening::Refuse,
            ..Self::default()
        }
    }

    /// Answers with a status and a plain text instead of the stream.
    #[must_use]
    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self {
            opening: Opening::Answer(status, body.into()),
            ..Self::default()
        }
    }

    /// Waits before the first byte of the answer.
    #[must_use]
    pub fn delay_head(mut self, delay: Duration) -> Self {
        self.head_delay = delay;
        self
    }

    /// Waits between the head and the first `{}`. The subscription stands already, so no line is missed by it.
    #[must_use]
    pub fn delay_first_line(mut self, delay: Duration) -> Self {
        self.first_line_delay = delay;
        self
    }

    /// Writes every byte by itself, so that the client's reads end anywhere.
    #[must_use]
    pub fn one_byte_at_a_time(mut self) -> Self {
        self.byte_by_byte = true;
        self
    }

    /// Lets `fault` happen at `point`.
    #[must_use]
    pub fn fault(mut self, point: Point, fault: Fault) -> Self {
        self.fault = Some((point, fault));
        self
    }
}

/// What a [`StreamHandle`](super::StreamHandle) tells its connection.
#[derive(Debug)]
pub(super) enum Command {
    Fault(Fault),
    InNextLine(Fault),
    Resume,
}
