//! The options of the source, as Vector documents and checks them.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use nomad_events::Options;
use nomad_events::options::{self, DEFAULT_TOPICS, process_env};
use nomad_events::tls::{PemSource, TlsOptions};
use secrecy::SecretString;
use tracing::{info, warn};
use vector::config::{
    DataType, LogNamespace, ProxyConfig, SourceConfig, SourceContext, SourceOutput, log_schema,
};
use vector::schema::Definition;
use vector::sources::Source;
use vector::tls::TlsConfig;
use vector_lib::config::LegacyKey;
use vector_lib::configurable::configurable_component;
use vector_lib::impl_generate_config_from_default;
use vector_lib::lookup::owned_value_path;
use vector_lib::schema::meaning;
use vector_lib::sensitive_string::SensitiveString;
use vrl::value::Kind;
use vrl::value::kind::Collection;

use crate::source::{NOMAD, NomadEventsSource};

/// Configuration for the `nomad_events` source.
#[configurable_component(source(
    "nomad_events",
    "Collect events from the event stream of a HashiCorp Nomad cluster."
))]
#[derive(Clone)]
#[serde(deny_unknown_fields)]
pub struct NomadEventsConfig {
    /// The addresses of servers or agents of one region, tried in turn.
    ///
    /// `http://`, `https://`, or `unix:///path` for the Task API. By default `NOMAD_ADDR`, and without it
    /// `http://127.0.0.1:4646`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[configurable(metadata(docs::examples = "http://127.0.0.1:4646"))]
    #[configurable(metadata(docs::examples = "https://nomad.service.consul:4646"))]
    #[configurable(metadata(docs::examples = "unix:///secrets/api.sock"))]
    pub endpoints: Option<Vec<String>>,

    /// The topics to subscribe to: `Topic`, or `Topic:key` for the events of one object.
    ///
    /// The default topics need the capability `read-job` in every namespace, and `node:read`. `*` needs a management token.
    #[serde(default = "default_topics")]
    #[configurable(metadata(docs::examples = "Job"))]
    #[configurable(metadata(docs::examples = "Allocation:web"))]
    pub topics: Vec<String>,

    /// The namespace whose events are collected, or `*` for all.
    #[serde(default = "default_namespace")]
    #[configurable(metadata(docs::examples = "production"))]
    pub namespace: String,

    /// The region to ask for.
    ///
    /// By default `NOMAD_REGION`, and without it the region of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[configurable(metadata(docs::examples = "global"))]
    pub region: Option<String>,

    /// The ACL token.
    ///
    /// By default `NOMAD_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[configurable(metadata(docs::examples = "${NOMAD_TOKEN}"))]
    pub token: Option<SensitiveString>,

    /// A file that holds the ACL token, read again at every connect.
    ///
    /// Not together with `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[configurable(metadata(docs::examples = "/secrets/nomad_token"))]
    pub token_file: Option<PathBuf>,

    #[configurable(derived)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,

    #[configurable(derived)]
    #[serde(default)]
    pub start_at: StartAt,

    /// The directory in which the position is saved, so that a restart goes on where the source has stopped.
    ///
    /// By default, the [global `data_dir` option][global_data_dir] is used. The directory has to exist, and the running user
    /// needs write permissions to it: the source makes a directory of its own in it, named by the component.
    ///
    /// [global_data_dir]: https://vector.dev/docs/reference/configuration/global-options/#data_dir
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[configurable(metadata(docs::examples = "/var/local/lib/vector/"))]
    #[configurable(metadata(docs::human_name = "Data Directory"))]
    pub data_dir: Option<PathBuf>,

    /// Whether secrets in payloads are replaced by `[REDACTED]`.
    ///
    /// In jobs these are the environment, templates, and most of the configuration of tasks; in any event the user
    /// information of URLs.
    #[serde(default = "default_redact")]
    pub redact: bool,

    /// Whether Nomad is asked what each new version of a job has changed.
    ///
    /// The first event that shows the version has the changes then, or says why they are not known. Reading waits for the
    /// answer, 3 seconds at most. Of values only those of container images are shown.
    #[serde(default)]
    pub job_changes: bool,

