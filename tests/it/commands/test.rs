//! `test`: the unit tests of a configuration, as `vector test` runs them.

use super::{PATIENCE, Place, code_within, finished, nomad_events, root};
use crate::servers::{Process, folder};

const TRANSFORMS: &str = "[sources.nomad]\ntype = \"nomad_events\"\n\n[transforms.cut]\ntype = \"remap\"\ninputs = [\"nomad\"]\n\
                          source = \".cut = true\"\n\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"cut\"]\n";

fn test(name: &str, condition: &str) -> String {
    format!(
        "\n[[tests]]\nname = \"{name}\"\ninputs = [{{ insert_at = \"cut\", type = \"vrl\", source = \".a = 1\" }}]\n\
         outputs = [{{ extract_from = \"cut\", conditions = ['{condition}'] }}]\n"
    )
}

/// The shipped tests of both pipelines.
#[tokio::test]
async fn the_shipped_pipelines_pass_their_tests() {
    for (files, passed) in [
        (&["config/vector.toml", "config/tests.toml"][..], 7),
        (
            &[
                "config/talk.toml",
                "config/tests.toml",
                "--config",
                "config/talk.tests.toml",
            ],
            9,
        ),
        (&["config/drained.toml", "config/drained.tests.toml"], 3),
        (&["config/alerts.toml", "config/alerts.tests.toml"], 5),
        (&["--config", "config/vector.toml"], 0),
    ] {
        pass(files, passed).await;
    }
}

#[tokio::test]
async fn the_shipped_pipeline_of_images_passes_its_tests() {
    pass(&["config/slack.toml", "config/slack.tests.toml"], 5).await;
}

async fn pass(files: &[&str], passed: usize) {
    let mut command = nomad_events(&[&["test"], files].concat());
    command.env("SLACK_WEBHOOK_URL", "http://127.0.0.1/");
    let (code, output, errors) = finished(command.current_dir(root())).await;
    assert_eq!((code, &*errors), (0, ""), "{output}");
    assert!(output.starts_with("Running tests\n"), "{output}");
    let lines: Vec<&str> = output.lines().skip(1).collect();
    if passed == 0 {
        assert_eq!(lines, ["No tests found."]);
        return;
    }
    assert_eq!(lines.len(), passed, "{output}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("test ") && line.ends_with(" ... passed")),
        "{output}"
    );
}

#[tokio::test]
async fn all_tests_are_run_and_what_failed_is_told_at_the_end() {
    let place = Place::new();
    let text = [
        TRANSFORMS,
        &test("first", ".cut == true"),
        &test("second", ".a == 2"),
        &test("third", "exists(.b)"),
        &test("fourth", ".a == 1"),
    ]
    .concat();
    let file = place.file("some.toml", &text);
    let mut command = nomad_events(&["test", &file]);
    let (code, output, errors) = finished(command.current_dir(place.0.path())).await;
    assert_eq!((code, &*errors), (78, ""));
    let expected = r#"Running tests
test first ... passed
test second ... failed
test third ... failed
test fourth ... passed

failures:

test second:

check[0] for transforms ["cut"] failed conditions:

  condition[0]: source execution resolved to false
      .a == 2

output payloads from ["cut"] (events encoded as JSON):
  {"a":1,"cut":true}


test third:

check[0] for transforms ["cut"] failed conditions:

  condition[0]: source execution resolved to false
      exists(.b)

output payloads from ["cut"] (events encoded as JSON):
  {"a":1,"cut":true}

"#;
    assert_eq!(output, expected);
}

