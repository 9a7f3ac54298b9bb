//! A raw socket against the fake: what it writes is compared byte for byte.

mod access;
mod buffer;
mod endpoints;
mod faults;
mod framing;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;

/// Nothing in these tests takes longer on a busy machine; only a failure does.
const DEADLINE: Duration = Duration::from_secs(20);

/// A period in which nothing else happens.
const NEVER: Duration = Duration::from_secs(3600);

/// A client that reads bytes, and knows nothing of HTTP.
struct Raw {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    async fn connect(fake: &FakeNomad) -> Self {
        // A small window, so that a client which does not read holds its server up soon.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        Self {
            socket: socket.connect(fake.address()).await.unwrap(),
            read: Vec::new(),
        }
    }

    /// Asks for the stream and reads the head of the answer.
    async fn stream(fake: &FakeNomad, query: &str) -> Self {
        let mut client = Self::connect(fake).await;
        client.get(&format!("{STREAM_PATH}?{query}")).await;
        client.until("\r\n\r\n").await;
        client
    }

    async fn get(&mut self, target: &str) {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: nomad\r\n\r\n"))
            .await;
    }

    async fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and with the next `end`.
    async fn until(&mut self, end: &str) -> String {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.read[searched..], end.as_bytes()) {
                let rest = self.read.split_off(searched + at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            searched = self.read.len().saturating_sub(end.len());
            // Lines of megabytes are read here, in an unoptimised build.
            self.read.reserve(self.read.len().max(4096));
            let read = timeout(DEADLINE, self.socket.read_buf(&mut self.read)).await;
            let read = read.unwrap_or_else(|_| panic!("no {end:?} after {:?}", self.shown()));
            assert_ne!(
                read.unwrap(),
                0,
                "end before {end:?} after {:?}",
                self.shown()
            );
        }
    }

    /// Reads exactly this, and shows what came instead.
    async fn expect(&mut self, expected: &str) {
        while self.read.len() < expected.len() {
            self.read.reserve(expected.len());
            let read = timeout(DEADLINE, self.socket.read_buf(&mut self.read)).await;
            let read = read.unwrap_or_else(|_| panic!("{expected:?} became {:?}", self.shown()));
            if read.unwrap() == 0 {
                break;
            }
        }
        let rest = self.read.split_off(expected.len().min(self.read.len()));
        let came = std::mem::replace(&mut self.read, rest);
        assert_eq!(String::from_utf8_lossy(&came), expected);
    }

    /// A line of a body that is not chunked.
    async fn line(&mut self) -> String {
        self.until("\n").await.trim_end().to_owned()
    }

    /// Everything up to the end of the socket, or the error in its place.
    async fn rest(&mut self) -> io::Result<String> {
        let end = timeout(DEADLINE, self.socket.read_to_end(&mut self.read)).await;
        end.expect("the socket ends")?;
        Ok(String::from_utf8(std::mem::take(&mut self.read)).unwrap())
    }

    /// Fails if anything comes, the end of the socket included, in the blink of an eye.
    async fn expect_nothing(&mut self) {
        assert_eq!(self.shown(), "");
        let read = self.socket.read_buf(&mut self.read);
        let read = timeout(Duration::from_millis(50), read).await;
        assert!(read.is_err(), "{read:?}: {:?}", self.shown());
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.read)
            .chars()
            .take(300)
            .collect()
    }
}

/// A fake with no heartbeat but the first.
fn quiet(version: Version) -> FakeNomadBuilder {
    FakeNomad::builder().version(version).heartbeat(NEVER)
}

/// A line with one job event.
fn job(index: u64) -> Bytes {
    job_in(index, "default")
}

fn job_in(index: u64, namespace: &str) -> Bytes {
    let event = EventText::new("Job", "JobRegistered", "web").namespace(namespace);
    BatchText::new(index).event(event).to_bytes().unwrap()
}

fn text(line: &Bytes) -> &str {
    std::str::from_utf8(line).unwrap()
}

/// The index of a line, as a client reads it.
fn index_of(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["Index"].as_u64().unwrap()
}
