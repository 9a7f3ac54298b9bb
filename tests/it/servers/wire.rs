//! An independent reader of Nomad's event stream: a socket, and the lines that come out of it.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::http::{self, Api};
use super::{now_nanos, wait_for};

/// Until the first line of a subscription.
const SUBSCRIBED_LIMIT: Duration = Duration::from_secs(10);

/// What Nomad sends at once, and every 30 s.
const HEARTBEAT: &[u8] = b"{}";

/// A line as it came, heartbeats included.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The line without its newline.
    pub(crate) text: Vec<u8>,
    /// When its newline was read, nanoseconds since 1970.
    pub(crate) received: i64,
}

/// Reads a stream in a thread of its own until it is told to stop.
pub(crate) struct Reader {
    socket: TcpStream,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    lines: Vec<Line>,
    /// Why nothing more will come.
    ended: Option<String>,
}

impl Reader {
    /// Subscribes from the earliest line that the server has, and waits for the first line.
    pub(crate) fn start(api: impl Into<Api>, topics: &[&str], namespace: &str) -> Self {
        let mut query = vec![("index", "0"), ("namespace", namespace)];
        query.extend(topics.iter().map(|topic| ("topic", *topic)));
        let target = http::target("/v1/event/stream", &query);
        // To a request in HTTP/1.0 every version of Nomad answers without chunks.
        let (mut connection, socket) = (api.into())
            .send("GET", &target, &[], b"")
            .expect("a request to Nomad");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || read(&mut connection, &shared))
        };
        let reader = Self {
            socket,
            shared,
            thread: Some(thread),
        };
        wait_for(
            "the reader is subscribed",
            SUBSCRIBED_LIMIT,
            || match reader.lines().len() {
                0 => Err("no line".to_owned()),
                _ => Ok(()),
            },
        );
        reader
    }

    /// All lines so far; panics when the stream has ended by itself.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let shared = lock(&self.shared);
        if let Some(reason) = &shared.ended {
            panic!("the reader's stream has ended: {reason}");
        }
        shared.lines.clone()
    }

    /// How long no event has come. Heartbeats do not count.
    pub(crate) fn quiet_for(&self) -> Duration {
        let lines = self.lines();
        let last = lines.iter().rfind(|line| line.text != HEARTBEAT);
        let nanos = now_nanos() - last.or(lines.first()).map_or(0, |line| line.received);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// Stops reading and gives all lines.
    pub(crate) fn stop(mut self) -> Vec<Line> {
        let lines = self.lines();
        self.end();
        lines
    }

    fn end(&mut self) {
        // Wakes the thread from its read; when the socket is closed already it is awake.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(connection: &mut impl Read, shared: &Mutex<Shared>) {
    let reason = read_lines(connection, |line| {
        lock(shared).lines.push(line);
    });
    lock(shared).ended = Some(reason);
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads to the end; says why it ended.
fn read_lines(connection: &mut impl Read, mut take: impl FnMut(Line)) -> String {
    let mut pending = Vec::new();
    let mut in_head = true;
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = match connection.read(&mut piece) {
            Ok(0) => return format!("{} bytes without a newline are left", pending.len()),
            Ok(length) => length,
            Err(error) => return error.to_string(),
        };
        let received = now_nanos();
        pending.extend_from_slice(&piece[..length]);
        if in_head {
            let Some(end) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            if !pending.starts_with(b"HTTP/1.0 200 ") {
                return String::from_utf8_lossy(&pending).into_owned();
            }
            pending.drain(..end + 4);
            in_head = false;
        }
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let text = pending[..end].to_vec();
            pending.drain(..=end);
            take(Line { text, received });
        }
    }
}
