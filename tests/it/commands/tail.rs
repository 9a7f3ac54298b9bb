//! `tail`: a line for each event as it happens, for people and for `grep`.

use std::io::PipeWriter;

use nomad_events::options::DEFAULT_TOPICS;
use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad, Version};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    PATIENCE, RECORDED_SECRET, Running, code_within, expected, fakes, first_line, job,
    nomad_events, sample, start, until_full,
};
use crate::servers::{Process, folder, now_nanos};

fn tail(arguments: &[&str], nomad: &FakeNomad) -> Running {
    let mut command = nomad_events(&[&["tail"], arguments].concat());
    start(folder("cli"), command.env("NOMAD_ADDR", nomad.url()))
}

fn in_namespace(index: u64, namespace: &str, id: &str) -> BatchText {
    BatchText::new(index).event(
        EventText::new("Job", "JobRegistered", id)
            .namespace(namespace)
            .payload(format!(r#"{{"Job":{{"ID":"{id}","Status":"running"}}}}"#)),
    )
}

/// The words of a line: date, time, topic, type, namespace, and the message with its spaces.
fn words(line: &str) -> (&str, &str, &str, &str, &str, &str) {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_once(' ').expect("six words");
        rest = after.trim_start();
        word
    };
    (word(), word(), word(), word(), word(), rest)
}

#[tokio::test]
async fn what_the_server_remembers_comes_at_once_and_what_is_new_as_it_happens() {
    let lines = sample();
    let (nomad, _) = fakes(&lines).await;
    let mut tail = tail(&[], &nomad);
    let wanted = expected(&lines);
    tail.until_output(|output| output.lines().count() >= wanted.len())
        .await;
    let output = tail.output();
    assert_eq!(output.lines().count(), wanted.len());
    assert!(!output.contains('\x1b') && !output.contains(RECORDED_SECRET));

    let mut shown: Vec<(&str, &str)> = Vec::new();
    for line in output.lines() {
        let (date, time, topic, event_type, namespace, message) = words(line);
        assert_eq!(
            (date.len(), time.len()),
            ("2026-11-22".len(), "13:31:20".len()),
            "{line}"
        );
        assert!(
            ["-", "default", "team-a", "team-b"].contains(&namespace),
            "{line}"
        );
        assert!(!message.is_empty(), "{line}");
        shown.push((topic, event_type));
    }
    shown.sort_unstable();
    let mut of_the_sample: Vec<(&str, &str)> = wanted
        .iter()
        .map(|(_, topic, event_type)| (&**topic, &**event_type))
        .collect();
    of_the_sample.sort_unstable();
    assert_eq!(shown, of_the_sample);

    nomad.append_batch(&job(100_000, "brand-new")).unwrap();
    tail.until_output(|output| output.lines().any(|line| line.contains("job brand-new")))
        .await;
    tail.signal(Signal::INT);
    assert_eq!(tail.code().await, 0);
    // The stream itself is spoken of elsewhere.
    let errors = tail.errors();
    let spoken: Vec<&str> = errors.lines().map(|line| words(line).2).collect();
    assert_eq!(spoken, ["nomad-events", "nomad-events"], "{errors}");
    assert!(errors.contains(&format!("connected to {}", nomad.url())));
}

#[tokio::test]
async fn options_choose_what_is_shown() {
    let (nomad, _) = fakes(&[]).await;
    let (unused, _) = fakes(&[]).await;
    nomad
        .append_batch(&in_namespace(5, "default", "old"))
        .unwrap();
    nomad
        .append_batch(&in_namespace(6, "team-a", "theirs"))
        .unwrap();

    // An address that is given wins over the environment.
    let all = tail(&["--address", &nomad.url()], &unused);
    let one = tail(&["--namespace", "team-a"], &nomad);
    let new = tail(&["--new", "--quiet"], &nomad);
    all.until_output(|output| output.contains("job theirs"))
        .await;
    one.until_output(|output| output.contains("job theirs"))
        .await;
    nomad.wait_for_streams(3, PATIENCE).await.unwrap();
    nomad
        .append_batch(&in_namespace(7, "team-a", "fresh"))
        .unwrap();
    for running in [&all, &one, &new] {
        running
            .until_output(|output| output.contains("job fresh"))
            .await;
    }
    assert_eq!(all.output().lines().count(), 3);
    assert_eq!(one.output().lines().count(), 2);
    assert_eq!(new.output().lines().count(), 1);
    assert_eq!(new.errors(), "");
    assert!(unused.requests().is_empty());
}

/// What the one request for the stream has asked for.
fn subscription(nomad: &FakeNomad) -> Vec<String> {
    let requests = nomad.stream_requests();
    assert_eq!(requests.len(), 1);
    requests[0]
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// Runs `tail` on the sample until an event that it shows for certain, and gives what it has shown but for that.
async fn shown(arguments: &[&str], last: &BatchText) -> (Vec<String>, Vec<String>) {
    let (nomad, _) = fakes(&sample()).await;
    let mut tail = tail(arguments, &nomad);
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    nomad.append_batch(last).unwrap();
    tail.until_output(|output| output.contains("the-last"))
        .await;
    assert_eq!(tail.stop().await, 0, "{}", tail.errors());
    let output = tail.output();
    let lines = output.lines().filter(|line| !line.contains("the-last"));
    (lines.map(str::to_owned).collect(), subscription(&nomad))
}

/// Every event of the sample in the default topics.
fn events_of_the_sample() -> Vec<Value> {
    let events: Vec<Value> = sample()
        .iter()
        .flat_map(|line| {
            let line: Value = serde_json::from_slice(line).unwrap();
            line["Events"].as_array().unwrap().clone()
        })
        .filter(|event| DEFAULT_TOPICS.contains(&event["Topic"].as_str().unwrap()))
        .collect();
    events
}

/// The IDs of events as `--json` shows them: index, topic and key.
fn identity(event: &Value) -> (u64, String, String) {
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    (event["Index"].as_u64().unwrap(), text("Topic"), text("Key"))
}

#[tokio::test]
async fn a_job_is_shown_with_everything_that_belongs_to_it() {
    let last = BatchText::new(100_000).event(
        EventText::new("Evaluation", "EvaluationUpdated", "the-last").payload(
            r#"{"Evaluation":{"ID":"the-last","JobID":"api/dispatch-17-ab","Status":"complete"}}"#,
        ),
    );
    let (lines, subscription) = shown(&["--job", "api", "-j", "encode", "--json"], &last).await;
    let mut expected: Vec<_> = events_of_the_sample()
        .iter()
        .filter(|event| {
            let topic = event["Topic"].as_str().unwrap();
            let field = if topic == "Job" { "ID" } else { "JobID" };
            let id = event["Payload"][topic][field].as_str().unwrap_or_default();
            topic != "Node" && (id == "api" || id == "encode" || id.starts_with("encode/dispatch-"))
        })
        .map(identity)
        .collect();
    let mut found: Vec<_> = lines
        .iter()
        .map(|line| identity(&serde_json::from_str(line).unwrap()))
        .collect();
    expected.sort();
    found.sort();
    for topic in DEFAULT_TOPICS {
        let of_topic = expected.iter().filter(|(_, other, _)| other == topic);
        assert_eq!(
            of_topic.count() > 0,
            topic != "Node",
            "of {topic} in the sample"
        );
    }
    assert_eq!(found, expected);
    // The children have keys that Nomad would not compare equal, so the job is not asked of it; nodes have no job.
    for topic in DEFAULT_TOPICS {
        let asked = subscription.contains(&format!("topic={topic}:*"))
            || subscription.contains(&format!("topic={topic}"));
        assert_eq!(asked, topic != "Node", "{subscription:?}");
    }
}

#[tokio::test]
async fn a_node_is_shown_by_its_name() {
    let events = events_of_the_sample();
    let allocation = events
        .iter()
        .find(|event| event["Topic"] == "Allocation")
        .unwrap();
    let allocation = &allocation["Payload"]["Allocation"];
    let (node, name) = (
        &allocation["NodeID"],
        allocation["NodeName"].as_str().unwrap(),
    );
    let of_node = |event: &&Value| match event["Topic"].as_str().unwrap() {
        "Node" => event["Key"] == *node && event["Type"] != "AllocationUpdated",
        topic => event["Payload"][topic]["NodeID"] == *node,
    };
    let last = BatchText::new(100_000).event(
        EventText::new("Allocation", "PlanResult", "the-last").payload(format!(
            r#"{{"Allocation":{{"ID":"the-last","Name":"the-last","NodeID":{node},"NodeName":"{name}"}}}}"#
        )),
    );
    let short = &node.as_str().unwrap()[..8];
    for wanted in [short, name] {
        let (lines, _) = shown(
            &[
                "--node",
                wanted,
                "--topic",
                "Node",
                "--topic",
                "Allocation",
                "--json",
            ],
            &last,
        )
        .await;
        let expected = events
            .iter()
            .filter(|event| ["Node", "Allocation"].contains(&event["Topic"].as_str().unwrap()))
            .filter(of_node)
            .count();
        assert!(expected > 5);
        if wanted == short {
            assert_eq!(lines.len(), expected);
        } else {
            // Others of that name may be in the sample too.
            assert!(lines.len() >= expected);
        }
    }
}

#[tokio::test]
async fn types_and_topics_choose_also_what_the_shipped_configuration_leaves_out() {
    let last = BatchText::new(100_000).event(
        EventText::new("Node", "AllocationUpdated", "the-last")
            .namespace("")
            .payload(r#"{"Node":{"ID":"the-last","Name":"the-last","Status":"ready"}}"#),
    );
    let arguments = ["--topic", "Node", "--type", "AllocationUpdated"];
    let (lines, subscription) = shown(&arguments, &last).await;
    let expected = events_of_the_sample()
        .iter()
        .filter(|event| event["Topic"] == "Node" && event["Type"] == "AllocationUpdated")
        .count();
    assert!(expected > 0 && lines.len() == expected, "{lines:#?}");
    assert!(
        lines
            .iter()
            .all(|line| words(line).3 == "AllocationUpdated"),
        "{lines:#?}"
    );
    let topics = subscription
        .iter()
        .filter(|part| part.starts_with("topic="));
    assert_eq!(topics.count(), 1, "{subscription:?}");

    // A topic without a program of its own, beside one key of another; all asked of Nomad.
    let last = BatchText::new(100_000).event(
        EventText::new("NodePool", "NodePoolUpserted", "the-last")
            .payload(r#"{"NodePool":{"Name":"the-last"}}"#),
    );
    let arguments = [
        "-t", "NodePool", "-t", "Job:web", "-n", "default", "--region", "global",
    ];
    let (lines, subscription) = shown(&arguments, &last).await;
    let (of_jobs, of_pools): (Vec<&String>, Vec<&String>) =
        lines.iter().partition(|line| words(line).2 == "Job");
    assert!(!of_jobs.is_empty());
    for line in of_jobs {
        let (_, _, _, _, namespace, message) = words(line);
        assert_eq!(namespace, "default", "{line}");
        assert!(message.starts_with("job web "), "{line}");
    }
    for line in of_pools {
        assert_eq!(words(line).2, "NodePool", "{line}");
    }
    for part in ["topic=Job:web", "namespace=default", "region=global"] {
        assert!(
            subscription.iter().any(|other| other == part),
            "{subscription:?}"
        );
    }
}

#[tokio::test]
async fn whole_events_are_json_without_secrets_and_notices_stay_for_people() {
    let lines = sample();
    assert!(
        lines
            .iter()
            .any(|line| String::from_utf8_lossy(line).contains(RECORDED_SECRET)),
        "the sample has a secret to lose"
    );
    let (lines, _) = shown(&["--json"], &job(100_000, "the-last")).await;
    let mut found = Vec::new();
    for line in &lines {
        assert!(!line.contains(RECORDED_SECRET));
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["Payload"].is_object(), "{line}");
        assert!(event["timestamp"].is_string() && event["nomad"]["event_id"].is_string());
        found.push(identity(&event));
    }
    assert!(lines.iter().any(|line| line.contains("[REDACTED]")));
    let mut expected: Vec<_> = events_of_the_sample()
        .iter()
        .filter(|event| event["Topic"] != "Node" || event["Type"] != "AllocationUpdated")
        .map(identity)
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_time_or_an_index_says_where_to_begin() {
    let now = now_nanos();
    let at = |index: u64, id: &str, ago_secs: i64| {
        let time = now - ago_secs * 1_000_000_000;
        BatchText::new(index).event(EventText::new("Evaluation", "EvaluationUpdated", id).payload(format!(
            r#"{{"Evaluation":{{"ID":"{id}","JobID":"web","Status":"complete","ModifyTime":{time}}}}}"#
        )))
    };
    let (nomad, _) = fakes(&[]).await;
    for batch in [
        at(5, "oldest", 7200),
        at(6, "old", 600),
        at(7, "young", 100),
        at(8, "newest", 1),
    ] {
        nomad.append_batch(&batch).unwrap();
    }
    for (arguments, expected) in [
        (&["--since", "1h"][..], &["old", "young", "newest"][..]),
        (&["--since", "5m"], &["young", "newest"]),
        (&["--since", "1h30m", "--index", "7"], &["young", "newest"]),
        (&["--index", "8"], &["newest"]),
        (&[], &["oldest", "old", "young", "newest"]),
    ] {
        let mut tail = tail(arguments, &nomad);
        tail.until_output(|output| output.contains("eval newest"))
            .await;
        assert_eq!(tail.stop().await, 0);
        let output = tail.output();
        let shown: Vec<&str> = output
            .lines()
            .map(|line| words(line).5.split(' ').nth(1).unwrap())
            .collect();
        assert_eq!(shown, expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_terminal_gets_colours_and_nothing_that_a_task_has_said_commands_it() {
    let (nomad, _) = fakes(&[]).await;
    let payload = r#"{"Allocation":{"ID":"a","Name":"web","ClientStatus":"failed","ClientDescription":"\u001b[2Jgone\r\nand\u0007"}}"#;
    let batch =
        BatchText::new(5).event(EventText::new("Allocation", "PlanResult", "a").payload(payload));
    nomad.append_batch(&batch).unwrap();
    for forced in [true, false] {
        let mut command = nomad_events(&["tail"]);
        command.env("NOMAD_ADDR", nomad.url());
        if forced {
            command.env("CLICOLOR_FORCE", "1");
        }
        let mut tail = start(folder("cli"), &mut command);
        tail.until_output(|output| output.ends_with('\n')).await;
        assert_eq!(tail.stop().await, 0);
        let output = tail.output();
        assert_eq!(output.lines().count(), 1, "{output:?}");
        assert!(output.contains("\\u{1b}[2Jgone  and\\u{7}"), "{output:?}");
        assert!(!output.contains("\x1b[2J") && !output.contains(['\x07', '\r']));
        assert_eq!(output.contains("\x1b["), forced, "{output:?}");
    }
}

#[tokio::test]
async fn a_token_comes_from_a_file_or_from_the_environment() {
    let nomad = FakeNomad::builder().token("right").start().await.unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    let place = folder("cli");
    std::fs::write(place.path().join("token"), "right\n").unwrap();
    let mut command = nomad_events(&["tail", "--token-file", "token"]);
    // A file that is named wins.
    command
        .env("NOMAD_ADDR", nomad.url())
        .env("NOMAD_TOKEN", "wrong-token")
        .current_dir(place.path());
    let mut tail = start(place, &mut command);
    tail.until_output(|output| output.contains("job web")).await;
    assert_eq!(tail.stop().await, 0);
}

#[tokio::test]
async fn what_nomad_would_misread_is_refused() {
    let (nomad, _) = fakes(&[]).await;
    for (arguments, part) in [
        (
            &["--topic", "Job", "--topic", "Job:web"][..],
            "Nomad then sends only the latter",
        ),
        (
            &["--topic", "Job", "--topic", "Job"],
            "Nomad then sends nothing of it",
        ),
        (&["--topic", "job"], "did you mean \"Job\"?"),
        (&["--namespace", "team-*"], "Nomad knows no patterns here"),
    ] {
        let mut tail = tail(arguments, &nomad);
        assert_eq!(tail.code().await, 78, "{arguments:?}");
        assert!(tail.errors().contains(part), "{}", tail.errors());
    }
    assert!(nomad.requests().is_empty());
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_is_tried_again() {
    let nomad = FakeNomad::builder()
        .version(Version::V1_11_1)
        .token("right")
        .start()
        .await
        .unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    let mut command = nomad_events(&["tail"]);
    command
        .env("NOMAD_ADDR", nomad.url())
        .env("NOMAD_TOKEN", "wrong-token");
    let mut tail = start(folder("cli"), &mut command);
    tail.until_errors("does not know the token").await;
    nomad.set_token(Some("wrong-token"));
    tail.until_output(|output| output.contains("job web")).await;
    assert_eq!(tail.stop().await, 0);
    assert!(!tail.errors().contains("wrong-token"));
    assert!(
        nomad
            .stream_requests()
            .iter()
            .all(|request| request.token_is("wrong-token"))
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let (nomad, _) = fakes(&[]).await;
    let mut tail = tail(&["--address", "nomad:4646/"], &nomad);
    assert_eq!(tail.code().await, 78);
    assert!(tail.errors().contains("write it like"), "{}", tail.errors());
}

/// Starts `tail` with its output in a pipe.
fn piped(nomad: &FakeNomad, writer: &PipeWriter) -> Process {
    let mut command = nomad_events(&["tail"]);
    command.env("NOMAD_ADDR", nomad.url());
    let output = writer.try_clone().unwrap();
    Process::start_with_output("nomad-events", folder("cli"), &mut command, output)
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_error() {
    let (nomad, _) = fakes(&sample()).await;
    let (reader, writer) = std::io::pipe().unwrap();
    let mut process = piped(&nomad, &writer);
    drop(writer);
    assert!(first_line(reader).await.contains(" Node "));
    // The pipe is closed; the next line finds out.
    nomad.append_batch(&job(100_000, "web")).unwrap();
    let code = code_within(PATIENCE, &mut process).await;
    let errors = process.log();
    assert_eq!(code, 0, "{errors}");
    assert!(
        !errors.contains("panicked") && !errors.contains("pipe") && !errors.contains("lost"),
        "{errors}"
    );
}

#[tokio::test]
async fn a_pager_that_does_not_read_on_does_not_hold_up_the_end() {
    let lines: Vec<_> = (1..=1000)
        .map(|index| job(index, &"x".repeat(100)).to_bytes().unwrap())
        .collect();
    let (nomad, _) = fakes(&lines).await;
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut process = piped(&nomad, &writer);
    until_full(&writer).await;
    process.signal(Signal::INT);
    assert_eq!(code_within(PATIENCE, &mut process).await, 0);
}
