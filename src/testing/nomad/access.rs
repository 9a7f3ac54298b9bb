//! Tokens and their rights, as Nomad 1.11 checks them.
//!
//! The answers are those of a real 1.11.3 with ACLs on: a list of all namespaces opens to a right in any of them, the stream
//! wants it in each.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::request::SeenRequest;
use super::version::Answer;

/// What a token may do.
///
/// # Examples
///
/// ```
/// use nomad_events::testing::nomad::Access;
///
/// let policy = Access::client().namespace("*", ["read-job", "list-jobs"]).node_read();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Access {
    management: bool,
    expired: bool,
    node_read: bool,
    agent_read: bool,
    operator_read: bool,
    namespaces: BTreeMap<String, Vec<String>>,
}

impl Access {
    /// A management token: everything.
    #[must_use]
    pub fn management() -> Self {
        Self {
            management: true,
            ..Self::default()
        }
    }

    /// A client token without rights.
    #[must_use]
    pub fn client() -> Self {
        Self::default()
    }

    /// A rule for a namespace by its name, or for `*`. A name hides the `*`.
    #[must_use]
    pub fn namespace<'a>(
        mut self,
        name: &str,
        capabilities: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let capabilities = capabilities.into_iter().map(str::to_owned).collect();
        self.namespaces.insert(name.to_owned(), capabilities);
        self
    }

    /// `node { policy = "read" }`.
    #[must_use]
    pub fn node_read(mut self) -> Self {
        self.node_read = true;
        self
    }

    /// `agent { policy = "read" }`.
    #[must_use]
    pub fn agent_read(mut self) -> Self {
        self.agent_read = true;
        self
    }

    /// `operator { policy = "read" }`.
    #[must_use]
    pub fn operator_read(mut self) -> Self {
        self.operator_read = true;
        self
    }

    /// A token whose time is over.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }

    fn capabilities(&self, namespace: &str) -> &[String] {
        let rule = self
            .namespaces
            .get(namespace)
            .or_else(|| self.namespaces.get("*"));
        rule.map_or(&[], Vec::as_slice)
    }

    /// In one namespace, or for `*` in any that has a rule.
    fn may(&self, namespace: &str, wanted: &[&str]) -> bool {
        let has = |capabilities: &[String]| {
            capabilities
                .iter()
                .any(|capability| wanted.contains(&capability.as_str()))
        };
        self.management
            || if namespace == "*" {
                self.namespaces.values().any(|rule| has(rule))
            } else {
                has(self.capabilities(namespace))
            }
    }

    fn sees(&self, namespace: &str) -> bool {
        self.management || !self.capabilities(namespace).is_empty()
    }

    /// Whether the stream is open to it, as `validateNsOp` has it.
    fn may_subscribe(&self, topic: &str, namespaces: &[&str]) -> bool {
        let in_each = |capability| namespaces.iter().all(|name| self.may(name, &[capability]));
        match topic {
            "Job" | "Allocation" | "Evaluation" | "Deployment" | "Service" | "CSIPlugin" => {
                in_each("read-job")
            }
            "HostVolume" => in_each("host-volume-read"),
            "CSIVolume" => in_each("csi-read-volume"),
            "Node" => self.management || self.node_read,
            "Operator" => self.management || self.operator_read,
            _ => self.management,
        }
    }

    /// Whether an ordinary path is open to it.
    fn may_read(&self, path: &str, namespace: &str, kind: Option<&str>) -> bool {
        const CSI: [&str; 4] = [
            "csi-list-volume",
            "csi-read-volume",
            "csi-mount-volume",
            "list-jobs",
        ];
        match path {
            "/v1/jobs" => self.may(namespace, &["list-jobs"]),
            "/v1/evaluations" | "/v1/allocations" | "/v1/deployments" | "/v1/services" => {
                self.may(namespace, &["read-job"])
            }
            "/v1/nodes" => self.management || self.node_read,
            "/v1/volumes" if kind == Some("csi") => self.may(namespace, &CSI),
            "/v1/agent/self" => self.management || self.agent_read,
            path if path.starts_with("/v1/volume/host/") => {
                self.may(namespace, &["host-volume-read"])
            }
            path if path.starts_with("/v1/operator/") => self.management || self.operator_read,
            "/v1/acl/token/self" => true,
            path if path.starts_with("/v1/acl/") => self.management,
            _ => true,
        }
    }
}

