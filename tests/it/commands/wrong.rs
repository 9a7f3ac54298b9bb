//! Wrong configurations, one mistake each, and all that `validate` says about them: file, place, what is wrong, what to do.

use std::fs;

use super::{Place, finished, nomad_events, root};

/// Stands in some of the files by way of a variable, and must never be seen.
const SECRET: &str = "hunter2-in-the-environment";

async fn told(place: &std::path::Path, file: &str) -> String {
    let mut command = nomad_events(&["validate", file]);
    command
        .current_dir(place)
        .env_remove("WRONG_UNSET")
        .env("WRONG_SECRET", SECRET)
        .env("WRONG_LINES", format!("{SECRET}\n{SECRET}"));
    let (code, output, errors) = finished(&mut command).await;
    assert_eq!((code, &*errors), (78, ""), "{file}: {output}");
    assert!(
        output.starts_with(&format!("{file}:")),
        "{file} is not named first: {output}"
    );
    assert!(!output.contains(SECRET), "{file}: {output}");
    output
}

#[tokio::test]
async fn every_mistake_is_told_with_file_place_and_remedy() {
    let folder = root().join("tests/fixtures/wrong");
    let mut files: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    files.sort();
    let of = |ending: &str| files.iter().filter(|file| file.ends_with(ending)).count();
    assert!(
        files.len() > 100 && of(".yaml") > 20 && of(".json") > 10,
        "{files:?}"
    );
    let mut all = String::new();
    for file in &files {
        all.push_str(&format!("--- {file}\n{}", told(&folder, file).await));
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn files_that_no_repository_can_hold_are_told_too() {
    let place = Place::new();
    let folder = place.0.path();
    fs::create_dir(folder.join("folder.toml")).unwrap();
    fs::write(folder.join("latin1.toml"), b"# caf\xe9\n[sources.nomad]\n").unwrap();
    fs::write(folder.join("long.yaml"), "# long\n".repeat(1 << 20)).unwrap();
    fs::write(folder.join("deep.json"), "[".repeat(1 << 20)).unwrap();
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(1000), "]".repeat(1000));
    fs::write(folder.join("deeper.json"), deep).unwrap();
    fs::write(folder.join("deep.yaml"), "- ".repeat(1 << 20)).unwrap();
    fs::write(
        folder.join("deep.toml"),
        format!("a = {}", "[".repeat(1 << 20)),
    )
    .unwrap();
    fs::write(
        folder.join("wide.toml"),
        format!("a.{}b = 1", "a.".repeat(1 << 20)),
    )
    .unwrap();
    fs::write(
        folder.join("name.toml"),
        format!("{} = 1\n", "a".repeat(1 << 20)),
    )
    .unwrap();
    let laughs: String = (1..30)
        .map(|level| {
            format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{}", level - 1); 9].join(",")
            )
        })
        .collect();
    fs::write(folder.join("laughs.yaml"), format!("a0: &a0 [1]\n{laughs}")).unwrap();
    fs::write(folder.join("null.json"), "\0\0\0\0").unwrap();
    let mistakes: String = (0..1000).map(|name| format!("o{name} = 1\n")).collect();
    fs::write(folder.join("thousand.toml"), mistakes).unwrap();
    for (file, part) in [
        (
            "gone.toml",
            "cannot read the file: No such file or directory",
        ),
        ("folder.toml", "give the files in it one by one"),
        ("latin1.toml", "it is not UTF-8; save it as UTF-8"),
        ("long.yaml", "longer than 4194304 bytes"),
        ("deep.json", "not JSON: "),
        ("deeper.json", "nested more than 64 levels deep"),
        ("deep.yaml", "deep"),
        ("deep.toml", "recurse"),
        ("wide.toml", "recursion"),
        ("name.toml", "unknown table or option"),
        ("laughs.yaml", "more than 100000 values"),
        ("null.json", "not JSON: "),
        ("thousand.toml", "and 952 more"),
    ] {
        let output = told(folder, file).await;
        assert!(
            output.contains(part),
            "{file}: {part:?} is not in {output:.2000}"
        );
        assert!(output.len() < 64 * 1024, "{file}: {} bytes", output.len());
    }
}
