//! Files with expected records: a line of JSON for each, in gzip.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::record::{Lanes, Record, in_lanes};

/// Reads the records of a file.
pub(super) fn read(path: &Path) -> Lanes {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let records = BufReader::new(GzDecoder::new(file)).lines().map(|line| {
        let line = line.expect("a line of the file");
        serde_json::from_str::<Record>(&line).expect("a record")
    });
    in_lanes(records.collect())
}

/// Writes the records, so that the same ones give the same bytes.
pub(super) fn write(path: &Path, lanes: &Lanes) {
    let mut zip = GzEncoder::new(Vec::new(), Compression::best());
    for record in lanes.values().flatten() {
        let line = serde_json::to_string(record).expect("a record is JSON");
        writeln!(zip, "{line}").expect("memory takes what is written");
    }
    let packed = zip.finish().expect("memory takes what is written");
    fs::write(path, packed).expect("the file can be written");
}
