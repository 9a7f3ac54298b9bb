//! The list of namespaces that the token can see.

use serde::Deserialize;

use super::{Client, probe};
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;

/// The most namespaces that are looked at. Nomad has no limit; what is beyond this one is told.
pub(crate) const MAX_NAMESPACES: usize = 10_000;

/// A namespace, as far as the stream cares.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Namespace {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) create_index: RaftIndex,
}

/// What a server knows of namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceList {
    /// Those that the token has any right in.
    pub(crate) namespaces: Vec<Namespace>,
    /// Whether the server knows of a leader, where it says so.
    pub(crate) leader: Option<bool>,
}

impl Client {
    /// The namespaces that the token can see. A server gives the list to every valid token, filtered.
    ///
    /// Asked for with `stale`: the stream is answered from the server's own state too, and a namespace that the leader knows
    /// already, and this server not yet, would be missed by the subscription that follows.
    ///
    /// # Errors
    ///
    /// When the list cannot be read, or is longer than its limits.
    pub(crate) async fn namespaces(&self, endpoint: usize) -> Result<NamespaceList, Error> {
        let target = probe::target("/v1/namespaces", &[], self.settings.region.as_deref());
        let (body, leader) = self.read_list(endpoint, &target).await?;
        let namespaces: Vec<Namespace> = serde_json::from_slice(&body).map_err(|_| {
            Error::new(
                ErrorKind::List,
                format!(
                    "what {} answers is no list of namespaces",
                    self.name(endpoint)
                ),
            )
        })?;
        if namespaces.len() > MAX_NAMESPACES {
            return Err(Error::new(
                ErrorKind::List,
                format!("more than {MAX_NAMESPACES} namespaces"),
            ));
        }
        Ok(NamespaceList { namespaces, leader })
    }
}
