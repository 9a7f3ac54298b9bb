//! Stands in for the Loki sink until that is merged: it reads the address and refuses to run.

use serde::Deserialize;

use super::Sink;

/// The address among the options of `loki`; the others are for the sink that takes this one's place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LokiConfig {
    /// The address of Loki.
    pub(crate) endpoint: String,
}

impl LokiConfig {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always.
    pub(crate) fn build(&self, _id: &str) -> Result<Box<dyn Sink>, String> {
        Err(format!("the sink for {} is not merged yet", self.endpoint))
    }
}