    /// Whether each topic has an output of its own.
    ///
    /// The outputs are named after the topics, such as `<component>.job` or `<component>.acl_token`. Notices about the stream
    /// itself leave by `<component>.notices`, events of all other topics by `<component>._unmatched`.
    #[serde(default)]
    pub multiple_outputs: bool,

    /// The longest line that is taken.
    ///
    /// A longer one is discarded while it is read, counted, and announced by a notice. Nomad sends everything that one write
    /// changed in one line, 4 to 5 KB for each allocation.
    #[serde(default = "default_max_line_bytes")]
    #[configurable(metadata(docs::type_unit = "bytes"))]
    pub max_line_bytes: NonZeroUsize,

    /// How much text may be read without an answer from the sinks.
    ///
    /// When so much is waiting, reading stops. Events that wait in Vector as parsed objects take about ten times the memory of
    /// their text.
    #[serde(default = "default_queue_bytes")]
    #[configurable(metadata(docs::type_unit = "bytes"))]
    pub queue_bytes: NonZeroUsize,

    /// The limit for a connection and its first answer.
    #[serde(default = "default_connect_timeout_secs")]
    #[configurable(metadata(docs::type_unit = "seconds"))]
    pub connect_timeout_secs: u64,

    /// The time without a byte after which a connection is dead.
    ///
    /// Nomad sends a heartbeat every 30 seconds.
    #[serde(default = "default_idle_timeout_secs")]
    #[configurable(metadata(docs::type_unit = "seconds"))]
    pub idle_timeout_secs: u64,

    /// The longest pause between two attempts to connect.
    #[serde(default = "default_backoff_max_secs")]
    #[configurable(metadata(docs::type_unit = "seconds"))]
    pub backoff_max_secs: u64,

    /// The time between two looks at the list of namespaces.
    ///
    /// A new namespace is followed from then on.
    #[serde(default = "default_namespace_refresh_secs")]
    #[configurable(metadata(docs::type_unit = "seconds"))]
    pub namespace_refresh_secs: u64,

    /// The time between two notices of type `Status`.
    #[serde(default = "default_status_interval_secs")]
    #[configurable(metadata(docs::type_unit = "seconds"))]
    pub status_interval_secs: u64,

    /// How long answers from sinks are waited for after a request to stop.
    ///
    /// Keep it below Nomad's `kill_timeout`, which is 5 seconds by default.
    #[serde(default = "default_stop_timeout_secs")]
    #[configurable(metadata(docs::type_unit = "seconds"))]
    pub stop_timeout_secs: u64,

    /// The namespace to use for logs. This overrides the global setting.
    #[configurable(metadata(docs::hidden))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_namespace: Option<bool>,
}

/// Where to begin.
#[configurable_component]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(
    untagged,
    expecting = "expected \"earliest\", \"latest\" or a Raft index"
)]
pub enum StartAt {
    /// A point that has a name.
    Named(StartPoint),

    /// The Raft index to begin with, or the next one that exists.
    Index(u64),
}

/// A point of the stream that has a name.
#[configurable_component]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum StartPoint {
    /// The oldest event that the server still has.
    #[default]
    Earliest,

    /// What happens from now on.
    Latest,
}

impl Default for StartAt {
    fn default() -> Self {
        Self::Named(StartPoint::default())
    }
}

impl From<StartAt> for nomad_events::StartAt {
    fn from(start_at: StartAt) -> Self {
        match start_at {
            StartAt::Named(StartPoint::Earliest) => Self::Earliest,
            StartAt::Named(StartPoint::Latest) => Self::Latest,
            StartAt::Index(index) => Self::Index(nomad_events::RaftIndex(index)),
        }
    }
}

fn default_topics() -> Vec<String> {
    DEFAULT_TOPICS.map(str::to_owned).to_vec()
}

fn default_namespace() -> String {
    "*".to_owned()
}

const fn default_redact() -> bool {
    true
}

const fn default_max_line_bytes() -> NonZeroUsize {
    NonZeroUsize::new(options::DEFAULT_MAX_LINE_BYTES).expect("a positive default")
}

