//! The option `data_dir`, at the top and in a source.

use super::*;

#[test]
fn what_several_files_say_of_the_data_dir_is_taken_together() {
    let base = format!("{SOURCE}{SINK}");
    let at = |path: &str| format!("\ndata_dir = \"{path}\"\n");
    for (first, second, expected) in [
        (String::new(), String::new(), None),
        (at("/a"), String::new(), Some("/a")),
        (String::new(), at("/a"), Some("/a")),
        (at("/a"), at("/a/"), Some("/a/")),
    ] {
        let texts = [first + &base, second];
        let (config, _) = load_files(&[("a.toml", &texts[0]), ("b.toml", &texts[1])]).unwrap();
        let path = config.data_dir.map(|data_dir| data_dir.path);
        assert_eq!(path, expected.map(PathBuf::from));
    }
    let texts = [at("/a") + &base, at("/b")];
    assert_eq!(
        load_files(&[("a.toml", &texts[0]), ("b.toml", &texts[1])]).unwrap_err(),
        "b.toml:2: option `data_dir`: another file has /a; keep one of them"
    );
}

/// What sources do with their positions when they are to keep them: the folders, and what is wrong.
fn kept(text: &str) -> (Vec<Option<PathBuf>>, Vec<String>) {
    let (mut config, _) = load(text).unwrap();
    let problems = config.keep_positions();
    let folders = config.sources.iter().map(|source| {
        let folder = source.settings.folder();
        folder.map(|folder| folder.path().to_owned())
    });
    let shown = problems.iter().map(|problem| {
        let component = problem.component.as_deref().unwrap_or_default();
        format!("{:?} {component}: {}", problem.line, problem.message)
    });
    (folders.collect(), shown.collect())
}

#[test]
fn a_source_saves_its_position_in_its_own_data_dir_or_in_the_global_one_or_nowhere() {
    let (global, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let option = |folder: &Path| format!("data_dir = '{}'\n", folder.display());
    let second = "[sources.second]\ntype = \"nomad_events\"\n";
    for (top, of_second, expected) in [
        (None, None, [None, None]),
        (None, Some(own.path()), [None, Some(own.path())]),
        (
            Some(global.path()),
            None,
            [Some(global.path()), Some(global.path())],
        ),
        (
            Some(global.path()),
            Some(own.path()),
            [Some(global.path()), Some(own.path())],
        ),
    ] {
        let text = format!(
            "{}{SOURCE}{second}{}{SINK}",
            top.map(option).unwrap_or_default(),
            of_second.map(option).unwrap_or_default()
        );
        let (folders, problems) = kept(&text);
        let [first, other] = expected;
        let names = [
            first.map(|path| path.join("nomad")),
            other.map(|path| path.join("second")),
        ];
        assert_eq!(folders, names);
        assert!(problems.is_empty(), "{problems:?}");
        // Somebody who only looks leaves nothing behind.
        for folder in [&global, &own] {
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
    // Reading alone has nothing saved.
    let (config, _) = load(&format!("{}{SOURCE}{SINK}", option(global.path()))).unwrap();
    assert_eq!(config.sources[0].settings.folder(), None);
}

#[test]
fn a_missing_data_dir_is_told_once_and_on_its_line() {
    let second = "[sources.second]\ntype = \"nomad_events\"\n";
    let (folders, problems) = kept(&format!("\ndata_dir = \"gone\"\n{SOURCE}{second}{SINK}"));
    assert_eq!(folders, [None, None]);
    assert_eq!(
        problems,
        [
            "Some(2) : option `data_dir`: gone is no folder; make it, or name one that is there: the position is saved in it. \
             A relative path starts from the working directory"
        ]
    );
    let (_, problems) = kept(&format!("{SOURCE}{second}data_dir = \"/gone/x\"\n{SINK}"));
    assert_eq!(
        problems,
        [
            "Some(5) source \"second\": option `data_dir`: /gone/x is no folder; make it, or name one that is there: the position \
             is saved in it"
        ]
    );
}
