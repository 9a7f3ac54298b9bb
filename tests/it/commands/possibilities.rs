//! The talk's other possibilities as they are shipped: drained nodes at Loki, failed allocations and changes of images at a
//! webhook that looks at what Slack looks at.

use nomad_events::testing::eventually;
use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad};
use nomad_events::testing::recording::Recording;

use super::hook::Hook;
use super::request::{Request, header};
use super::{
    ANSWERED, DATA, PATIENCE, Place, RECORDED_SECRET, arrived, fakes, is_notice, nomad_events,
    root, run_command, until_events,
};
use crate::servers::{folder, now_nanos};

const ALERTS: &str = "config/alerts.toml";
const VARIABLE: &str = "SLACK_WEBHOOK_URL";
/// What nobody else may know of the address of a webhook.
const PATH: &str = "/services/T0AB/B0CD/xYz123";

/// The address of a webhook.
fn address(hook: &Hook) -> String {
    format!("{}{PATH}", hook.url.trim_end_matches('/'))
}

/// The text of a message, which has to be one that Slack would take.
fn text_of(request: &Request) -> String {
    let asked = format!("POST {PATH} HTTP/1.1");
    assert_eq!(request.head.lines().next(), Some(&*asked));
    let content = header(&request.head, "content-type");
    assert_eq!(content, Some("application/json"));
    let message: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&request.body).expect("one object");
    assert_eq!(message.keys().collect::<Vec<_>>(), ["text"]);
    let text = message["text"].as_str().expect("a text").to_owned();
    assert!(!text.trim().is_empty() && text.chars().count() < 3000);
    text
}

/// The texts that were taken.
fn told(hook: &Hook) -> Vec<String> {
    let requests = hook.requests();
    let taken = requests.iter().filter(|(_, taken)| *taken);
    taken.map(|(request, _)| text_of(request)).collect()
}

/// A line with an allocation that has failed, as its client reports it.
fn failed(index: u64, id: &str) -> BatchText {
    let payload = format!(
        r#"{{"Allocation":{{"ID":"{id}","Name":"web.g[0]","JobID":"web","TaskGroup":"g","NodeName":"n","ClientStatus":"failed"}}}}"#
    );
    BatchText::new(index)
        .event(EventText::new("Allocation", "AllocationUpdated", id).payload(payload))
}

#[tokio::test]
async fn each_recorded_failure_is_posted_once_as_slack_wants_it() {
    let lines = Recording::embedded().shifted_to_end_at(now_nanos());
    let nomad = FakeNomad::builder()
        .buffer_size(2000)
        .start()
        .await
        .unwrap();
    nomad.append_batch(&failed(3, "over")).unwrap();
    let hook = Hook::start(|_| None).await;
    // As it is shipped, but for the rate, which would take half a minute.
    let place = Place::new();
    let shipped = std::fs::read_to_string(root().join(ALERTS)).unwrap();
    let config = shipped.replacen("request.rate_limit_num = 1\n", "", 1);
    assert_ne!(config, shipped);
    let config = place.file("alerts.toml", &config);
    let mut command = nomad_events(&["run", "--config", &config]);
    command
        .env("NOMAD_ADDR", nomad.url())
        .env(VARIABLE, address(&hook));
    let mut run = place.start(&mut command);
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    for line in lines.batches() {
        nomad.append(line).unwrap();
    }
    nomad.append_batch(&failed(5000, "last")).unwrap();
    hook.until_taken("allocation last").await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    assert!(run.errors().contains(ANSWERED));

    let told = told(&hook);
    let with = |part: &str| told.iter().filter(|text| text.contains(part)).count();
    assert_eq!(
        (told.len(), with("] failed on"), with("] lost on")),
        (23, 19, 4),
        "{told:#?}"
    );
    assert_eq!(with("allocation over"), 0);
    assert_eq!(with(RECORDED_SECRET), 0);
    assert!(
        told[0].starts_with(
            "alloc 327a7dc5 failures.missing[0] failed on vm: task t: failed to launch"
        ),
        "{}",
        told[0]
    );
    let details = "\njob failures, group missing, allocation 327a7dc5-1993-11a5-f713-9a7e22502167, node vm, namespace default, ";
    assert!(told[0].contains(details), "{}", told[0]);
}