const fn default_queue_bytes() -> NonZeroUsize {
    NonZeroUsize::new(options::DEFAULT_QUEUE_BYTES).expect("a positive default")
}

const fn default_connect_timeout_secs() -> u64 {
    options::DEFAULT_CONNECT_TIMEOUT_SECS
}

const fn default_idle_timeout_secs() -> u64 {
    options::DEFAULT_IDLE_TIMEOUT_SECS
}

const fn default_backoff_max_secs() -> u64 {
    options::DEFAULT_BACKOFF_MAX_SECS
}

const fn default_namespace_refresh_secs() -> u64 {
    options::DEFAULT_NAMESPACE_REFRESH_SECS
}

const fn default_status_interval_secs() -> u64 {
    options::DEFAULT_STATUS_INTERVAL_SECS
}

const fn default_stop_timeout_secs() -> u64 {
    options::DEFAULT_STOP_TIMEOUT_SECS
}

impl Default for NomadEventsConfig {
    fn default() -> Self {
        Self {
            endpoints: None,
            topics: default_topics(),
            namespace: default_namespace(),
            region: None,
            token: None,
            token_file: None,
            tls: None,
            start_at: StartAt::default(),
            data_dir: None,
            redact: default_redact(),
            job_changes: false,
            multiple_outputs: false,
            max_line_bytes: default_max_line_bytes(),
            queue_bytes: default_queue_bytes(),
            connect_timeout_secs: default_connect_timeout_secs(),
            idle_timeout_secs: default_idle_timeout_secs(),
            backoff_max_secs: default_backoff_max_secs(),
            namespace_refresh_secs: default_namespace_refresh_secs(),
            status_interval_secs: default_status_interval_secs(),
            stop_timeout_secs: default_stop_timeout_secs(),
            log_namespace: None,
        }
    }
}

impl_generate_config_from_default!(NomadEventsConfig);

impl fmt::Debug for NomadEventsConfig {
    /// As the engine shows its options: without passwords in addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NomadEventsConfig")
            .field(&self.options())
            .finish()
    }
}

impl NomadEventsConfig {
    /// The options of the engine.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        options.endpoints.clone_from(&self.endpoints);
        options.topics = Some(self.topics.clone());
        options.namespace = Some(self.namespace.clone());
        options.region.clone_from(&self.region);
        options.token = self
            .token
            .as_ref()
            .map(|token| SecretString::from(token.inner()));
        options.token_file.clone_from(&self.token_file);
        options.tls = self.tls.as_ref().map(tls_options);
        options.start_at = self.start_at.into();
        options.data_dir.clone_from(&self.data_dir);
        options.redact = Some(self.redact);
        options.job_changes = self.job_changes;
        options.multiple_outputs = self.multiple_outputs;
        options.max_line_bytes = Some(self.max_line_bytes);
        options.queue_bytes = Some(self.queue_bytes);
        options.connect_timeout_secs = Some(self.connect_timeout_secs);
        options.idle_timeout_secs = Some(self.idle_timeout_secs);
        options.backoff_max_secs = Some(self.backoff_max_secs);
        options.namespace_refresh_secs = Some(self.namespace_refresh_secs);
        options.status_interval_secs = Some(self.status_interval_secs);
        options.stop_timeout_secs = Some(self.stop_timeout_secs);
        options
    }
}

fn tls_options(tls: &TlsConfig) -> TlsOptions {
    // A path that came out of a configuration file is Unicode.
    let source = |path: &Option<PathBuf>| {
        path.as_ref()
            .map(|path| PemSource::from(path.to_string_lossy().as_ref()))
    };
    let mut options = TlsOptions::default();
    options.verify_certificate = tls.verify_certificate;
    options.verify_hostname = tls.verify_hostname;
    options.alpn_protocols.clone_from(&tls.alpn_protocols);
    options.ca_file = source(&tls.ca_file);
    options.crt_file = source(&tls.crt_file);
    options.key_file = source(&tls.key_file);
    options.key_pass = tls.key_pass.as_deref().map(SecretString::from);
    options.server_name.clone_from(&tls.server_name);
    options
}

