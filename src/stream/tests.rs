//! The whole engine over connections in memory, with a paused clock: every end, and every kind of answer.

mod answers;
mod changes;
mod ends;
mod quotes;
mod redelivery;
mod resume;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::notice::NoticeKind;
use super::{EventStream, Item};
use crate::nomad::memory::{Act, Dialer, Memory, Request};
use crate::options::Options;
use crate::position::Delivery;

const HEADERS: &str =
    "Cache-Control: no-cache\r\nContent-Type: application/json\r\nVary: Accept-Encoding\r\n";

/// How the body of an answer is framed.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// Up to 1.11.1: object and newline are a chunk each.
    Chunked,
    /// 1.11.2: `HTTP/0.0`, until the end of the connection.
    Wrong,
    /// 1.11.3 and later: until the end of the connection.
    Close,
}

impl Framing {
    const ALL: [Self; 3] = [Self::Chunked, Self::Wrong, Self::Close];

    fn head(self) -> String {
        match self {
            Self::Chunked => {
                format!("HTTP/1.1 200 OK\r\n{HEADERS}Transfer-Encoding: chunked\r\n\r\n")
            }
            Self::Wrong => format!("HTTP/0.0 200 OK\r\n{HEADERS}\r\n"),
            Self::Close => format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{HEADERS}\r\n"),
        }
    }

    /// A line, as two writes.
    fn line(self, text: &str) -> String {
        match self {
            Self::Chunked => format!("{:x}\r\n{text}\r\n1\r\n\n\r\n", text.len()),
            Self::Wrong | Self::Close => format!("{text}\n"),
        }
    }

    fn end(self) -> &'static str {
        match self {
            Self::Chunked => "0\r\n\r\n",
            Self::Wrong | Self::Close => "",
        }
    }

    /// Head, the first `{}`, and these lines.
    fn answer<'a>(self, lines: impl IntoIterator<Item = &'a str>) -> String {
        let mut text = self.head() + &self.line("{}");
        lines.into_iter().for_each(|line| text += &self.line(line));
        text
    }
}

/// A batch with one event.
fn job(index: u64, status: &str) -> String {
    format!(
        r#"{{"Index":{index},"Events":[{{"Topic":"Job","Type":"JobRegistered","Key":"web","Namespace":"default","FilterKeys":null,"Index":{index},"Payload":{{"Job":{{"ID":"web","Status":"{status}"}}}}}}]}}"#
    )
}

/// The index that a subscription asks for; `None` for any other request.
fn asked_for(request: &Request) -> Option<u64> {
    let (_, rest) = request
        .strip_prefix("GET /v1/event/stream?")?
        .split_once("index=")?;
    rest.split(['&', ' ']).next()?.parse().ok()
}

/// What a list of the ordinary API answers, to a client that wants to know more.
fn list() -> Vec<Act> {
    let text = "HTTP/1.1 200 OK\r\nX-Nomad-Index: 9\r\nContent-Length: 2\r\n\r\n[]";
    vec![Act::Bytes(text.into()), Act::Close]
}

/// A host in small.
struct Follower {
    stream: EventStream,
    payloads: Vec<(u64, String)>,
    notices: Vec<NoticeKind>,
}

impl Follower {
    fn of(memory: &Arc<Memory>) -> Self {
        Self::with(memory, "{}")
    }

    fn with(memory: &Arc<Memory>, options: &str) -> Self {
        let options: Options = serde_json::from_str(options).unwrap();
        let settings = options.settings(|_| None).unwrap();
        Self {
            stream: EventStream::follow_over(settings, Arc::new(Dialer(Arc::clone(memory))), None),
            payloads: Vec::new(),
            notices: Vec::new(),
        }
    }

    async fn take(&mut self) {
        match self.stream.next().await.unwrap() {
            Item::Batch(batch) => {
                self.stream
                    .acknowledger()
                    .resolve(batch.id, Delivery::Delivered);
                for event in batch.events {
                    let payload = String::from_utf8(event.payload.to_vec()).unwrap();
                    self.payloads.push((event.index.0, payload));
                }
            }
            Item::Notice(notice) => self.notices.push(notice.kind),
        }
    }

    /// Takes items until the condition holds, for five minutes of the paused clock at most.
    async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(300), async {
            while !condition(self) {
                self.take().await;
            }
        });
        if waited.await.is_err() {
            panic!(
                "{what} did not come: {:?} {:?}",
                self.payloads, self.notices
            );
        }
    }

    async fn until_events(&mut self, count: usize) {
        self.until("events", |follower| follower.payloads.len() >= count)
            .await;
    }

    /// The first cause that was told, with its message.
    async fn until_disconnected(&mut self) -> (String, String) {
        self.until("Disconnected", |follower| follower.cause().is_some())
            .await;
        self.cause().unwrap()
    }

    fn cause(&self) -> Option<(String, String)> {
        self.notices.iter().find_map(|notice| match notice {
            NoticeKind::Disconnected(told) => Some((told.cause.to_owned(), told.message.clone())),
            _ => None,
        })
    }

    fn count(&self, kind: &str) -> usize {
        self.notices
            .iter()
            .filter(|notice| notice.name() == kind)
            .count()
    }
}
