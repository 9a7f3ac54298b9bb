//! Whatever becomes of the shipped configurations, they are read or refused with the name of the file; nothing panics.

use std::io;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::Config;
use crate::host::topology::Topology;

const SHIPPED: [&str; 2] = [
    include_str!("../../../../config/vector.toml"),
    include_str!("../../../../config/talk.toml"),
];

/// Pieces that mean something in one of the forms, or to the reader.
const PIECES: [&str; 28] = [
    "\"",
    "'",
    "'''",
    "\\",
    "\n",
    "\t",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "{{",
    "= ",
    ": ",
    "- ",
    "#",
    "&a ",
    "*a",
    "<<: *a\n",
    "$",
    "${",
    "${X}",
    "null",
    "-1",
    "1e999",
    "\u{0}",
    "ä",
    "inputs = [\"*\"]\n",
];

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Remove(Index, u8),
    Insert(Index, usize),
    /// From one place to another.
    Copy(Index, u8, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), any::<u8>(), any::<Index>())
            .prop_map(|(at, length, to)| Change::Copy(at, length, to)),
    ]
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for change in changes {
        let end = |start: usize, length: u8, all: usize| (start + usize::from(length)).min(all);
        match change {
            Change::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Change::Remove(at, length) => {
                let start = at.index(bytes.len());
                bytes.drain(start..end(start, *length, bytes.len()));
            }
            Change::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, PIECES[*piece].bytes());
            }
            Change::Copy(at, length, to) => {
                let start = at.index(bytes.len());
                let piece = bytes[start..end(start, *length, bytes.len())].to_vec();
                let to = to.index(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    // A file that is not UTF-8 is refused before.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text in a form; what is read from a file is read from the repository.
fn judge(name: &str, text: &str) -> Result<(), TestCaseError> {
    let files = |path: &Path| -> io::Result<String> {
        if path == Path::new(name) {
            return Ok(text.to_owned());
        }
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
    };
    let told = match Config::load(Path::new(name), &|_| None, &files) {
        Ok((mut config, _)) => {
            // Compiling the shipped programs takes most of a second, and they were not changed.
            config
                .transforms
                .retain(|node| node.file != name || !is_shipped(node));
            return match Topology::build(config) {
                Ok(_) => Ok(()),
                Err(errors) => check(name, &errors.to_string()),
            };
        }
        Err(errors) => errors.to_string(),
    };
    check(name, &told)
}

fn is_shipped(node: &super::super::TransformNode) -> bool {
    matches!(&node.transform, super::super::TransformConfig::Remap(remap) if remap.program.file.is_some())
}

fn check(name: &str, told: &str) -> Result<(), TestCaseError> {
    prop_assert!(
        told.starts_with(&format!("{name}:")),
        "no file name: {told}"
    );
    prop_assert!(told.len() < 1 << 20);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_changed_file_is_read_or_refused_with_its_name(
        which in 0..SHIPPED.len(),
        changes in vec(change(), 1..4),
    ) {
        judge("changed.toml", &changed(SHIPPED[which], &changes))?;
    }

    #[test]
    fn a_changed_file_in_another_form_is_read_or_refused_with_its_name(
        which in 0..SHIPPED.len(),
        changes in vec(change(), 0..4),
    ) {
        let table: toml::Table = toml::from_str(SHIPPED[which]).unwrap();
        let yaml = serde_yaml::to_string(&table).unwrap();
        judge("changed.yaml", &changed(&yaml, &changes))?;
        let json = serde_json::to_string_pretty(&table).unwrap();
        judge("changed.json", &changed(&json, &changes))?;
    }
}
