//! The forms in which a configuration can be written, and which of them a file has.

use std::fmt;
use std::path::Path;

/// A form. Vector 0.56.0 has the same three and takes them by the same endings (`src/config/format.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    /// `.toml`, and every other name.
    Toml,
    /// `.yaml` and `.yml`.
    Yaml,
    /// `.json`.
    Json,
}

impl Format {
    /// The form of a file by its name. Case counts, and what ends in nothing known is read as TOML, both as in Vector.
    pub(super) fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            _ => Self::Toml,
        }
    }

    /// Whether a name says what the form is.
    pub(super) fn is_told_by(path: &Path) -> bool {
        Self::of(path) != Self::Toml || path.extension().is_some_and(|ending| ending == "toml")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Toml => "TOML",
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        })
    }
}
