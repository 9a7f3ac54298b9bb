//! What is on the disk, and what can be the matter with it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::format::encode;
use super::*;

async fn owner(folder: &Path) -> Owner {
    Folder::at(folder)
        .acquire(|_| panic!("held"))
        .await
        .unwrap()
}

/// What is in a folder, with modes.
fn listing(folder: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().mode() & 0o777;
        (entry.file_name().into_string().unwrap(), mode)
    });
    let mut entries: Vec<(String, u32)> = entries.collect();
    entries.sort();
    entries
}

/// Runs this on a thread whose rights are those of an ordinary user, for whom the modes of files count.
fn without_privileges<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            #[cfg(target_os = "linux")]
            {
                use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
                let mut sets = capabilities(None).unwrap();
                let privileges = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
                sets.effective.remove(privileges);
                set_capabilities(None, sets).unwrap();
            }
            work()
        });
        thread.join().unwrap()
    })
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_was_written_is_read_by_us_alone_and_nothing_else_is_left() {
    let data = TempDir::new().unwrap();
    let folder = Folder::of(data.path(), "nomad").unwrap();
    assert!(folder.read().unwrap().is_none());
    // Looking has made nothing.
    assert!(listing(data.path()).is_empty());

    let owner = owner(folder.path()).await;
    assert!(owner.read().unwrap().is_none());
    for number in [1, 2] {
        owner.write(&state(number, 3)).unwrap();
        assert_eq!(folder.read().unwrap(), Some(state(number, 3)));
        assert_eq!(owner.read().unwrap(), Some(state(number, 3)));
    }
    assert_eq!(listing(data.path()), [("nomad".to_owned(), 0o700)]);
    assert_eq!(
        listing(folder.path()),
        [
            ("lock".to_owned(), 0o600),
            ("position.json".to_owned(), 0o600)
        ]
    );
}

