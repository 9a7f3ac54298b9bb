//! Configuration files.

use std::io;
use std::path::Path;

use crate::host::config::Config;
use crate::host::template::Template;

/// A configuration file, and the same text as a template: refused with reasons, or taken; no secret is told.
///
/// # Panics
///
/// When a refusal gives no reason, or tells a secret.
pub fn config(data: &[u8]) {
    const SECRET: &str = "hunter2-in-the-environment";
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let env = |name: &str| match name {
        "NOMAD_TOKEN" | "LOKI_PASSWORD" => Some(SECRET.to_owned()),
        "LOKI_ADDR" => Some("http://127.0.0.1:3100".to_owned()),
        _ => None,
    };
    let files = |path: &Path| match path.extension() {
        Some(extension) if extension == "toml" => Ok(text.to_owned()),
        Some(extension) if extension == "vrl" => Ok(". = .".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    if let Err(errors) = Config::load(Path::new("fuzzed.toml"), &env, &files) {
        let shown = errors.to_string();
        assert!(!shown.trim().is_empty());
        assert!(!shown.contains(SECRET), "{shown}");
    }
    if let Ok(template) = Template::parse(text) {
        assert_eq!(template.source(), text);
        assert!(template.is_dynamic() || template.fields().next().is_none());
    }
}
