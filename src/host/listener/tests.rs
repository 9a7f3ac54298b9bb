use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

async fn serve() -> (SocketAddr, JoinHandle<()>) {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = listener.address();
    let respond =
        |request: &Request<Incoming>| answer(http::StatusCode::OK, request.uri().path().to_owned());
    (address, tokio::spawn(listener.serve(respond)))
}

/// Sends some bytes and reads until the server hangs up.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

const REQUEST: &[u8] = b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn one_request_is_answered_and_the_connection_closed() {
    let (address, _serving) = serve().await;
    let answer = exchange(address, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n/here"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_cut_off_in_time() {
    let (address, _serving) = serve().await;
    let started = Instant::now();
    let answer = exchange(address, b"GET /here HTTP/1.1\r\nHost:").await;
    assert!(!answer.contains("200"), "{answer}");
    assert!(started.elapsed() <= CONNECTION_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_do_not_keep_a_scrape_out_for_long() {
    let (address, _serving) = serve().await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 20 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let started = Instant::now();
    let answer = exchange(address, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(started.elapsed() <= 3 * CONNECTION_TIMEOUT);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let (address, _serving) = serve().await;
    let mut request = b"GET /here HTTP/1.1\r\nX: ".to_vec();
    request.resize(request.len() + 4 * MAX_HEAD_BYTES, b'x');
    let answer = exchange(address, &request).await;
    assert!(!answer.contains("200"), "{answer}");
}
