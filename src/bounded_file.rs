//! Files that are read whole, within a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file. A piece of one that is longer would look like a wrong one, so it is refused.
///
/// # Errors
///
/// The file system's, and a file of more than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit {
        return Err(io::Error::other(format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}
