//! What the fake listens on: TCP, TLS over it, a socket of the file system, and connections in memory.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::testing::tls::ServerTls;

/// The first byte of a handshake of TLS.
const HANDSHAKE: u8 = 22;

/// What Go's server answers to a client that speaks plain HTTP to it.
const WANTS_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Where clients come in.
pub(super) struct Listeners {
    pub(super) tcp: TcpListener,
    pub(super) unix: Option<UnixListener>,
    pub(super) memory: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Listeners {
    /// Listens on a socket of the file system, too. A socket that was left there is replaced.
    pub(super) fn new(
        tcp: TcpListener,
        path: Option<&PathBuf>,
        memory: mpsc::UnboundedReceiver<DuplexStream>,
    ) -> io::Result<Self> {
        let unix = path.map(|path| {
            let _ = std::fs::remove_file(path);
            UnixListener::bind(path)
        });
        Ok(Self {
            tcp,
            unix: unix.transpose()?,
            memory,
        })
    }

    /// The next client. Cancel safe.
    pub(super) async fn accept(&mut self) -> io::Result<Accepted> {
        let unix = async {
            match &self.unix {
                Some(unix) => unix.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.tcp.accept() => accepted.map(|(stream, _)| Accepted::Tcp(stream)),
            accepted = unix => accepted.map(|(stream, _)| Accepted::Unix(stream)),
            Some(stream) = self.memory.recv() => Ok(Accepted::Memory(stream)),
        }
    }
}

/// A client that has not shaken hands yet.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
    Memory(DuplexStream),
}

impl Accepted {
    /// The connection, after TLS's handshake where there is TLS; nothing when that fails.
    pub(super) async fn open(self, tls: Option<&ServerTls>) -> io::Result<Option<Socket>> {
        let mut stream = match self {
            Self::Unix(stream) => return Ok(Some(Socket::Unix(stream))),
            Self::Memory(stream) => return Ok(Some(Socket::Memory(stream))),
            Self::Tcp(stream) => stream,
        };
        // Every piece leaves at once; if that cannot be had, the stream is still right.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return Ok(Some(Socket::Tcp(stream)));
        };
        let mut first = [0];
        if stream.peek(&mut first).await? > 0 && first != [HANDSHAKE] {
            stream.write_all(WANTS_TLS).await?;
            return Ok(None);
        }
        let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&tls.config));
        let stream = acceptor.accept(stream).await?;
        Ok(Some(Socket::Tls(Box::new(stream))))
    }
}

/// A client's connection.
pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
    Memory(DuplexStream),
}

impl Socket {
    /// The name that the client sent in TLS's handshake.
    pub(super) fn server_name(&self) -> Option<String> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.server_name().map(str::to_owned),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => None,
        }
    }

    /// Whether the client has shown a certificate.
    pub(super) fn has_client_certificate(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.get_ref().1.peer_certificates().is_some(),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => false,
        }
    }

    /// Closes it so that the client's next read or write fails, where there is such a thing.
    pub(super) fn reset(self) {
        let _ = match &self {
            Self::Tcp(stream) => stream.set_zero_linger(),
            Self::Tls(stream) => stream.get_ref().0.set_zero_linger(),
            Self::Unix(_) | Self::Memory(_) => Ok(()),
        };
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => match Pin::new(stream).poll_read(cx, buf) {
                // A client that closes without `close_notify` has closed as others do.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                polled => polled,
            },
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
