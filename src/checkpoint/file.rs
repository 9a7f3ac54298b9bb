//! The folder of a source, and the file in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::format::{self, FormatError};
use super::state::State;
use crate::bounded_file;
use crate::shown;

/// A longer file is not ours (bytes). A state with all the proofs, namespaces and gaps that are ever kept takes half of it.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The state.
const FILE: &str = "position.json";
/// The state while it is written. One that is there when a write begins was left by a process that was killed.
const UNFINISHED: &str = "position.json.new";

/// Where the state of one source is kept: a folder of its own.
///
/// Making one touches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// A component id that cannot be the name of a folder.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "the component id {id:?} cannot be the name of a folder in `data_dir`, in which its position is kept; use letters, digits, `_` and `-`"
)]
pub struct FolderError {
    /// The id.
    pub id: String,
}

/// Why there is no telling what was saved. The text names the file and what to do.
#[derive(Debug, Error)]
#[error("saved position {}: {problem}; {}", shown::path(path), problem.remedy())]
pub struct ReadError {
    path: PathBuf,
    problem: ReadProblem,
}

/// What is the matter with a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadProblem {
    /// The file system says no.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// A folder, a pipe, a device.
    #[error("it is not a file")]
    NotAFile,
    /// Longer than [`MAX_FILE_BYTES`].
    #[error("it is longer than {MAX_FILE_BYTES} bytes, which none of this program is")]
    TooLong,
    /// Its content is not what this program has written.
    #[error(transparent)]
    Content(#[from] FormatError),
}

/// Why a state was not saved. The text names the folder and what to do.
#[derive(Debug, Error)]
#[error("the position is not saved in {}: {problem}; {}", shown::path(path), problem.remedy())]
pub struct WriteError {
    path: PathBuf,
    problem: WriteProblem,
}

/// What is the matter with a folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteProblem {
    /// The file system says no.
    #[error("{step}: {error}")]
    Io {
        /// What was done.
        step: &'static str,
        /// What came of it.
        error: io::Error,
    },
    /// It would take more than [`MAX_FILE_BYTES`], and could not be read again.
    #[error("it would take {bytes} bytes, more than are ever read")]
    TooLong {
        /// How long it would be.
        bytes: usize,
    },
    /// The lock file is gone or another one: another process may have the folder by now.
    #[error("the lock file was removed or replaced while this process ran")]
    LockLost,
    /// The writing itself broke off.
    #[error("the writing broke off")]
    BrokeOff,
}

impl Folder {
    /// The folder of a component in the host's folder for data.
    ///
    /// # Errors
    ///
    /// When the id is no name of a folder, such as one with a slash.
    pub fn of(data_dir: &Path, component_id: &str) -> Result<Self, FolderError> {
        let is_a_name = !matches!(component_id, "" | "." | "..")
            && !component_id.contains(['/', '\\'])
            && !component_id.contains(char::is_control);
        if !is_a_name {
            return Err(FolderError {
                id: component_id.to_owned(),
            });
        }
        Ok(Self(data_dir.join(component_id)))
    }

    /// This very folder.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of the state.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    /// Reads what was saved; `None` where nothing was. Creates, locks and mends nothing, and does not need the lock: a file is
    /// replaced as a whole.
    ///
    /// Blocks on the file system.
    ///
    /// # Errors
    ///
    /// When something is there that cannot be read, or is not what this version has written.
    pub fn read(&self) -> Result<Option<State>, ReadError> {
        let path = self.file();
        read(&path).map_err(|problem| ReadError { path, problem })
    }

    /// Replaces what was saved, as a whole. It lasts when this returns, also if the machine stops.
    pub(super) fn write(&self, state: &State) -> Result<(), WriteError> {
        self.replace(state)
            .map_err(|problem| self.not_saved(problem))
    }

    pub(super) fn not_saved(&self, problem: WriteProblem) -> WriteError {
        WriteError {
            path: self.0.clone(),
            problem,
        }
    }

    fn replace(&self, state: &State) -> Result<(), WriteProblem> {
        let text = format::encode(state).map_err(|error| io_problem("encode it", error.into()))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(WriteProblem::TooLong { bytes: text.len() });
        }
        let unfinished = self.0.join(UNFINISHED);
        remove_if_there(&unfinished)
            .map_err(|error| io_problem("remove an unfinished file", error))?;
        write_whole(&unfinished, &text)
            .and_then(|()| {
                fs::rename(&unfinished, self.file()).map_err(|error| io_problem("rename it", error))
            })
            .inspect_err(|_| {
                // It takes room that may be what is missing. The next write tries again.
                let _ = fs::remove_file(&unfinished);
            })?;
        // Or the old name could be back after a power cut.
        sync_folder(&self.0).map_err(|error| io_problem("sync the folder", error))
    }
}

