//! Our YAML against Vector's: the crate that Vector takes, used as Vector uses it, is the judge.

use proptest::prelude::*;

use super::super::document::Document;
use super::*;

/// What Vector makes of a text (`deserialize` in its `src/config/format.rs`).
fn vectors(text: &str) -> Option<toml::Table> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    value.apply_merge().ok()?;
    serde_yaml::from_value(value).ok()
}

/// What we make of it, by way of the same tables that components are read from.
fn ours(text: &str) -> Result<toml::Table, String> {
    let told = |problems: Vec<Problem>| {
        let texts = problems.iter().map(|problem| {
            format!(
                "{}:{}: {}",
                problem.line.unwrap(),
                problem.column.unwrap(),
                problem.message
            )
        });
        texts.collect::<Vec<_>>().join("\n")
    };
    let tree = parse(text).map_err(told)?;
    let table = Document::tree(&tree).parse().map_err(told)?;
    let value = toml::Spanned::new(table.span, toml::de::DeValue::Table(table.entries));
    serde::Deserialize::deserialize(toml::de::ValueDeserializer::from(value))
        .map_err(|error: toml::de::Error| error.message().to_owned())
}

#[test]
fn words_mean_what_they_mean_in_vector() {
    let words = [
        "true",
        "True",
        "TRUE",
        "tRUE",
        "false",
        "False",
        "yes",
        "Yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "0",
        "-0",
        "+0",
        "1",
        "-1",
        "+1",
        "--1",
        "+-1",
        "-+1",
        "017",
        "-017",
        "+017",
        "00",
        "08",
        "0o17",
        "+0o17",
        "-0o17",
        "0o18",
        "0o+1",
        "0o",
        "0x1f",
        "0X1F",
        "-0x1F",
        "0x",
        "0x-1",
        "0xg",
        "0b101",
        "-0b1",
        "0b2",
        "1_000",
        "0x1_0",
        "9223372036854775807",
        "-9223372036854775808",
        "1.0",
        "1.",
        ".5",
        "-.5",
        "+.5",
        "+-.5",
        "1e3",
        "1E3",
        "1e+3",
        "1e-3",
        "-1e3",
        "0e0",
        "1e400",
        "-1e400",
        "0.5",
        "00.5",
        "01.5",
        "01e2",
        "inf",
        "nan",
        "NaN",
        "infinity",
        ".inf",
        ".Inf",
        ".INF",
        "-.inf",
        "+.inf",
        ".nan",
        ".NaN",
        ".NAN",
        "-.nan",
        "2026-01-31",
        "2026-01-31T12:00:00Z",
        "12:30:45",
        "1:2",
        "1.2.3",
        "~x",
        "nullx",
        "a b",
        "a:b",
        "http://user:pass@host:80/?a=b#c",
        "a#b",
        "- x",
        "'1'",
        "\"1\"",
        "'true'",
        "\"\\x41\\u00e4\\n\"",
        "'it''s'",
        "!!str 5",
        "!!str true",
        "[]",
        "{}",
        "[1, a, 1.5, [true]]",
        "{a: 1, b: {c: d}}",
        "ä",
        "\"\"",
        "''",
        "0x7fffffffffffffff",
        "{{ namespace }}",
        "'{{ namespace }}'",
        "%Y",
        "`x`",
        "@x",
        "a: b",
        "=",
        "<",
        "<<",
        "*x",
        "&a 5",
        "!x 5",
        "!!int 5",
        "",
        "~",
        "null",
        "Null",
        "NULL",
        "18446744073709551615",
        "99999999999999999999999999",
        "-9223372036854775809",
    ];
    let mut both = 0;
    for word in words {
        let text = format!("key: {word}\n");
        match (vectors(&text), ours(&text)) {
            (Some(theirs), Ok(ours)) => {
                both += 1;
                // NaN is no equal of itself.
                assert_eq!(format!("{theirs:?}"), format!("{ours:?}"), "for {text}");
            }
            // What we refuse, a user has to write in another way; what we took and Vector did not would be a trap.
            (None, Ok(_)) => panic!("Vector refuses {text}"),
            (Some(theirs), Err(error)) => {
                let known = word.starts_with("!!int");
                assert!(known, "for {text}: {theirs:?}, but {error}");
            }
            (None, Err(_)) => {}
        }
    }
    assert!(both > 100, "only {both} were compared");
}

