//! The folder of a source, as its host finds it at start, and who owns it.

use std::fs;
use std::path::Path;

use nomad_events::checkpoint::Folder;
use nomad_events::options::{DataDirError, Options};
use nomad_events::testing::nomad::FakeNomad;
use nomad_events::{Delivery, RaftIndex};
use tempfile::TempDir;

use super::follower::{Follower, PATIENCE};
use super::{fake_with, job};

/// Checks the folder as a host does before it starts anything.
fn check(options: &str, host: Option<&Path>) -> Result<Option<Folder>, DataDirError> {
    let options: Options = serde_json::from_str(options).unwrap();
    let mut settings = options.settings(|_| None).unwrap();
    settings.keep_position(host, "nomad")?;
    Ok(settings.folder().cloned())
}

/// A folder with what a run has saved.
async fn saved_by(fake: &FakeNomad) -> TempDir {
    let data = TempDir::new().unwrap();
    let mut follower = Follower::saving(data.path(), &[fake.url()], "{}");
    follower.until_notices("Connected", 1).await;
    follower
        .until(|follower| !follower.events().is_empty())
        .await;
    assert_eq!(follower.close(PATIENCE).await, 0);
    data
}

#[tokio::test]
async fn what_cannot_be_gone_on_with_is_told_before_anything_starts() {
    type Spoil = fn(&Path);
    let rows: [(&str, Spoil, [&str; 2]); 5] = [
        (
            "cut off",
            |file| {
                let whole = fs::read(file).unwrap();
                fs::write(file, &whole[..whole.len() / 2]).unwrap();
            },
            ["cut off", "put a copy of it back, or move it away"],
        ),
        (
            "newer",
            |file| {
                let text = fs::read_to_string(file).unwrap();
                let newer = text.replacen(r#""version":1"#, r#""version":9"#, 1);
                assert_ne!(newer, text);
                fs::write(file, newer).unwrap();
            },
            ["it has format 9", "run that version again"],
        ),
        (
            "foreign",
            |file| fs::write(file, r#"{"name": "something else"}"#).unwrap(),
            ["not a saved position", "check `data_dir`"],
        ),
        (
            "edited",
            |file| {
                let text = fs::read_to_string(file).unwrap();
                let edited = text.replacen(r#""index":5"#, r#""index":3"#, 1);
                assert_ne!(edited, text);
                fs::write(file, edited).unwrap();
            },
            ["checksum", "put a copy of it back"],
        ),
        (
            "unreadable",
            |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            },
            ["it is not a file", "check `data_dir`"],
        ),
    ];
    let fake = fake_with([5]).await;
    for (what, spoil, words) in rows {
        let data = saved_by(&fake).await;
        let folder = check("{}", Some(data.path())).unwrap().unwrap();
        spoil(&folder.file());
        let error = check("{}", Some(data.path())).unwrap_err();
        let DataDirError::Saved(_) = &error else {
            panic!("{what}: {error:?}");
        };
        let said = error.to_string();
        for word in words.into_iter().chain(folder.file().to_str()) {
            assert!(said.contains(word), "{what}: {said}");
        }
        // Looking has changed nothing: it is said again.
        assert_eq!(
            check("{}", Some(data.path())).unwrap_err().to_string(),
            said
        );
    }
}

#[test]
fn a_data_dir_that_is_not_there_is_told_and_not_made() {
    let data = TempDir::new().unwrap();
    let missing = data.path().join("missing");
    let error = check("{}", Some(&missing)).unwrap_err();
    assert!(matches!(error, DataDirError::NoFolder(_)), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains(missing.to_str().unwrap()) && said.contains("make it"),
        "{said}"
    );
    assert!(!missing.exists());
    // A file in its place is none either.
    fs::write(&missing, "").unwrap();
    assert!(check("{}", Some(&missing)).is_err());
}

#[test]
fn the_sources_own_data_dir_wins_over_that_of_its_host_and_without_both_nothing_is_kept() {
    let (own, host) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let options = format!(r#"{{"data_dir": {:?}}}"#, own.path().to_str().unwrap());
    let folder = check(&options, Some(host.path())).unwrap().unwrap();
    assert_eq!(folder.path(), own.path().join("nomad"));
    let folder = check("{}", Some(host.path())).unwrap().unwrap();
    assert_eq!(folder.path(), host.path().join("nomad"));
    assert_eq!(check("{}", None).unwrap(), None);
    // Looking makes nothing.
    assert!(fs::read_dir(own.path()).unwrap().next().is_none());
    assert!(fs::read_dir(host.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_standby_takes_over_when_the_owner_is_gone() {
    let data = TempDir::new().unwrap();
    let fake = fake_with([5, 7]).await;
    let mut owner = Follower::saving(data.path(), &[fake.url()], "{}");
    owner.until_events(2).await;
    let mut standby = Follower::saving(data.path(), &[fake.url()], "{}");
    standby.settle(std::time::Duration::from_millis(1500)).await;
    assert_eq!(standby.seen().1.len(), 0);
    assert_eq!(fake.stream_requests().len(), 1);
    assert_eq!(owner.close(PATIENCE).await, 0);

    fake.append_batch(&job(9, "b")).unwrap();
    standby.until_events(1).await;
    assert_eq!(standby.indexes(), [9]);
    assert_eq!(standby.notices("Gap"), 0);
}

#[tokio::test]
async fn what_was_not_answered_at_the_stop_comes_again_and_later_answers_do_not_count() {
    let data = TempDir::new().unwrap();
    let fake = fake_with([5, 7]).await;
    let mut follower = Follower::saving(data.path(), &[fake.url()], "{}");
    follower.hold_answers();
    follower.until_batches(2).await;
    follower.answer_oldest(Delivery::Delivered);
    let (acknowledger, late) = follower.oldest_held();
    assert_eq!(
        follower.close(std::time::Duration::from_millis(300)).await,
        1
    );
    let folder = Folder::of(data.path(), "nomad").unwrap();
    let before = fs::read(folder.file()).unwrap();
    acknowledger.resolve(late, Delivery::Delivered);

    let mut follower = Follower::saving(data.path(), &[fake.url()], "{}");
    follower.until_events(1).await;
    assert_eq!(follower.indexes(), [7]);
    // The saved position has not been touched until the new run answered.
    assert_eq!(
        nomad_events::checkpoint::format::decode(&before)
            .unwrap()
            .position
            .index,
        RaftIndex(5)
    );
}
