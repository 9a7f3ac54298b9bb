//! `validate`, and what `run` says of the same mistakes: file, place, remedy, code 78.

use std::process::Command;

use nomad_events::testing::nomad::FakeNomad;

use super::{PATIENCE, Place, code_within, finished, nomad_events};
use crate::servers::{Process, folder};

/// Runs `validate` on files in a place.
fn validate(place: &Place, files: &[&str]) -> Command {
    let mut command = nomad_events(&[&["validate"], files].concat());
    command.current_dir(place.0.path());
    command
}

/// A configuration in which everything but `rest` is right.
fn with(rest: &str) -> String {
    format!("[sources.nomad]\ntype = \"nomad_events\"\n\n{rest}")
}

#[tokio::test]
async fn the_shipped_configurations_are_valid() {
    for files in [
        &["config/vector.toml"][..],
        &["config/talk.toml"],
        &["config/drained.toml"],
        &["config/alerts.toml"],
        &[
            "config/alerts.toml",
            "config/drained.toml",
            "config/vector.toml",
        ],
    ] {
        are_valid(files).await;
    }
}

#[tokio::test]
async fn the_shipped_configuration_of_images_is_valid() {
    are_valid(&["config/slack.toml"]).await;
    are_valid(&["config/slack.toml", "config/vector.toml"]).await;
}

async fn are_valid(files: &[&str]) {
    let place = Place::new();
    let mut command = validate(&place, &[&["--deny-warnings"], files].concat());
    command.env("SLACK_WEBHOOK_URL", "http://127.0.0.1/");
    let (code, output, errors) = finished(&mut command).await;
    let valid = format!("{}: valid\n", files.join(", "));
    assert_eq!((code, &*output, &*errors), (0, &*valid, ""));
}

#[tokio::test]
async fn each_mistake_is_shown_with_its_place_and_what_to_do() {
    let sink = "\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n";
    let option = with(&format!("polling = true\n{sink}"));
    let component = with(&format!(
        "{sink}\n[sinks.kafka]\ntype = \"kafka\"\ninputs = [\"nomad\"]\n"
    ));
    let program = with(
        "[transforms.cut]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = '''\n.a = 1\n.b = parse_json(.c)\n'''\n\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"cut\"]\n",
    );
    let missing = with(&format!("token = \"${{NO_SUCH_VARIABLE}}\"\n{sink}"));
    for (name, text, parts) in [
        (
            "some.yaml",
            "sources: {}",
            &["some.yaml: ", "there is no source"][..],
        ),
        (
            "option.toml",
            &option,
            &["option.toml:", "source \"nomad\"", "polling"],
        ),
        (
            "component.toml",
            &component,
            &["component.toml:9", "sink \"kafka\"", "nomad-vector"],
        ),
        (
            "program.toml",
            &program,
            &["program.toml:4", "transform \"cut\"", "parse_json"],
        ),
        (
            "missing.toml",
            &missing,
            &["missing.toml:4", "NO_SUCH_VARIABLE"],
        ),
        ("syntax.toml", "[sources.nomad\n", &["syntax.toml:1"]),
    ] {
        let place = Place::new();
        place.file(name, text);
        let (code, output, errors) = finished(&mut validate(&place, &[name])).await;
        assert_eq!((code, &*errors), (78, ""), "{output}");
        for part in parts {
            assert!(output.contains(part), "{part:?} is not in {output}");
        }
    }
}

#[tokio::test]
async fn a_program_in_a_file_is_shown_with_the_line_of_the_file() {
    let place = Place::new();
    place.file("mine.vrl", ".fine = true\n.wrong = to_int(.Key)\n");
    let text = with(
        "[transforms.mine]\ntype = \"remap\"\ninputs = [\"nomad\"]\nfile = \"mine.vrl\"\n\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"mine\"]\n",
    );
    place.file("mine.toml", &text);
    let (code, output, _) = finished(&mut validate(&place, &["mine.toml"])).await;
    assert_eq!(code, 78);
    for part in [
        "mine.toml:4",
        "transform \"mine\"",
        "mine.vrl",
        "to_int(.Key)",
    ] {
        assert!(output.contains(part), "{part:?} is not in {output}");
    }
}

