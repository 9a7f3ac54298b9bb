use super::*;
use crate::testing::eventually;

#[tokio::test]
async fn a_cut_after_n_bytes_of_the_body_is_exact_in_both_framings() {
    let line = job(7);
    let body = format!("{{}}\n{}\n", text(&line));
    for cut in [0, 1, 2, 3, 4, 40, body.len()] {
        for version in Version::ALL {
            let fake = quiet(version).lines([line.clone()]).start().await.unwrap();
            fake.script(Script::new().fault(Point::Bytes(cut as u64), Fault::Close));
            let mut client = Raw::stream(&fake, "").await;
            let came = client.rest().await.unwrap();
            let expected = &body[..cut];
            if version.hijacks() {
                assert_eq!(came, expected);
                continue;
            }
            // The chunk that is cut says its full length; and there is no last chunk.
            let mut chunks = String::new();
            let mut left = expected;
            for piece in ["{}", "\n", text(&line), "\n"] {
                let now = piece.len().min(left.len());
                if now > 0 || left.is_empty() {
                    chunks.push_str(&format!("{:x}\r\n{}", piece.len(), &left[..now]));
                }
                left = &left[now..];
                if left.is_empty() {
                    break;
                }
                chunks.push_str("\r\n");
            }
            assert_eq!(came, chunks, "after {cut} bytes");
        }
    }
}

#[tokio::test]
async fn a_cut_inside_a_line_leaves_half_of_it() {
    let line = job(7);
    let half = &text(&line)[..line.len() / 2];
    let fake = quiet(Version::V1_11_3)
        .lines([line.clone()])
        .start()
        .await
        .unwrap();
    fake.script(Script::new().fault(Point::InsideLine(2), Fault::Close));
    let mut scripted = Raw::stream(&fake, "").await;
    assert_eq!(scripted.rest().await.unwrap(), format!("{{}}\n{half}"));

    let mut by_hand = Raw::stream(&fake, "").await;
    by_hand.expect(&format!("{{}}\n{}\n", text(&line))).await;
    fake.streams()[1].inject_in_next_line(Fault::Close);
    fake.append(line.clone()).unwrap();
    assert_eq!(by_hand.rest().await.unwrap(), half);
}

