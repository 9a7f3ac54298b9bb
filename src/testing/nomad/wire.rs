//! The socket of one stream: bytes out, in the framing of the version, interrupted wherever a fault says so.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::script::{Command, Fault, Point};
use super::socket::Socket;

/// What a client sends after its stream request is read in pieces of this size, and thrown away.
const DISCARD_BYTES: usize = 4096;

/// Why a stream ends.
#[derive(Debug)]
pub(super) enum Ended {
    /// As a script or a test wants it.
    Fault(Fault),
    /// The server's own error, which 1.11.1 writes and later versions do not.
    Error(&'static str),
    /// The client closed its side, and this version noticed.
    ClientClosed,
    /// Nothing can be written any more.
    Broken,
}

/// The writing side of a stream, with an eye on the other.
pub(super) struct Wire<'a> {
    pub(super) reader: &'a mut ReadHalf<Socket>,
    pub(super) writer: &'a mut WriteHalf<Socket>,
    /// Whether pieces are chunks.
    pub(super) chunked: bool,
    pub(super) byte_by_byte: bool,
    /// How long one write may wait for the client.
    pub(super) write_timeout: Option<Duration>,
    /// The fault of the script, until it has happened.
    pub(super) fault: Option<(Point, Fault)>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Called once, when the client closes its side.
    pub(super) on_client_closed: Box<dyn Fn() + Send + 'a>,
    pub(super) stalled: bool,
    pub(super) client_closed: bool,
    pub(super) in_next_line: Option<Fault>,
    pub(super) body_bytes: u64,
    pub(super) lines: u64,
}

