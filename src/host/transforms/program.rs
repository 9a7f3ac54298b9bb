//! Programs in the Vector Remap Language, compiled once.
//!
//! Compiled as Vector 0.56.0 does it without its experimental schemas: an event is an object of anything, so is its metadata,
//! and `%vector` is read-only. Functions are those of vrl's own library that need neither network, files, environment nor
//! cryptography. What Vector adds of its own (enrichment tables, secrets, metrics, dnstap) is unknown here, so a program that
//! uses it does not compile and the refusal says why.

use std::fmt;
use std::path::PathBuf;

use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{
    CompilationResult, CompileConfig, ExpressionError, Program, Target, TimeZone, TypeState,
};
use vrl::diagnostic::{Diagnostic, DiagnosticList, DiagnosticMessage, Formatter, Note};
use vrl::path::OwnedTargetPath;
use vrl::value::Value;

use super::literals::Literals;
use crate::host::USE_VECTOR;

/// vrl's code for a call of a function that does not exist.
const UNDEFINED_FUNCTION: usize = 105;

/// Functions of Vector's VRL that this program is built without: Vector's own ones, and those that reach out of the process
/// or need cryptography.
const VECTORS_FUNCTIONS: &[&str] = &[
    "aggregate_vector_metrics",
    "crc",
    "decrypt",
    "decrypt_ip",
    "dns_lookup",
    "encode_proto",
    "encrypt",
    "encrypt_ip",
    "find_enrichment_table_records",
    "find_vector_metrics",
    "get_enrichment_table_record",
    "get_env_var",
    "get_hostname",
    "get_secret",
    "get_timezone_name",
    "get_vector_metric",
    "hmac",
    "http_request",
    "md5",
    "parse_dnstap",
    "parse_etld",
    "parse_proto",
    "remove_secret",
    "reverse_dns",
    "seahash",
    "set_secret",
    "set_semantic_meaning",
    "sha1",
    "sha2",
    "sha3",
    "validate_json_schema",
    "xxhash",
];

/// A program as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramText {
    /// The source code.
    pub(crate) text: String,
    /// The file it was read from; `None` when it stands in the configuration.
    pub(crate) file: Option<PathBuf>,
}

/// Whether a program may change the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only asks: a condition. Such a program must give a boolean.
    ReadOnly,
    /// May change everything but `%vector`.
    ReadWrite,
}

/// A program that compiled, with the text that positions point into.
#[derive(Debug)]
pub(crate) struct Compiled {
    program: Program,
    text: String,
    /// What the compiler warns of, rendered; `None` without a warning.
    pub(crate) warnings: Option<String>,
}

/// Where a program failed. Holds nothing of the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The function that failed.
    pub(crate) function: Option<String>,
    /// Line in the program, from 1.
    pub(crate) line: Option<usize>,
    /// Column in that line, in bytes, from 1.
    pub(crate) column: Option<usize>,
}

/// How a run ended that gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The program said `abort`.
    Aborted(LastWords),
    /// An expression failed.
    Failed(Failure, LastWords),
}

/// The text with which a program ended. It can quote the event, so it belongs in events and never in a log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LastWords(Box<ExpressionError>);

impl LastWords {
    /// The text that Vector gives: the one that the user wrote, or else what the expression says.
    pub(crate) fn text(&self) -> String {
        self.0
            .notes()
            .iter()
            .rfind(|note| matches!(note, Note::UserErrorMessage(_)))
            .map_or_else(|| self.0.to_string(), ToString::to_string)
    }
}

impl fmt::Debug for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastWords")
    }
}

impl Compiled {
    /// Compiles a program.
    ///
    /// # Errors
    ///
    /// The compiler's diagnostics, rendered with the lines they are about but for what stands there between quotes.
    pub(crate) fn new(text: &ProgramText, access: Access) -> Result<Self, String> {
        let source = &text.text;
        let mut config = CompileConfig::default();
        config.set_read_only_path(
            OwnedTargetPath::metadata(vrl::owned_value_path!("vector")),
            true,
        );
        if access == Access::ReadOnly {
            config.set_read_only();
        }
        let state = TypeState {
            external: ExternalEnv::default(),
            ..TypeState::default()
        };
        let CompilationResult {
            program, warnings, ..
        } = vrl::compiler::compile_with_state(source, &vrl::stdlib::all(), &state, config)
            .map_err(|diagnostics| render_errors(source, diagnostics))?;
        if access == Access::ReadOnly && !program.final_type_info().result.is_boolean() {
            return Err("a condition must give a boolean, whatever the event; this one may give something else".to_owned());
        }
        Ok(Self {
            program,
            text: source.clone(),
            warnings: (!warnings.is_empty()).then(|| render(source, warnings)),
        })
    }

