//! Lines from bytes, bounded: NDJSON as it comes off the wire.
//!
//! Pure. A line that is too long is discarded while it is read, but for a few kilobytes of its edges, from which its index may
//! be recovered; so memory is bounded by the limit, twice while a line grows and once more when it is complete.
//!
//! `Debug` shows lengths, never a byte of a line.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// How much of each end of a discarded line is kept. Nomad's release builds print the batch's index first, others last.
pub const EDGE_BYTES: usize = 4 * 1024;

/// A longer fragment at the end of a stream is not taken for the server's error text.
pub const MAX_ERROR_TEXT_BYTES: usize = 256;

/// What a stream of bytes was cut into.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A line without its newline. Never empty: blank lines are passed over.
    Line(Bytes),
    /// A line longer than the limit, discarded.
    TooLong(TooLong),
}

/// What is known of a discarded line.
#[derive(Clone, PartialEq, Eq)]
pub struct TooLong {
    /// Its length, without the newline.
    pub bytes: u64,
    /// Its first [`EDGE_BYTES`].
    pub head: Bytes,
    /// Its last [`EDGE_BYTES`].
    pub tail: Bytes,
}

/// What was left when the stream ended without a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// Nothing: the stream ended after a newline.
    Nothing,
    /// Short text that is no JSON object: up to 1.11.1, Nomad says there why it ended the stream.
    ErrorText(String),
    /// Part of a line, of this length. Its bytes may hold secrets and are not kept.
    Cut(u64),
}

/// Cuts chunks of bytes into lines.
pub struct Splitter {
    limit: usize,
    /// Received and not looked at yet.
    chunk: Bytes,
    line: Partial,
}

/// The line that is being read.
enum Partial {
    Within(BytesMut),
    Beyond {
        bytes: u64,
        head: BytesMut,
        tail: BytesMut,
    },
}

impl Splitter {
    /// Makes a splitter for lines of at most `limit` bytes without their newline.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            chunk: Bytes::new(),
            line: Partial::Within(BytesMut::new()),
        }
    }

    /// Adds the next chunk. To be called when [`next_frame`](Self::next_frame) has given `None`.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the chunk before is not used up");
        self.chunk = chunk;
    }

    /// The next line of what was pushed, `None` when more bytes are needed.
    ///
    /// A line is a copy of its own: a slice of the chunk would keep the whole chunk in memory for as long as one short line
    /// of it is queued, and the bound on queued bytes would not hold.
    pub fn next_frame(&mut self) -> Option<Frame> {
        while !self.chunk.is_empty() {
            let Some(newline) = memchr::memchr(b'\n', &self.chunk) else {
                let rest = std::mem::take(&mut self.chunk);
                self.extend(&rest);
                return None;
            };
            let piece = self.chunk.split_to(newline);
            self.chunk.advance(1);
            if let Some(frame) = self.end_line(&piece) {
                return Some(frame);
            }
        }
        None
    }

    /// What is left at the end of the stream. The splitter is empty afterwards.
    pub fn finish(&mut self) -> Remainder {
        let rest = std::mem::take(&mut self.chunk);
        self.extend(&rest);
        match std::mem::replace(&mut self.line, Partial::Within(BytesMut::new())) {
            Partial::Beyond { bytes, .. } => Remainder::Cut(bytes),
            Partial::Within(line) if line.is_empty() => Remainder::Nothing,
            Partial::Within(line) => {
                let text: String = String::from_utf8_lossy(&line)
                    .chars()
                    .filter(|c| !c.is_control())
                    .collect();
                // Blanks before a line are no reason to show a piece of it.
                if line.len() > MAX_ERROR_TEXT_BYTES || text.trim_start().starts_with('{') {
                    Remainder::Cut(line.len() as u64)
                } else {
                    Remainder::ErrorText(text)
                }
            }
        }
    }

    fn end_line(&mut self, piece: &[u8]) -> Option<Frame> {
        // Most lines come whole in one chunk: copied once, to their exact size.
        if let Partial::Within(line) = &self.line
            && line.is_empty()
            && piece.len() <= self.limit
        {
            let piece = trim(piece);
            return (!piece.is_empty()).then(|| Frame::Line(Bytes::copy_from_slice(piece)));
        }
        self.extend(piece);
        match std::mem::replace(&mut self.line, Partial::Within(BytesMut::new())) {
            Partial::Within(line) => {
                let trimmed = trim(&line);
                // Its buffer has grown by doubling; the copy gives the slack back.
                (!trimmed.is_empty()).then(|| Frame::Line(Bytes::copy_from_slice(trimmed)))
            }
            Partial::Beyond { bytes, head, tail } => Some(Frame::TooLong(TooLong {
                bytes,
                head: head.freeze(),
                tail: last_bytes(&tail),
            })),
        }
    }

    fn extend(&mut self, piece: &[u8]) {
        match &mut self.line {
            Partial::Within(line) if line.len() + piece.len() <= self.limit => {
                line.extend_from_slice(piece);
            }
            Partial::Within(line) => {
                let mut head = BytesMut::with_capacity(EDGE_BYTES);
                let mut tail = BytesMut::new();
                for part in [line.as_ref(), piece] {
                    push_head(&mut head, part);
                    push_tail(&mut tail, part);
                }
                self.line = Partial::Beyond {
                    bytes: (line.len() + piece.len()) as u64,
                    head,
                    tail,
                };
            }
            Partial::Beyond { bytes, head, tail } => {
                *bytes += piece.len() as u64;
                push_head(head, piece);
                push_tail(tail, piece);
            }
        }
    }
}

