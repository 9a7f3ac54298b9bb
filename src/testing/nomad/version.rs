//! How the versions of Nomad write an answer. The three differ in the framing of the stream, and in little else.

use jiff::Timestamp;

/// Which Nomad the fake imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Version {
    /// Chunked answers on a connection that stays open; refusals have a status and ends have a text. All since 1.0 are like it.
    V1_11_1,
    /// Raw lines until the socket closes, after `HTTP/0.0 200 OK`; refusals and ends are silent.
    V1_11_2,
    /// The same after `HTTP/1.1 200 OK`; 2.0 is like it.
    #[default]
    V1_11_3,
}

impl Version {
    /// Every version that can be imitated.
    pub const ALL: [Self; 3] = [Self::V1_11_1, Self::V1_11_2, Self::V1_11_3];

    /// Whether the stream takes the socket out of the HTTP server's hands before it knows whether it may. Then nothing but the
    /// socket's end tells of a refusal or an error.
    #[must_use]
    pub fn hijacks(self) -> bool {
        self != Self::V1_11_1
    }

    /// The head of a successful answer to a stream request of HTTP/`http_version`.
    pub(super) fn stream_head(self, http_version: &str) -> String {
        const HEADERS: &str = "Cache-Control: no-cache\r\nContent-Type: application/json\r\nVary: Accept-Encoding\r\n";
        match (self, http_version) {
            (Self::V1_11_1, "1.0") => {
                format!("HTTP/1.0 200 OK\r\n{HEADERS}Date: {}\r\n\r\n", date())
            }
            (Self::V1_11_1, _) => format!(
                "HTTP/1.1 200 OK\r\n{HEADERS}Date: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
                date()
            ),
            (Self::V1_11_2, _) => format!("HTTP/0.0 200 OK\r\n{HEADERS}\r\n"),
            (Self::V1_11_3, _) => {
                format!("HTTP/{http_version} 200 OK\r\nConnection: close\r\n{HEADERS}\r\n")
            }
        }
    }
}

/// A whole answer with a body of known length, as Go's HTTP server writes it: given headers sorted, then its own.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Answer {
    /// An error: a bare text.
    pub(super) fn error(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "text/plain; charset=utf-8".to_owned())],
            body: text.into(),
        }
    }

    /// A JSON body.
    pub(super) fn json(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: body.into(),
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes on the wire.
    pub(super) fn to_bytes(&self, http_version: &str, keep_alive: bool) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("status code");
        let mut headers = self.headers.clone();
        headers.push(("Vary", "Accept-Encoding".to_owned()));
        headers.sort();
        let mut text = format!("HTTP/{http_version} {} {reason}\r\n", self.status);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!(
            "Date: {}\r\nContent-Length: {}\r\n",
            date(),
            self.body.len()
        ));
        if !keep_alive && http_version != "1.0" {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}

fn date() -> String {
    Timestamp::now()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}
