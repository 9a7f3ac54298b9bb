//! `tail`: a line for each event as it happens, for people and for `grep`.

use std::io::PipeWriter;

use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad, Version};
use rustix::process::Signal;

use super::{
    PATIENCE, RECORDED_SECRET, Running, code_within, expected, fakes, first_line, job,
    nomad_events, sample, start, until_full,
};
use crate::servers::{Process, folder};

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

/// The words of a line: date, time, topic, namespace, and the message with its spaces.
fn words(line: &str) -> (&str, &str, &str, &str, &str) {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_once(' ').expect("five words");
        rest = after.trim_start();
        word
    };
    (word(), word(), word(), word(), rest)
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

    let mut topics: Vec<&str> = Vec::new();
    for line in output.lines() {
        let (date, time, topic, namespace, message) = words(line);
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
        topics.push(topic);
    }
    topics.sort_unstable();
    let mut of_the_sample: Vec<&str> = wanted.iter().map(|(_, topic, _)| &**topic).collect();
    of_the_sample.sort_unstable();
    assert_eq!(topics, of_the_sample);

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
