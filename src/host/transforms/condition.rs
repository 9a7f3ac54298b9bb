//! Conditions: programs that say yes or no to an event, and cannot change it.

use std::fmt;

use serde::{Deserialize, Deserializer};
use vrl::compiler::runtime::Runtime;
use vrl::compiler::{SecretTarget, Target};
use vrl::path::{OwnedTargetPath, PathPrefix};
use vrl::value::Value;

use super::program::{Access, Compiled, Failure, ProgramText, Stopped};
use crate::host::event::LogEvent;
use crate::host::metrics::ComponentMetrics;

/// A condition as written: a program, or a table with `type = "vrl"` and the program as `source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionText(pub(crate) String);

/// A condition that compiled.
#[derive(Debug)]
pub(crate) struct Condition(Compiled);

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    ///
    /// The compiler's diagnostics, or that the program does not always give a boolean.
    pub(crate) fn new(text: &ConditionText) -> Result<Self, String> {
        let text = ProgramText {
            text: text.0.clone(),
            file: None,
        };
        Compiled::new(&text, Access::ReadOnly).map(Self)
    }

    /// What the compiler warns of.
    pub(crate) fn warnings(&self) -> Option<&str> {
        self.0.warnings.as_deref()
    }

    /// What of an event the program reads, as the compiler has found it.
    pub(crate) fn queries(&self) -> &[OwnedTargetPath] {
        self.0.queries()
    }

    /// Asks the program. A program that fails says no, and is counted where that is wanted.
    pub(crate) fn check(
        &self,
        runtime: &mut Runtime,
        event: &LogEvent,
        metrics: Option<&ComponentMetrics>,
    ) -> bool {
        let mut target = Borrowed(event);
        let failure = match self.0.run(runtime, &mut target) {
            Ok(Value::Boolean(answer)) => return answer,
            Ok(_) | Err(Stopped::Aborted(_)) => Failure::default(),
            Err(Stopped::Failed(failure, _)) => failure,
        };
        if let Some(metrics) = metrics {
            metrics.program_failed(&failure, false);
        }
        false
    }

    /// Asks the program for a unit test.
    ///
    /// # Errors
    ///
    /// Why the event does not meet the condition, in Vector's words. May quote values of the event.
    pub(crate) fn explain(&self, runtime: &mut Runtime, event: &LogEvent) -> Result<(), String> {
        match self.0.run_explained(runtime, &mut Borrowed(event))? {
            Value::Boolean(true) => Ok(()),
            // The compiler has made sure that it is a boolean.
            _ => Err("source execution resolved to false".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for ConditionText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            Vrl,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(rename = "type")]
            kind: Kind,
            source: String,
        }
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = ConditionText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a VRL program, or a table with `type` and `source`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ConditionText, E> {
                Ok(ConditionText(text.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<ConditionText, A::Error> {
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                match table.kind {
                    Kind::Vrl => Ok(ConditionText(table.source)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A target that only answers. The compiler has refused programs that would change it, so changes are never asked for.
struct Borrowed<'e>(&'e LogEvent);

const READ_ONLY: &str = "the event is read-only in a condition";

impl Borrowed<'_> {
    fn get(&self, path: &OwnedTargetPath) -> Option<&Value> {
        match path.prefix {
            PathPrefix::Event => self.0.value.get(&path.path),
            PathPrefix::Metadata => self.0.metadata.get(&path.path),
        }
    }
}

impl fmt::Debug for Borrowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Borrowed")
    }
}

impl Target for Borrowed<'_> {
    fn target_insert(&mut self, _: &OwnedTargetPath, _: Value) -> Result<(), String> {
        Err(READ_ONLY.to_owned())
    }

    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        Ok(self.get(path))
    }

    fn target_get_mut(&mut self, _: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        Err(READ_ONLY.to_owned())
    }

    fn target_remove(&mut self, _: &OwnedTargetPath, _: bool) -> Result<Option<Value>, String> {
        Err(READ_ONLY.to_owned())
    }
}

impl SecretTarget for Borrowed<'_> {
    fn get_secret(&self, _: &str) -> Option<&str> {
        None
    }

    fn insert_secret(&mut self, _: &str, _: &str) {}

    fn remove_secret(&mut self, _: &str) {}
}