#[tokio::test]
async fn an_error_text_ends_the_body_without_a_newline() {
    for (version, ends) in [
        (
            Version::V1_11_1,
            "2\r\n{}\r\n1\r\n\n\r\n3\r\nEOF\r\n0\r\n\r\n",
        ),
        (Version::V1_11_3, "{}\nEOF"),
    ] {
        let fake = quiet(version).start().await.unwrap();
        fake.script(Script::new().fault(Point::Lines(1), Fault::Text("EOF".to_owned())));
        let mut client = Raw::stream(&fake, "").await;
        client.expect(ends).await;
        if version.hijacks() {
            assert_eq!(client.rest().await.unwrap(), "");
        } else {
            client.expect_nothing().await;
            client.get("/v1/jobs").await;
            client.until("[]").await;
        }
    }
    // In the middle of a line the chunk is completed first.
    let fake = quiet(Version::V1_11_1).start().await.unwrap();
    fake.script(Script::new().fault(Point::Bytes(1), Fault::Text("EOF".to_owned())));
    let mut client = Raw::stream(&fake, "").await;
    client.expect("1\r\n{\r\n3\r\nEOF\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_stall_keeps_the_socket_open_and_can_be_lifted() {
    for version in [Version::V1_11_1, Version::V1_11_3] {
        let fake = FakeNomad::builder()
            .version(version)
            .heartbeat(Duration::from_millis(5));
        let fake = fake.start().await.unwrap();
        fake.script(Script::new().fault(Point::Bytes(1), Fault::Stall));
        let mut client = Raw::stream(&fake, "").await;
        let (before, after) = if version.hijacks() {
            ("{", "}\n{}\n")
        } else {
            ("2\r\n{", "}\r\n1\r\n\n\r\n2\r\n{}\r\n")
        };
        client.expect(before).await;
        client.expect_nothing().await;
        assert_eq!(fake.open_streams(), 1);
        fake.streams()[0].resume();
        client.expect(after).await;
        // By hand, wherever it is; a client that leaves meanwhile is noticed.
        fake.inject(&Fault::Stall);
        drop(client);
        fake.wait_for_streams(0, DEADLINE).await.unwrap();
    }
}

#[tokio::test]
async fn close_and_reset_happen_at_once_even_while_stalled() {
    let fake = quiet(Version::V1_11_3).start().await.unwrap();
    let mut closed = Raw::stream(&fake, "").await;
    let mut reset = Raw::stream(&fake, "").await;
    for client in [&mut closed, &mut reset] {
        client.expect("{}\n").await;
    }
    fake.inject(&Fault::Stall);
    fake.streams()[0].inject(Fault::Close);
    fake.streams()[1].inject(Fault::Reset);
    assert_eq!(closed.rest().await.unwrap(), "");
    let error = reset.rest().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    fake.wait_for_streams(0, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn silence_stops_heartbeats_and_closes_late() {
    let fake = FakeNomad::builder().heartbeat(Duration::from_millis(5));
    let fake = fake.eof_delay(NEVER).start().await.unwrap();
    let mut client = Raw::stream(&fake, "").await;
    client.expect("{}\n{}\n").await;
    fake.script(Script::new().fault(Point::Lines(1), Fault::Silence));
    let mut silent = Raw::stream(&fake, "").await;
    silent.expect("{}\n").await;
    silent.expect_nothing().await;
    // The other goes on, and a test need not wait for the garbage collector.
    client.expect("{}\n").await;
    fake.streams()[1].inject(Fault::Close);
    assert_eq!(silent.rest().await.unwrap(), "");
}

#[tokio::test]
async fn scripts_are_taken_in_order_one_per_stream_request() {
    let fake = quiet(Version::V1_11_3).start().await.unwrap();
    fake.script(Script::refuse());
    fake.script(Script::answer(429, "too many\n"));
    fake.script(Script::new());

    let mut ordinary = Raw::connect(&fake).await;
    ordinary.get("/v1/jobs").await;
    ordinary.until("[]").await;

    let mut refused = Raw::connect(&fake).await;
    refused.get(STREAM_PATH).await;
    let error = refused.rest().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let mut busy = Raw::connect(&fake).await;
    busy.get(STREAM_PATH).await;
    let answer = busy.until("many\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{answer}"
    );
    assert_eq!(fake.streams().len(), 0);
    // The answer left the connection open.
    busy.get(STREAM_PATH).await;
    busy.until("{}\n").await;
    assert_eq!(fake.streams().len(), 1);
}

#[tokio::test]
async fn delays_are_before_the_head_and_before_the_first_line() {
    let delay = Duration::from_millis(60);
    let fake = quiet(Version::V1_11_3).start().await.unwrap();
    for script in [
        Script::new().delay_head(delay),
        Script::new().delay_first_line(delay),
    ] {
        fake.script(script);
        let start = tokio::time::Instant::now();
        let mut client = Raw::stream(&fake, "").await;
        client.expect("{}\n").await;
        assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    }

    fake.script(Script::new().delay_head(NEVER));
    let mut client = Raw::connect(&fake).await;
    client.get(STREAM_PATH).await;
    client.expect_nothing().await;
    drop(client);
    fake.wait_for_streams(0, DEADLINE).await.unwrap();

    // The head is here, and the subscription stands; a client that leaves is noticed.
    fake.script(Script::new().delay_first_line(NEVER));
    let mut client = Raw::stream(&fake, "").await;
    client.expect_nothing().await;
    assert_eq!(fake.open_streams(), 1);
    drop(client);
    fake.wait_for_streams(0, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn one_byte_at_a_time_is_the_same_stream() {
    for version in Version::ALL {
        let fake = quiet(version).lines([job(7)]).start().await.unwrap();
        let mut whole = Raw::stream(&fake, "").await;
        let whole = whole.until("]}").await;
        fake.script(Script::new().one_byte_at_a_time());
        let mut client = Raw::connect(&fake).await;
        client.get(STREAM_PATH).await;
        let mut reads = 0;
        while !client.read.ends_with(b"]}") {
            client.socket.readable().await.unwrap();
            reads += usize::from(client.socket.try_read_buf(&mut client.read).is_ok());
        }
        let came = String::from_utf8(client.read).unwrap();
        assert!(came.ends_with(&whole), "{came}");
        assert!(
            reads > came.len() / 16,
            "{reads} reads of {} bytes",
            came.len()
        );
    }
}

#[tokio::test]
async fn stop_refuses_connections_and_start_again_takes_the_same_port() {
    let fake = quiet(Version::V1_11_3)
        .lines([job(7)])
        .start()
        .await
        .unwrap();
    let mut client = Raw::stream(&fake, "").await;
    client.until("]}\n").await;
    fake.stop().await;
    assert_eq!(fake.open_streams(), 0);
    assert_eq!(client.rest().await.unwrap(), "");
    let refused = TcpStream::connect(fake.address()).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    fake.append(job(8)).unwrap();
    fake.start_again().await.unwrap();
    let mut client = Raw::stream(&fake, "index=7").await;
    client
        .expect(&format!("{{}}\n{}\n{}\n", text(&job(7)), text(&job(8))))
        .await;
    fake.restart().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), "");
    assert_eq!(fake.streams().len(), 2);
}

#[tokio::test]
async fn dropping_the_fake_closes_its_port_and_its_connections() {
    let fake = quiet(Version::V1_11_1).start().await.unwrap();
    let mut client = Raw::stream(&fake, "").await;
    client.until("{}").await;
    let address = fake.address();
    drop(fake);
    assert!(!client.rest().await.unwrap().contains("0\r\n\r\n"));
    eventually(DEADLINE, || std::net::TcpStream::connect(address).is_err())
        .await
        .unwrap();
}

#[tokio::test]
async fn waiting_ends_at_its_deadline() {
    let fake = quiet(Version::V1_11_3)
        .lines([job(7)])
        .start()
        .await
        .unwrap();
    let within = Duration::from_millis(20);
    let error = fake.wait_for_streams(1, within).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "still waiting for 1 open streams after 20ms"
    );
    assert!(fake.wait_until_sent(7, within).await.is_err());
    let mut client = Raw::stream(&fake, "topic=Node").await;
    client.expect("{}\n").await;
    fake.wait_for_streams(1, DEADLINE).await.unwrap();
    // Passed over by the filter is sent, too; beyond the history is not.
    fake.wait_until_sent(7, DEADLINE).await.unwrap();
    assert!(fake.wait_until_sent(8, within).await.is_err());
}
