//! A server for a webhook, which answers 200 or what it is told to, and keeps what it was sent.

use std::sync::{Arc, Mutex};

use nomad_events::testing::eventually;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::PATIENCE;
use super::request::Request;

/// With what the server fails, by the body: a status with its reason, and headers where there are some.
type Fails = Arc<Mutex<Box<dyn Fn(&str) -> Option<&'static str> + Send>>>;

pub(crate) struct Hook {
    pub(crate) url: String,
    fails: Fails,
    /// Each request, and whether it was taken.
    requests: Arc<Mutex<Vec<(Request, bool)>>>,
}

impl Hook {
    pub(crate) async fn start(
        fails: impl Fn(&str) -> Option<&'static str> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = Self {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            fails: Arc::new(Mutex::new(Box::new(fails))),
            requests: Arc::default(),
        };
        let (fails, requests) = (Arc::clone(&hook.fails), Arc::clone(&hook.requests));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (fails, requests) = (Arc::clone(&fails), Arc::clone(&requests));
                // A client that goes away in the middle is no failure of the test.
                tokio::spawn(async move { drop(answer(socket, &fails, &requests).await) });
            }
        });
        hook
    }

    /// From now on it fails with this.
    pub(crate) fn fail(&self, status: &'static str) {
        *self.fails.lock().unwrap() = Box::new(move |_| Some(status));
    }

    /// From now on everything is taken.
    pub(crate) fn recover(&self) {
        *self.fails.lock().unwrap() = Box::new(|_| None);
    }

    /// All requests so far, and whether each was taken.
    pub(crate) fn requests(&self) -> Vec<(Request, bool)> {
        self.requests.lock().unwrap().clone()
    }

    /// The bodies with this in them, and whether each was taken.
    pub(crate) fn with(&self, part: &str) -> Vec<(String, bool)> {
        let mut requests = self.requests();
        requests.retain(|(request, _)| request.body.contains(part));
        let body_of = |(request, taken): (Request, bool)| (request.body, taken);
        requests.into_iter().map(body_of).collect()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn until(&self, wanted: usize) {
        let come = eventually(PATIENCE, || self.requests().len() >= wanted);
        assert!(come.await.is_ok(), "only {} came", self.requests().len());
    }

    pub(crate) async fn until_taken(&self, part: &str) {
        let taken = || self.with(part).iter().any(|(_, taken)| *taken);
        assert!(
            eventually(PATIENCE, taken).await.is_ok(),
            "{part} is missing"
        );
    }
}

/// Reads one request, and answers it.
async fn answer(
    mut socket: TcpStream,
    fails: &Fails,
    requests: &Mutex<Vec<(Request, bool)>>,
) -> std::io::Result<()> {
    let Some(request) = Request::read(&mut socket).await else {
        return Ok(());
    };
    if !request.is_whole {
        return Ok(());
    }
    let failure = fails.lock().unwrap()(&request.body);
    requests.lock().unwrap().push((request, failure.is_none()));
    let status = failure.unwrap_or("200 OK");
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    socket.write_all(answer.as_bytes()).await
}
