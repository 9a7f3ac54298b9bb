use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// How many changed seeds each target gets. One of a megabyte would cost more than it shows.
const CHANGES: u64 = 1500;

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// As fuzzers do it: bytes flipped, cut out, doubled, put in, or taken from another seed.
fn change(rng: &mut StdRng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        let to = rng.random_range(at..=bytes.len().min(at + 40));
        match rng.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => bytes.insert(
                at,
                *b"{}[]\",:\n\\0\xff"[..]
                    .get(rng.random_range(0..11))
                    .unwrap(),
            ),
            4 => bytes.truncate(at),
            _ => {
                let from = rng.random_range(0..=other.len());
                let piece = &other[from..other.len().min(from + 60)];
                bytes.splice(at..to, piece.iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn targets_hold_for_their_seeds_and_for_changes_of_them() {
    for (name, target) in TARGETS {
        let seeds: Vec<Vec<u8>> = seeds(name)
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| target(seed));
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..CHANGES {
            let seed = &seeds[rng.random_range(0..seeds.len())];
            let other = &seeds[rng.random_range(0..seeds.len())];
            let changed = change(&mut rng, seed, other);
            if let Err(panic) = std::panic::catch_unwind(|| target(&changed)) {
                eprintln!("{name}: {:?}", String::from_utf8_lossy(&changed));
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// The fuzzer has a target of its own for each, or it would not be fuzzed.
#[test]
fn every_target_is_built_for_fuzzers() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
