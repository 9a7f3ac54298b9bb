//! One recorded stream through one host, and what came out at its sinks.
//!
//! Both packages compile this: the root runs the embedded host, `vector/` the program with Vector in it. Each is held to the same
//! files in `tests/fixtures/parity`, which runs of Vector have written.

mod cases;
mod collector;
mod fixture;
mod record;
mod run;
mod stream;

use std::path::{Path, PathBuf};

use super::{IS_MODEL, command};
use stream::Stream;

/// With 1 in this variable Vector's runs write the files, instead of being held to them.
const WRITE: &str = "NOMAD_EVENTS_WRITE_FIXTURES";

/// How often a stream is served that did not come in one burst, because the machine was busy.
const ATTEMPTS: usize = 3;

/// A configuration, and what the recorded stream becomes with it.
struct Case<'a> {
    /// The configuration, from the root of the repository.
    config: &'a str,
    /// The name of the file with the expected records.
    fixture: &'a str,
    /// What is served.
    stream: Stream,
}

/// Runs the configuration, and compares what came out with the file.
async fn check(case: &Case<'_>) {
    let lines = case.stream.lines();
    let config = root().join(case.config);
    let mut attempts = 0;
    let records = loop {
        let command = command(&config);
        let records = run::run(command, &lines).await;
        attempts += 1;
        // Events that come after a pause are dated by the clock.
        let late = records.iter().find(|record| record.is_dated_by_the_clock());
        let Some(late) = late else {
            break records;
        };
        assert!(
            attempts < ATTEMPTS,
            "{}: served in no burst, or without a time: {late:?}",
            case.config
        );
    };
    let path = root()
        .join("tests/fixtures/parity")
        .join(format!("{}.ndjson.gz", case.fixture));
    let records = record::in_lanes(records);
    if IS_MODEL && std::env::var_os(WRITE).is_some_and(|value| value == "1") {
        fixture::write(&path, &records);
    }
    let expected = fixture::read(&path);
    if let Some(difference) = record::difference(&expected, &records) {
        panic!("{}: {difference}", case.config);
    }
}

/// The repository. The package with Vector is a folder of it.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = match package.ends_with("vector") {
        true => package.parent().expect("a folder of the repository"),
        false => package,
    };
    root.to_owned()
}
