//! Connections as such: TCP, or a socket of the file system. Tests have another one, in memory.

use std::fmt;
use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::options::{Endpoint, Place};

/// A connection before TLS and HTTP.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Makes connections.
pub(crate) trait Dial: fmt::Debug + Send + Sync {
    /// Connects to an endpoint. Without a limit of its own.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Wire>>>;
}

/// The network of this machine.
#[derive(Debug)]
pub(crate) struct Network;

impl Dial for Network {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Wire>>> {
        Box::pin(async move {
            match &endpoint.place {
                Place::Tcp { host, port, .. } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    // A subscription is one small write, which must not wait for more.
                    stream.set_nodelay(true)?;
                    Ok(Box::new(stream) as Box<dyn Wire>)
                }
                #[cfg(unix)]
                Place::Unix(path) => {
                    let stream = tokio::net::UnixStream::connect(path).await?;
                    Ok(Box::new(stream) as Box<dyn Wire>)
                }
                #[cfg(not(unix))]
                Place::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            }
        })
    }
}
