//! Answers that no Nomad should give, and what is said about them.

use super::*;

/// What a first connection is told when its answer is this one. The second is whole: following goes on.
async fn told(answer: Vec<Act>) -> (String, String) {
    let memory = Memory::new(move |number, request| match (number, asked_for(request)) {
        (_, None) => list(),
        (0, Some(_)) => answer.clone(),
        (_, Some(_)) => {
            let answer = Framing::Close.answer([job(7, "running").as_str()]);
            vec![Act::Bytes(answer.into()), Act::Hold]
        }
    });
    let mut follower = Follower::of(&memory);
    let told = follower.until_disconnected().await;
    follower.until_events(1).await;
    assert_eq!(follower.payloads.len(), 1);
    // The token goes to nobody else, and nobody is asked for anything but the stream and the lists.
    for request in memory.requests() {
        assert!(request.starts_with("GET /v1/"), "{request}");
    }
    told
}

fn bytes(text: impl Into<Vec<u8>>) -> Vec<Act> {
    vec![Act::Bytes(text.into()), Act::Close]
}

#[tokio::test(start_paused = true)]
async fn what_is_not_nomads_answer_is_refused_and_the_message_says_what_it_was() {
    let long_head = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n{{}}\n",
        "x".repeat(200_000)
    );
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n{{}}\n", "A: b\r\n".repeat(101));
    let cases: Vec<(&str, String, &str, &str)> = vec![
        (
            "a redirect",
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://nomad.example:8443/ui/login?token=s3cret\r\nContent-Length: 0\r\n\r\n".into(),
            "status",
            "a redirect to https://nomad.example:8443, which is not followed because the token would go with it",
        ),
        (
            "a redirect to nowhere",
            "HTTP/1.1 302 Found\r\nLocation: /ui/\r\n\r\n".into(),
            "status",
            "a redirect, which is not followed",
        ),
        (
            "gzip",
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\n\r\n\u{1f}x".into(),
            "protocol",
            "compressed (\"gzip\"), though we asked for it as it is; a proxy",
        ),
        (
            "a page",
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>{}\n</html>".into(),
            "protocol",
            "an HTML page, not Nomad's; a proxy or its login page",
        ),
        ("a long head", long_head, "protocol", "message head is too large (its head may have 65536 bytes and 100 headers)"),
        ("many headers", many_headers, "protocol", "message head is too large (its head may have 65536 bytes and 100 headers)"),
        ("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n".into(), "protocol", "not HTTP"),
        ("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n{}\n".into(), "protocol", "not HTTP"),
        ("a plain server's word for TLS", "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n".into(), "tls", "write the address with https://"),
        ("nothing", String::new(), "broken", "the connection broke before an answer"),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".into(), "status", "answered 204"),
        (
            "too many connections",
            "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 78\r\n\r\nYour IP is issuing too many concurrent connections, please rate limit your calls\n".into(),
            "too_many_connections",
            "`limits.http_max_conns_per_client`, 100 unless set",
        ),
        (
            "a refusal of nobody",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 17\r\n\r\nPermission denied".into(),
            "denied",
            "answered 403 \"Permission denied\" for the event stream; could not find out why",
        ),
        (
            // Of parameters that the shared parser refuses; 1.11.2 and later write two heads.
            "two answers in one",
            format!("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nInvalid wait timeHTTP/0.0 200 OK\r\n\r\n{{}}\n{}\n", job(3, "never")),
            "status",
            "answered 400 \"Invalid wait time\" for the event stream",
        ),
        (
            "a second head within the stream",
            format!("{}HTTP/1.1 200 OK\r\n\r\n", Framing::Close.answer([])),
            "closed",
            "",
        ),
    ];
    for (name, answer, cause, expected) in cases {
        let (told, message) = told(bytes(answer)).await;
        assert_eq!(told, cause, "{name}: {message}");
        assert!(message.contains(expected), "{name}: {message}");
        assert!(!message.contains("s3cret"), "{name}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed_and_the_token_not_sent_on() {
    let memory = Memory::new(|_, _| {
        bytes(
            "HTTP/1.1 301 Moved Permanently\r\nLocation: http://elsewhere/v1/event/stream\r\n\r\n",
        )
    });
    let mut follower = Follower::with(
        &memory,
        r#"{"token": "t0ken", "endpoints": ["http://here:1"]}"#,
    );
    follower.until_disconnected().await;
    let requests = memory.requests();
    assert!(requests[0].contains("x-nomad-token: t0ken"), "{requests:?}");
    assert!(
        requests
            .iter()
            .all(|request| request.contains("host: here:1")),
        "{requests:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_interim_answer_is_passed_over() {
    let answer = format!(
        "HTTP/1.1 100 Continue\r\n\r\n{}",
        Framing::Close.answer([job(7, "running").as_str()])
    );
    let memory = Memory::new(move |_, request| match asked_for(request) {
        None => list(),
        Some(_) => vec![Act::Bytes(answer.clone().into()), Act::Hold],
    });
    let mut follower = Follower::of(&memory);
    follower.until_events(1).await;
    assert_eq!(follower.count("Disconnected"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_before_its_body_is_left_after_the_limit_for_connections() {
    let drip = |start: &'static str, again: &'static str| {
        let mut acts = vec![Act::Bytes(start.into())];
        for _ in 0..100 {
            acts.push(Act::Pause(Duration::from_secs(1)));
            acts.push(Act::Bytes(again.into()));
        }
        acts
    };
    let cases = [
        ("silence", vec![Act::Hold]),
        (
            "half a head",
            vec![Act::Bytes("HTTP/1.1 200 OK\r\nDate: ".into()), Act::Hold],
        ),
        (
            "a head without end",
            drip("HTTP/1.1 200 OK\r\n", "A: b\r\n"),
        ),
        (
            "interim answers without end",
            drip(
                "HTTP/1.1 100 Continue\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
            ),
        ),
    ];
    for (name, acts) in cases {
        let from = tokio::time::Instant::now();
        let (told, message) = told(acts).await;
        assert_eq!(told, "connect_timeout", "{name}: {message}");
        assert!(
            message.contains("no answer within 10 s"),
            "{name}: {message}"
        );
        assert!(from.elapsed() < Duration::from_secs(30), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn stalls_on_the_way_to_the_first_line_are_waited_for_within_their_limits() {
    let head = Framing::Close.head();
    let (before, after) = head.split_at(20);
    let acts = vec![
        Act::Pause(Duration::from_secs(4)),
        Act::Bytes(before.into()),
        Act::Pause(Duration::from_secs(5)),
        Act::Bytes(after.into()),
        Act::Pause(Duration::from_secs(9)),
        Act::Bytes("{".into()),
        Act::Pause(Duration::from_millis(900)),
        Act::Bytes(format!("}}\n{}\n", job(7, "running")).into()),
        Act::Hold,
    ];
    let memory = Memory::new(move |_, request| match asked_for(request) {
        None => list(),
        Some(_) => acts.clone(),
    });
    let mut follower = Follower::of(&memory);
    follower.until_events(1).await;
    assert_eq!(follower.count("Disconnected"), 0);
    let requests = memory.requests();
    assert_eq!(requests.iter().filter_map(asked_for).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_after_the_head_and_after_lines_ends_the_connection() {
    let (told_head, _) = told(vec![Act::Bytes(Framing::Close.head().into()), Act::Hold]).await;
    assert_eq!(told_head, "no_first_line");
    for framing in Framing::ALL {
        let from = tokio::time::Instant::now();
        let (told, message) = told(vec![Act::Bytes(framing.answer([]).into()), Act::Hold]).await;
        assert_eq!(told, "idle", "{message}");
        let waited = from.elapsed().as_secs();
        assert!((75..90).contains(&waited), "{waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_at_the_end_is_told_and_a_cut_line_is_not() {
    let text = "subscription closed by server, client should resubscribe";
    let ended = format!(
        "{}{:x}\r\n{text}\r\n0\r\n\r\n",
        Framing::Chunked.answer([]),
        text.len()
    );
    let (cause, message) = told(bytes(ended)).await;
    assert_eq!(cause, "closed");
    assert!(message.contains(text), "{message}");
    let cut = Framing::Close.answer([]) + r#"{"Index":9,"Events":[{"Payload":{"Secret":"s3cret"#;
    let (cause, message) = told(bytes(cut)).await;
    assert_eq!(cause, "closed");
    assert!(
        message.contains("within a line, after 49 bytes") && !message.contains("s3cret"),
        "{message}"
    );
}

/// Chunks that have nothing to do with lines, with extensions, capital digits, leading zeros and trailers.
#[tokio::test(start_paused = true)]
async fn chunks_end_anywhere() {
    let lines = [job(7, "a"), job(8, "b")];
    let body = format!("{{}}\n{}\n{}\n", lines[0], lines[1]);
    for size in 1..=body.len() {
        let mut answer = Framing::Chunked.head();
        for (number, chunk) in body.as_bytes().chunks(size).enumerate() {
            let chunk = std::str::from_utf8(chunk).unwrap();
            let length = chunk.len();
            answer += &match number % 3 {
                0 => format!("{length:x}\r\n{chunk}\r\n"),
                1 => format!("000{length:X};name=value\r\n{chunk}\r\n"),
                _ => format!("{length:X} \r\n{chunk}\r\n"),
            };
        }
        let rest = "0\r\nTrailer: x\r\n\r\n";
        let memory = Memory::new(move |number, request| match (number, asked_for(request)) {
            (_, None) => list(),
            (0, Some(_)) => bytes(answer.clone() + rest),
            _ => vec![Act::Hold],
        });
        let mut follower = Follower::of(&memory);
        follower.until_events(2).await;
        let (told, message) = follower.until_disconnected().await;
        assert_eq!(told, "closed", "chunks of {size}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_chunk_breaks_the_connection_and_nothing_is_lost() {
    for broken in [
        "zz\r\n",
        "fffffffffffffffff\r\n",
        "5\r\n{}\nxx!!\r\n",
        "-1\r\n",
    ] {
        let answer = Framing::Chunked.answer([job(6, "a").as_str()]) + broken;
        let memory = Memory::new(move |number, request| match (number, asked_for(request)) {
            (_, None) => list(),
            (0, Some(_)) => bytes(answer.clone()),
            _ => {
                let answer =
                    Framing::Chunked.answer([job(6, "a"), job(7, "b")].iter().map(String::as_str));
                vec![Act::Bytes(answer.into()), Act::Hold]
            }
        });
        let mut follower = Follower::of(&memory);
        let (told, message) = follower.until_disconnected().await;
        assert_eq!(told, "broken", "{broken:?}: {message}");
        follower.until_events(2).await;
        assert_eq!(follower.count("Gap"), 0, "{broken:?}");
    }
}