/// Keeps the first [`EDGE_BYTES`].
fn push_head(head: &mut BytesMut, piece: &[u8]) {
    let room = EDGE_BYTES - head.len();
    head.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// Keeps at least the last [`EDGE_BYTES`] and at most four times that, so that a line that comes byte by byte is not moved
/// at every byte.
fn push_tail(tail: &mut BytesMut, piece: &[u8]) {
    tail.extend_from_slice(&piece[piece.len().saturating_sub(EDGE_BYTES)..]);
    if tail.len() > 3 * EDGE_BYTES {
        let kept = last_bytes(tail);
        *tail = BytesMut::from(kept.as_ref());
    }
}

fn last_bytes(tail: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&tail[tail.len().saturating_sub(EDGE_BYTES)..])
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.debug_tuple("Line").field(&line.len()).finish(),
            Self::TooLong(line) => line.fmt(f),
        }
    }
}

impl fmt::Debug for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TooLong")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.line {
            Partial::Within(line) => line.len() as u64,
            Partial::Beyond { bytes, .. } => *bytes,
        };
        f.debug_struct("Splitter")
            .field("limit", &self.limit)
            .field("chunk_bytes", &self.chunk.len())
            .field("line_bytes", &bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(limit: usize, chunks: &[&[u8]]) -> (Vec<Frame>, Remainder) {
        let mut splitter = Splitter::new(limit);
        let mut frames = Vec::new();
        for chunk in chunks {
            splitter.push(Bytes::copy_from_slice(chunk));
            while let Some(frame) = splitter.next_frame() {
                frames.push(frame);
            }
        }
        let remainder = splitter.finish();
        (frames, remainder)
    }

    fn line(text: &str) -> Frame {
        Frame::Line(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn lines_are_found_wherever_the_chunks_end() {
        let (frames, rest) = split(100, &[b"{}\n{\"a\"", b":1}", b"\n", b"\n\r\n{}\r\n"]);
        assert_eq!(frames, [line("{}"), line("{\"a\":1}"), line("{}")]);
        assert_eq!(rest, Remainder::Nothing);
    }

    #[test]
    fn a_line_of_just_the_limit_is_kept_and_one_more_byte_is_too_long() {
        let (frames, _) = split(4, &[b"1234\n12345\n", b"12", b"34\n", b"12", b"345\n"]);
        assert_eq!(frames[0], line("1234"));
        assert!(matches!(&frames[1], Frame::TooLong(long) if long.bytes == 5));
        assert_eq!(frames[2], line("1234"));
        assert!(matches!(&frames[3], Frame::TooLong(long) if long.bytes == 5));
    }

    #[test]
    fn a_discarded_line_keeps_its_edges_only() {
        let mut text = b"{\"Index\":7,".to_vec();
        text.extend(std::iter::repeat_n(b'x', 100_000));
        text.extend(b",\"Index\":7}");
        for step in [1, 7, 4096, 200_000] {
            let mut chunks: Vec<&[u8]> = text.chunks(step).collect();
            chunks.push(b"\n{}\n");
            let (frames, rest) = split(1000, &chunks);
            let Frame::TooLong(long) = &frames[0] else {
                panic!("not discarded")
            };
            assert_eq!(long.bytes, text.len() as u64);
            assert_eq!(long.head, &text[..EDGE_BYTES]);
            assert_eq!(long.tail, &text[text.len() - EDGE_BYTES..]);
            assert_eq!(frames[1], line("{}"));
            assert_eq!(rest, Remainder::Nothing);
        }
    }

    #[test]
    fn debug_output_shows_nothing_of_a_line() {
        let mut splitter = Splitter::new(10);
        splitter.push(Bytes::from_static(b"{hunter2}\n{hunter2hunter2}\n{hunte"));
        let mut shown = String::new();
        while let Some(frame) = splitter.next_frame() {
            shown += &format!("{frame:?} {splitter:?}");
        }
        shown += &format!("{splitter:?}");
        let bytes = format!("{:?}", b"hunte");
        assert!(
            !shown.contains("hunte") && !shown.contains(bytes.trim_matches(['[', ']'])),
            "{shown}"
        );
        assert!(
            shown.contains("Line(9)") && shown.contains("TooLong"),
            "{shown}"
        );
    }

    #[test]
    fn a_fragment_is_error_text_only_if_it_is_short_and_no_object() {
        let (_, rest) = split(1000, &[b"{}\nevent dropped from buffer"]);
        assert_eq!(
            rest,
            Remainder::ErrorText("event dropped from buffer".to_owned())
        );
        let (_, rest) = split(1000, &[b"{\"Index\":5,\"Eve"]);
        assert_eq!(rest, Remainder::Cut(15));
        let long = [b'x'; MAX_ERROR_TEXT_BYTES + 1];
        let (_, rest) = split(1000, &[&long]);
        assert_eq!(rest, Remainder::Cut(MAX_ERROR_TEXT_BYTES as u64 + 1));
        let (_, rest) = split(1000, &[b" \t\x01{\"hunter2"]);
        assert_eq!(
            rest,
            Remainder::Cut(12),
            "blanks before a line do not show it"
        );
        let (_, rest) = split(10, &[b"\"hunter2-in-a-cut-line"]);
        assert_eq!(rest, Remainder::Cut(22));
    }

    proptest! {
        /// However the bytes are cut into chunks, the lines are those of the whole text.
        #[test]
        fn chunks_do_not_matter(
            text in proptest::collection::vec(prop_oneof![3 => 97u8..101, 1 => Just(b'\n'), 1 => Just(b'\r')], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..20),
            limit in 1usize..20,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(0);
            cuts.push(text.len());
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(limit, &chunks), split(limit, &[&text]));

            let total: u64 = text.split(|&byte| byte == b'\n').map(|line| line.len() as u64).sum();
            let (frames, _) = split(limit, &chunks);
            let kept: u64 = frames.iter().map(|frame| match frame {
                Frame::Line(line) => line.len() as u64,
                Frame::TooLong(long) => long.bytes,
            }).sum();
            prop_assert!(kept <= total);
        }
    }
}
