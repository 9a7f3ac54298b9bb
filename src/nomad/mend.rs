//! What is wrong on the wire with every byte of an answer at hand.
//!
//! Nomad 1.11.2 answers a subscription with the status line `HTTP/0.0 200 OK` (1.10.8 and 1.8.20 Enterprise too). Nothing else
//! about the answer is wrong, but no HTTP parser takes it; so these eight bytes are mended before the parser sees them.
//!
//! Nomad closes sockets of streams without TLS's `close_notify`, because Go's garbage collector does it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const WRONG: &[u8; 8] = b"HTTP/0.0";
const RIGHT: &[u8; 8] = b"HTTP/1.1";

/// A connection whose first answer may begin with a wrong version.
#[derive(Debug)]
pub(super) struct Mended<T> {
    inner: T,
    /// How many of the first bytes were right for `WRONG` so far; `None` when the head is past.
    matched: Option<usize>,
}

impl<T> Mended<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            matched: Some(0),
        }
    }

    /// Mends what was just read. The two versions differ in two digits, so each byte can be mended when it comes, however
    /// few come at a time: up to the first digit nothing is changed, and a `0` there is no valid version anyway.
    fn mend(&mut self, read: &mut [u8]) {
        for byte in read {
            let Some(place) = self.matched else { return };
            let Some(&expected) = WRONG.get(place) else {
                self.matched = None;
                return;
            };
            // After the first digit was mended the second one is as well, whatever it is: the version is wrong either way.
            if *byte != expected {
                self.matched = None;
                return;
            }
            *byte = RIGHT[place];
            self.matched = Some(place + 1);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Mended<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.matched.is_some() && matches!(result, Poll::Ready(Ok(()))) {
            self.mend(&mut buf.filled_mut()[before..]);
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Mended<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A connection whose end needs no farewell.
///
/// Without `close_notify` rustls reports an error at the end. Whether a body is whole is for HTTP to know: chunks and lengths say
/// it, and a stream that lasts until the end of its socket may end at any byte anyway.
#[derive(Debug)]
pub(super) struct Abrupt<T>(T);

impl<T> Abrupt<T> {
    pub(super) fn new(inner: T) -> Self {
        Self(inner)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Abrupt<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Abrupt<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read(chunks: &[&[u8]]) -> Vec<u8> {
        let mut builder = chunked(chunks);
        let mut text = Vec::new();
        builder.read_to_end(&mut text).await.unwrap();
        text
    }

    /// A reader that gives one chunk at a time.
    fn chunked(chunks: &[&[u8]]) -> Mended<Chunks> {
        // An empty read would be the end.
        let chunks = chunks.iter().rev().filter(|chunk| !chunk.is_empty());
        Mended::new(Chunks(chunks.map(|chunk| chunk.to_vec()).collect()))
    }

    struct Chunks(Vec<Vec<u8>>);

    impl AsyncRead for Chunks {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(chunk) = self.0.pop() {
                buf.put_slice(&chunk);
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_wrong_version_is_mended_however_it_is_cut() {
        const ANSWER: &[u8] = b"HTTP/0.0 200 OK\r\n\r\nHTTP/0.0";
        for cut in 1..ANSWER.len() {
            assert_eq!(
                read(&[&ANSWER[..cut], &ANSWER[cut..]]).await,
                b"HTTP/1.1 200 OK\r\n\r\nHTTP/0.0"
            );
        }
        let bytes: Vec<&[u8]> = ANSWER.chunks(1).collect();
        assert_eq!(read(&bytes).await, b"HTTP/1.1 200 OK\r\n\r\nHTTP/0.0");
    }

    #[tokio::test]
    async fn anything_else_passes_untouched() {
        for answer in [
            &b"HTTP/1.1 200 OK"[..],
            b"HTTP/1.0 200 OK",
            b"HTTP/2.0",
            b"0.0",
            b"HTTP/",
            b"",
        ] {
            assert_eq!(read(&[answer]).await, answer);
        }
    }
}