impl Wire<'_> {
    /// Writes a line: the object, then its newline, each by itself as Nomad flushes them.
    pub(super) async fn line(&mut self, text: &[u8]) -> Result<(), Ended> {
        let inside = match self.in_next_line.take() {
            Some(fault) => Some(fault),
            None => self.scripted(|wire, point| point == Point::InsideLine(wire.lines + 1)),
        };
        match inside {
            None => self.piece(text).await?,
            Some(fault) => self.piece_with_fault(text, text.len() / 2, fault).await?,
        }
        self.piece(b"\n").await?;
        self.lines += 1;
        match self.scripted(|wire, point| point == Point::Lines(wire.lines)) {
            None => Ok(()),
            Some(fault) => self.happen(fault),
        }
    }

    /// Writes a piece of the body, which is a chunk if the body is chunked.
    pub(super) async fn piece(&mut self, piece: &[u8]) -> Result<(), Ended> {
        if let Some((Point::Bytes(at), _)) = &self.fault {
            let room = usize::try_from(at.saturating_sub(self.body_bytes)).unwrap_or(usize::MAX);
            if room <= piece.len()
                && let Some((_, fault)) = self.fault.take()
            {
                return self.piece_with_fault(piece, room, fault).await;
            }
        }
        self.body_bytes += piece.len() as u64;
        let framed = self.framed(piece);
        self.bytes(&framed).await
    }

    /// Writes a piece with a fault after `at` of its bytes.
    async fn piece_with_fault(
        &mut self,
        piece: &[u8],
        at: usize,
        fault: Fault,
    ) -> Result<(), Ended> {
        self.body_bytes += piece.len() as u64;
        let (before, after) = piece.split_at_checked(at).unwrap_or((piece, &[]));
        let framed = if fault.ends_the_body() {
            // What follows is a chunk of its own, so this one has to be whole.
            self.framed(before)
        } else {
            self.framed(piece)
        };
        let end = match (self.chunked, fault.ends_the_body()) {
            (_, true) => framed.len(),
            (false, false) => at,
            (true, false) => framed.len().saturating_sub(after.len() + CHUNK_END.len()),
        };
        let (now, later) = framed.split_at_checked(end).unwrap_or((&framed, &[]));
        self.bytes(now).await?;
        self.happen(fault)?;
        self.bytes(later).await
    }

    /// Writes bytes as they are.
    pub(super) async fn bytes(&mut self, mut rest: &[u8]) -> Result<(), Ended> {
        // TLS may keep what it has taken. Taking and flushing are two steps, so that each can be interrupted.
        let mut flushed = true;
        while !rest.is_empty() || !flushed {
            if self.stalled {
                self.interrupted().await?;
                continue;
            }
            let piece = if self.byte_by_byte {
                &rest[..rest.len().min(1)]
            } else {
                rest
            };
            let step = async {
                if flushed {
                    self.writer.write(piece).await
                } else {
                    self.writer.flush().await.map(|()| 0)
                }
            };
            let written = tokio::select! {
                biased;
                command = self.commands.recv() => {
                    self.obey(command)?;
                    continue;
                }
                gone = discard(self.reader, self.client_closed) => {
                    self.client_gone(gone)?;
                    continue;
                }
                written = within(self.write_timeout, step) => written,
            };
            match written {
                Ok(_) if !flushed => flushed = true,
                Ok(written) if written > 0 => {
                    rest = rest.get(written..).unwrap_or_default();
                    flushed = false;
                }
                _ => return Err(Ended::Broken),
            }
            if self.byte_by_byte && flushed {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Waits for a command or the client's leaving, and returns when it has been dealt with. Cancel safe.
    pub(super) async fn interrupted(&mut self) -> Result<(), Ended> {
        tokio::select! {
            biased;
            command = self.commands.recv() => self.obey(command),
            gone = discard(self.reader, self.client_closed) => self.client_gone(gone),
        }
    }

    /// Waits for `delay` while a test or the client may end the stream.
    pub(super) async fn pause(&mut self, delay: Duration) -> Result<(), Ended> {
        let deadline = Instant::now() + delay;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => return Ok(()),
                interrupted = self.interrupted() => interrupted?,
            }
        }
    }

    /// Keeps the socket open without a word for `delay`; a command that ends it, ends this too.
    pub(super) async fn silence(&mut self, delay: Duration) -> Fault {
        let deadline = Instant::now() + delay;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => return Fault::Close,
                end = self.interrupted() => match end {
                    Err(Ended::Fault(Fault::Reset)) => return Fault::Reset,
                    Err(Ended::Fault(Fault::Silence | Fault::SubscriptionClosed)) | Ok(()) => {}
                    Err(_) => return Fault::Close,
                },
            }
        }
    }

    /// The last chunk of a chunked body.
    pub(super) async fn end_of_body(&mut self) -> Result<(), Ended> {
        if self.chunked {
            self.bytes(b"0\r\n\r\n").await
        } else {
            Ok(())
        }
    }

    fn framed(&self, piece: &[u8]) -> Vec<u8> {
        if !self.chunked {
            return piece.to_vec();
        }
        // An empty chunk would be the end of the body.
        if piece.is_empty() {
            return Vec::new();
        }
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(CHUNK_END);
        chunk
    }

    fn scripted(&mut self, is_here: impl Fn(&Self, Point) -> bool) -> Option<Fault> {
        let (point, _) = self.fault.as_ref()?;
        if is_here(self, *point) {
            self.fault.take().map(|(_, fault)| fault)
        } else {
            None
        }
    }

    fn obey(&mut self, command: Option<Command>) -> Result<(), Ended> {
        match command {
            Some(Command::Fault(fault)) => self.happen(fault),
            Some(Command::InNextLine(fault)) => {
                self.in_next_line = Some(fault);
                Ok(())
            }
            Some(Command::Resume) => {
                self.stalled = false;
                Ok(())
            }
            // The sender lives as long as the fake.
            None => Err(Ended::Broken),
        }
    }

    fn happen(&mut self, fault: Fault) -> Result<(), Ended> {
        if fault == Fault::Stall {
            self.stalled = true;
            return Ok(());
        }
        self.stalled = false;
        Err(Ended::Fault(fault))
    }

    fn client_gone(&mut self, read: io::Result<()>) -> Result<(), Ended> {
        if !self.client_closed {
            self.client_closed = true;
            (self.on_client_closed)();
        }
        match read {
            Err(_) => Err(Ended::Broken),
            // Go's HTTP server watches its connections; a hijacked one nobody watches.
            Ok(()) if self.chunked => Err(Ended::ClientClosed),
            Ok(()) => Ok(()),
        }
    }
}

const CHUNK_END: &[u8] = b"\r\n";

/// Reads and forgets until the client closes its side; never returns once it has. Cancel safe.
async fn discard(reader: &mut ReadHalf<Socket>, closed: bool) -> io::Result<()> {
    if closed {
        return std::future::pending().await;
    }
    let mut piece = [0; DISCARD_BYTES];
    while reader.read(&mut piece).await? > 0 {}
    Ok(())
}

async fn within(
    limit: Option<Duration>,
    write: impl Future<Output = io::Result<usize>>,
) -> io::Result<usize> {
    match limit {
        None => write.await,
        Some(limit) => timeout(limit, write)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    }
}