    /// What of an event the program reads, as the compiler has found it.
    pub(crate) fn queries(&self) -> &[OwnedTargetPath] {
        &self.program.info().target_queries
    }

    /// Whether an expression of the program can fail while it runs.
    pub(crate) fn can_fail(&self) -> bool {
        self.program.info().fallible
    }

    /// Whether the program can abort.
    pub(crate) fn can_abort(&self) -> bool {
        self.program.info().abortable
    }

    /// Runs the program on an event.
    ///
    /// # Errors
    ///
    /// [`Stopped`]; what the program has changed by then stays changed.
    pub(crate) fn run(
        &self,
        runtime: &mut Runtime,
        target: &mut dyn Target,
    ) -> Result<Value, Stopped> {
        // The time zone for texts without one: the system's, Vector's default.
        let result = runtime.resolve(target, &self.program, &TimeZone::default());
        runtime.clear();
        result.map_err(|reason| match reason {
            Terminate::Abort(error) => Stopped::Aborted(LastWords(Box::new(error))),
            Terminate::Error(error) => {
                Stopped::Failed(self.locate(&error), LastWords(Box::new(error)))
            }
        })
    }

    /// The same for whoever wrote the event too, as in a unit test: why it stopped, with the line of the program that it is
    /// about. This may quote values of the event.
    ///
    /// # Errors
    ///
    /// The rendered reason.
    pub(crate) fn run_explained(
        &self,
        runtime: &mut Runtime,
        target: &mut dyn Target,
    ) -> Result<Value, String> {
        let result = runtime.resolve(target, &self.program, &TimeZone::default());
        runtime.clear();
        result.map_err(|reason| {
            let (how, error) = match reason {
                Terminate::Abort(error) => ("aborted", error),
                Terminate::Error(error) => ("failed", error),
            };
            let message: Box<dyn DiagnosticMessage> = Box::new(error);
            let rendered = Formatter::new(&self.text, Diagnostic::from(message)).to_string();
            format!("source execution {how}: {}", rendered.trim())
        })
    }

    /// The innermost call that failed. Only the place is taken from the error: its texts can quote values.
    fn locate(&self, error: &ExpressionError) -> Failure {
        let ExpressionError::Error { labels, .. } = error else {
            return Failure::default();
        };
        let Some(start) = labels.first().map(|label| label.span.start()) else {
            return Failure::default();
        };
        let (Some(before), Some(call)) = (self.text.get(..start), self.text.get(start..)) else {
            return Failure::default();
        };
        let function: String = call
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        Failure {
            function: (!function.is_empty()).then_some(function),
            line: Some(1 + before.matches('\n').count()),
            column: Some(1 + start - before.rfind('\n').map_or(0, |end| end + 1)),
        }
    }
}

fn render_errors(source: &str, diagnostics: DiagnosticList) -> String {
    let foreign: Vec<&str> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.code == UNDEFINED_FUNCTION)
        .flat_map(|diagnostic| &diagnostic.labels)
        .filter_map(|label| source.get(label.span.start()..label.span.end()))
        .filter(|name| VECTORS_FUNCTIONS.contains(name))
        .collect();
    let hint = foreign.first().map(|name| {
        format!("\n`{name}` is a function that Vector has and this program does not: {USE_VECTOR}")
    });
    format!(
        "{}{}",
        render(source, diagnostics),
        hint.unwrap_or_default()
    )
}

/// The diagnostics with the lines that they are about, without what stands there between quotes.
fn render(source: &str, diagnostics: DiagnosticList) -> String {
    let literals = Literals::of(source);
    let rendered = Formatter::new(&literals.starred(), diagnostics).to_string();
    literals.hide(rendered.trim())
}
