//! What is wrong with a configuration, said so that it can be mended: file, place, component, remedy.

use std::fmt;

use super::interpolate::Hidden;

/// So many problems of a configuration are shown; a file of another kind can have thousands.
const MAX_SHOWN: usize = 50;
/// A message is cut at this length (bytes). The longest ones are the compiler's, with the lines that they are about.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The file, where there are several; otherwise that of the [`ConfigErrors`].
    pub(crate) file: Option<String>,
    /// The line in the file, from 1, where it is known.
    pub(crate) line: Option<usize>,
    /// The column in that line, from 1, where it helps to find the place: in a text that cannot be read as its form.
    pub(crate) column: Option<usize>,
    /// The component, as in `sink "loki"`; `None` for the file as a whole.
    pub(crate) component: Option<String>,
    /// What is wrong and what to do about it. Never holds the value of an option that may be secret.
    pub(crate) message: String,
}

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigErrors {
    file: String,
    problems: Vec<Problem>,
}

/// What is suspicious about a configuration that can run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Warnings(pub(crate) Vec<String>);

impl Problem {
    /// A problem of a component.
    pub(crate) fn of(component: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            component: Some(component.into()),
            ..Self::general(message)
        }
    }

    /// A problem of the file as a whole.
    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            column: None,
            component: None,
            message: message.into(),
        }
    }

    /// The same, with the line it stands on.
    pub(crate) fn at(mut self, line: impl Into<Option<usize>>) -> Self {
        self.line = line.into();
        self
    }

    /// The same, with the column in that line.
    pub(crate) fn in_column(mut self, column: impl Into<Option<usize>>) -> Self {
        self.column = column.into();
        self
    }

    /// The same, with the file it stands in.
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }
}

impl ConfigErrors {
    /// Collects problems; `problems` is not empty.
    pub(crate) fn new(file: impl Into<String>, mut problems: Vec<Problem>) -> Self {
        // What concerns all files stands first.
        problems.sort_by(|a, b| {
            let place = |problem: &Problem| (problem.line, problem.column);
            (&a.file, place(a)).cmp(&(&b.file, place(b)))
        });
        Self {
            file: file.into(),
            problems,
        }
    }

    /// The same without what the environment has put into the text: a diagnostic of a program shows its lines.
    pub(crate) fn hiding(mut self, hidden: &Hidden) -> Self {
        for problem in &mut self.problems {
            problem.message = hidden.hide(&problem.message);
            problem.component = problem.component.as_deref().map(|name| hidden.hide(name));
        }
        self
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each problem, in the form that editors make clickable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().take(MAX_SHOWN).enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            f.write_str(problem.file.as_ref().unwrap_or(&self.file))?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
                if let Some(column) = problem.column {
                    write!(f, ":{column}")?;
                }
            }
            if let Some(component) = &problem.component {
                write!(f, ": {}", cut(component))?;
            }
            write!(f, ": {}", cut(&problem.message))?;
        }
        match self.problems.len().checked_sub(MAX_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n{}: and {more} more", self.file),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_MESSAGE_BYTES))
        .unwrap_or(text)
}
