//! What the image of `nomad-events` runs, without a container: with its files, its environment and its user, and nothing else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::positions::saved;
use super::{ANSWERED, arrived, expected, fakes, is_notice, root, sample, start, until_events};
use crate::documentation::images::stage;
use crate::servers::folder;

/// What follows a word in the instructions of the image's stages.
fn instruction(word: &str) -> String {
    let lines = [stage("runtime"), stage("nomad-events")].concat();
    let found = lines.iter().rev().find_map(|line| line.strip_prefix(word));
    found
        .unwrap_or_else(|| panic!("the image has no {word}"))
        .to_owned()
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

#[tokio::test]
async fn what_the_image_runs_needs_nothing_that_is_not_in_the_image() {
    let image = folder("image");
    let inside = |path: &str| image.path().join(path.trim_start_matches('/'));
    // What is below has to be reached by another user.
    fs::set_permissions(image.path(), fs::Permissions::from_mode(0o755)).unwrap();

    let words: Vec<String> = serde_json::from_str(&instruction("ENTRYPOINT ")).unwrap();
    let arguments: Vec<String> = serde_json::from_str(&instruction("CMD ")).unwrap();
    let [program] = &words[..] else {
        panic!("a program without arguments: {words:?}");
    };
    let program = inside(program);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_nomad-events"), &program).unwrap();

    let works_in = inside(&instruction("WORKDIR "));
    fs::create_dir_all(&works_in).unwrap();
    let mut copied = 0;
    for line in stage("runtime") {
        if let Some((from, to)) = line
            .strip_prefix("COPY ")
            .and_then(|line| line.split_once(' '))
        {
            copied += 1;
            let to = if to == "./" { from } else { to };
            copy(&root().join(from), &works_in.join(to));
        }
    }
    assert!(copied > 2, "only {copied} found: the search is broken");

    let (variable, data) = instruction("ENV ")
        .split_once('=')
        .map(|(name, value)| (name.to_owned(), inside(value)))
        .unwrap();
    fs::create_dir_all(&data).unwrap();
    let user: u32 = instruction("USER ")
        .split(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();

    let lines = sample();
    let (nomad, loki) = fakes(&lines).await;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(works_in)
        .env_clear()
        .env(variable, &data)
        .env("NOMAD_ADDR", nomad.url())
        .env("LOKI_ADDR", loki.url());
    // Nobody else may become another user, and is none who may do everything either.
    let user = if rustix::process::geteuid().is_root() {
        chown(&data, Some(user), Some(user)).unwrap();
        command.uid(user).gid(user);
        user
    } else {
        rustix::process::geteuid().as_raw()
    };
    let mut run = start(image, &mut command);
    let wanted = expected(&lines);
    until_events(&loki, wanted.len()).await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    let entries = loki.entries();
    let events = entries.iter().filter(|entry| !is_notice(entry));
    assert_eq!(arrived(events), wanted);
    assert!(run.errors().contains(ANSWERED), "{}", run.errors());

    let last = wanted.iter().map(|(index, _, _)| *index).max();
    assert!(saved(&data) >= last, "{:?} is saved", saved(&data));
    let owner = fs::metadata(data.join("nomad")).unwrap().uid();
    assert_eq!(owner, user, "whoever runs it has made the folder");
}
