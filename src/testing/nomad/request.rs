//! Reads requests from a connection, and remembers them for the tests.

use std::io;

use bytes::{Buf, BytesMut};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A request line with its headers may have this many bytes, as with Go's default.
const MAX_HEAD_BYTES: usize = 1 << 20;

/// A request body is read and thrown away, up to this many bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What [`SeenRequest::headers`] shows instead of a token.
const HIDDEN: &str = "[hidden]";

/// A request that the fake server has read.
///
/// The token can be compared, but not read: a failed test that prints its requests betrays nothing.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    /// `GET`, ...
    pub method: String,
    /// The path without its query, as sent.
    pub path: String,
    /// The pairs of the query in the order in which they came, decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case and values, in the order in which they came; values with a token are hidden.
    pub headers: Vec<(String, String)>,
    /// `1.0` or `1.1`.
    pub http_version: String,
    token: Option<SecretString>,
    basic_auth: Option<SecretString>,
    server_name: Option<String>,
    has_client_certificate: bool,
}

impl SeenRequest {
    /// Whether it is for the event stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.path == super::STREAM_PATH
    }

    /// The first value of a pair of the query.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }

    /// All values of one name in the query, as `topic` has.
    #[must_use]
    pub fn query_values(&self, name: &str) -> Vec<&str> {
        let pairs = self.query.iter().filter(|(key, _)| key == name);
        pairs.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header, named in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// Whether it came with a token: `X-Nomad-Token`, or else `Authorization: Bearer`.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether it came with this token.
    #[must_use]
    pub fn token_is(&self, expected: &str) -> bool {
        let token = self.token.as_ref();
        token.is_some_and(|token| token.expose_secret() == expected)
    }

    /// Whether it came with this `Authorization: Basic`, encoded.
    #[must_use]
    pub fn basic_auth_is(&self, expected: &str) -> bool {
        let auth = self.basic_auth.as_ref();
        auth.is_some_and(|auth| auth.expose_secret() == expected)
    }

    /// The name that the client asked for in TLS's handshake; none for an address of digits, and without TLS.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Whether the client has shown a certificate.
    #[must_use]
    pub fn has_client_certificate(&self) -> bool {
        self.has_client_certificate
    }

    /// Notes what TLS knows of it.
    pub(super) fn over(
        mut self,
        server_name: Option<String>,
        has_client_certificate: bool,
    ) -> Self {
        self.server_name = server_name;
        self.has_client_certificate = has_client_certificate;
        self
    }

    /// Whether the connection can take another request afterwards.
    pub(super) fn keeps_alive(&self) -> bool {
        let asked = self.header("connection").unwrap_or_default();
        if self.http_version == "1.0" {
            asked.eq_ignore_ascii_case("keep-alive")
        } else {
            !asked.eq_ignore_ascii_case("close")
        }
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// Reads the next request; `None` when the client closed the connection before one.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] for what is no HTTP/1 request or is too large, and whatever the socket says.
pub(super) async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<SeenRequest>> {
    let head = loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let head = buffer.split_to(end);
            buffer.advance(4);
            break head;
        }
        // A handshake of TLS, say: Go's server finds that out at the first line end, which may come late in it or never.
        if buffer.first().is_some_and(u8::is_ascii_control) {
            return Err(invalid("not text"));
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(invalid("request head too large"));
        }
        if reader.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    let request = parse(&head)?;
    let mut body = match request.header("content-length") {
        None => 0,
        Some(length) => length
            .parse::<usize>()
            .map_err(|_| invalid("content-length"))?,
    };
    if body > MAX_BODY_BYTES || request.header("transfer-encoding").is_some() {
        return Err(invalid("request body too large, or of unknown length"));
    }
    while body > 0 {
        if buffer.is_empty() && reader.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = body.min(buffer.len());
        buffer.advance(read);
        body -= read;
    }
    Ok(Some(request))
}

fn parse(head: &[u8]) -> io::Result<SeenRequest> {
    let head = std::str::from_utf8(head).map_err(|_| invalid("not text"))?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid("request line"));
    };
    let http_version = match version {
        "HTTP/1.1" => "1.1",
        "HTTP/1.0" => "1.0",
        _ => return Err(invalid("HTTP version")),
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));

    let mut headers = Vec::new();
    let mut nomad_token = None;
    let mut bearer = None;
    let mut basic_auth = None;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("header"))?;
        let name = name.to_ascii_lowercase();
        let value = value.trim();
        let shown = match name.as_str() {
            "x-nomad-token" => {
                nomad_token = Some(value.to_owned());
                HIDDEN
            }
            "authorization" => {
                bearer = value
                    .strip_prefix("Bearer ")
                    .map(|token| token.trim().to_owned());
                basic_auth = value
                    .strip_prefix("Basic ")
                    .map(|auth| SecretString::from(auth.trim()));
                HIDDEN
            }
            _ => value,
        };
        headers.push((name, shown.to_owned()));
    }
    let token = nomad_token.filter(|token| !token.is_empty()).or(bearer);
    Ok(SeenRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers,
        http_version: http_version.to_owned(),
        token: token.map(SecretString::from),
        basic_auth,
        server_name: None,
        has_client_certificate: false,
    })
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut input: &[u8]) -> io::Result<Vec<SeenRequest>> {
        let mut buffer = BytesMut::new();
        let mut requests = Vec::new();
        while let Some(request) = read(&mut input, &mut buffer).await? {
            requests.push(request);
        }
        Ok(requests)
    }

    #[tokio::test]
    async fn requests_of_one_connection_are_cut_at_their_bodies() {
        let input = b"GET /v1/event/stream?topic=Job%3Aa+b&topic=Node&index=7 HTTP/1.1\r\nHost: n\r\nX-NOMAD-Token: s3cret\r\n\r\n\
            PUT /v1/var/x HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbodyGET / HTTP/1.0\r\nAuthorization:  Bearer other \r\n\r\n";
        let requests = read_all(input).await.unwrap();
        let [stream, put, last] = &requests[..] else {
            panic!("{requests:?}")
        };
        assert!(stream.is_stream() && stream.keeps_alive());
        assert_eq!(stream.query_values("topic"), ["Job:a b", "Node"]);
        assert_eq!(stream.query_value("index"), Some("7"));
        assert_eq!(stream.header("host"), Some("n"));
        assert!(stream.token_is("s3cret") && !stream.token_is("other"));
        assert_eq!(
            (put.method.as_str(), put.path.as_str()),
            ("PUT", "/v1/var/x")
        );
        assert!(!put.has_token() && !put.keeps_alive());
        assert!(last.token_is("other") && !last.keeps_alive());
        let shown = format!("{requests:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("other"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn the_nomad_header_wins_over_authorization_and_an_empty_one_is_none() {
        let both = b"GET / HTTP/1.1\r\nAuthorization: Bearer b\r\nX-Nomad-Token: a\r\n\r\n";
        assert!(read_all(both).await.unwrap()[0].token_is("a"));
        let empty = b"GET / HTTP/1.1\r\nAuthorization: Basic b\r\nX-Nomad-Token: \r\n\r\n";
        assert!(!read_all(empty).await.unwrap()[0].has_token());
    }

    #[tokio::test]
    async fn what_is_no_request_is_an_error() {
        let cases: [&[u8]; 6] = [
            b"PRI * HTTP/2.0\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHos",
        ];
        for case in cases {
            assert!(read_all(case).await.is_err(), "{:?}", case.escape_ascii());
        }
    }
}