#[tokio::test]
async fn a_webhook_that_was_away_gets_the_message_also_after_a_crash_and_its_address_is_in_no_log()
{
    let nomad = FakeNomad::builder().start().await.unwrap();
    nomad.append_batch(&failed(3, "over")).unwrap();
    let hook = Hook::start(|_| Some("429 Too Many Requests\r\nRetry-After: 1")).await;
    let data = folder("data");
    let start = || {
        let mut command = nomad_events(&["run", "--config", ALERTS]);
        command
            .env("NOMAD_ADDR", nomad.url())
            .env("NOMAD_EVENTS_DATA_DIR", data.path())
            .env("NOMAD_EVENTS_LOG", "trace")
            .env(VARIABLE, address(&hook));
        Place::new().start(&mut command)
    };
    let run = start();
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    nomad.append_batch(&failed(5, "first")).unwrap();
    hook.until(2).await;
    let mut logs = run.errors();
    drop(run);

    hook.fail("500 Failed");
    let before = hook.requests().len();
    let mut run = start();
    hook.until(before + 2).await;
    hook.recover();
    hook.until_taken("allocation first").await;
    nomad.append_batch(&failed(6, "second")).unwrap();
    hook.until_taken("allocation second").await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    logs += &run.errors();
    assert_eq!(told(&hook).len(), 2, "{:#?}", told(&hook));
    assert!(logs.contains("429"), "{logs}");
    assert!(!logs.contains("xYz123") && !logs.contains("B0CD"), "{logs}");
}

#[tokio::test]
async fn what_may_have_been_missed_is_posted_too() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    nomad.append_batch(&failed(3, "over")).unwrap();
    let hook = Hook::start(|_| None).await;
    let mut command = nomad_events(&["run", "--config", ALERTS]);
    command
        .env("NOMAD_ADDR", nomad.url())
        .env(VARIABLE, address(&hook));
    let mut run = Place::new().start(&mut command);
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    nomad.append_opaque(5, "not JSON");
    nomad.append_batch(&failed(6, "next")).unwrap();
    hook.until_taken("allocation next").await;
    hook.until_taken("may be missing").await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    let told = told(&hook);
    assert_eq!(told.len(), 2, "{told:#?}");
    let gap = told
        .iter()
        .find(|text| text.starts_with("events may be missing"));
    assert!(
        gap.unwrap()
            .contains("(line_discarded)\nsource nomad_alerts, "),
        "{told:#?}"
    );
}

#[tokio::test]
async fn without_the_address_of_a_webhook_it_is_said_what_to_set() {
    let mut command = nomad_events(&["run", "--config", ALERTS]);
    let mut run = Place::new().start(&mut command);
    assert_eq!(run.code().await, 78);
    let said =
        "SLACK_WEBHOOK_URL is not set, or empty: set it to the address of an incoming webhook";
    assert!(run.errors().contains(said), "{}", run.errors());
}

#[tokio::test]
async fn a_webhook_that_is_away_holds_up_nothing_beside_it() {
    let (nomad, loki) = fakes(&[]).await;
    nomad.append_batch(&failed(3, "over")).unwrap();
    let hook = Hook::start(|_| Some("503 Away")).await;
    let mut command = run_command("config/vector.toml", &nomad, &loki);
    command
        .args(["--config", ALERTS])
        .env(VARIABLE, address(&hook));
    let run = Place::new().start(&mut command);
    nomad.wait_for_streams(2, PATIENCE).await.unwrap();
    for index in 4..=13 {
        nomad.append_batch(&failed(index, "web")).unwrap();
    }
    until_events(&loki, 11).await;
    hook.until(1).await;
    // Each has a position of its own.
    let data = run.process.folder().join(DATA);
    let saved = || {
        ["nomad", "nomad_alerts"]
            .iter()
            .all(|id| data.join(id).join("position.json").exists())
    };
    assert!(eventually(PATIENCE, saved).await.is_ok());
}

