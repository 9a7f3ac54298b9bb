//! The Dockerfile, as far as it can be read without building an image.

use std::path::Path;

use super::{root, text_of};

/// The instructions of the Dockerfile, each on one line.
fn instructions() -> Vec<String> {
    let lines: Vec<String> = text_of("Dockerfile")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let text = lines.join("\n").replace("\\\n", " ");
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The instructions of one stage of the Dockerfile, without its `FROM`.
pub(crate) fn stage(name: &str) -> Vec<String> {
    let is_first = |line: &String| line.ends_with(&format!(" AS {name}"));
    instructions()
        .into_iter()
        .skip_while(|line| !is_first(line))
        .skip(1)
        .take_while(|line| !line.starts_with("FROM "))
        .collect()
}

#[test]
fn images_are_built_with_the_pinned_toolchain() {
    let toolchain = text_of("rust-toolchain.toml");
    assert_eq!(text_of("vector/rust-toolchain.toml"), toolchain);
    let (_, channel) = toolchain.split_once("channel = \"").unwrap();
    let channel = channel.split('"').next().unwrap();
    let image = format!("FROM rust:{channel}-");
    let instructions = instructions();
    let stages: Vec<&String> = instructions
        .iter()
        .filter(|line| line.starts_with("FROM rust:"))
        .collect();
    assert!(!stages.is_empty(), "nothing is built");
    for stage in stages {
        assert!(stage.starts_with(&image), "{stage}: {channel} is pinned");
    }
}

#[test]
fn what_images_copy_exists_and_is_sent_to_the_builder() {
    let ignore = text_of(".dockerignore");
    let sent: Vec<&str> = ignore
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    for path in &sent {
        assert!(root().join(path).exists(), ".dockerignore names {path}");
    }
    let mut found = 0;
    for line in instructions() {
        let Some(arguments) = line.strip_prefix("COPY ") else {
            continue;
        };
        let words: Vec<&str> = arguments.split_whitespace().collect();
        if words[0].starts_with("--from") {
            continue;
        }
        for path in &words[..words.len() - 1] {
            found += 1;
            assert!(root().join(path).exists(), "{line}");
            let is_sent = sent.iter().any(|sent| Path::new(path).starts_with(sent));
            assert!(is_sent, ".dockerignore leaves {path} out");
        }
    }
    assert!(found > 10, "only {found} found: the search is broken");
}

#[test]
fn each_program_is_an_image_that_runs_a_shipped_configuration_without_being_root() {
    let instructions = instructions();
    let runtime = stage("runtime");
    assert!(runtime.iter().any(|line| line == "USER 65532:65532"));
    let folder = runtime
        .iter()
        .find_map(|line| line.strip_prefix("ENV NOMAD_EVENTS_DATA_DIR="))
        .unwrap();
    for program in ["nomad-events", "nomad-vector"] {
        assert!(instructions.contains(&format!("FROM runtime AS {program}")));
        let stage = stage(program);
        // What is saved outlives the container, in a folder that the user may write to.
        let made = format!("COPY --from=build-{program} --chown=65532:65532 {folder} {folder}");
        let kept = format!("VOLUME [\"{folder}\"]");
        let place = |wanted: &str| stage.iter().position(|line| *line == wanted).unwrap();
        assert!(place(&made) < place(&kept), "{stage:?}");
        assert!(!stage.iter().any(|line| line.starts_with("USER")));
        let binary = format!("ENTRYPOINT [\"/usr/local/bin/{program}\"]");
        assert!(stage.contains(&binary), "{stage:?}");
        let command = stage.iter().find(|line| line.starts_with("CMD ")).unwrap();
        let file = command.rsplit('"').nth(1).unwrap();
        assert!(root().join(file).is_file(), "{command}");
    }
}
