//! What `docker compose up` starts, without containers: the demo's Nomad and jobs, Loki as shipped, and `nomad-events` between; and
//! beside it what posts to a webhook.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_yaml::Value;
use tokio::time::Instant;

use crate::commands::hook::Hook;
use crate::documentation::deploy::{JOB, between};
use crate::documentation::text_of;
use crate::servers::expect::expected;
use crate::servers::judge;
use crate::servers::loki::LokiServer;
use crate::servers::nomad::NomadServer;
use crate::servers::wire::Reader;
use crate::servers::{Process, folder, wait_for, without_cluster};

use super::{
    CAUGHT_UP, TOPICS, assert_good_notices, assert_right, wait_until_quiet, wait_until_shipped,
};

const COMPOSE: &str = "docker-compose.yml";
const PLAY: &str = "deploy/demo/play.sh";
const JOBS: &str = "deploy/demo/jobs";
/// The page with the commands for the job that runs the source on the cluster.
pub(super) const DEPLOYED_PAGE: &str = "deploy/nomad/README.md";
/// From the start of a round until everything that it shows is in Loki: it takes 40 s, and the first `Status` comes after 60.
const ROUND_LIMIT: Duration = Duration::from_secs(90);

/// What the dashboard shows of a round: what it is, and how it is found by the labels and fields of the dashboard's queries.
const SHOWN: [(&str, &str); 16] = [
    (
        "an allocation that failed with its exit code and its restarts",
        r#"{topic="Allocation", namespace="data"} | level="error" | job_id="import" | json | exit_code="3" | restarts="2" | task_reason=~".*Exit Code: 3.*""#,
    ),
    (
        "one that failed by a signal",
        r#"{topic="Allocation", namespace="data"} | level="error" | job_id="import" | json | exit_code="137" | signal="9""#,
    ),
    (
        "a deployment that succeeded",
        r#"{topic="Deployment", namespace="default"} | job_id="web" | json | status="successful" | healthy="2""#,
    ),
    (
        "a deployment that failed and is taken back",
        r#"{topic="Deployment", namespace="default"} | level="error" | job_id="web" | json | status="failed" | status_description=~".*rolling back to job version 0.*""#,
    ),
    (
        "a node that is drained, with the reason",
        r#"{topic="Node"} | level="warn" | json | drain="true" | drain_message="maintenance of the demo""#,
    ),
    (
        "a node that is ineligible",
        r#"{topic="Node"} | level="warn" | json | drain!="true" | eligibility="ineligible""#,
    ),
    (
        "a node that is back",
        r#"{topic="Node", type="NodeDrain"} | level="info" | json | eligibility="eligible""#,
    ),
    (
        "an evaluation that is blocked for want of memory",
        r#"{topic="Evaluation", namespace="data"} | level="warn" | job_id="reindex" | json | status="blocked" | placement_failures=~".*memory exhausted.*""#,
    ),
    (
        "an evaluation that is blocked for want of a driver",
        r#"{topic="Evaluation", namespace="default"} | level="warn" | job_id="shop" | json | status="blocked" | placement_failures=~".*missing drivers.*""#,
    ),
    (
        "an image",
        r#"{topic="Job", namespace="default", type="JobRegistered"} | job_id="shop" | json | images=~"registry.example.com/shop/app:1.0, .*""#,
    ),
    (
        "and the one it changed to",
        r#"{topic="Job", namespace="default", type="JobRegistered"} | job_id="shop" | json | images=~"registry.example.com/shop/app:1.1, .*""#,
    ),
    (
        "a job that was dispatched",
        r#"{topic="Job", namespace="data", type="JobRegistered"} | json | parent_id="report""#,
    ),
    (
        "and ended well",
        r#"{topic="Allocation", namespace="data"} | level="info" | job_id=~"report/.*" | json | client_status="complete""#,
    ),
    (
        "a job that was purged",
        r#"{topic="Job", namespace="data", type="JobDeregistered"} | job_id="reindex" | json | deleted="true""#,
    ),
    (
        "a service",
        r#"{topic="Service", namespace="default", type="ServiceRegistration"} | job_id="web" | json | service="web""#,
    ),
    (
        "that the source is alive",
        r#"{topic="NomadEvents", type="Status"} | json | connected="true""#,
    ),
];

/// The agent of the compose file, but that nobody else reaches it. Its `agent.sh` is for a container: it would move the agent out
/// of the control group of the tests.
fn agent() -> NomadServer {
    let compose: Value = serde_yaml::from_str(&text_of(COMPOSE)).expect("YAML");
    let words = compose["services"]["nomad"]["command"].as_sequence();
    let words = words.expect("a list").iter().map(|word| {
        let word = word.as_str().expect("text");
        word.replace("0.0.0.0", "127.0.0.1")
            .replace("/demo/", "deploy/demo/")
    });
    NomadServer::start_like(&words.collect::<Vec<_>>(), &["raw_exec"])
}

/// Runs a command to its end; panics unless it ends with one of these codes.
pub(super) fn run(command: &mut Command, good: &[i32]) {
    let output = command.output().expect("the command starts");
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| good.contains(&code)),
        "{command:?}: {code:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The variables with which the page of the deployed job runs it.
fn variables() -> Vec<String> {
    let page = text_of(DEPLOYED_PAGE);
    let options = between(&page, "nomad job run ", JOB);
    let words = options.split_whitespace().filter(|word| *word != "\\");
    words.map(str::to_owned).collect()
}

