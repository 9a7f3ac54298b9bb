use super::*;
use crate::testing::recording::Recording;

#[tokio::test]
async fn v1_11_1_writes_object_and_newline_as_chunks_and_ends_the_body_with_a_text() {
    let fake = quiet(Version::V1_11_1)
        .lines([job(7)])
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(&fake).await;
    client.get("/v1/event/stream").await;
    let head = client.until("\r\n\r\n").await;
    let (before, after) = head.split_once("Date: ").unwrap();
    assert_eq!(
        before,
        "HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nContent-Type: application/json\r\nVary: Accept-Encoding\r\n"
    );
    let (date, after) = after.split_once("\r\n").unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    assert_eq!(after, "Transfer-Encoding: chunked\r\n\r\n");
    client.expect("2\r\n{}\r\n1\r\n\n\r\n").await;
    let line = job(7);
    client
        .expect(&format!(
            "{:x}\r\n{}\r\n1\r\n\n\r\n",
            line.len(),
            text(&line)
        ))
        .await;

    fake.inject(&Fault::SubscriptionClosed);
    client
        .expect("38\r\nsubscription closed by server, client should resubscribe\r\n0\r\n\r\n")
        .await;
    // The connection takes another request.
    client.get("/v1/event/stream?index=7").await;
    client.until("\r\n\r\n").await;
    client.expect("2\r\n{}\r\n1\r\n\n\r\n").await;
    assert_eq!(fake.open_streams(), 1);
}

#[tokio::test]
async fn versions_that_hijack_write_raw_lines_until_the_socket_closes() {
    let headers = "Cache-Control: no-cache\r\nContent-Type: application/json\r\nVary: Accept-Encoding\r\n\r\n";
    for (version, status) in [
        (Version::V1_11_2, "HTTP/0.0 200 OK\r\n"),
        (Version::V1_11_3, "HTTP/1.1 200 OK\r\nConnection: close\r\n"),
    ] {
        let eof_delay = Duration::from_millis(30);
        let fake = quiet(version).eof_delay(eof_delay).lines([job(7)]);
        let fake = fake.start().await.unwrap();
        let mut client = Raw::connect(&fake).await;
        client.get("/v1/event/stream").await;
        let line = job(7);
        client
            .expect(&format!("{status}{headers}{{}}\n{}\n", text(&line)))
            .await;
        fake.inject(&Fault::SubscriptionClosed);
        assert_eq!(client.rest().await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_request_of_http_1_0_gets_a_raw_body_from_every_version() {
    for (version, status) in [
        (Version::V1_11_1, "HTTP/1.0 200 OK\r\nCache"),
        (Version::V1_11_2, "HTTP/0.0 200 OK\r\nCache"),
        (
            Version::V1_11_3,
            "HTTP/1.0 200 OK\r\nConnection: close\r\nCache",
        ),
    ] {
        let fake = quiet(version).start().await.unwrap();
        let mut client = Raw::connect(&fake).await;
        client.send("GET /v1/event/stream HTTP/1.0\r\n\r\n").await;
        let head = client.until("\r\n\r\n").await;
        assert!(head.starts_with(status), "{head}");
        assert!(!head.contains("chunked"));
        client.expect("{}\n").await;
    }
}

#[tokio::test]
async fn heartbeats_come_at_once_and_then_every_period() {
    let period = Duration::from_millis(40);
    let fake = FakeNomad::builder()
        .heartbeat(period)
        .start()
        .await
        .unwrap();
    let start = tokio::time::Instant::now();
    let mut client = Raw::stream(&fake, "").await;
    client.expect("{}\n{}\n{}\n{}\n").await;
    assert!(start.elapsed() >= 3 * period, "{:?}", start.elapsed());
    assert_eq!(fake.streams()[0].batches_sent(), 0);
}

#[tokio::test]
async fn half_close_ends_a_stream_of_1_11_1_only() {
    for version in Version::ALL {
        let fake = quiet(version).start().await.unwrap();
        let mut client = Raw::stream(&fake, "").await;
        client.until("{}").await;
        client.socket.shutdown().await.unwrap();
        fake.wait_for_streams(0, DEADLINE).await.unwrap();
        fake.append(job(7)).unwrap();
        if version.hijacks() {
            client.expect(&format!("\n{}\n", text(&job(7)))).await;
        } else {
            assert!(client.rest().await.unwrap().ends_with("0\r\n\r\n"));
        }
    }
}

#[tokio::test]
async fn a_request_behind_the_stream_is_never_answered() {
    for version in Version::ALL {
        let fake = quiet(version).start().await.unwrap();
        let mut client = Raw::stream(&fake, "").await;
        client
            .expect(if version.hijacks() {
                "{}\n"
            } else {
                "2\r\n{}\r\n1\r\n\n\r\n"
            })
            .await;
        client.get("/v1/jobs").await;
        client.expect_nothing().await;
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn the_whole_recording_passes_through_unchanged() {
    let recording = Recording::embedded();
    let fake = quiet(Version::V1_11_3)
        .buffer_size(20_000)
        .lines(recording.lines().iter().map(|line| line.text.clone()))
        .start()
        .await
        .unwrap();
    let mut client = Raw::stream(&fake, "namespace=*").await;
    client.expect("{}\n").await;
    for line in recording.batches() {
        client.expect(text(&line)).await;
        client.expect("\n").await;
    }
    fake.wait_until_sent(1085, DEADLINE).await.unwrap();
    assert_eq!(fake.streams()[0].batches_sent(), 1035);
    assert_eq!(fake.streams()[0].last_index_sent(), Some(1085));
}
