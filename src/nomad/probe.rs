//! Asks ordinary endpoints why the stream was refused.
//!
//! All questions go to the address that refused, with the same token, and with `stale`: the stream is answered from the
//! server's own state too.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Client;
use super::diagnosis::{Answer, Asked, Broker, Check, Facts, Identity, kind_of};
use super::request::{Query, stream_target};
use super::rights::Right;
use crate::error::{Error, ErrorKind};
use crate::event::RaftIndex;
use crate::options::Token;

/// Limit for all questions of a probe together.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a trial subscription may be without a line.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// An index that no cluster reaches: a subscription from there brings the newest line, and no older ones.
const NEWEST: u64 = i64::MAX.cast_unsigned();
/// The namespace that every cluster has.
const DEFAULT_NAMESPACE: &str = "default";
/// Longest answer that is read, whatever the question.
pub(super) const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// In so many namespaces the rights are looked at.
const MAX_PROBED_NAMESPACES: usize = 20;
/// A namespace that nobody has: only a rule for `*` gives rights in it.
const NO_SUCH_NAMESPACE: &str = "nomad-events-no-such-namespace";

/// Why it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The stream was refused.
    Stream,
    /// A list was refused, from which `start_at = "latest"` wanted to know the newest index.
    Latest,
}

/// Of the token nothing is read that is secret; its `SecretID` stands in the same answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TokenSelf {
    #[serde(rename = "AccessorID")]
    accessor_id: String,
    r#type: String,
}

impl TokenSelf {
    /// The names are those that Nomad gives to tokens which are none (`nomad/structs/acl.go`).
    fn identity(&self) -> Identity {
        match (self.accessor_id.as_str(), self.r#type.as_str()) {
            ("acls-disabled", _) => Identity::AclsOff,
            ("anonymous", _) => Identity::Anonymous,
            (_, "management") => Identity::Management,
            _ => Identity::Client,
        }
    }
}

#[derive(Deserialize)]
struct AgentSelf {
    config: AgentConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentConfig {
    region: Option<String>,
    server: Option<ServerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServerConfig {
    enabled: Option<bool>,
    enable_event_broker: Option<bool>,
}

impl Client {
    /// Asks what a refusal does not say. Never fails: what could not be learned is missing in the facts.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes its connections.
    pub(crate) async fn probe(&self, endpoint: usize, purpose: Purpose) -> Facts {
        let mut facts = Facts::default();
        let asking = self.ask_all(endpoint, purpose, &mut facts);
        if tokio::time::timeout(PROBE_TIMEOUT, asking).await.is_err() {
            facts.cut_short = true;
        }
        facts
    }

    /// What the probe is about.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            topics: self
                .settings
                .topics
                .iter()
                .map(|filter| filter.topic.clone())
                .collect(),
            namespace: self.settings.namespace.clone(),
            region: self.settings.region.clone(),
            has_token: !matches!(self.settings.token, Token::None),
        }
    }

    /// One question after the other, and none whose answer would change nothing.
    async fn ask_all(&self, endpoint: usize, purpose: Purpose, facts: &mut Facts) {
        let region = self.settings.region.as_deref();
        let (token, leader) = self
            .ask::<TokenSelf>(endpoint, &target("/v1/acl/token/self", &[], region))
            .await;
        facts.leader = leader;
        facts.identity = token.and_then(|token| Answer::Yes(token.identity()));
        match &facts.identity {
            Answer::Said(500, text) if kind_of(500, text) == ErrorKind::Region => {
                let target = target("/v1/regions", &[], None);
                facts.regions = self.ask(endpoint, &target).await.0;
                return;
            }
            Answer::Said(500, _) => {
                self.ask_namespaces(endpoint, facts).await;
                return;
            }
            Answer::Yes(Identity::AclsOff | Identity::Management) => {}
            Answer::Yes(_) | Answer::Said(404, _) => {
                self.ask_rights(endpoint, purpose, facts).await;
                if facts
                    .checks
                    .iter()
                    .any(|check| check.granted == Some(false))
                {
                    return;
                }
            }
            _ => return,
        }
        if region.is_some() && facts.identity != Answer::Yes(Identity::AclsOff) {
            let target = target("/v1/acl/token/self", &[], None);
            let (token, _) = self.ask::<TokenSelf>(endpoint, &target).await;
            facts.at_home = match token {
                // A workload identity is no ACL token.
                Answer::Said(404, _) => Answer::Yes(()),
                token => token.and_then(|_| Answer::Yes(())),
            };
        }
        facts.broker = self.ask_broker(endpoint, region).await;
        if facts.broker != Answer::Yes(Broker { enabled: false })
            && let Some((topic, namespace)) = permitted(facts)
        {
            facts.trial = self.try_topic(endpoint, topic, &namespace).await;
        }
        // Rights may have been given between the refusal and the questions.
        if purpose == Purpose::Stream && facts.trial == Some(true) {
            let target = stream_target(&self.settings, RaftIndex(NEWEST));
            facts.granted_now = self.try_stream(endpoint, &target).await;
        }
    }

