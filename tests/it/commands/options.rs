//! Options that only the whole program shows: what another value of them changes.

use nomad_events::testing::eventually;
use nomad_events::testing::nomad::{BatchText, EventText, FakeNomad};

use super::{PATIENCE, Place, nomad_events};

/// The versions of the job of that event: an image and a password are other ones.
const VERSIONS: &str = r#"{"Versions":[{"Version":1,"CreateIndex":5},{"Version":0,"CreateIndex":5}],"Diffs":[{"Fields":null,"Objects":null,
    "TaskGroups":[{"Name":"g","Fields":null,"Objects":null,"Tasks":[{"Name":"t",
        "Fields":[{"Type":"Edited","Name":"Env[PW]","Old":"hunter1","New":"hunter2"}],
        "Objects":[{"Name":"Config","Objects":null,"Fields":[{"Type":"Edited","Name":"image","Old":"app:1","New":"app:2"}]}]}]}]}]}"#;

/// What `run` prints for one event, on the standard output and the standard error, with these lines in the source, in a
/// `remap` and in a sink of type `console`. Waits until `part` is seen on either.
async fn printed(source: &str, remap: &str, console: &str, part: &str) -> (String, String) {
    let nomad = FakeNomad::builder().start().await.unwrap();
    nomad.set_body("/v1/job/web/versions", VERSIONS);
    let event = EventText::new("Job", "JobRegistered", "web")
        .payload(r#"{"Job":{"ID":"web","Version":1,"CreateIndex":5,"JobModifyIndex":7,"SubmitTime":1700000000000000000,"TaskGroups":[{"Tasks":[{"Env":{"PW":"hunter2"}}]}]}}"#);
    nomad.append_batch(&BatchText::new(7).event(event)).unwrap();
    let place = Place::new();
    let config = place.file(
        "options.toml",
        &format!(
            "[sources.nomad]\ntype = \"nomad_events\"\nmultiple_outputs = true\n{source}\n\
             [transforms.shape]\ntype = \"remap\"\ninputs = [\"nomad.job\"]\nsource = '{remap}'\n\
             [sinks.out]\ntype = \"console\"\ninputs = [\"shape\"]\n{console}\n"
        ),
    );
    let mut command = nomad_events(&["--quiet", "run", "--config", &config]);
    command.env("NOMAD_ADDR", nomad.url());
    let mut run = place.start(&mut command);
    let seen = eventually(PATIENCE, || {
        run.output().contains(part) || run.errors().contains(part)
    });
    assert!(
        seen.await.is_ok(),
        "{part:?} with {console}: {} {}",
        run.output(),
        run.errors()
    );
    assert_eq!(run.stop().await, 0);
    (run.output(), run.errors())
}

#[tokio::test]
async fn the_console_writes_where_and_how_its_options_say() {
    let json = "encoding.codec = \"json\"\n";
    for (options, written) in [
        (
            "",
            "{\"a\":1,\"b\":{\"c\":2},\"message\":\"hello\",\"timestamp\":\"2023-11-14T22:13:20Z\"}\n",
        ),
        (
            "encoding.only_fields = [\"a\", \"b.c\"]",
            "{\"a\":1,\"b\":{\"c\":2}}\n",
        ),
        (
            "encoding.except_fields = [\"b\", \"timestamp\"]",
            "{\"a\":1,\"message\":\"hello\"}\n",
        ),
        (
            "encoding.timestamp_format = \"unix_ms\"\nencoding.only_fields = [\"timestamp\"]",
            "{\"timestamp\":1700000000000}\n",
        ),
        (
            "encoding.json.pretty = true\nencoding.only_fields = [\"a\", \"message\"]",
            "{\n  \"a\": 1,\n  \"message\": \"hello\"\n}\n",
        ),
    ] {
        let program =
            ". = {\"a\": 1, \"b\": {\"c\": 2}, \"message\": \"hello\", \"timestamp\": .timestamp}";
        let (output, errors) = printed("", program, &format!("{json}{options}"), "}\n").await;
        assert_eq!(
            (output.as_str(), errors.as_str()),
            (written, ""),
            "{options}"
        );
    }
    let text = "encoding.codec = \"text\"";
    let said = ".message = \"hello\"";
    assert_eq!(
        printed("", said, text, "hello").await,
        ("hello\n".to_owned(), String::new())
    );
    let on_stderr = format!("{text}\ntarget = \"stderr\"");
    assert_eq!(
        printed("", said, &on_stderr, "hello").await,
        (String::new(), "hello\n".to_owned())
    );
}

#[tokio::test]
async fn what_a_version_has_changed_is_shown_only_where_it_is_asked_for() {
    let console = "encoding.codec = \"json\"\nencoding.only_fields = [\"nomad.changes\", \"Key\"]";
    let changes = r#"{"Key":"web","nomad":{"changes":{"fields":[{"name":"Env[PW]","new":"[REDACTED]","old":"[REDACTED]","task":"t","task_group":"g","type":"Edited"},{"name":"Config.image","new":"app:2","old":"app:1","task":"t","task_group":"g","type":"Edited"}],"previous_version":0,"version":1}}}"#;
    for redact in ["", "\nredact = false"] {
        let source = format!("job_changes = true{redact}");
        let (shown, _) = printed(&source, ".", console, "}\n").await;
        assert_eq!(shown.trim_end(), changes);
    }
    for source in ["", "job_changes = false"] {
        let (shown, _) = printed(source, ".", console, "}\n").await;
        assert_eq!(shown.trim_end(), r#"{"Key":"web"}"#);
    }
}

#[tokio::test]
async fn secrets_in_payloads_are_shown_only_where_redact_is_off() {
    let console = "encoding.codec = \"json\"\nencoding.only_fields = [\"Payload\"]";
    let (shown, _) = printed("redact = false", ".", console, "}\n").await;
    assert!(shown.contains(r#""PW":"hunter2""#), "{shown}");
    for source in ["", "redact = true"] {
        let (hidden, _) = printed(source, ".", console, "}\n").await;
        assert!(hidden.contains(r#""PW":"[REDACTED]""#), "{hidden}");
    }
}
