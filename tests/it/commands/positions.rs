//! `data_dir`: what is saved, by whom, and what the next run makes of it.

use std::fs;
use std::path::Path;

use nomad_events::checkpoint::Folder;
use nomad_events::testing::eventually;
use nomad_events::testing::loki::FakeLoki;
use nomad_events::testing::nomad::FakeNomad;
use tempfile::TempDir;

use super::{
    DATA, PATIENCE, Place, Running, fakes, finished, is_notice, job, nomad_events, run_command,
    until_events,
};
use crate::servers::folder;

/// The variable by which the shipped configurations take another folder.
const VARIABLE: &str = "NOMAD_EVENTS_DATA_DIR";
/// Said at the start of a run without a `data_dir`.
const NOT_SAVED: &str = "the position is not saved";

/// The index that is saved for the shipped source in this folder.
pub(super) fn saved(data: &Path) -> Option<u64> {
    let folder = Folder::of(data, "nomad").unwrap();
    let state = folder.read().unwrap();
    state.map(|state| state.position.index.0)
}

/// Everything below a folder, by its path.
fn below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path.display().to_string());
    }
    found.sort();
    found
}

/// A configuration without programs, with this `data_dir` at the top and this one in the source, started in a place of its own.
fn start(top: Option<&Path>, own: Option<&Path>, nomad: &FakeNomad, loki: &FakeLoki) -> Running {
    let place = Place::new();
    let option = |folder: Option<&Path>| {
        folder.map_or_else(String::new, |folder| {
            format!("data_dir = '{}'", folder.display())
        })
    };
    let config = place.file(
        "small.toml",
        &format!(
            "{}\n[sources.nomad]\ntype = \"nomad_events\"\n{}\n\
             [sinks.loki]\ntype = \"loki\"\ninputs = [\"nomad\"]\nendpoint = \"${{LOKI_ADDR}}\"\nencoding.codec = \"json\"\n\
             labels.topic = \"{{{{ Topic }}}}\"\nbatch.timeout_secs = 0.1\nacknowledgements.enabled = true\n",
            option(top),
            option(own)
        ),
    );
    place.start(&mut run_command(&config, nomad, loki))
}

/// How many events have come to Loki, repeats included.
fn events_pushed(loki: &FakeLoki) -> usize {
    let entries = loki.entries();
    entries.iter().filter(|entry| !is_notice(entry)).count()
}

#[tokio::test]
async fn a_run_goes_on_where_the_last_one_has_stopped() {
    let (global, own) = (folder("data"), folder("data"));
    for (top, of_source) in [
        (None, None),
        (Some(global.path()), None),
        (None, Some(own.path())),
        (Some(global.path()), Some(own.path())),
    ] {
        for used in [&global, &own] {
            let _ = fs::remove_dir_all(used.path().join("nomad"));
        }
        let (nomad, loki) = fakes(&[]).await;
        for index in [5, 6] {
            nomad.append_batch(&job(index, "web")).unwrap();
        }
        let mut run = start(top, of_source, &nomad, &loki);
        until_events(&loki, 2).await;
        assert_eq!(run.stop().await, 0, "{}", run.errors());
        assert_eq!(
            saved(global.path()),
            top.filter(|_| of_source.is_none()).map(|_| 6)
        );
        assert_eq!(saved(own.path()), of_source.map(|_| 6));

        nomad.append_batch(&job(7, "web")).unwrap();
        let mut run = start(top, of_source, &nomad, &loki);
        until_events(&loki, 3).await;
        assert_eq!(run.stop().await, 0, "{}", run.errors());
        let (repeated, asked) = match top.or(of_source) {
            None => (2, None),
            Some(_) => (0, Some("6")),
        };
        assert_eq!(events_pushed(&loki), 3 + repeated, "{top:?} {of_source:?}");
        let requests = nomad.stream_requests();
        let index = requests.last().and_then(|last| last.query_value("index"));
        assert_eq!(index.filter(|index| *index != "0"), asked, "{requests:?}");
        assert_eq!(
            run.errors().matches(NOT_SAVED).count(),
            usize::from(asked.is_none()),
            "{}",
            run.errors()
        );
    }
}

#[tokio::test]
async fn the_shipped_configuration_saves_beside_itself_or_where_the_variable_says() {
    let data = folder("data");
    for elsewhere in [None, Some(data.path())] {
        let (nomad, loki) = fakes(&[]).await;
        nomad.append_batch(&job(5, "web")).unwrap();
        let mut command = run_command("config/vector.toml", &nomad, &loki);
        if let Some(data) = elsewhere {
            command.env(VARIABLE, data);
        }
        let mut run = Place::new().start(&mut command);
        until_events(&loki, 1).await;
        assert_eq!(run.stop().await, 0);
        let beside = run.process.folder().join(DATA);
        assert_eq!(saved(&beside), elsewhere.is_none().then_some(5));
        assert_eq!(saved(data.path()), elsewhere.map(|_| 5));
    }
}

#[tokio::test]
async fn without_a_data_dir_that_is_said_once_and_nothing_is_written() {
    let (nomad, loki) = fakes(&[]).await;
    nomad.append_batch(&job(5, "web")).unwrap();
    let mut run = start(None, None, &nomad, &loki);
    until_events(&loki, 1).await;
    assert_eq!(run.stop().await, 0);
    let log = run.errors();
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(NOT_SAVED))
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    for part in ["WARN", "sources=[\"nomad\"]", "set `data_dir`"] {
        assert!(told[0].contains(part), "{}", told[0]);
    }
    let folder = run.process.folder();
    assert!(below(&folder.join(DATA)).is_empty());
    assert!(!folder.join("nomad").exists());
}