impl ReadError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is the matter with it.
    #[must_use]
    pub fn problem(&self) -> &ReadProblem {
        &self.problem
    }
}

impl ReadProblem {
    /// What an operator should do. Starting anew is theirs to choose: it can lose events.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "let the user of this process read it",
            Self::Content(FormatError::Newer { .. }) => {
                "run that version again, or move the file away to begin as `start_at` says: events may then be missing or come twice"
            }
            Self::NotAFile | Self::TooLong | Self::Content(FormatError::Foreign) => {
                "check `data_dir`, and move away what is there to begin as `start_at` says"
            }
            Self::Content(_) => {
                "put a copy of it back, or move it away to begin as `start_at` says: events may then be missing or come twice"
            }
        }
    }
}

impl WriteError {
    /// The causes, fit for a label.
    pub const CAUSES: [&'static str; 8] = [
        "full",
        "read_only",
        "denied",
        "gone",
        "lock_lost",
        "too_long",
        "broke_off",
        "io",
    ];

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is the matter with it.
    #[must_use]
    pub fn problem(&self) -> &WriteProblem {
        &self.problem
    }

    /// A word from [`CAUSES`](Self::CAUSES).
    #[must_use]
    pub fn cause(&self) -> &'static str {
        self.problem.cause()
    }
}

impl WriteProblem {
    fn cause(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::LockLost => "lock_lost",
            Self::BrokeOff => "broke_off",
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => "full",
                io::ErrorKind::ReadOnlyFilesystem => "read_only",
                io::ErrorKind::PermissionDenied => "denied",
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "gone",
                _ => "io",
            },
        }
    }

    fn remedy(&self) -> &'static str {
        match self.cause() {
            "full" => "make room; until then a restart repeats events",
            "read_only" => "make the file system writable; until then a restart repeats events",
            "denied" => {
                "let the user of this process write there; until then a restart repeats events"
            }
            "gone" | "lock_lost" => {
                "restart this process, and leave the folder alone while it runs; until then a restart repeats events"
            }
            "too_long" | "broke_off" => "report it with the log of the last minutes",
            _ => "look after the disk; until then a restart repeats events",
        }
    }
}

fn io_problem(step: &'static str, error: io::Error) -> WriteProblem {
    WriteProblem::Io { step, error }
}

fn read(path: &Path) -> Result<Option<State>, ReadProblem> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                // A link to what is not there now, on a disk that is not mounted, say, is not nothing.
                Ok(link) if link.is_symlink() => Err(ReadProblem::Unreadable(error)),
                // It was written for the first time between the two looks.
                Ok(_) => read(path),
                Err(_) => Ok(None),
            };
        }
        Err(error) => return Err(ReadProblem::Unreadable(error)),
    };
    // A pipe would be waited for.
    if !metadata.is_file() {
        return Err(ReadProblem::NotAFile);
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(ReadProblem::TooLong);
    }
    let text = bounded_file::read(path, MAX_FILE_BYTES).map_err(ReadProblem::Unreadable)?;
    let state = format::decode(&text)?;
    if !state.is_possible() {
        return Err(FormatError::NotAState.into());
    }
    Ok(Some(state))
}

/// Writes a new file that only we can read, down to the disk.
fn write_whole(path: &Path, text: &[u8]) -> Result<(), WriteProblem> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    for_us_alone(&mut options);
    let mut file = options
        .open(path)
        .map_err(|error| io_problem("create a file", error))?;
    file.write_all(text)
        .map_err(|error| io_problem("write", error))?;
    file.sync_all()
        .map_err(|error| io_problem("sync the file", error))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The key of the proofs is nobody else's business.
#[cfg(unix)]
pub(super) fn for_us_alone(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
pub(super) fn for_us_alone(_: &mut OpenOptions) {}

/// A file system that does not know this has nothing that it could do better.
#[cfg(unix)]
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let unknown = [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];
    match File::open(path)?.sync_all() {
        Err(error) if unknown.contains(&error.kind()) => Ok(()),
        synced => synced,
    }
}

#[cfg(not(unix))]
pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
