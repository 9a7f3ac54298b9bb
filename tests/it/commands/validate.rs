//! `validate`, and what `run` says of the same mistakes: file, place, remedy, code 78.

use std::process::Command;

use nomad_events::testing::nomad::FakeNomad;

use super::{Place, finished, nomad_events, root};

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
    let mut command = nomad_events(&["validate", "config/vector.toml", "config/talk.toml"]);
    let (code, output, errors) = finished(command.current_dir(root())).await;
    assert_eq!(
        (code, &*output, &*errors),
        (
            0,
            "config/vector.toml: valid\nconfig/talk.toml: valid\n",
            ""
        )
    );
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
            &["some.yaml: ", "TOML", "nomad-vector"][..],
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
async fn several_files_are_each_checked() {
    let place = Place::new();
    let files = ["nowhere.toml", "config/vector.toml"];
    let (code, output, _) = finished(&mut validate(&place, &files)).await;
    assert_eq!(code, 78);
    assert!(
        output.starts_with("nowhere.toml: cannot read the file: "),
        "{output}"
    );
    assert!(
        output.ends_with("\nconfig/vector.toml: valid\n"),
        "{output}"
    );
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
