//! Requests as Nomad reads them.
//!
//! The event stream ignores what its shared parser refuses, and then writes two answers into one connection; so nothing is
//! sent but well-formed `index`, `topic`, `namespace` and `region`.

use http::{HeaderValue, Request, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::options::{Endpoint, Settings};

/// What stays as it is in the value of a query: RFC 3986's unreserved characters, and `*` and `:` for legible topics.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'*')
    .remove(b':');

/// Path and query of a subscription.
pub(super) fn stream_target(settings: &Settings, index: RaftIndex) -> String {
    let mut query = Query::new("/v1/event/stream");
    query.add("index", &index.to_string());
    for topic in &settings.topics {
        query.add("topic", &topic.to_string());
    }
    query.add("namespace", &settings.namespace);
    if let Some(region) = &settings.region {
        query.add("region", region);
    }
    query.finish()
}

/// Collects a path and its query.
pub(super) struct Query {
    text: String,
    separator: char,
}

impl Query {
    pub(super) fn new(path: &str) -> Self {
        Self {
            text: path.to_owned(),
            separator: '?',
        }
    }

    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.text.push(self.separator);
        self.text.push_str(name);
        self.text.push('=');
        self.text.extend(utf8_percent_encode(value, QUERY_VALUE));
        self.separator = '&';
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A GET of `target` at an address, with the token and with what the address needs of its own.
pub(super) fn get(
    endpoint: &Endpoint,
    target: &str,
    token: Option<&SecretString>,
) -> Result<Request<Empty<Bytes>>, Error> {
    let mut request = Request::get(target)
        .header(header::HOST, endpoint.authority())
        .header(
            header::USER_AGENT,
            concat!("nomad-events/", env!("CARGO_PKG_VERSION")),
        )
        // Agents up to 1.11.1 compress the stream if they may.
        .header(header::ACCEPT_ENCODING, "identity");
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token.expose_secret()).map_err(|_| {
            Error::new(ErrorKind::TokenFile, "the token cannot be sent in a header")
        })?;
        value.set_sensitive(true);
        request = request.header("X-Nomad-Token", value);
    }
    // Beside the token, which Nomad takes first: this one is for a proxy.
    if let Some(auth) = &endpoint.auth {
        let mut value = HeaderValue::from_str(auth.header()).map_err(|_| {
            Error::new(
                ErrorKind::Protocol,
                "the user information cannot be sent in a header",
            )
        })?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(Empty::new()).map_err(|error| {
        Error::new(
            ErrorKind::Protocol,
            format!("cannot ask for {target}: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn settings(json: &str) -> Settings {
        let options: Options = serde_json::from_str(json).unwrap();
        options.settings(|_| None).unwrap()
    }

    #[test]
    fn a_subscription_names_its_topics_and_its_namespace() {
        assert_eq!(
            stream_target(&settings("{}"), RaftIndex(0)),
            "/v1/event/stream?index=0&topic=Job&topic=Allocation&topic=Evaluation&topic=Deployment&topic=Node\
             &topic=Service&namespace=*"
        );
        assert_eq!(
            stream_target(
                &settings(
                    r#"{"topics": ["Job:a b/ü&"], "namespace": "team-a", "region": "eu west"}"#
                ),
                RaftIndex(7)
            ),
            "/v1/event/stream?index=7&topic=Job:a%20b%2F%C3%BC%26&namespace=team-a&region=eu%20west"
        );
    }

    fn endpoint(json: &str) -> Endpoint {
        settings(json).endpoints.remove(0)
    }

    #[test]
    fn a_token_is_sent_and_marked_as_secret() {
        let endpoint = endpoint(r#"{"endpoints": ["http://[::1]:4646"]}"#);
        let request = get(&endpoint, "/v1/jobs", Some(&SecretString::from("hunter2"))).unwrap();
        assert_eq!(request.headers()["X-Nomad-Token"], "hunter2");
        assert_eq!(request.headers()[header::HOST], "[::1]:4646");
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[test]
    fn user_information_is_sent_beside_the_token() {
        let endpoint = endpoint(r#"{"endpoints": ["http://me:p%40ss@proxy"]}"#);
        let request = get(&endpoint, "/v1/jobs", Some(&SecretString::from("hunter2"))).unwrap();
        assert_eq!(request.headers()["X-Nomad-Token"], "hunter2");
        // me:p@ss
        assert_eq!(
            request.headers()[header::AUTHORIZATION],
            "Basic bWU6cEBzcw=="
        );
        assert_eq!(request.headers()[header::HOST], "proxy");
        assert!(!format!("{request:?}").contains("bWU6"));
    }
}
