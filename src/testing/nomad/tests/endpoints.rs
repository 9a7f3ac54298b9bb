use super::*;

async fn get(fake: &FakeNomad, target: &str) -> (String, String) {
    send(
        fake,
        &format!("GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n"),
    )
    .await
}

/// Head and body of an answer, after which the connection closes.
async fn send(fake: &FakeNomad, request: &str) -> (String, String) {
    let mut client = Raw::connect(fake).await;
    client.send(request).await;
    let answer = client.rest().await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn index_in(head: &str) -> u64 {
    let (_, rest) = head.split_once("X-Nomad-Index: ").unwrap();
    rest.split("\r\n").next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn lists_are_empty_and_tell_the_newest_index_of_their_topic() {
    let fake = quiet(Version::V1_11_3)
        .lines([job(7), job(9)])
        .start()
        .await
        .unwrap();
    let node = EventText::new("Node", "NodeDrain", "n1").namespace("");
    let volume = EventText::new("CSIVolume", "CSIVolumeClaim", "v1");
    let batch = BatchText::new(12).event(node).event(volume);
    fake.append_batch(&batch).unwrap();

    let (head, body) = get(&fake, "/v1/jobs?namespace=*&per_page=1").await;
    let (before, _) = head.split_once("Date: ").unwrap();
    assert_eq!(
        before,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nVary: Accept-Encoding\r\n\
         X-Nomad-Index: 9\r\nX-Nomad-Knownleader: true\r\nX-Nomad-Lastcontact: 0\r\n"
    );
    assert!(head.ends_with("\r\nContent-Length: 2\r\nConnection: close"));
    assert_eq!(body, "[]");

    let table = [
        ("/v1/nodes", 12),
        ("/v1/allocations", 0),
        ("/v1/evaluations", 0),
        ("/v1/deployments", 0),
        ("/v1/services", 0),
        ("/v1/node/pools", 0),
        ("/v1/volumes?type=csi", 12),
        ("/v1/volumes?type=host", 0),
        ("/v1/volumes", 0),
    ];
    for (path, index) in table {
        let (head, body) = get(&fake, path).await;
        assert_eq!((index_in(&head), body.as_str()), (index, "[]"), "{path}");
    }
    fake.set_list_index("/v1/nodes", 5);
    fake.set_list_index("/v1/volumes?type=host", 6);
    assert_eq!(index_in(&get(&fake, "/v1/nodes").await.0), 5);
    assert_eq!(index_in(&get(&fake, "/v1/volumes?type=host").await.0), 6);

    assert!(
        get(&fake, "/v1/job/web")
            .await
            .0
            .starts_with("HTTP/1.1 404 Not Found")
    );
    fake.set_body("/v1/job/web", r#"{"ID":"web"}"#);
    assert_eq!(get(&fake, "/v1/job/web").await.1, r#"{"ID":"web"}"#);
}

#[tokio::test]
async fn a_clients_update_writes_its_node_and_the_summary_of_its_job() {
    let update = BatchText::new(9)
        .event(EventText::new("Allocation", "AllocationUpdated", "a1"))
        .event(EventText::new("Node", "AllocationUpdated", "n1").namespace(""));
    let drain = BatchText::new(7).event(EventText::new("Node", "NodeDrain", "n1").namespace(""));
    let fake =
        quiet(Version::V1_11_3).lines([drain.to_bytes().unwrap(), update.to_bytes().unwrap()]);
    let fake = fake.start().await.unwrap();
    for (path, index) in [
        ("/v1/allocations", 9),
        ("/v1/jobs", 9),
        ("/v1/nodes", 9),
        ("/v1/evaluations", 0),
    ] {
        assert_eq!(index_in(&get(&fake, path).await.0), index, "{path}");
    }
}

#[tokio::test]
async fn what_a_server_has_not_applied_is_told_by_its_leader_and_not_by_itself() {
    let fake = quiet(Version::V1_11_3).lines([job(7)]);
    let fake = fake.start().await.unwrap();
    let event = EventText::new("Job", "JobRegistered", "web");
    let batch = BatchText::new(9).event(event);
    fake.write_elsewhere(&batch).unwrap();
    assert_eq!(index_in(&get(&fake, "/v1/jobs").await.0), 9);
    assert_eq!(index_in(&get(&fake, "/v1/jobs?stale").await.0), 7);
    let mut client = Raw::stream(&fake, "index=9").await;
    client.expect(&format!("{{}}\n{}\n", text(&job(7)))).await;
    fake.append_batch(&batch).unwrap();
    assert_eq!(index_of(&client.line().await), 9);
    assert_eq!(index_in(&get(&fake, "/v1/jobs?stale").await.0), 9);
}

#[tokio::test]
async fn a_list_fails_or_hangs_until_it_is_mended() {
    let fake = quiet(Version::V1_11_3).lines([job(7)]);
    let fake = fake.start().await.unwrap();
    fake.disturb_lists(ListFault::Error(500, "rpc error".to_owned()));
    fake.disturb_list("/v1/nodes", ListFault::Hang);
    fake.deny("/v1/services");
    for _ in 0..2 {
        let (head, body) = get(&fake, "/v1/jobs").await;
        assert!(head.contains(" 500 ") && body == "rpc error", "{head}");
    }
    assert!(get(&fake, "/v1/services").await.0.contains(" 403 "));
    for path in ["/v1/namespaces", "/v1/agent/self"] {
        assert!(get(&fake, path).await.0.contains(" 200 "), "{path}");
    }
    let mut hanging = Raw::connect(&fake).await;
    hanging.get("/v1/nodes").await;
    hanging.expect_nothing().await;

    fake.mend_lists();
    for path in ["/v1/jobs", "/v1/nodes"] {
        assert!(get(&fake, path).await.0.contains(" 200 "), "{path}");
    }
    // Whoever hangs hangs on, and the end of the fake is its end.
    hanging.expect_nothing().await;
    fake.stop().await;
    assert_eq!(hanging.rest().await.unwrap_or_default(), "");
}

#[tokio::test]
async fn namespaces_are_those_made_and_those_mentioned() {
    let fake = quiet(Version::V1_11_3)
        .namespace("ops", 3)
        .lines([job_in(7, "team")]);
    let fake = fake.start().await.unwrap();
    fake.add_namespace("late", 9);
    fake.add_namespace("ops", 10);
    let (head, body) = get(&fake, "/v1/namespaces").await;
    assert_eq!(index_in(&head), 9);
    let rows: serde_json::Value = serde_json::from_str(&body).unwrap();
    let rows: Vec<(&str, u64)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["Name"].as_str().unwrap(),
                row["CreateIndex"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [("default", 1), ("late", 9), ("ops", 3), ("team", 7)]);
}

#[tokio::test]
async fn without_the_token_everything_is_forbidden_and_newer_streams_do_not_say_so() {
    for version in Version::ALL {
        let eof_delay = Duration::from_millis(30);
        let fake = quiet(version).token("s3cret").eof_delay(eof_delay);
        let fake = fake.start().await.unwrap();
        for header in [
            "",
            "X-Nomad-Token: wrong\r\n",
            "Authorization: Basic s3cret\r\n",
        ] {
            let request =
                |path| format!("GET {path} HTTP/1.1\r\n{header}Connection: close\r\n\r\n");
            let (head, body) = send(&fake, &request("/v1/jobs")).await;
            assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain"));
            assert_eq!(body, "Permission denied");

            let (head, body) = send(&fake, &request(STREAM_PATH)).await;
            if version.hijacks() {
                assert!(head.contains(" 200 OK\r\n"), "{head}");
                assert_eq!(body, "");
            } else {
                assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\nCache-Control: no-cache\r\n"));
                assert_eq!(body, "Permission denied");
            }
        }
        assert_eq!(fake.streams().len(), 0);
        for header in ["X-Nomad-Token: s3cret", "Authorization: Bearer s3cret"] {
            let mut client = Raw::connect(&fake).await;
            client
                .send(&format!("GET {STREAM_PATH} HTTP/1.1\r\n{header}\r\n\r\n"))
                .await;
            client.until("{}").await;
        }
        let requests = fake.stream_requests();
        let tokens: Vec<bool> = requests
            .iter()
            .map(|seen| seen.token_is("s3cret"))
            .collect();
        assert_eq!(tokens, [false, false, false, true, true]);

        fake.set_token(None);
        assert!(
            get(&fake, "/v1/jobs")
                .await
                .0
                .starts_with("HTTP/1.1 200 OK")
        );
    }
}

#[tokio::test]
async fn unknown_regions_and_a_disabled_broker_are_errors_or_silence_by_version() {
    for version in Version::ALL {
        let settings = || quiet(version).eof_delay(Duration::from_millis(30));
        let fake = settings().region("eu").start().await.unwrap();
        let (head, body) = get(&fake, "/v1/jobs?region=us").await;
        assert!(head.starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
        assert_eq!(body, "No path to region");
        assert!(get(&fake, "/v1/jobs?region=eu").await.0.contains(" 200 OK"));
        let (region, region_body) = get(&fake, "/v1/event/stream?region=us").await;

        let fake = settings().without_event_broker().start().await.unwrap();
        assert!(get(&fake, "/v1/jobs").await.0.contains(" 200 OK"));
        let (broker, broker_body) = get(&fake, STREAM_PATH).await;
        if version.hijacks() {
            assert!(region.contains(" 200 OK") && broker.contains(" 200 OK"));
            assert_eq!((region_body.as_str(), broker_body.as_str()), ("", ""));
        } else {
            assert!(region.starts_with("HTTP/1.1 500 ") && broker.starts_with("HTTP/1.1 500 "));
            assert_eq!(region_body, "No path to region");
            assert_eq!(broker_body, "EventBroker not configured");
        }
    }
}

#[tokio::test]
async fn what_every_version_refuses_before_the_stream() {
    for version in Version::ALL {
        let fake = quiet(version).start().await.unwrap();
        let table = [
            ("GET", "?topic=a:b:c", 400, "Invalid topic query"),
            ("GET", "?index=abc", 400, "Unable to parse index"),
            ("POST", "", 405, "Invalid method"),
        ];
        for (method, query, status, text) in table {
            let request =
                format!("{method} {STREAM_PATH}{query} HTTP/1.1\r\nConnection: close\r\n\r\n");
            let (head, body) = send(&fake, &request).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(body.starts_with(text), "{body}");
        }
        let (head, _) = send(&fake, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert_eq!(
            head,
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close"
        );
    }
}

#[tokio::test]
async fn one_path_can_be_denied_and_one_answer_can_fail() {
    let fake = quiet(Version::V1_11_1).start().await.unwrap();
    fake.deny("/v1/nodes");
    fake.deny(STREAM_PATH);
    for path in ["/v1/nodes", STREAM_PATH] {
        assert!(get(&fake, path).await.0.contains(" 403 "), "{path}");
    }
    assert!(get(&fake, "/v1/jobs").await.0.contains(" 200 "));
    fake.allow("/v1/nodes");
    assert!(get(&fake, "/v1/nodes").await.0.contains(" 200 "));

    fake.answer_once("/v1/jobs", 500, "rpc error");
    let (head, body) = get(&fake, "/v1/jobs").await;
    assert!(head.contains(" 500 ") && body == "rpc error");
    assert!(get(&fake, "/v1/jobs").await.0.contains(" 200 "));
}

#[tokio::test]
async fn without_a_leader_only_stale_lists_are_answered() {
    let fake = quiet(Version::V1_11_3).start().await.unwrap();
    let last_contact = Duration::from_millis(6044);
    fake.set_leader(Leader {
        known: false,
        last_contact,
    });
    let (head, body) = get(&fake, "/v1/jobs").await;
    assert!(head.contains(" 500 ") && body == "No cluster leader");
    let (head, _) = get(&fake, "/v1/jobs?stale").await;
    assert!(head.contains("X-Nomad-Knownleader: false\r\nX-Nomad-Lastcontact: 6044\r\n"));
}

#[tokio::test]
async fn requests_are_seen_in_order_with_all_that_was_asked() {
    let fake = quiet(Version::V1_11_3).start().await.unwrap();
    get(&fake, "/v1/jobs").await;
    let mut client = Raw::connect(&fake).await;
    client
        .get("/v1/event/stream?topic=Job&topic=Node&index=4")
        .await;
    fake.wait_for_requests(DEADLINE, |seen| seen.iter().any(SeenRequest::is_stream))
        .await
        .unwrap();
    let requests = fake.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        (requests[0].method.as_str(), requests[0].path.as_str()),
        ("GET", "/v1/jobs")
    );
    let stream = &fake.stream_requests()[0];
    assert_eq!(stream.query_values("topic"), ["Job", "Node"]);
    assert_eq!(stream.query_value("index"), Some("4"));
    assert_eq!(stream.header("host"), Some("nomad"));
}
