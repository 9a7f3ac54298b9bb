//! `api`: tells whether the process is well, to whoever may restart it.
//!
//! Vector's API has more (its `vector top` and `vector tap` speak gRPC); of that, `GET /health` is here.

use std::net::{Ipv4Addr, SocketAddr};

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde::Deserialize;
use tokio::sync::watch;

use super::listener::{Answer, address, answer};

/// The options of `api`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiConfig {
    /// Whether anything is listened on (default no).
    pub(crate) enabled: bool,
    /// The address to listen on (default 127.0.0.1:8686).
    #[serde(deserialize_with = "address")]
    pub(crate) address: SocketAddr,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8686)),
        }
    }
}

impl ApiConfig {
    /// Takes in what another file says, as Vector does: one that switches it on is enough, and an address that is not the
    /// default wins over it.
    ///
    /// # Errors
    ///
    /// The other address, when there are two.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), SocketAddr> {
        let default = Self::default().address;
        if other.address != self.address && other.address != default {
            if self.address != default {
                return Err(self.address);
            }
            self.address = other.address;
        }
        self.enabled |= other.enabled;
        Ok(())
    }
}

/// Answers a request. While the process stops it is not well: whoever sends it work should look elsewhere.
pub(crate) fn respond<B>(request: &Request<B>, stopping: &watch::Receiver<bool>) -> Answer {
    if request.uri().path() != "/health" {
        return answer(StatusCode::NOT_FOUND, "");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = answer(StatusCode::METHOD_NOT_ALLOWED, "");
        let allowed = HeaderValue::from_static("GET,HEAD");
        refusal.headers_mut().insert(header::ALLOW, allowed);
        return refusal;
    }
    let mut health = if *stopping.borrow() {
        answer(StatusCode::SERVICE_UNAVAILABLE, r#"{"ok":false}"#)
    } else {
        answer(StatusCode::OK, r#"{"ok":true}"#)
    };
    let json = HeaderValue::from_static("application/json");
    health.headers_mut().insert(header::CONTENT_TYPE, json);
    health
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn ask(method: Method, path: &str, stopping: bool) -> (u16, String) {
        let (_asks, asked) = watch::channel(stopping);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        let answer = respond(&request, &asked);
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_is_200_and_503_once_the_process_stops() {
        let well = ask(Method::GET, "/health", false).await;
        assert_eq!(well, (200, r#"{"ok":true}"#.to_owned()));
        let stopping = ask(Method::GET, "/health", true).await;
        assert_eq!(stopping, (503, r#"{"ok":false}"#.to_owned()));
        assert_eq!(ask(Method::HEAD, "/health", false).await.0, 200);
    }

    #[tokio::test]
    async fn anything_else_is_not_there() {
        for path in ["/", "/graphql", "/playground", "/metrics", "/health/"] {
            assert_eq!(ask(Method::GET, path, false).await.0, 404, "{path}");
        }
        assert_eq!(ask(Method::POST, "/health", false).await.0, 405);
    }
}
