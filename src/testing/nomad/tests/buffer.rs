use super::*;

/// What a stream from `index` begins with, and then the live line 99.
async fn seen_from(fake: &FakeNomad, index: &str) -> Vec<u64> {
    let mut client = Raw::stream(fake, &format!("index={index}")).await;
    client.expect("{}\n").await;
    fake.append(job(99)).unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&99) {
        seen.push(index_of(&client.line().await));
    }
    seen.pop();
    seen
}

#[tokio::test]
async fn a_stream_starts_where_nomad_starts_it_and_then_goes_live() {
    let table: [(&str, &[u64]); 5] = [
        ("0", &[8, 9, 9, 12]),
        ("3", &[8, 9, 9, 12]),
        ("9", &[9, 9, 12]),
        ("10", &[12]),
        ("1000", &[12]),
    ];
    for (index, expected) in table {
        let fake = quiet(Version::V1_11_3).lines([8, 9, 9, 12].map(job));
        let fake = fake.start().await.unwrap();
        assert_eq!(seen_from(&fake, index).await, expected, "index={index}");
    }
    let empty = quiet(Version::V1_11_3).start().await.unwrap();
    assert!(seen_from(&empty, "1000").await.is_empty());
}

#[tokio::test]
async fn size_n_keeps_n_plus_one_lines_and_forgets_more_when_told() {
    let fake = quiet(Version::V1_11_3)
        .buffer_size(5)
        .lines((1..=20).map(job));
    let fake = fake.start().await.unwrap();
    let mut client = Raw::stream(&fake, "").await;
    client.expect("{}\n").await;
    assert_eq!(index_of(&client.line().await), 15);

    fake.evict_to(19);
    assert_eq!(seen_from(&fake, "0").await, [19, 20]);
    fake.evict_all();
    assert!(seen_from(&fake, "0").await.is_empty());
}

#[tokio::test]
async fn a_stream_gets_what_it_asked_for_and_no_empty_line() {
    let fake = quiet(Version::V1_11_3)
        .namespace("ops", 3)
        .start()
        .await
        .unwrap();
    let mut narrow = Raw::stream(&fake, "topic=Node&topic=Job:web&namespace=ops").await;
    let mut all = Raw::stream(&fake, "namespace=%2A").await;
    for client in [&mut narrow, &mut all] {
        client.expect("{}\n").await;
    }
    fake.append(job(5)).unwrap();
    fake.append(job_in(6, "ops")).unwrap();
    // A namespace made after they came: nobody with a star sees it, who names it does.
    fake.append(job_in(7, "late")).unwrap();
    let event = |topic, key| EventText::new(topic, "NodeDrain", key).namespace("");
    for order in [KeyOrder::Release, KeyOrder::Sorted] {
        let batch = BatchText::new(8).key_order(order);
        let batch = batch
            .event(event("Node", "n1"))
            .event(event("NodePool", "p1"));
        fake.append_batch(&batch).unwrap();
        let whole = batch.to_bytes().unwrap();
        let only_node = BatchText::new(8)
            .key_order(order)
            .event(event("Node", "n1"));
        if order == KeyOrder::Release {
            all.expect(&format!("{}\n{}\n", text(&job(5)), text(&job_in(6, "ops"))))
                .await;
            narrow
                .expect(&format!("{}\n", text(&job_in(6, "ops"))))
                .await;
        }
        all.expect(&format!("{}\n", text(&whole))).await;
        narrow
            .expect(&format!("{}\n", text(&only_node.to_bytes().unwrap())))
            .await;
    }
    let mut late = Raw::stream(&fake, "namespace=*&index=7").await;
    late.expect(&format!("{{}}\n{}\n", text(&job_in(7, "late"))))
        .await;
}

