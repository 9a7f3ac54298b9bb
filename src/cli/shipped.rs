//! The shipped configurations, in the binary: `tail` and `demo` run them wherever the process was started.

use std::io;
use std::path::Path;

/// The recommended configuration.
pub(super) const CONFIG: &str = "config/vector.toml";
/// The one with a `route` by topic: it has a way for every topic, whatever is subscribed to.
pub(super) const ROUTED: &str = "config/talk.toml";
/// The id of the sink of both.
pub(super) const SINK: &str = "loki";

/// Path and text of every shipped file that a configuration names.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "config/talk.toml",
    "config/vector.toml",
    "vrl/allocation.vrl",
    "vrl/deployment.vrl",
    "vrl/evaluation.vrl",
    "vrl/job.vrl",
    "vrl/node.vrl",
    "vrl/notices.vrl",
    "vrl/other.vrl",
    "vrl/service.vrl",
];

/// Reads a shipped file.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] for any other.
pub(super) fn read(path: &Path) -> io::Result<String> {
    FILES
        .iter()
        .find(|(name, _)| path == Path::new(name))
        .map(|(_, text)| (*text).to_owned())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not among the shipped files"))
}
