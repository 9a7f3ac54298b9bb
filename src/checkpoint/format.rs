//! How a state stands in a file: JSON with a checksum, so that damage is told from what was written. Pure.
//!
//! ```json
//! {"format":"nomad-events position","version":1,"checksum":"<32 digits>","state":{...}}
//! ```
//!
//! The checksum is of the text of `state`, byte for byte. It is one against disks and editors, not against people.

use std::hash::Hasher;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use siphasher::sip128::{Hasher128, SipHasher13};
use thiserror::Error;

use super::state::State;

/// The version that is written, and the newest that is read. Whoever changes a field raises it: a file of a newer version is
/// refused rather than half understood.
pub const FORMAT_VERSION: u64 = 1;

/// What shows that a file is ours.
const FORMAT: &str = "nomad-events position";

/// Why a text is no saved state. Never quotes it: it may hold the key of the proofs, or be some other file altogether.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The end is missing.
    #[error("it is cut off: {bytes} bytes are there, and the end is missing")]
    CutOff {
        /// What there is.
        bytes: usize,
    },
    /// It is not JSON.
    #[error("it is damaged: line {line}, column {column} is not JSON")]
    NotJson {
        /// From 1 on.
        line: usize,
        /// From 1 on.
        column: usize,
    },
    /// JSON of something else.
    #[error("it is not a saved position of nomad-events")]
    Foreign,
    /// Written by a later version.
    #[error(
        "a newer version of this program has written it: it has format {version}, and only {FORMAT_VERSION} is known here"
    )]
    Newer {
        /// What it says of itself.
        version: u64,
    },
    /// Somebody, or a disk, has changed it.
    #[error("it is damaged: it was changed after it was written, the checksum is wrong")]
    Checksum,
    /// Ours and whole, and not a state.
    #[error("it has content that this version has not written")]
    NotAState,
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'t> {
    format: &'t str,
    version: u64,
    checksum: String,
    #[serde(borrow)]
    state: &'t RawValue,
}

/// The content of a file.
///
/// # Errors
///
/// None that is known: a state is made of what JSON has.
pub fn encode(state: &State) -> Result<Vec<u8>, serde_json::Error> {
    seal(&serde_json::to_string(state)?)
}

/// The file around the JSON of a state.
pub(super) fn seal(state: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec(&Document {
        format: FORMAT,
        version: FORMAT_VERSION,
        checksum: checksum(state),
        state: serde_json::from_str(state)?,
    })?;
    text.push(b'\n');
    Ok(text)
}

/// The state that a file has. Unknown fields are refused: the next save would lose them without a word.
///
/// # Errors
///
/// When it is anything but what [`encode`] writes.
pub fn decode(text: &[u8]) -> Result<State, FormatError> {
    serde_json::from_slice::<IgnoredAny>(text).map_err(|error| {
        if error.is_eof() {
            FormatError::CutOff { bytes: text.len() }
        } else {
            FormatError::NotJson {
                line: error.line(),
                column: error.column(),
            }
        }
    })?;
    let head: Head = serde_json::from_slice(text).map_err(|_| FormatError::Foreign)?;
    if head.format != FORMAT || head.version == 0 {
        return Err(FormatError::Foreign);
    }
    if head.version > FORMAT_VERSION {
        return Err(FormatError::Newer {
            version: head.version,
        });
    }
    let document: Document<'_> =
        serde_json::from_slice(text).map_err(|_| FormatError::NotAState)?;
    if document.checksum != checksum(document.state.get()) {
        return Err(FormatError::Checksum);
    }
    serde_json::from_str(document.state.get()).map_err(|_| FormatError::NotAState)
}

/// Without a key: anybody may compute it.
fn checksum(text: &str) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    format!("{:032x}", hasher.finish128().as_u128())
}