#[tokio::test]
async fn what_a_killed_writer_left_is_cleaned_and_not_followed() {
    let data = TempDir::new().unwrap();
    let owner = owner(data.path()).await;
    owner.write(&state(1, 0)).unwrap();
    let unfinished = data.path().join("position.json.new");
    let elsewhere = data.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    let leftovers: [fn(&Path, &Path); 3] = [
        |path, _| fs::write(path, &encode(&state(9, 9)).unwrap()[..100]).unwrap(),
        |path, _| {
            fs::write(path, encode(&state(9, 9)).unwrap()).unwrap();
            set_mode(path, 0o666);
        },
        |path, elsewhere| symlink(elsewhere, path).unwrap(),
    ];
    for (number, leave) in (2..).zip(leftovers) {
        leave(&unfinished, &elsewhere);
        assert_eq!(owner.read().unwrap(), Some(state(number - 1, 0)));
        owner.write(&state(number, 0)).unwrap();
        assert_eq!(owner.read().unwrap(), Some(state(number, 0)));
        assert!(!unfinished.exists());
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
    assert!(listing(data.path()).contains(&("position.json".to_owned(), 0o600)));
}

#[test]
fn what_cannot_be_read_is_an_error_with_the_file_and_the_remedy() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str, &str); 9] = [
        (
            "empty",
            |path| fs::write(path, "").unwrap(),
            "cut off: 0 bytes",
            "put a copy of it back",
        ),
        (
            "cut off",
            |path| fs::write(path, &encode(&state(1, 1)).unwrap()[..99]).unwrap(),
            "cut off: 99 bytes",
            "put a copy of it back",
        ),
        (
            "zeros",
            |path| fs::write(path, [0; 4096]).unwrap(),
            "is not JSON",
            "put a copy of it back",
        ),
        (
            "edited",
            |path| {
                let text = String::from_utf8(encode(&state(1, 1)).unwrap()).unwrap();
                fs::write(path, text.replace(r#""index":1"#, r#""index":2"#)).unwrap();
            },
            "the checksum is wrong",
            "put a copy of it back",
        ),
        (
            "newer",
            |path| fs::write(path, r#"{"format":"nomad-events position","version":2}"#).unwrap(),
            "format 2",
            "run that version again",
        ),
        (
            "foreign",
            |path| fs::write(path, "{}").unwrap(),
            "not a saved position",
            "check `data_dir`",
        ),
        (
            "a folder",
            |path| fs::create_dir(path).unwrap(),
            "not a file",
            "check `data_dir`",
        ),
        (
            "too long",
            |path| {
                let file = fs::File::create(path).unwrap();
                file.set_len(MAX_FILE_BYTES + 1).unwrap();
            },
            "longer than 16777216 bytes",
            "check `data_dir`",
        ),
        (
            "a link to nowhere",
            |path| symlink("/nowhere/at/all", path).unwrap(),
            "cannot be read",
            "let the user of this process read it",
        ),
    ];
    for (what, spoil, problem, remedy) in cases {
        let data = TempDir::new().unwrap();
        let folder = Folder::at(data.path());
        spoil(&folder.file());
        let before = listing(data.path());
        let error = folder.read().unwrap_err();
        let said = error.to_string();
        for part in [folder.file().to_str().unwrap(), problem, remedy] {
            assert!(said.contains(part), "{what}: {said}");
        }
        assert_eq!(listing(data.path()), before, "{what}");
    }
}

/// `validate` beside a source that saves for the first time said now and then that there was no such file.
#[test]
fn a_first_write_between_two_looks_is_no_mistake() {
    let data = TempDir::new().unwrap();
    let text = encode(&state(1, 1)).unwrap();
    for round in 0..3000 {
        let folder = Folder::of(data.path(), &format!("nomad-{round}")).unwrap();
        fs::create_dir(folder.path()).unwrap();
        let unfinished = folder.path().join("unfinished");
        fs::write(&unfinished, &text).unwrap();
        let file = folder.file();
        std::thread::scope(|scope| {
            scope.spawn(|| fs::rename(&unfinished, &file).unwrap());
            while folder.read().unwrap().is_none() {}
        });
    }
}

/// `build` would never return.
#[test]
fn a_pipe_in_place_of_the_file_is_not_waited_for() {
    let data = TempDir::new().unwrap();
    let folder = Folder::at(data.path());
    let made = std::process::Command::new("mkfifo")
        .arg(folder.file())
        .status()
        .unwrap();
    assert!(made.success());
    let error = folder.read().unwrap_err();
    assert!(matches!(error.problem(), ReadProblem::NotAFile), "{error}");
}

#[tokio::test]
async fn a_file_that_others_own_is_an_error() {
    let data = TempDir::new().unwrap();
    let owner = owner(data.path()).await;
    owner.write(&state(1, 0)).unwrap();
    let file = owner.folder().file();
    set_mode(&file, 0o000);
    let error = without_privileges(|| owner.read()).unwrap_err();
    assert!(
        matches!(error.problem(), ReadProblem::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_that_must_not_be_written_to_keeps_what_was_saved() {
    let data = TempDir::new().unwrap();
    let owner = owner(data.path()).await;
    owner.write(&state(1, 0)).unwrap();
    set_mode(data.path(), 0o555);
    let error = without_privileges(|| owner.write(&state(2, 0))).unwrap_err();
    assert_eq!(error.cause(), "denied", "{error}");
    assert!(
        error
            .to_string()
            .contains("let the user of this process write there")
    );
    assert_eq!(owner.read().unwrap(), Some(state(1, 0)));
    set_mode(data.path(), 0o755);
    without_privileges(|| owner.write(&state(3, 0))).unwrap();
    assert_eq!(owner.read().unwrap(), Some(state(3, 0)));
}

#[tokio::test]
async fn a_folder_that_is_gone_is_told() {
    let data = TempDir::new().unwrap();
    let folder = data.path().join("nomad");
    let owner = owner(&folder).await;
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(owner.write(&state(1, 0)).unwrap_err().cause(), "gone");
    fs::write(&folder, "").unwrap();
    assert_eq!(owner.write(&state(1, 0)).unwrap_err().cause(), "gone");
}

#[tokio::test]
async fn an_owner_whose_lock_file_was_removed_writes_no_more() {
    let data = TempDir::new().unwrap();
    let first = owner(data.path()).await;
    first.write(&state(1, 0)).unwrap();
    fs::remove_file(data.path().join("lock")).unwrap();
    assert_eq!(first.write(&state(2, 0)).unwrap_err().cause(), "lock_lost");
    let second = owner(data.path()).await;
    second.write(&state(3, 0)).unwrap();
    let error = first.write(&state(4, 0)).unwrap_err();
    assert_eq!(error.cause(), "lock_lost");
    assert!(
        error.to_string().contains("restart this process"),
        "{error}"
    );
    assert_eq!(second.read().unwrap(), Some(state(3, 0)));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_told_with_the_reason() {
    let data = TempDir::new().unwrap();
    let below = data.path().join("not/there");
    let said = |path: std::path::PathBuf| async move {
        Folder::at(path)
            .acquire(|_| panic!("held"))
            .await
            .unwrap_err()
            .to_string()
    };
    let parent = data.path().join("not");
    let told = said(below.clone()).await;
    assert!(
        told.contains(&format!("{} does not exist; make it", parent.display())),
        "{told}"
    );
    assert!(listing(data.path()).is_empty());

    fs::write(&parent, "").unwrap();
    let told = said(parent).await;
    assert!(told.contains("it is not a folder"), "{told}");
    let told = said(below).await;
    assert!(told.contains("it cannot be made"), "{told}");

    let data = TempDir::new().unwrap();
    set_mode(data.path(), 0o555);
    for (folder, expected) in [
        (data.path().join("nomad"), "it cannot be made"),
        (
            data.path().to_owned(),
            "the lock file in it cannot be opened",
        ),
    ] {
        let told = without_privileges(|| {
            // The runtime's own threads take the rights of the thread that makes them.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(said(folder))
        });
        assert!(told.contains(expected) && told.contains("write"), "{told}");
    }
}

#[test]
fn an_id_that_is_no_name_of_a_folder_is_refused() {
    for id in ["", ".", "..", "a/b", "../x", "/etc", "a\\b", "a\nb"] {
        let error = Folder::of(Path::new("/data"), id).unwrap_err();
        assert!(error.to_string().contains("`data_dir`"), "{error}");
    }
    let folder = Folder::of(Path::new("/data"), "nomad eu.1").unwrap();
    assert_eq!(folder.file(), Path::new("/data/nomad eu.1/position.json"));
}

#[test]
fn failures_of_the_file_system_have_a_cause_and_a_remedy() {
    for (number, cause) in [
        (28, "full"),
        (122, "full"),
        (27, "full"),
        (30, "read_only"),
        (13, "denied"),
        (2, "gone"),
        (5, "io"),
    ] {
        #[cfg(target_os = "linux")]
        {
            let error = Folder::at("/data/nomad").not_saved(WriteProblem::Io {
                step: "write",
                error: io::Error::from_raw_os_error(number),
            });
            assert_eq!(error.cause(), cause, "{error}");
            assert!(
                error.to_string().contains("a restart repeats events"),
                "{error}"
            );
            assert!(error.to_string().contains("/data/nomad"), "{error}");
        }
        assert!(WriteError::CAUSES.contains(&cause));
    }
}

#[tokio::test]
async fn a_state_that_could_not_be_read_again_is_not_written() {
    let data = TempDir::new().unwrap();
    let owner = owner(data.path()).await;
    owner.write(&state(1, 0)).unwrap();
    let mut large = state(2, 0);
    large.subscription.namespace = "x".repeat(usize::try_from(MAX_FILE_BYTES).unwrap());
    assert_eq!(owner.write(&large).unwrap_err().cause(), "too_long");
    assert_eq!(owner.read().unwrap(), Some(state(1, 0)));
}