    /// Whether a line comes of a subscription that the token may have.
    async fn try_topic(&self, endpoint: usize, topic: &str, namespace: &str) -> Option<bool> {
        let newest = NEWEST.to_string();
        let pairs = [
            ("index", newest.as_str()),
            ("topic", topic),
            ("namespace", namespace),
        ];
        let target = target("/v1/event/stream", &pairs, self.settings.region.as_deref());
        self.try_stream(endpoint, &target).await
    }

    /// Whether a line comes of a subscription. A server that grants it sends one at once.
    async fn try_stream(&self, endpoint: usize, target: &str) -> Option<bool> {
        let trial = async {
            let (status, mut body, _connection) = self.get(endpoint, target).await.ok()?;
            (status == StatusCode::OK).then_some(())?;
            Some(matches!(body.frame().await, Some(Ok(_))))
        };
        tokio::time::timeout(TRIAL_TIMEOUT, trial)
            .await
            .unwrap_or(Some(false))
    }

    async fn ask_namespaces(&self, endpoint: usize, facts: &mut Facts) {
        facts.namespaces = match self.namespaces(endpoint).await {
            Ok(list) => Answer::Yes(
                list.namespaces
                    .into_iter()
                    .map(|namespace| namespace.name)
                    .collect(),
            ),
            Err(error) if error.kind() == ErrorKind::Denied => Answer::Denied,
            Err(error) => Answer::Failed(error.to_string()),
        };
    }

    async fn ask_rights(&self, endpoint: usize, purpose: Purpose, facts: &mut Facts) {
        let mut rights: Vec<Right> = self
            .settings
            .topics
            .iter()
            .map(|filter| Right::for_topic(&filter.topic))
            .collect();
        if purpose == Purpose::Latest {
            rights.push(Right::ListJobs);
        }
        rights.sort_unstable();
        rights.dedup();
        let (of_namespaces, others): (Vec<Right>, Vec<Right>) = rights
            .into_iter()
            .partition(|right| right.is_of_a_namespace());
        for right in others {
            let check = self.check(endpoint, right, None).await;
            facts.checks.push(check);
        }
        if of_namespaces.is_empty() {
            return;
        }
        self.ask_namespaces(endpoint, facts).await;
        let namespace = self.settings.namespace.as_str();
        // A list of all namespaces opens to a right in any of them; the stream wants it in each.
        let places = match (&facts.namespaces, namespace) {
            (Answer::Yes(seen), "*") if !seen.is_empty() => {
                seen.iter().take(MAX_PROBED_NAMESPACES).cloned().collect()
            }
            _ => vec![namespace.to_owned()],
        };
        for place in places {
            for &right in &of_namespaces {
                let check = self.check(endpoint, right, Some(place.clone())).await;
                facts.checks.push(check);
            }
        }
        if namespace == "*"
            && let Some(&right) = of_namespaces.iter().find(|right| right.yes_is_certain())
        {
            let check = self.check(endpoint, right, Some(NO_SUCH_NAMESPACE.to_owned()));
            facts.in_any_namespace = check.await.granted;
        }
    }

    async fn check(&self, endpoint: usize, right: Right, namespace: Option<String>) -> Check {
        let granted = match right.question() {
            // Asked only for a token that is none.
            None => Some(false),
            Some(question) => {
                let mut pairs = vec![("per_page", "1")];
                pairs.extend(namespace.as_deref().map(|name| ("namespace", name)));
                pairs.extend(question.kind.map(|kind| ("type", kind)));
                let region = self.settings.region.as_deref();
                let target = target(question.path, &pairs, region);
                match self.look(endpoint, &target).await.0 {
                    Answer::Denied => Some(false),
                    // What does not exist may be asked for.
                    Answer::Yes(_) | Answer::Said(404, _) => right.yes_is_certain().then_some(true),
                    _ => None,
                }
            }
        };
        Check {
            right,
            namespace,
            granted,
        }
    }