#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn every_job_of_the_demo_and_of_the_deployment_is_taken_by_nomad() {
    let nomad = agent();
    run(nomad.command("sh").args([PLAY, "namespace"]), &[0]);
    let mut jobs: Vec<(String, Vec<String>)> = fs::read_dir(JOBS)
        .expect("the demo's jobs")
        .map(|entry| entry.expect("a file").path().display().to_string())
        .map(|file| (file, Vec::new()))
        .collect();
    assert!(jobs.len() > 4, "the jobs were not found: {jobs:?}");
    jobs.push((JOB.to_owned(), variables()));
    for (file, variables) in jobs {
        // A plan ends with 1 when allocations would change, and with 255 when there is none.
        for (what, good) in [("validate", &[0][..]), ("plan", &[0, 1])] {
            let mut command = nomad.command("nomad");
            run(
                command.args(["job", what]).args(&variables).arg(&file),
                good,
            );
        }
    }
}

#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn a_round_of_the_demo_shows_everything_that_the_dashboard_is_for() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-events"));
    command.arg("run");
    assert_a_round_shows_everything("nomad-events", command);
}

#[test]
#[ignore = "needs Vector with the plugin: NOMAD_VECTOR=path cargo test --features real-servers nomad_vector -- --ignored"]
fn a_round_of_the_demo_shows_everything_by_nomad_vector() {
    let program =
        std::env::var_os("NOMAD_VECTOR").expect("NOMAD_VECTOR has the path of the program");
    assert_a_round_shows_everything("nomad-vector", Command::new(program));
}

fn assert_a_round_shows_everything(name: &'static str, mut command: Command) {
    let nomad = agent();
    let loki = LokiServer::start_as_shipped();
    run(nomad.command("sh").args([PLAY, "namespace"]), &[0]);

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let hook = runtime.block_on(Hook::start(|_| None));
    let reader = Reader::start(nomad.api().clone(), &TOPICS, "*");
    let positions = folder("demo");
    without_cluster(&mut command)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--config", "config/vector.toml"])
        .args([
            "--config",
            "config/alerts.toml",
            "--config",
            "config/slack.toml",
        ])
        .env("SLACK_WEBHOOK_URL", &hook.url)
        .env("NOMAD_ADDR", format!("http://{}", nomad.address()))
        .env("LOKI_ADDR", format!("http://{}", loki.address()))
        .env("NOMAD_EVENTS_DATA_DIR", positions.path());
    let began = Instant::now();
    let mut source = Process::start(name, folder("source"), &mut command);
    // What posts begins with what happens from now on.
    wait_for("every source has begun", ROUND_LIMIT, || {
        let begun = |id: &str| positions.path().join(id).join("position.json").exists();
        let sources = ["nomad", "nomad_alerts", "nomad_images"];
        let missing = sources.into_iter().find(|id| !begun(id));
        missing.map_or(Ok(()), |id| Err(id.to_owned()))
    });
    let mut play = nomad.command("sh");
    play.arg(PLAY).env("DEMO_ROUNDS", "1");
    let mut play = Process::start("play", folder("play"), &mut play);

    let mut missing = SHOWN.to_vec();
    wait_for("the dashboard has data", ROUND_LIMIT, || {
        if let Some(status) = source.ended() {
            panic!("the source has ended: {status}");
        }
        missing.retain(|(what, query)| {
            let is_there = loki.found(query).is_ok_and(|entries| !entries.is_empty());
            if is_there {
                println!("{:>4.0?} {what}", began.elapsed());
            }
            !is_there
        });
        match missing.first() {
            None => Ok(()),
            Some((what, query)) => Err(format!(
                "{what}: {query}: {:?}\n{}",
                loki.found(query),
                play.log()
            )),
        }
    });
    let status = wait_for("the round is over", ROUND_LIMIT, || {
        play.ended().ok_or_else(|| play.log())
    });
    assert!(status.success(), "{status}: {}", play.log());

    wait_until_quiet(&reader, CAUGHT_UP);
    let expected = expected(&reader.stop());
    wait_until_shipped(&loki, &expected, Some(&mut source));
    let status = source.terminate();
    assert!(status.success(), "{status}");
    assert_eq!(loki.lines_discarded(), Ok(0));
    let mut entries = loki.entries().expect("an answer from Loki");
    // No `Gap` among them.
    assert_good_notices(&entries);
    let last = expected.iter().map(|expected| expected.event.index).max();
    entries.retain(|entry| judge::index(entry) <= last);
    assert_right(&expected, &entries);
    println!("{} events, each once in Loki", expected.len());
    assert_posted(&hook);
}

/// Each failed allocation and each other image was posted once, with what an operator wants to know.
fn assert_posted(hook: &Hook) {
    let texts: Vec<String> = hook
        .requests()
        .into_iter()
        .map(|(request, _)| {
            let message: serde_json::Value =
                serde_json::from_str(&request.body).expect("one object");
            message["text"].as_str().expect("a text").to_owned()
        })
        .collect();
    println!("posted:\n{}", texts.join("\n"));
    let with = |parts: &[&str]| {
        let has = |text: &&String| parts.iter().all(|part| text.contains(part));
        texts.iter().filter(has).count()
    };
    let image =
        "shop.app: registry.example.com/shop/app:1.0 -&gt; registry.example.com/shop/app:1.1\n";
    assert_eq!(with(&["job shop v1: image changed\n", image]), 1);
    assert_eq!(with(&["image"]), 1, "no other image has changed");
    let failures = with(&["] failed on "]);
    assert_eq!(with(&["import.load[0]", "Exit Code: 3", "restarts 2"]), 1);
    assert_eq!(with(&["import.index[0]", "exit code 137"]), 1);
    // Of the release that does not work, one or both before it is taken back.
    let of_web = with(&["web.frontend[", "Exit Code: 7"]);
    assert!((1..=2).contains(&of_web), "{of_web}");
    assert_eq!(failures, 2 + of_web);
    assert_eq!(texts.len(), failures + 1, "nothing else was posted");
}