#[tokio::test]
async fn broken_lines_go_out_as_they_are() {
    let fake = quiet(Version::V1_11_3)
        .lines([job(4)])
        .start()
        .await
        .unwrap();
    fake.append_opaque(5, r#"{"Index":5,"Events":[NaN"#);
    fake.append_opaque(6, "");
    assert!(matches!(
        fake.append("{\"Index\":7}"),
        Err(LineError::NotABatch(_))
    ));
    assert!(fake.append("{}").is_ok());
    let mut client = Raw::stream(&fake, "topic=Node&index=5").await;
    client.expect("{}\n{\"Index\":5,\"Events\":[NaN\n\n").await;
    client.expect_nothing().await;
    let not_a_line = quiet(Version::V1_11_3).lines([Bytes::from_static(b"x")]);
    let error = not_a_line.start().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn log_replay_shows_the_next_client_every_line_whatever_it_asked_for() {
    let fake = quiet(Version::V1_11_3).buffer_size(2).lines([job(40)]);
    let fake = fake.start().await.unwrap();
    fake.replay_log_on_next_connect((8..=14).map(job)).unwrap();
    let mut early = Raw::stream(&fake, "index=1000").await;
    early.expect("{}\n").await;
    for index in 8..=14 {
        assert_eq!(index_of(&early.line().await), index);
    }
    fake.wait_until_sent(14, DEADLINE).await.unwrap();
    // A moment later the same request starts as usual, in what the buffer kept.
    let mut later = Raw::stream(&fake, "index=1000").await;
    later.expect(&format!("{{}}\n{}\n", text(&job(14)))).await;
    assert_eq!(seen_from(&fake, "0").await, [12, 13, 14]);
    assert_eq!(index_of(&early.line().await), 99);
}

#[tokio::test]
async fn a_rebuilt_cluster_has_lower_indexes_and_closes_its_streams() {
    let fake = quiet(Version::V1_11_3).lines([job_in(900, "old")]);
    let fake = fake.start().await.unwrap();
    let mut client = Raw::stream(&fake, "namespace=*").await;
    assert_eq!(client.line().await, "{}");
    client.line().await;
    fake.replace_history([job(3), job(4)]).unwrap();
    assert_eq!(client.rest().await.unwrap(), "");
    let mut client = Raw::stream(&fake, "index=900").await;
    client.expect(&format!("{{}}\n{}\n", text(&job(4)))).await;
    let mut lists = Raw::connect(&fake).await;
    lists.get("/v1/jobs").await;
    assert!(lists.until("[]").await.contains("X-Nomad-Index: 4\r\n"));
    lists.get("/v1/namespaces").await;
    assert!(!lists.until("]").await.contains("old"));
}

#[tokio::test]
async fn a_restored_snapshot_empties_the_buffer_and_takes_the_tables_back() {
    let fake = quiet(Version::V1_11_3)
        .eof_delay(Duration::from_millis(20))
        .lines([job(3)]);
    let fake = fake.start().await.unwrap();
    let snapshot = fake.take_snapshot();
    fake.append(job_in(8, "late")).unwrap();
    let mut client = Raw::stream(&fake, "namespace=*&index=8").await;
    assert_eq!(client.line().await, "{}");
    client.line().await;
    fake.restore_snapshot(&snapshot);
    assert_eq!(client.rest().await.unwrap(), "");
    let mut lists = Raw::connect(&fake).await;
    lists.get("/v1/jobs").await;
    assert!(lists.until("[]").await.contains("X-Nomad-Index: 3\r\n"));
    lists.get("/v1/namespaces").await;
    assert!(!lists.until("]").await.contains("late"));

    let mut client = Raw::stream(&fake, "index=8").await;
    client.expect("{}\n").await;
    client.expect_nothing().await;
    fake.append(job(9)).unwrap();
    assert_eq!(index_of(&client.line().await), 9);
}

#[tokio::test]
async fn half_of_an_index_is_forgotten() {
    let fake = quiet(Version::V1_11_3).lines([job(7), job_in(7, "ops"), job(8)]);
    let fake = fake.start().await.unwrap();
    fake.evict_lines(1);
    let mut client = Raw::stream(&fake, "namespace=*&index=7").await;
    let (half, next) = (job_in(7, "ops"), job(8));
    client
        .expect(&format!("{{}}\n{}\n{}\n", text(&half), text(&next)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn in_memory_an_hour_of_heartbeats_takes_no_time() {
    let fake = FakeNomad::builder().lines([job(7)]);
    let fake = fake.start().await.unwrap();
    let mut client = fake.connect_in_memory().unwrap();
    let request = format!("GET {STREAM_PATH} HTTP/1.1\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut read = Vec::new();
    while !read.ends_with(&b"{}\n".repeat(120)) {
        assert_ne!(client.read_buf(&mut read).await.unwrap(), 0);
    }
    assert_eq!(began.elapsed(), Duration::from_secs(3600));
    fake.stop().await;
    assert_eq!(client.read_buf(&mut read).await.unwrap(), 0);
    let refused = fake.connect_in_memory().unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    fake.start_again().await.unwrap();
    assert!(fake.connect_in_memory().is_ok());
}

/// More than the socket buffers of both ends hold.
const HUGE: usize = 16 << 20;

fn huge(index: u64) -> BatchText {
    let event = EventText::new("Job", "JobRegistered", "big");
    BatchText::new(index).event(event).padded_to(HUGE)
}

#[tokio::test]
async fn a_reader_too_slow_for_the_buffer_gets_its_line_and_then_the_error() {
    for version in Version::ALL {
        let fake = quiet(version)
            .buffer_size(3)
            .eof_delay(Duration::from_millis(20));
        let fake = fake.start().await.unwrap();
        let mut slow = Raw::stream(&fake, "").await;
        fake.append_batch(&huge(1)).unwrap();
        // The line is on its way, so the reader holds it, and waits for the reader.
        slow.until("\"Padding\"").await;
        for index in 2..=6 {
            fake.append(job(index)).unwrap();
        }
        assert_eq!(fake.streams()[0].batches_sent(), 0);
        let mut fast = Raw::stream(&fake, "index=6").await;
        fast.until("\"Index\":6").await;

        slow.until("\"}}]}").await;
        if version.hijacks() {
            assert_eq!(slow.rest().await.unwrap(), "\n");
        } else {
            slow.expect("\r\n1\r\n\n\r\n19\r\nevent dropped from buffer\r\n0\r\n\r\n")
                .await;
        }
        fake.wait_for_streams(1, DEADLINE).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_hijacks_gives_up_on_a_reader_and_leaves_its_line_cut() {
    let fake = quiet(Version::V1_11_3).write_timeout(Duration::from_millis(100));
    let fake = fake.start().await.unwrap();
    let mut client = Raw::stream(&fake, "").await;
    client.expect("{}\n").await;
    fake.append_batch(&huge(1)).unwrap();
    fake.wait_for_streams(0, DEADLINE).await.unwrap();
    let line = client.rest().await.unwrap();
    assert!(line.len() < HUGE && line.starts_with("{\"Index\":1,"));
    assert!(!line.ends_with('\n'));
}
