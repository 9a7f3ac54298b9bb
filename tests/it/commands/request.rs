//! What a scripted server of these tests is sent.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// A request, read by hand.
#[derive(Clone)]
pub(crate) struct Request {
    /// The first line and the headers.
    pub(crate) head: String,
    /// The body, as far as it came.
    pub(crate) body: String,
    /// Whether all of it came.
    pub(crate) is_whole: bool,
}

impl Request {
    /// Reads one. `None` when the client goes away before the head has ended.
    pub(crate) async fn read(socket: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let head = loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                break head.to_owned();
            }
            if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        };
        let length = header(&head, "content-length").and_then(|length| length.parse().ok());
        let length = head.len() + 4 + length.unwrap_or(0_usize);
        while bytes.len() < length && socket.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
        Some(Self {
            body: String::from_utf8_lossy(&bytes[head.len() + 4..]).into_owned(),
            is_whole: bytes.len() >= length,
            head,
        })
    }
}

/// The value of a header.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}
