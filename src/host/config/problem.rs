//! What is wrong with a configuration, said so that it can be mended: file, line, component, remedy.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The line in the file, from 1, where it is known.
    pub(crate) line: Option<usize>,
    /// The component, as in `sink "loki"`; `None` for the file as a whole.
    pub(crate) component: Option<String>,
    /// What is wrong and what to do about it. Never holds the value of an option that may be secret.
    pub(crate) message: String,
}

/// Everything that is wrong with a configuration file, in the order of its lines.
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
            line: None,
            component: Some(component.into()),
            message: message.into(),
        }
    }

    /// A problem of the file as a whole.
    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self {
            line: None,
            component: None,
            message: message.into(),
        }
    }

    /// The same, with the line it stands on.
    pub(crate) fn at(mut self, line: impl Into<Option<usize>>) -> Self {
        self.line = line.into();
        self
    }
}

impl ConfigErrors {
    /// Collects problems; `problems` is not empty.
    pub(crate) fn new(file: impl Into<String>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self {
            file: file.into(),
            problems,
        }
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each problem, in the form that editors make clickable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if let Some(component) = &problem.component {
                write!(f, ": {component}")?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