#[test]
fn documents_mean_what_they_mean_in_vector() {
    for text in [
        "",
        "# only a comment\n",
        "---\n",
        "--- # c\na: 1\n...\n",
        "a: |\n  .x = 1\n  .y = \"z\"\n",
        "a: |-\n  .x = 1\n\n  .y = 2\n",
        "a: |+\n  .x = 1\n\n",
        "a: >\n  one\n  two\n\n  three\n",
        "a:\n- 1\n- b\n",
        "a:\n  - b: 1\n    c: 2\n  -\n    d: 3\n",
        "a: one\n  two\n",
        "a: \"one\n  two\"\n",
        "{\"a\": [1, 2], \"b\": {\"c\": null}}",
        "{\"a\": [1, 2], \"b\": {\"c\": 1.5}}",
        "a: &x {b: 1, c: 2}\nd: *x\n",
        "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n",
        "a: &x {b: 1}\nc: &y {b: 2, d: 3}\ne:\n  <<: [*x, *y]\n",
        "a: &x {b: 1}\ne: {<<: *x, <<: *x}\n",
        "a: &x [1]\ne: {<<: *x}\n",
        "a: &x 1\ne: {<<: *x}\n",
        "a: &x 1\nb: &x 2\nc: *x\n",
        "a: *x\n",
        "a: &x {b: *x}\n",
        "a: 1\na: 2\n",
        "a: 1\n---\nb: 2\n",
        "1: a\n",
        "true: a\n",
        "? [a]\n: b\n",
        "'1': a\n",
        "- a\n",
        "just text\n",
        "a: b: c\n",
        "a: [1, 2\n",
        "a: 'x\n",
        "\ta: 1\n",
        "a:\n\tb: 1\n",
        "a:\n  b:\n  \tc: 1\n",
        "a:\n  - b: 1\n  \t c: 1\n",
        "a:\n\t- b\n",
        "a: |\n  .x = 1\n  \t.y\n",
        "a: 1\n b: 2\n",
        "sinks.out.type: console\n",
        "a: %x\n",
        "%YAML 1.2\n---\na: 1\n",
        "a: {b: 1,}\n",
        "a: [1,,2]\n",
        "\u{feff}a: 1\n",
        "a: \"\\q\"\n",
        "a: b #c\n",
        "a: b#c\n",
        "a:b\n",
        "a: 1\r\nb: 2\r\n",
    ] {
        match (vectors(text), ours(text)) {
            (Some(theirs), Ok(ours)) => assert_eq!(theirs, ours, "for {text}"),
            (None, Ok(ours)) => panic!("Vector refuses {text:?}, we read {ours:?}"),
            (Some(theirs), Err(error)) => panic!("for {text:?}: {theirs:?}, but {error}"),
            (None, Err(error)) => assert!(!error.is_empty()),
        }
    }
}

#[test]
fn what_yaml_has_and_toml_has_not_is_refused_with_its_place() {
    for (text, expected) in [
        (
            "a:\n  b:\n",
            "2:4: `a.b` is empty (null); give it a value, or leave it out",
        ),
        ("a: 1\nb: ~\n", "2:4: `b` is empty (null)"),
        (
            "a: 1\nb: 2\na: 3\n",
            "3:1: `a` stands here twice; keep one of them",
        ),
        ("a:\n  1: x\n", "2:3: a key must be a string"),
        ("a: !x 1\n", "1:4: tags (`!name`) are not understood here"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document begins here"),
        (
            "- a\n",
            "1:1: the file must hold `sources`, `transforms` and `sinks`, found a list",
        ),
        (
            "a: &x {b: *x}\n",
            "1:11: an alias (`*name`) stands inside of what it repeats",
        ),
        ("a: &x {b: 1}\nc: {<<: 5}\n", "2:5: `<<` takes a mapping"),
        (
            "a: &x {b: 1}\nc: &y {<<: *x}\nd: {<<: {<<: *x}}\n",
            "3:10: this `<<` is merged in by another one",
        ),
        (
            "a: 18446744073709551615\n",
            "1:4: a number above 9223372036854775807",
        ),
        ("a: [1\nb: 2\n", "2:2: not YAML: "),
        ("a: 'x\n", "not YAML: "),
        (
            "\ta: 1\n",
            "1:2: a tab stands before this; indent by blanks",
        ),
        // Vector takes these two.
        ("a:\t1\n", "1:4: not YAML: "),
        ("a: {\n\tb: 1}\n", "2:2: not YAML: tabs"),
    ] {
        let error = ours(text).unwrap_err();
        assert!(error.contains(expected), "for {text:?}: {error}");
    }
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(ours(&deep).unwrap_err().contains("recursion limit"));
    let blocks: String = (0..2_000)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    assert!(ours(&blocks).unwrap_err().contains("levels deep"));
    let long = format!("a: [{}]", "1,".repeat(MAX_VALUES));
    assert!(ours(&long).unwrap_err().contains("more than 100000 values"));
    // Each line has nine times what the line before has.
    let mut laughs = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(","));
    }
    assert!(
        ours(&laughs)
            .unwrap_err()
            .contains("those that aliases repeat included")
    );
    // An alias adds its own depth.
    let half = "[".repeat(40) + &"]".repeat(40);
    let nested = format!("a: &a {half}\nb: {}*a{}\n", "[".repeat(40), "]".repeat(40));
    assert!(ours(&nested).unwrap_err().contains("levels deep"));
}

proptest! {
    /// Whatever a text is, it means the same as in Vector, or one of the two refuses it. Its last line ends: where it does not,
    /// the parsers differ about the last newline of a block (`a: | #`, then a line of `- `).
    #[test]
    fn any_text_means_the_same_or_is_refused(
        text in "([ab]|: |\n|\n  |- |\\[|\\]|\\{|\\}|, |\"|'|#|&a |\\*a|<<: |\\| |> |1|0|-|\\.|e|x|!|%|~|ä){0,24}"
    ) {
        let text = text + "\n";
        if let (Some(theirs), Ok(ours)) = (vectors(&text), ours(&text)) {
            prop_assert_eq!(format!("{theirs:?}"), format!("{ours:?}"));
        }
    }
}