/// Who a request comes from.
pub(super) enum Caller<'a> {
    AclsOff,
    Known(&'a Access),
    Anonymous(&'a Access),
    Unknown,
}

/// The tokens of a cluster with ACLs.
#[derive(Debug, Default)]
pub(super) struct Acls {
    tokens: Vec<(SecretString, Access)>,
    pub(super) anonymous: Access,
}

impl Acls {
    pub(super) fn set(&mut self, token: &str, access: Access) {
        self.remove(token);
        self.tokens.push((SecretString::from(token), access));
    }

    pub(super) fn remove(&mut self, token: &str) {
        self.tokens
            .retain(|(secret, _)| secret.expose_secret() != token);
    }

    pub(super) fn caller(&self, request: &SeenRequest) -> Caller<'_> {
        if !request.has_token() {
            return Caller::Anonymous(&self.anonymous);
        }
        self.tokens
            .iter()
            .find(|(secret, _)| request.token_is(secret.expose_secret()))
            .map_or(Caller::Unknown, |(_, access)| Caller::Known(access))
    }
}

impl Caller<'_> {
    /// Why an ordinary request is refused, if it is.
    pub(super) fn refusal(&self, request: &SeenRequest) -> Option<Answer> {
        let denied = || Some(Answer::error(403, "Permission denied"));
        let access = match self {
            Self::AclsOff => return None,
            _ if request.path == "/v1/regions" => return None,
            Self::Unknown if request.path == "/v1/acl/token/self" && !request.token_is_uuid() => {
                return Some(Answer::error(
                    500,
                    "failed to parse signed token: go-jose/go-jose: compact JWS format must have three parts",
                ));
            }
            Self::Unknown => return denied(),
            Self::Known(access) if access.expired && request.path == "/v1/acl/token/self" => {
                return Some(Answer::error(500, "ACL token expired"));
            }
            Self::Known(access) | Self::Anonymous(access) => access,
        };
        let namespace = match request.query_value("namespace") {
            None | Some("") => super::DEFAULT_NAMESPACE,
            Some(name) => name,
        };
        let kind = request.query_value("type");
        if access.expired || !access.may_read(&request.path, namespace, kind) {
            return denied();
        }
        None
    }

    /// Whether a subscription is granted.
    pub(super) fn may_subscribe(&self, topics: &[&str], namespaces: &[&str]) -> bool {
        match self {
            Self::AclsOff => true,
            Self::Unknown => false,
            Self::Known(access) | Self::Anonymous(access) => {
                !access.expired
                    && topics
                        .iter()
                        .all(|topic| access.may_subscribe(topic, namespaces))
            }
        }
    }

    pub(super) fn sees(&self, namespace: &str) -> bool {
        match self {
            Self::AclsOff => true,
            Self::Unknown => false,
            Self::Known(access) | Self::Anonymous(access) => access.sees(namespace),
        }
    }

    /// What `/v1/acl/token/self` says.
    pub(super) fn identity(&self) -> Answer {
        let (accessor, kind) = match self {
            Self::AclsOff => ("acls-disabled", "client"),
            Self::Anonymous(_) => ("anonymous", "client"),
            Self::Known(access) if access.management => ("6a26f0ac-1489-f38e", "management"),
            Self::Known(_) | Self::Unknown => ("e9130aff-cd97-1e87", "client"),
        };
        Answer::json(format!(
            r#"{{"AccessorID":"{accessor}","SecretID":"the-secret-itself","Type":"{kind}","ExpirationTime":null}}"#
        ))
    }
}