#[tokio::test]
async fn several_files_are_one_configuration_in_any_form() {
    let place = Place::new();
    place.file("source.toml", &with(""));
    let sink = "sinks: {out: {type: blackhole, inputs: [nomad]}}\n";
    place.file("sink.yaml", sink);
    place.file("sink.txt", sink);
    place.file(
        "more.json",
        r#"{"sinks": {"more": {"type": "blackhole", "inputs": ["nomad"]}}}"#,
    );
    for (arguments, expected) in [
        (
            &["source.toml", "sink.yaml"][..],
            "sink.yaml, source.toml: valid\n",
        ),
        (
            &["source.toml,sink.yaml", "more.json"],
            "more.json, sink.yaml, source.toml: valid\n",
        ),
        (
            &["source.toml", "--config-yaml", "sink.txt"],
            "sink.txt, source.toml: valid\n",
        ),
        (
            &["--config-toml", "source.toml", "--config-json", "more.json"],
            "more.json, source.toml: valid\n",
        ),
    ] {
        let (code, output, errors) = finished(&mut validate(&place, arguments)).await;
        assert_eq!(
            (code, &*output, &*errors),
            (0, expected, ""),
            "{arguments:?}"
        );
    }
    for (arguments, expected) in [
        (&["source.toml", "sink.txt"][..], "sink.txt:1:6: not TOML"),
        (
            &["source.toml", "nowhere.toml"],
            "nowhere.toml: cannot read the file",
        ),
        (
            &["more.json", "sink.yaml"],
            "sink.yaml:1: sink \"out\": input \"nomad\" is no output",
        ),
    ] {
        let (code, output, _) = finished(&mut validate(&place, arguments)).await;
        assert_eq!(code, 78, "{output}");
        assert!(output.contains(expected), "{arguments:?}: {output}");
    }
    let (code, _, errors) = finished(&mut validate(&place, &["--config-dir", "."])).await;
    assert_eq!(code, 2);
    assert!(errors.contains("give the files one by one"), "{errors}");
}

#[tokio::test]
async fn a_configuration_in_yaml_runs() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    let place = Place::new();
    let text = "sources: {nomad: {type: nomad_events}}\n\
                sinks: {out: {type: console, inputs: [nomad], encoding: {codec: json}}}\n";
    let config = place.file("run.yaml", text);
    let mut command = nomad_events(&["run", "--config", &config]);
    command.env("NOMAD_ADDR", nomad.url());
    let mut run = place.start(&mut command);
    run.until_output(|output| output.contains("\"Type\":\"Connected\""))
        .await;
    assert_eq!(run.stop().await, 0);
}

#[tokio::test]
async fn warnings_are_told_and_can_be_denied() {
    let place = Place::new();
    let text = with(
        "idle_timeout_secs = 20\ntopics = [\"Jobs\"]\n[transforms.unused]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = \".\"\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n",
    );
    place.file("warned.toml", &text);
    let (code, output, _) = finished(&mut validate(&place, &["warned.toml"])).await;
    assert_eq!(code, 0);
    let parts = [
        "source \"nomad\": option `topics`: no Nomad up to 2.0 has the topic \"Jobs\"",
        "source \"nomad\": option `idle_timeout_secs`: Nomad sends a heartbeat every 30 s",
        "Transform \"unused\" has no consumers",
    ];
    for part in parts {
        assert!(
            output.contains(&format!("warned.toml: warning: {part}")),
            "{output}"
        );
    }
    assert!(output.ends_with("\nwarned.toml: valid\n"), "{output}");
    let denied = ["--deny-warnings", "warned.toml"];
    let (code, output, _) = finished(&mut validate(&place, &denied)).await;
    assert_eq!(code, 78);
    for part in parts {
        assert!(
            output.contains(&format!("warned.toml: error: {part}")),
            "{output}"
        );
    }
    assert!(!output.contains("valid"), "{output}");
}

#[tokio::test]
async fn programs_are_compiled_unless_only_the_files_are_asked_for() {
    let place = Place::new();
    let text = with(
        "[transforms.cut]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = \"no program\"\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"cut\"]\n",
    );
    place.file("program.toml", &text);
    let (code, output, _) = finished(&mut validate(&place, &["program.toml"])).await;
    assert_eq!(code, 78, "{output}");
    let files = ["--no-environment", "program.toml"];
    let (code, output, _) = finished(&mut validate(&place, &files)).await;
    assert_eq!((code, &*output), (0, "program.toml: valid\n"));
}

#[tokio::test]
async fn the_exit_code_is_right_also_when_nobody_reads() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = nomad_events(&["validate", "nowhere.toml", "neither.toml"]);
    let mut process =
        Process::start_with_output("nomad-events", folder("cli"), &mut command, writer);
    assert_eq!(code_within(PATIENCE, &mut process).await, 78);
    assert_eq!(process.log(), "");
}

#[tokio::test]
async fn run_refuses_the_same_and_connects_to_nothing() {
    let nomad = FakeNomad::builder().start().await.unwrap();
    for (source, sink, part) in [
        ("polling = true", "", "polling"),
        ("", "buffer.type = \"disk\"", "nomad-vector"),
        ("stop_timeout_secs = 0", "", "stop_timeout_secs"),
    ] {
        let place = Place::new();
        let config = place.config(source, sink);
        let mut command = nomad_events(&["run", "--config", &config]);
        command
            .current_dir(place.0.path())
            .env("NOMAD_ADDR", nomad.url());
        let (code, output, errors) = finished(&mut command).await;
        assert_eq!((code, &*output), (78, ""), "{errors}");
        assert!(
            errors.contains("changed.toml:") && errors.contains(part),
            "{errors}"
        );
    }
    assert!(nomad.requests().is_empty());
}