#[async_trait::async_trait]
#[typetag::serde(name = "nomad_events")]
impl SourceConfig for NomadEventsConfig {
    async fn build(&self, cx: SourceContext) -> vector::Result<Source> {
        let mut settings = self.options().settings(process_env)?;
        // As other sources look for their folder, but without making it: what builds may only want to validate.
        let data_dir = cx
            .globals
            .resolve_and_validate_data_dir(self.data_dir.as_ref())?;
        settings.keep_position(Some(&data_dir), cx.key.id())?;
        let warnings = settings.warnings();
        for warning in warnings
            .iter()
            .map(String::as_str)
            .chain(unused_proxy(&cx.proxy))
        {
            warn!(message = "Configuration is probably not as meant.", %warning);
        }
        info!(message = "Options in effect.", %settings);
        let source = NomadEventsSource::new(&cx, settings, cx.log_namespace(self.log_namespace));
        Ok(Box::pin(source.run(cx.out, cx.shutdown)))
    }

    fn outputs(&self, global_log_namespace: LogNamespace) -> Vec<SourceOutput> {
        let schema = schema_definition(global_log_namespace.merge(self.log_namespace));
        let output = SourceOutput::new_maybe_logs(DataType::Log, schema);
        match self.options().output_names() {
            None => vec![output],
            Some(names) => names
                .into_iter()
                .map(|name| output.clone().with_port(name))
                .collect(),
        }
    }

    fn can_acknowledge(&self) -> bool {
        true
    }
}

/// Every source has Vector's option `proxy`, and it may come from the environment, where it is meant for others.
fn unused_proxy(proxy: &ProxyConfig) -> Option<&'static str> {
    let is_set = proxy.enabled && (proxy.http.is_some() || proxy.https.is_some());
    is_set.then_some(
        "option `proxy` (or HTTP_PROXY, HTTPS_PROXY): it is not used, the source connects to Nomad itself; set `proxy.enabled` to false",
    )
}

/// What events look like. In step with what `source.rs` puts into them.
fn schema_definition(log_namespace: LogNamespace) -> Definition {
    let name = NomadEventsConfig::NAME;
    let text = Kind::bytes;
    let mut schema =
        Definition::new_with_default_metadata(Kind::object(Collection::empty()), [log_namespace])
            .with_event_field(&owned_value_path!("Topic"), text(), None)
            .with_event_field(&owned_value_path!("Type"), text(), None)
            .with_event_field(&owned_value_path!("Key"), text(), None)
            .with_event_field(&owned_value_path!("Namespace"), text(), None)
            .with_event_field(
                &owned_value_path!("FilterKeys"),
                Kind::array(Collection::empty().with_unknown(text())).or_null(),
                None,
            )
            // An index beyond 2^63 is kept as its digits.
            .with_event_field(
                &owned_value_path!("Index"),
                Kind::integer().or_bytes(),
                None,
            )
            // Whatever the topic has; `null` where it cannot be read as a tree.
            .with_event_field(
                &owned_value_path!("Payload"),
                Kind::object(Collection::any()).or_null(),
                None,
            )
            .with_source_metadata(
                name,
                log_schema()
                    .timestamp_key()
                    .cloned()
                    .map(LegacyKey::Overwrite),
                &owned_value_path!("timestamp"),
                Kind::timestamp(),
                Some(meaning::TIMESTAMP),
            );
    for (field, kind) in [
        ("changes", Kind::object(Collection::any()).or_undefined()),
        ("changes_error", text().or_undefined()),
        ("event_id", text()),
        ("origin", text()),
        ("payload_error", text().or_undefined()),
        ("region", text().or_undefined()),
        ("timestamp_source", text()),
    ] {
        schema = schema.with_source_metadata(
            name,
            Some(LegacyKey::Overwrite(owned_value_path!(NOMAD, field))),
            &owned_value_path!(field),
            kind,
            None,
        );
    }
    schema.with_standard_vector_source_metadata()
}

#[cfg(test)]
mod tests;
