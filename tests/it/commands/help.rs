//! The help texts are documentation: their snapshots show what changed. And arguments that make no sense are refused.

use super::{Place, finished, nomad_events};

#[tokio::test]
async fn every_help_text_is_as_it_was() {
    for command in ["", "run", "validate", "test", "graph", "tail", "demo"] {
        let arguments: Vec<&str> = [command, "--help"]
            .into_iter()
            .filter(|argument| !argument.is_empty())
            .collect();
        let (code, output, errors) = finished(&mut nomad_events(&arguments)).await;
        assert_eq!((code, &*errors), (0, ""), "{command}");
        insta::assert_snapshot!(format!("help {command}").trim().replace(' ', "_"), output);
    }
}

#[tokio::test]
async fn the_version_is_the_package_s() {
    for arguments in [&["--version"][..], &["-V"], &["demo", "--version"]] {
        let (code, output, _) = finished(&mut nomad_events(arguments)).await;
        assert_eq!(code, 0);
        assert!(
            output.ends_with(concat!(" ", env!("CARGO_PKG_VERSION"), "\n")),
            "{output}"
        );
    }
}

#[tokio::test]
async fn wrong_arguments_end_with_2_and_say_what_is_right() {
    for (arguments, remedy) in [
        (&[][..], "Usage: nomad-events"),
        (&["follow"], "Usage: nomad-events"),
        (&["run"], "--config <FILE>"),
        (&["run", "--config"], "--config <FILE>"),
        (
            &["run", "--config", "a.toml", "b.toml"],
            "unexpected argument 'b.toml'",
        ),
        (&["validate"], "<FILE>"),
        (&["test"], "required arguments were not provided"),
        (&["graph"], "--config <FILE>"),
        (
            &["graph", "-c", "a.toml", "--format", "svg"],
            "[possible values: dot, mermaid]",
        ),
        (&["tail", "--since", "yesterday"], "write it like 90s, 15m"),
        (&["tail", "--since=-5m"], "write it like 90s, 15m"),
        (
            &["tail", "--new", "--index", "5"],
            "cannot be used with '--index <INDEX>'",
        ),
        (&["tail", "--token", "t"], "--token-file"),
        (&["--quiet", "--verbose", "demo"], "cannot be used with"),
        (
            &["demo", "--log-format", "xml"],
            "[possible values: text, json]",
        ),
    ] {
        let (code, output, errors) = finished(&mut nomad_events(arguments)).await;
        assert_eq!((code, &*output), (2, ""), "{arguments:?}");
        assert!(errors.contains(remedy), "{arguments:?}: {errors}");
    }
}

#[tokio::test]
async fn a_log_filter_that_is_not_understood_is_told() {
    let place = Place::new();
    let mut command = nomad_events(&["validate", "config/vector.toml"]);
    command
        .current_dir(place.0.path())
        .env("NOMAD_EVENTS_LOG", "nomad_events=loud");
    let (code, output, errors) = finished(&mut command).await;
    assert_eq!((code, &*output), (0, "config/vector.toml: valid\n"));
    assert!(
        errors.contains("NOMAD_EVENTS_LOG is not understood"),
        "{errors}"
    );
}