    /// Whether the server's configuration has the broker on. Only a server of the subscribed region can tell, and only to a
    /// token with `agent { policy = "read" }`.
    async fn ask_broker(&self, endpoint: usize, region: Option<&str>) -> Answer<Broker> {
        let target = target("/v1/agent/self", &[], None);
        let (agent, _) = self.ask::<AgentSelf>(endpoint, &target).await;
        agent.and_then(|AgentSelf { config }| match config.server {
            Some(server)
                if server.enabled == Some(true)
                    && (region.is_none() || region == config.region.as_deref()) =>
            {
                Answer::Yes(Broker {
                    enabled: server.enable_event_broker.unwrap_or(true),
                })
            }
            _ => Answer::None,
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: usize,
        target: &str,
    ) -> (Answer<T>, Option<bool>) {
        let (answer, leader) = self.look(endpoint, target).await;
        let answer = answer.and_then(|body| {
            serde_json::from_slice(&body).map_or_else(
                |_| Answer::Failed("what the agent answers is not what Nomad answers".to_owned()),
                Answer::Yes,
            )
        });
        (answer, leader)
    }

    /// The body of an answer of 200, or what came instead; and whether the server knows of a leader.
    async fn look(&self, endpoint: usize, target: &str) -> (Answer<Vec<u8>>, Option<bool>) {
        match self.read(endpoint, target).await {
            Ok((Read::Body(body), leader)) => (Answer::Yes(body), leader),
            Ok((Read::Refusal(status, text), leader)) => {
                let answer = match kind_of(status, &text) {
                    ErrorKind::Denied if status != 401 => Answer::Denied,
                    _ => Answer::Said(status, text),
                };
                (answer, leader)
            }
            Err(error) => (Answer::Failed(error.context().to_owned()), None),
        }
    }

    /// The body of a list, and whether the server knows of a leader.
    pub(super) async fn read_list(
        &self,
        endpoint: usize,
        target: &str,
    ) -> Result<(Vec<u8>, Option<bool>), Error> {
        match self.read(endpoint, target).await? {
            (Read::Body(body), leader) => Ok((body, leader)),
            (Read::Refusal(status, text), _) => Err(super::refusal(target, status, &text)),
        }
    }

    async fn read(&self, endpoint: usize, target: &str) -> Result<(Read, Option<bool>), Error> {
        let (status, body, connection) = self.get(endpoint, target).await?;
        let leader = connection.leader();
        let limit = self.settings.connect_timeout;
        if status != StatusCode::OK {
            let text = self.said(body, &connection).await;
            return Ok((Read::Refusal(status.as_u16(), text), leader));
        }
        let fail =
            |what: String| Error::new(ErrorKind::List, format!("{}: {what}", self.name(endpoint)));
        let body = tokio::time::timeout(limit, bounded(body))
            .await
            .unwrap_or_else(|_| Err(format!("the answer took more than {} s", limit.as_secs())))
            .map_err(fail)?;
        Ok((Read::Body(body), leader))
    }
}

/// A topic and a namespace that are open to the token for certain.
fn permitted(facts: &Facts) -> Option<(&'static str, String)> {
    if let Answer::Yes(Identity::AclsOff | Identity::Management) = facts.identity {
        return Some(("Node", DEFAULT_NAMESPACE.to_owned()));
    }
    facts.checks.iter().find_map(|check| {
        let topic = match check.right {
            Right::NodeRead => "Node",
            Right::ReadJob => "Job",
            Right::HostVolumeRead => "HostVolume",
            _ => return None,
        };
        let namespace = check.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        // A yes for `*` is one for any namespace, and the stream wants it in each.
        (check.granted == Some(true) && namespace != "*").then(|| (topic, namespace.to_owned()))
    })
}

enum Read {
    Body(Vec<u8>),
    Refusal(u16, String),
}

async fn bounded(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > MAX_ANSWER_BYTES {
                return Err(format!(
                    "the answer is longer than {MAX_ANSWER_BYTES} bytes"
                ));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// Path and query of a question.
pub(super) fn target(path: &str, pairs: &[(&str, &str)], region: Option<&str>) -> String {
    let mut query = Query::new(path);
    // Of the stream's parameters this is one that it passes over, if it is well-formed.
    query.add("stale", "true");
    for (name, value) in pairs {
        query.add(name, value);
    }
    if let Some(region) = region {
        query.add("region", region);
    }
    query.finish()
}