#[tokio::test]
async fn a_wrong_test_is_shown_with_its_file_and_line_and_none_is_run() {
    let fine = test("t", "true");
    for (more, part) in [
        (
            test("u", ".a ="),
            "more.toml:2: test \"u\": `outputs[0]`: `conditions[0]` does not compile",
        ),
        (
            test("t", "true"),
            "some.toml:13: test \"t\": more.toml has a test of this name too",
        ),
        (
            "tests = 5\n".to_owned(),
            "more.toml:1: `tests` must be an array of tables",
        ),
        (
            TRANSFORMS.to_owned(),
            "there is a transform of the same name on line",
        ),
        ("[[tests]\n".to_owned(), "more.toml:1:9: not TOML"),
    ] {
        let place = Place::new();
        place.file("some.toml", &format!("{TRANSFORMS}{fine}"));
        place.file("more.toml", &more);
        let mut command = nomad_events(&["test", "some.toml", "more.toml"]);
        let (code, output, errors) = finished(command.current_dir(place.0.path())).await;
        assert_eq!((code, &*output), (78, ""), "{errors}");
        assert!(errors.starts_with("Failed to execute tests:\n"), "{errors}");
        assert!(errors.contains(part), "{part:?} is not in {errors}");
    }
    let mut command = nomad_events(&["test", "config/tests.toml"]);
    let (code, _, errors) = finished(command.current_dir(root())).await;
    assert_eq!(code, 78);
    assert!(
        errors.contains("config/tests.toml: there are only tests"),
        "{errors}"
    );
}

/// Diagnostics quote the lines of programs, and failures the events that came out of them.
#[tokio::test]
async fn nothing_of_the_environment_is_shown_whatever_is_wrong_with_a_test() {
    let place = Place::new();
    let program = TRANSFORMS.replace(".cut = true", ".cut = \\\"${WORD}\\\"");
    let broken = TRANSFORMS.replace(".cut = true", ".cut = \\\"${WORD}\\\" + no_such()");
    for (transforms, condition, said) in [
        (&program, ".cut == \"other\"", "\"cut\":\"${WORD}\""),
        // A diagnostic shows no text of a program at all.
        (&program, ".cut == \"${WORD}\" && no_such()", "\"*****"),
        (&broken, "true", "\"*****"),
    ] {
        let text = [transforms, &*test("first", condition)].concat();
        let file = place.file("some.toml", &text);
        let mut command = nomad_events(&["test", &file]);
        command.env("WORD", "hunter2-of-the-environment");
        let (code, output, errors) = finished(command.current_dir(place.0.path())).await;
        let all = output + &errors;
        assert_eq!(code, 78, "{all}");
        assert!(all.contains(said), "{all}");
        assert!(!all.contains("hunter2"), "{all}");
    }
}

#[tokio::test]
async fn validate_looks_at_tests_and_a_run_does_not_run_them() {
    let place = Place::new();
    let wrong = test("t", "true").replace("extract_from = \"cut\"", "extract_from = \"cutt\"");
    place.file("wrong.toml", &format!("{TRANSFORMS}{wrong}"));
    place.file("fails.toml", &format!("{TRANSFORMS}{}", test("t", "false")));
    place.file("alone.toml", &test("t", "true"));
    for (file, code, part) in [
        ("wrong.toml", 78, "there is no output \"cutt\""),
        ("fails.toml", 0, "fails.toml: valid"),
        ("alone.toml", 78, "alone.toml: there are only tests in it"),
    ] {
        let mut command = nomad_events(&["validate", file]);
        let (told, output, _) = finished(command.current_dir(place.0.path())).await;
        assert_eq!(told, code, "{output}");
        assert!(output.contains(part), "{output}");
        assert_eq!(output.lines().count(), 1, "{output}");
    }
}

#[tokio::test]
async fn the_exit_code_of_failed_tests_is_right_also_when_nobody_reads() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let place = folder("cli");
    std::fs::write(
        place.path().join("some.toml"),
        format!("{TRANSFORMS}{}", test("t", "false")),
    )
    .unwrap();
    let mut command = nomad_events(&["test", "some.toml"]);
    command.current_dir(place.path());
    let mut process = Process::start_with_output("nomad-events", place, &mut command, writer);
    assert_eq!(code_within(PATIENCE, &mut process).await, 78);
    assert_eq!(process.log(), "");
}
