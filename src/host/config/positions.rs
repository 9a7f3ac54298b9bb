//! The option `data_dir`: where the sources of a configuration save their positions.

use std::path::PathBuf;

use super::document::component_name;
use super::problem::Problem;
use super::{Config, SourceNode};
use crate::options::DataDirError;
use crate::shown;

/// The option at the top of a file. As in Vector, a relative path starts from the working directory, and the folder has to be
/// there. Other than in Vector there is no default: what nobody has asked for is not saved.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    pub(super) path: PathBuf,
    /// The file it stands in.
    pub(super) file: String,
    /// The line it stands on.
    pub(super) line: Option<usize>,
}

impl DataDir {
    /// Its name, at the top of a file and in a source.
    pub(super) const OPTION: &str = "data_dir";

    /// This one, where `other` is what another file has.
    ///
    /// # Errors
    ///
    /// When it is no path, or they are not the same.
    pub(super) fn beside(self, other: Option<Self>) -> Result<Self, Problem> {
        let problem =
            |what: &str| Problem::general(format!("option `data_dir`: {what}")).at(self.line);
        if self.path.as_os_str().is_empty() {
            return Err(problem(
                "it is empty; name a folder, or leave it out: then no position is saved",
            ));
        }
        match other {
            Some(other) if other.path != self.path => Err(problem(&format!(
                "another file has {}; keep one of them",
                shown::path(&other.path)
            ))),
            _ => Ok(self),
        }
    }
}

impl Config {
    /// Looks where each source saves its position and whether what was saved can be read, and has them save it there. Without
    /// this, no source does.
    ///
    /// Blocks on the file system, and changes nothing in it. Gives what is wrong.
    pub(crate) fn keep_positions(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let global = self.data_dir.as_ref();
        for source in &mut self.sources {
            let path = global.map(|data_dir| data_dir.path.as_path());
            let Err(error) = source.settings.keep_position(path, &source.id) else {
                continue;
            };
            let problem = match (&error, source.data_dir_line, global) {
                (DataDirError::NoFolder(_), None, Some(global)) => {
                    Problem::general(error.to_string())
                        .at(global.line)
                        .in_file(&global.file)
                }
                _ => source.problem(error.to_string()),
            };
            // That of the whole configuration concerns all of its sources.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }
}

impl SourceNode {
    fn problem(&self, message: String) -> Problem {
        Problem::of(component_name("source", &self.id), message)
            .at(self.data_dir_line.unwrap_or(self.line))
            .in_file(&self.file)
    }
}