#[tokio::test]
async fn every_update_of_a_drained_node_is_at_loki_and_no_other() {
    let lines: Vec<_> = Recording::embedded()
        .shifted_to_end_at(now_nanos())
        .batches()
        .collect();
    let (nomad, loki) = fakes(&lines).await;
    let mut run = Place::new().start(&mut run_command("config/drained.toml", &nomad, &loki));
    // The last one of the recording.
    until_events(&loki, 9).await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    let entries = loki.entries();
    let events = entries.iter().filter(|entry| !is_notice(entry));
    let indexes: Vec<u64> = arrived(events)
        .into_iter()
        .map(|(index, _, _)| index)
        .collect();
    assert_eq!(indexes, [751, 766, 772, 864, 870, 917, 950, 951, 953]);
    let messages: Vec<&str> = entries.iter().map(|entry| &*entry.line).collect();
    for message in [
        "vm ready, draining: Node drain strategy set (maintenance)",
        "vm ready, ineligible: Node drain complete",
        "vm ready, eligible",
    ] {
        assert!(
            messages.iter().any(|line| line.contains(message)),
            "{message}: {messages:#?}"
        );
    }
}

/// A version of the job `web`, as it is when it is written with this index.
fn version(index: u64, version: u64) -> BatchText {
    let payload = format!(
        r#"{{"Job":{{"ID":"web","Version":{version},"CreateIndex":3,"JobModifyIndex":{index},"TaskGroups":[{{"Name":"g","Count":2}}]}}}}"#
    );
    BatchText::new(index).event(EventText::new("Job", "JobRegistered", "web").payload(payload))
}

/// What Nomad says of two versions of it: a password, and the image from one to the next.
const VERSIONS: &str = r#"{"Versions":[{"Version":2,"CreateIndex":3},{"Version":1,"CreateIndex":3},{"Version":0,"CreateIndex":3}],"Diffs":[
    {"Fields":null,"Objects":null,"TaskGroups":[{"Name":"g","Fields":null,"Objects":null,"Tasks":[{"Name":"t","Objects":null,
        "Fields":[{"Type":"Edited","Name":"Env[PW]","Old":"hunter1","New":"hunter2"}]}]}]},
    {"Fields":null,"Objects":null,"TaskGroups":[{"Name":"g","Fields":null,"Objects":null,"Tasks":[{"Name":"t","Fields":null,"Objects":[
        {"Name":"Config","Objects":null,"Fields":[{"Type":"Edited","Name":"image","Old":"app:1","New":"app:2"}]}]}]}]}]}"#;

/// `config/slack.toml` at a Nomad with the job, up to the message that has this part.
async fn images_told(nomad: &FakeNomad, versions: &[BatchText], part: &str) -> Vec<String> {
    let hook = Hook::start(|_| None).await;
    let mut command = nomad_events(&["run", "--config", "config/slack.toml"]);
    command
        .env("NOMAD_ADDR", nomad.url())
        .env(VARIABLE, address(&hook));
    let mut run = Place::new().start(&mut command);
    nomad.wait_for_streams(1, PATIENCE).await.unwrap();
    for version in versions {
        nomad.append_batch(version).unwrap();
    }
    hook.until_taken(part).await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    told(&hook)
}

#[tokio::test]
async fn another_image_is_posted_once_and_no_other_change_is() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    nomad.append_batch(&version(3, 0)).unwrap();
    nomad.set_body("/v1/job/web/versions", VERSIONS);
    nomad.set_body("/v1/job/last/versions", VERSIONS);
    let last = r#"{"Job":{"ID":"last","Version":1,"CreateIndex":3,"JobModifyIndex":9}}"#;
    let versions = [
        version(5, 1),
        // As when the scheduler has looked at it.
        BatchText::new(6).event(
            EventText::new("Job", "PlanResult", "web")
                .payload(r#"{"Job":{"ID":"web","Version":1,"CreateIndex":3,"JobModifyIndex":5}}"#),
        ),
        version(7, 2),
        BatchText::new(9).event(EventText::new("Job", "JobRegistered", "last").payload(last)),
    ];
    let told = images_told(&nomad, &versions, "job last v1: image changed").await;
    assert_eq!(told.len(), 2, "{told:#?}");
    let message = "job web v1: image changed\ng.t: app:1 -&gt; app:2\naffects g (count 2), job web, namespace default, ";
    assert!(told[0].starts_with(message), "{told:#?}");
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_posted_all_the_same() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    nomad.append_batch(&version(3, 0)).unwrap();
    nomad.deny("/v1/job/web/versions");
    let part = "job web v1 was changed; what changed could not be read: answered 403";
    let told = images_told(&nomad, &[version(5, 1)], part).await;
    assert_eq!(told.len(), 1, "{told:#?}");
}
