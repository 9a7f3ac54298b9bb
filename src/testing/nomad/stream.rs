//! Serves one request of the event stream.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::history::{Found, Place};
use super::line::Line;
use super::request::SeenRequest;
use super::script::{Fault, Opening};
use super::server::{After, Connection};
use super::state::{Granted, Refused, Shared};
use super::wire::{Ended, Wire};
use crate::testing::recording::HEARTBEAT;

/// What 1.11.1 writes when it closes a subscription.
const SUBSCRIPTION_CLOSED: &str = "subscription closed by server, client should resubscribe";

/// What 1.11.1 writes when a reader was too slow for the buffer.
const DROPPED: &str = "event dropped from buffer";

/// Answers a request of the event stream, until the stream ends.
pub(super) async fn serve(
    connection: &mut Connection,
    shared: &Shared,
    request: &SeenRequest,
) -> After {
    let script = shared.state().scripts.pop_front().unwrap_or_default();
    sleep(script.head_delay).await;
    match script.opening {
        Opening::Stream => {}
        Opening::Refuse => return After::Reset,
        Opening::Answer(status, ref body) => {
            let answer = super::version::Answer::error(status, body.as_str());
            return connection.answer(&answer, request).await;
        }
    }
    let version = shared.settings.version;
    let granted = match shared.subscribe(request) {
        Ok(granted) => Ok(granted),
        Err(Refused::Subscription(_)) if version.hijacks() => Err(()),
        Err(Refused::Request(answer) | Refused::Subscription(answer)) => {
            return connection.answer(&answer, request).await;
        }
    };
    let head = version.stream_head(&request.http_version);
    let Ok(granted) = granted else {
        // The agent has said 200 before the server behind it refused; the rest only its log knows.
        return connection
            .answer_and_hang(head.as_bytes(), shared.settings.eof_delay)
            .await;
    };

    let chunked = !version.hijacks() && request.http_version == "1.1";
    let Granted {
        id,
        subscription,
        place,
        replay,
        commands,
    } = granted;
    let _open = OpenStream { shared, id };
    let mut wire = Wire {
        reader: &mut connection.reader,
        writer: &mut connection.writer,
        chunked,
        byte_by_byte: script.byte_by_byte,
        write_timeout: version.hijacks().then_some(shared.settings.write_timeout),
        fault: script.fault,
        commands,
        on_client_closed: Box::new(move || shared.note_end(id)),
        stalled: false,
        client_closed: false,
        in_next_line: None,
        body_bytes: 0,
        lines: 0,
    };
    let lines = Lines {
        shared,
        changes: shared.watch_lines(),
        place,
        replay,
    };
    let Err(ended) = run(
        &mut wire,
        lines,
        &subscription,
        id,
        &head,
        script.first_line_delay,
    )
    .await;
    finish(wire, shared, ended).await
}

/// Sends until something ends the stream.
async fn run(
    wire: &mut Wire<'_>,
    mut lines: Lines<'_>,
    subscription: &super::subscription::Subscription,
    id: u64,
    head: &str,
    first_line_delay: std::time::Duration,
) -> Result<std::convert::Infallible, Ended> {
    wire.bytes(head.as_bytes()).await?;
    wire.pause(first_line_delay).await?;
    wire.line(HEARTBEAT).await?;

    let period = lines.shared.settings.heartbeat;
    let mut heartbeat = interval_at(Instant::now() + period, period);
    // A client that reads nothing for an hour gets one heartbeat then, not 120.
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            interrupted = wire.interrupted() => interrupted?,
            _ = heartbeat.tick() => wire.line(HEARTBEAT).await?,
            line = lines.next() => {
                let line = line?;
                if let Some(text) = subscription.select(&line) {
                    wire.line(&lines.shared.in_some_order(text)).await?;
                    lines.shared.note_batch(id, line.index);
                }
                lines.done();
            }
        }
    }
}

/// Ends the body as the version does, and says what becomes of the connection.
async fn finish(mut wire: Wire<'_>, shared: &Shared, ended: Ended) -> After {
    let eof_delay = shared.settings.eof_delay;
    let speaks = !shared.settings.version.hijacks();
    let text = match ended {
        Ended::Fault(Fault::Text(text)) => text,
        Ended::Fault(Fault::SubscriptionClosed) if speaks => SUBSCRIPTION_CLOSED.to_owned(),
        Ended::Error(text) if speaks => text.to_owned(),
        Ended::ClientClosed => String::new(),
        Ended::Fault(Fault::Silence | Fault::SubscriptionClosed) | Ended::Error(_) => {
            return match wire.silence(eof_delay).await {
                Fault::Reset => After::Reset,
                _ => After::Close,
            };
        }
        Ended::Fault(Fault::Reset) => return After::Reset,
        Ended::Fault(Fault::Close | Fault::Stall) | Ended::Broken => return After::Close,
    };
    if !text.is_empty() && wire.piece(text.as_bytes()).await.is_err() {
        return After::Close;
    }
    match wire.end_of_body().await {
        Ok(()) if wire.chunked && !wire.client_closed => After::KeepOpen,
        _ => After::Close,
    }
}

/// The lines that a stream has yet to look at.
struct Lines<'a> {
    shared: &'a Shared,
    changes: watch::Receiver<()>,
    place: Place,
    /// Log entries applied again while this client listens; they come before everything else.
    replay: VecDeque<Arc<Line>>,
}

impl Lines<'_> {
    /// The line to look at next, the same one until [`done`](Self::done). Cancel safe.
    async fn next(&mut self) -> Result<Arc<Line>, Ended> {
        if let Some(line) = self.replay.front() {
            return Ok(Arc::clone(line));
        }
        loop {
            self.changes.mark_unchanged();
            match self.shared.find(self.place) {
                Found::Line(line) => return Ok(line),
                Found::Dropped => return Err(Ended::Error(DROPPED)),
                Found::Nothing => {}
            }
            if self.changes.changed().await.is_err() {
                return Err(Ended::Broken);
            }
        }
    }

    fn done(&mut self) {
        if self.replay.pop_front().is_none() {
            self.place.next += 1;
            self.place.holds_one = true;
        }
        if self.replay.is_empty() {
            self.shared.note_place(self.place);
        }
    }
}

/// Notes the end of a stream, also when its task is aborted.
struct OpenStream<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.shared.note_end(self.id);
    }
}
