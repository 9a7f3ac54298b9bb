//! The source as a job of the cluster that it follows: as `deploy/nomad` has it, but as a process and not in a container.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::demo::{DEPLOYED_PAGE, run};
use crate::documentation::deploy::{JOB, between};
use crate::documentation::text_of;
use crate::servers::loki::{Entry, LokiServer};
use crate::servers::nomad::NomadServer;
use crate::servers::{Leftover, folder, wait_for};

/// What the embedded host is told instead: it knows no limit beside that of the source.
const ARGUMENTS: &str = r#"["run", "--config", "${NOMAD_TASK_DIR}/vector.toml"]"#;
/// Until a job that was registered has done what is waited for.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
fn the_job_needs_nothing_but_its_identity_and_an_update_goes_on_where_it_was() {
    let program = Path::new(env!("CARGO_BIN_EXE_nomad-events"));
    assert_the_job_goes_on(program, Some(ARGUMENTS));
}

#[test]
#[ignore = "needs Vector with the plugin: NOMAD_VECTOR=path cargo test --features real-servers nomad_vector -- --ignored"]
fn the_job_goes_on_where_it_was_by_nomad_vector() {
    let program =
        std::env::var_os("NOMAD_VECTOR").expect("NOMAD_VECTOR has the path of the program");
    assert_the_job_goes_on(Path::new(&program), None);
}

/// The job with its program as a process of the machine. With its own arguments, unless there are others.
fn job(program: &Path, arguments: Option<&str>) -> String {
    let text = text_of(JOB);
    let container = between(&text, "      config {\n", "\n      }\n");
    let own = format!("[{}]", between(container, "args = [", "]"));
    let process = format!(
        "        command  = {program:?}\n        args     = {}\n        work_dir = {:?}",
        arguments.unwrap_or(&own),
        env!("CARGO_MANIFEST_DIR"),
    );
    let mut changed = text.replacen(container, &process, 1);
    for (written, ours) in [
        (r#"driver = "docker""#, r#"driver = "raw_exec""#),
        // The path of the socket may have 107 characters, and that of a temporary folder is long.
        (r#"task "nomad-events""#, r#"task "source""#),
    ] {
        assert!(changed.contains(written), "{written}");
        changed = changed.replacen(written, ours, 1);
    }
    changed
}

fn assert_the_job_goes_on(program: &Path, arguments: Option<&str>) {
    let nomad = NomadServer::start();
    let loki = LokiServer::start();
    let commands = || {
        let mut command = nomad.command("nomad");
        command.env("NOMAD_TOKEN", nomad.management_token());
        command
    };
    // As the page has it.
    let page = text_of(DEPLOYED_PAGE).replace("\\\n", " ").replace('"', "");
    let policy = between(&page, "nomad acl policy apply ", "\n");
    let policy = policy.replace("-description Reads the event stream", "");
    let words = ["acl", "policy", "apply"]
        .into_iter()
        .chain(policy.split_whitespace());
    run(commands().args(words), &[0]);

    let place = folder("job");
    let file = place.path().join("nomad-events.nomad.hcl");
    let register = |text: &str| {
        fs::write(&file, text).expect("a file for the job");
        let loki = format!("loki_addr=http://{}", loki.address());
        let mut command = commands();
        command.args(["job", "run", "-detach", "-var", "image=none", "-var", &loki]);
        run(command.arg(&file), &[0]);
    };
    let until_found = |what: &str, query: &str| -> Vec<Entry> {
        wait_for(what, LIMIT, || match loki.found(query) {
            Ok(entries) if !entries.is_empty() => Ok(entries),
            other => Err(format!("{other:?} {:?}", nomad.get("/v1/allocations"))),
        })
    };

    let text = job(program, arguments);
    register(&text);
    // Its own registration is among what it follows.
    let version = |number: u64| {
        format!(
            r#"{{topic="Job", type="JobRegistered"}} | job_id="nomad-events" | json | version="{number}""#
        )
    };
    until_found("the job follows its cluster", &version(0));
    let updated = text.replacen("cpu = 200", "cpu = 210", 1);
    assert_ne!(updated, text);
    register(&updated);
    until_found("the update follows it", &version(1));
    let started = r#"{topic="NomadEvents", type="Started"} | json | continuity="saved""#;
    until_found("the update has begun at the saved position", started);

    run(
        commands().args(["job", "stop", "-detach", "nomad-events"]),
        &[0],
    );
    wait_for("both allocations have ended", LIMIT, || {
        let allocations = nomad.get("/v1/allocations")?;
        let allocations = allocations.as_array().cloned().unwrap_or_default();
        let ended = |status: &serde_json::Value| status["ClientStatus"] == "complete";
        match allocations.len() {
            2 if allocations.iter().all(ended) => Ok(()),
            _ => Err(format!("{allocations:?}")),
        }
    });
    // Nothing was missed meanwhile, and nothing came again.
    let losses = loki.found(r#"{topic="NomadEvents", type=~"Gap|IndexReset|Rejected"}"#);
    assert_eq!(losses, Ok(Vec::new()));
    let entries = loki.entries().expect("an answer from Loki");
    let lines = u64::try_from(entries.len()).expect("a count");
    assert_eq!(loki.lines_received(), Ok(lines), "lines were sent twice");
    // A file system of secrets may stay until Nomad collects its garbage.
    let left = nomad.stop().1;
    let is_process = |left: &Leftover| matches!(left, Leftover::Process(..));
    assert!(!left.iter().any(is_process), "{left:?}");
}