/// A folder in which a run has saved a position.
async fn with_a_position() -> TempDir {
    let data = folder("data");
    let (nomad, loki) = fakes(&[]).await;
    nomad.append_batch(&job(5, "web")).unwrap();
    let mut command = run_command("config/vector.toml", &nomad, &loki);
    let mut run = Place::new().start(command.env(VARIABLE, data.path()));
    until_events(&loki, 1).await;
    assert_eq!(run.stop().await, 0);
    data
}

#[tokio::test]
async fn only_run_saves_and_whoever_else_looks_changes_nothing() {
    let empty = folder("data");
    let saved = with_a_position().await;
    let before = below(saved.path());
    assert!(before.len() > 1, "{before:?}");
    let validate = &["validate", "config/vector.toml"][..];
    // `demo` runs elsewhere without a `data_dir`, which `run` would refuse.
    let others = [
        validate,
        &["graph", "--config", "config/vector.toml"],
        &["test", "config/vector.toml", "config/tests.toml"],
    ];
    for (data, commands) in [(&empty, &[validate][..]), (&saved, &others)] {
        for arguments in commands {
            let place = Place::new();
            let mut command = nomad_events(arguments);
            command
                .current_dir(place.0.path())
                .env(VARIABLE, data.path());
            let (code, output, errors) = finished(&mut command).await;
            assert_eq!(code, 0, "{arguments:?}: {output}{errors}");
            assert!(below(&place.0.path().join(DATA)).is_empty());
        }
        let (nomad, _) = fakes(&[]).await;
        nomad.append_batch(&job(5, "web")).unwrap();
        let place = Place::new();
        let mut command = nomad_events(&["tail"]);
        command
            .env("NOMAD_ADDR", nomad.url())
            .env(VARIABLE, data.path());
        let mut tail = place.start(&mut command);
        // Also what a run has shown already.
        tail.until_output(|output| output.contains("job web")).await;
        assert_eq!(tail.stop().await, 0);
        assert!(below(&tail.process.folder().join(DATA)).is_empty());
    }
    assert!(below(empty.path()).is_empty());
    assert_eq!(below(saved.path()), before);
}

#[tokio::test]
async fn a_run_does_not_begin_where_no_position_can_be_saved_or_read() {
    let data = with_a_position().await;
    let position = data.path().join("nomad/position.json");
    fs::write(&position, "cut").unwrap();
    let gone = data.path().join("gone");
    let (nomad, loki) = fakes(&[]).await;
    for (folder, part) in [
        (data.path(), "saved position "),
        (&gone, "option `data_dir`: "),
    ] {
        let place = Place::new();
        let mut command = run_command("config/vector.toml", &nomad, &loki);
        command.current_dir(place.0.path()).env(VARIABLE, folder);
        let (code, output, errors) = finished(&mut command).await;
        assert_eq!((code, &*output), (78, ""), "{errors}");
        assert!(errors.starts_with("config/vector.toml:"), "{errors}");
        assert!(errors.contains(part), "{errors}");
    }
    assert!(nomad.requests().is_empty());
    assert_eq!(fs::read_to_string(&position).unwrap(), "cut");
    assert!(!gone.exists());
}

#[tokio::test]
async fn a_second_run_on_the_same_folder_waits_and_takes_over() {
    let data = folder("data");
    let (nomad, loki) = fakes(&[]).await;
    nomad.append_batch(&job(5, "web")).unwrap();
    let mut first = start(Some(data.path()), None, &nomad, &loki);
    until_events(&loki, 1).await;
    let mut second = start(Some(data.path()), None, &nomad, &loki);
    second.until_errors("standby").await;
    nomad.append_batch(&job(6, "web")).unwrap();
    until_events(&loki, 2).await;
    assert_eq!(nomad.stream_requests().len(), 1);

    assert_eq!(first.stop().await, 0);
    nomad.append_batch(&job(7, "web")).unwrap();
    until_events(&loki, 3).await;
    let requests = nomad.stream_requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].query_value("index"), Some("6"));
    assert_eq!(second.stop().await, 0);
    assert_eq!(events_pushed(&loki), 3);
    assert_eq!(saved(data.path()), Some(7));
}

#[tokio::test]
async fn a_standby_stops_at_once() {
    let data = folder("data");
    let (nomad, loki) = fakes(&[]).await;
    let owner = Folder::of(data.path(), "nomad").unwrap();
    let owner = owner.acquire(|_| ()).await.unwrap();
    let mut run = start(Some(data.path()), None, &nomad, &loki);
    run.until_errors("standby").await;
    assert_eq!(run.stop().await, 0, "{}", run.errors());
    assert!(nomad.requests().is_empty());
    drop(owner);
    assert_eq!(saved(data.path()), None);
}

/// What was answered for in the last moment before the stop is saved as well, within the time that a stop may take.
#[tokio::test]
async fn what_is_answered_during_a_stop_is_saved() {
    use nomad_events::testing::loki::{Fault, Gate};

    let data = folder("data");
    let (nomad, loki) = fakes(&[]).await;
    let gate = Gate::new();
    loki.afterwards(Some(Fault::Hold(gate.clone())));
    let mut run = start(Some(data.path()), None, &nomad, &loki);
    loki.wait_for_pushes(1, PATIENCE).await.unwrap();
    nomad.append_batch(&job(5, "web")).unwrap();
    loki.wait_for_pushes(2, PATIENCE).await.unwrap();
    run.signal(rustix::process::Signal::TERM);
    run.until_errors("stopping; once more to leave at once")
        .await;
    let closed = eventually(PATIENCE, || nomad.open_streams() == 0);
    closed.await.unwrap();
    gate.open();
    assert_eq!(run.code().await, 0, "{}", run.errors());
    assert_eq!(saved(data.path()), Some(5));
}
