//! Names that Vector 0.56.0 knows and this program may not: so that a refusal can say where they work.
//!
//! Nothing here makes an option work. What this program has is decided by the structs that read a component; a name that they
//! refuse is looked up here, to tell an option of Vector from a misspelt one.

/// Tables and options at the top of a configuration file.
const TOP: &[&str] = &[
    "acknowledgements",
    "api",
    "buffer_utilization_ewma_half_life_seconds",
    "enrichment_tables",
    "expire_metrics",
    "expire_metrics_per_metric_set",
    "expire_metrics_secs",
    "healthchecks",
    "latency_ewma_alpha",
    "log_schema",
    "metrics_storage_refresh_period",
    "provider",
    "proxy",
    "schema",
    "secret",
    "telemetry",
    "tests",
    "timezone",
    "wildcard_matching",
];

/// Options that Vector reads for every component of a kind.
const COMMON: &[(&str, &[&str])] = &[
    ("source", &["graph", "proxy"]),
    ("transform", &["graph"]),
    ("test", &["metric"]),
    (
        "sink",
        &["graph", "healthcheck", "healthcheck_uri", "proxy"],
    ),
];

/// Options of the component types that both have. A dot leads into a table; `=` gives a value of an option.
const OF_TYPE: &[(&str, &[&str])] = &[
    (
        "remap",
        &["files", "metric_tag_values", "runtime", "timezone"],
    ),
    ("route", &["reroute_unmatched"]),
    (
        "loki",
        &[
            "auth",
            "batch",
            "compression",
            "encoding",
            "labels",
            "out_of_order_action",
            "path",
            "remove_label_fields",
            "remove_structured_metadata_fields",
            "remove_timestamp",
            "request",
            "structured_metadata",
            "tenant_id",
            "tls",
        ],
    ),
    (
        "http",
        &[
            "auth",
            "batch",
            "compression",
            "encoding",
            "framing",
            "method",
            "payload_prefix",
            "payload_suffix",
            "request",
            "retry_strategy",
            "tls",
            "uri",
        ],
    ),
    ("console", &["framing"]),
    ("blackhole", &["print_interval_secs", "rate"]),
    (
        "prometheus_exporter",
        &[
            "acknowledgements",
            "buckets",
            "default_namespace",
            "distributions_as_summaries",
            "namespace",
            "quantiles",
            "tls",
        ],
    ),
];

/// Options of `encoding`, whatever the sink.
const ENCODING: &[&str] = &[
    "avro",
    "cef",
    "csv",
    "gelf",
    "metric_tag_values",
    "protobuf",
    "syslog",
];

/// Types of conditions.
const CONDITIONS: &[&str] = &["datadog_search", "is_log", "is_metric", "is_trace", "vrl"];

const SOURCES: &[&str] = &[
    "amqp",
    "apache_metrics",
    "aws_ecs_metrics",
    "aws_kinesis_firehose",
    "aws_s3",
    "aws_sqs",
    "datadog_agent",
    "demo_logs",
    "dnstap",
    "docker_logs",
    "eventstoredb_metrics",
    "exec",
    "file",
    "file_descriptor",
    "fluent",
    "gcp_pubsub",
    "heroku_logs",
    "host_metrics",
    "http",
    "http_client",
    "http_server",
    "internal_logs",
    "internal_metrics",
    "journald",
    "kafka",
    "kubernetes_logs",
    "logstash",
    "mongodb_metrics",
    "mqtt",
    "nats",
    "nginx_metrics",
    "okta",
    "opentelemetry",
    "postgresql_metrics",
    "prometheus_pushgateway",
    "prometheus_remote_write",
    "prometheus_scrape",
    "pulsar",
    "redis",
    "socket",
    "splunk_hec",
    "static_metrics",
    "statsd",
    "stdin",
    "syslog",
    "vector",
    "websocket",
    "windows_event_log",
];

const TRANSFORMS: &[&str] = &[
    "aggregate",
    "aws_ec2_metadata",
    "dedupe",
    "delay",
    "exclusive_route",
    "filter",
    "incremental_to_absolute",
    "log_to_metric",
    "lua",
    "metric_to_log",
    "reduce",
    "remap",
    "route",
    "sample",
    "tag_cardinality_limit",
    "throttle",
    "trace_to_log",
    "window",
];

const SINKS: &[&str] = &[
    "amqp",
    "appsignal",
    "aws_cloudwatch_logs",
    "aws_cloudwatch_metrics",
    "aws_kinesis_firehose",
    "aws_kinesis_streams",
    "aws_s3",
    "aws_sns",
    "aws_sqs",
    "axiom",
    "azure_blob",
    "azure_logs_ingestion",
    "azure_monitor_logs",
    "blackhole",
    "clickhouse",
    "console",
    "databend",
    "databricks_zerobus",
    "datadog_events",
    "datadog_logs",
    "datadog_metrics",
    "datadog_traces",
    "doris",
    "elasticsearch",
    "file",
    "gcp_chronicle_unstructured",
    "gcp_cloud_storage",
    "gcp_pubsub",
    "gcp_stackdriver_logs",
    "gcp_stackdriver_metrics",
    "greptimedb",
    "greptimedb_logs",
    "greptimedb_metrics",
    "honeycomb",
    "http",
    "humio_logs",
    "humio_metrics",
    "influxdb_logs",
    "influxdb_metrics",
    "kafka",
    "keep",
    "logdna",
    "loki",
    "mezmo",
    "mqtt",
    "nats",
    "new_relic",
    "opentelemetry",
    "papertrail",
    "postgres",
    "prometheus_exporter",
    "prometheus_remote_write",
    "pulsar",
    "redis",
    "sematext_logs",
    "sematext_metrics",
    "socket",
    "splunk_hec_logs",
    "splunk_hec_metrics",
    "statsd",
    "vector",
    "webhdfs",
    "websocket",
    "websocket_server",
];

/// Whether Vector has this name at the top of a file.
pub(super) fn top(name: &str) -> bool {
    TOP.contains(&name)
}

/// Whether Vector has this component type.
pub(super) fn component_type(kind: &str, name: &str) -> bool {
    match kind {
        "source" => SOURCES,
        "transform" => TRANSFORMS,
        _ => SINKS,
    }
    .contains(&name)
}

/// Whether Vector has this option of a component, or this value where the option takes one of a few.
///
/// `path` leads to the table that holds the option, `name` is the option or the value.
pub(super) fn option(kind: &str, component_type: &str, path: &[&str], name: &str) -> bool {
    let listed = |lists: &[(&str, &[&str])], key: &str| {
        lists
            .iter()
            .any(|(owner, names)| *owner == key && names.contains(&name))
    };
    match path {
        [] => listed(COMMON, kind) || listed(OF_TYPE, component_type),
        ["encoding"] if kind == "sink" => ENCODING.contains(&name),
        ["framing", "method"] if kind == "sink" => {
            ["length_delimited", "varint_length_delimited"].contains(&name)
        }
        ["framing"] if kind == "sink" => ["length_delimited", "max_frame_length"].contains(&name),
        ["buffer", "when_full"] if kind == "sink" => name == "overflow",
        [.., "type"] if kind == "transform" => CONDITIONS.contains(&name),
        ["input", ..] | ["inputs"] if kind == "test" => name == "metric",
        ["outputs"] if kind == "test" => CONDITIONS.contains(&name),
        _ => false,
    }
}
