use super::*;
use crate::host::sinks::outbound::{Answer, Failure, RateLimit, RetryLimits};

const MINIMAL: &str = "endpoint = 'http://loki:3100'\nlabels.app = 'x'\nencoding.codec = 'json'\n";

/// Keeps what it was told.
#[derive(Debug)]
struct Told(Option<Tls>, usize);

impl Transport for Told {
    async fn send(&self, _: Request<Bytes>) -> Result<Answer, Failure> {
        Err(Failure::Timeout)
    }
}

fn parse(options: &str) -> Result<LokiConfig, toml::de::Error> {
    toml::from_str(&format!("{MINIMAL}{options}"))
}

fn sink_with(options: &str) -> LokiSink<Told> {
    parse(options).unwrap().sink("loki", Told).unwrap()
}

fn refusal(options: &str) -> String {
    let config = match parse(options) {
        Ok(config) => config,
        Err(error) => return error.to_string(),
    };
    config.sink("loki", Told).unwrap_err().to_string()
}

fn with_endpoint(endpoint: &str) -> Result<LokiSink<Told>, LokiConfigError> {
    let mut config = parse("").unwrap();
    config.endpoint = endpoint.to_owned();
    config.sink("loki", Told)
}

fn authorization(sink: &LokiSink<Told>) -> Option<&str> {
    sink.format.push.authorization.as_ref()?.to_str().ok()
}

#[test]
fn defaults_are_those_of_vector() {
    let sink = sink_with("");
    assert_eq!(
        sink.batch,
        BatchLimits {
            max_bytes: 1_000_000,
            max_events: 100_000,
            timeout: Duration::from_secs(1)
        }
    );
    assert_eq!(
        sink.request.retry,
        RetryLimits {
            attempts: usize::MAX,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(30)
        }
    );
    assert_eq!(sink.format.push.compression, Compression::Snappy);
    assert!(sink.format.remove_timestamp);
    assert!(sink.format.label_fields.is_empty());
    assert!(sink.format.metadata_fields.is_empty());
    let requests = sink.health.requests.iter();
    let uris: Vec<String> = requests.map(|request| request.uri().to_string()).collect();
    assert_eq!(uris, ["http://loki:3100/ready", "http://loki:3100/"]);
    assert_eq!(sink.health.timeout, Duration::from_secs(10));
    assert_eq!(sink.request.concurrency, CONCURRENCY);
    assert_eq!(sink.request.rule, RetryRule::Loki);
    assert_eq!(sink.request.rate, None);
    assert_eq!(sink.request.timeout, Duration::from_secs(60));
    assert_eq!(sink.format.push.uri, "http://loki:3100/loki/api/v1/push");
    let Told(tls, connections) = &sink.transport;
    assert!(tls.is_none(), "no certificates are read for nothing");
    assert_eq!(*connections, CONCURRENCY);
    assert_eq!(authorization(&sink), None);
}

#[test]
fn every_number_is_taken_over() {
    let sink = sink_with(
        "batch = { max_bytes = 5, max_events = 6, timeout_secs = 0.25 }\n\
         request = { timeout_secs = 7, retry_attempts = 0, retry_initial_backoff_secs = 8, retry_max_duration_secs = 9, concurrency = 10,\
         rate_limit_num = 11, rate_limit_duration_secs = 12 }\n\
         out_of_order_action = 'accept'\nhealthcheck = { enabled = false, timeout = 2.5 }",
    );
    assert_eq!(
        sink.batch,
        BatchLimits {
            max_bytes: 5,
            max_events: 6,
            timeout: Duration::from_millis(250)
        }
    );
    assert_eq!(
        sink.request.retry,
        RetryLimits {
            attempts: 0,
            initial: Duration::from_secs(8),
            max: Duration::from_secs(9)
        }
    );
    assert_eq!(sink.request.timeout, Duration::from_secs(7));
    assert_eq!((sink.request.concurrency, sink.transport.1), (10, 10));
    let rate = RateLimit {
        requests: 11,
        window: Duration::from_secs(12),
    };
    assert_eq!(sink.request.rate, Some(rate));
    assert_eq!(sink.health.timeout, Duration::from_millis(2500));
    let checks = |options| !sink_with(options).health.requests.is_empty();
    assert!(sink.health.requests.is_empty());
    assert!(!checks("healthcheck = false"));
    assert!(checks("healthcheck = {}"));
    let concurrency = |options| sink_with(options).request.concurrency;
    assert_eq!(concurrency("request.concurrency = 'none'"), 1);
}

#[test]
fn what_is_not_supported_says_where_it_is() {
    for option in [
        "proxy.enabled = false",
        "request.retry_jitter_mode = 'None'",
        "request.adaptive_concurrency.initial_concurrency = 1",
        "request.concurrency = 'adaptive'",
        "healthcheck = { uri = 'http://x', enabled = true }",
        "compression = 'zstd'",
        "compression = { algorithm = 'gzip', level = 9 }",
        "out_of_order_action = 'drop'",
        "out_of_order_action = 'rewrite_timestamp'",
        "auth = { strategy = 'aws', service = 'x' }",
        "auth = { strategy = 'custom', value = 'x' }",
    ] {
        let message = refusal(option);
        let name = option.split([' ', '.']).next().unwrap();
        assert!(message.contains("nomad-vector"), "{option}: {message}");
        assert!(message.contains(name), "{option}: {message}");
    }
}

#[test]
fn mistakes_are_refused_with_the_option() {
    let table = [
        ("batch.max_bytes = 0", "batch.max_bytes"),
        ("batch.max_events = 0", "batch.max_events"),
        ("batch.timeout_secs = 0", "batch.timeout_secs"),
        ("batch.timeout_secs = -1.0", "batch.timeout_secs"),
        ("batch.timeout_secs = nan", "batch.timeout_secs"),
        ("request.timeout_secs = 0", "request.timeout_secs"),
        ("request.retry_initial_backoff_secs = 0", "retry_initial"),
        ("request.concurrency = 0", "request.concurrency"),
        ("request.rate_limit_num = 0", "rate_limit_num"),
        (
            "request.rate_limit_duration_secs = 0",
            "rate_limit_duration",
        ),
        ("request.headers = {}", "request.headers"),
        ("healthcheck.timeout = 0", "healthcheck.timeout"),
        ("tenant_id = '{{ a..b }}'", "no path of a field"),
        ("tls.key_file = '/x'", "`tls.crt_file`"),
        ("tls.ca_file = '/nowhere/ca.pem'", "`tls.ca_file`"),
        ("structured_metadata.x = '{{ a..b }}'", "no path of a field"),
        (
            "structured_metadata.'{{ a..b }}' = 'x'",
            "no path of a field",
        ),
        ("labels.'0ab' = 'x'", "0ab"),
        ("labels.'a-b' = 'x'", "a-b"),
        ("labels.' ' = 'x'", "label name"),
        ("labels.x = '50%'", "no time format"),
        (
            "encoding.only_fields = ['a']\nencoding.except_fields = ['a']",
            "`encoding`",
        ),
        ("out_of_order_action = 'other'", "other"),
        ("bathc.max_bytes = 1", "bathc"),
        ("batch.max_size = 1", "max_size"),
        ("request.timeout = 1", "timeout"),
        ("healthcheck = 'no'", "healthcheck"),
        ("auth = { strategy = 'basic', user = 'u' }", "password"),
        (
            "auth = { strategy = 'bearer', token = 't', user = 'u' }",
            "user",
        ),
        ("path = '/a b'", "`path`"),
    ];
    for (option, expected) in table {
        let message = refusal(option);
        assert!(message.contains(expected), "{option}: {message}");
    }
    let no_labels = "endpoint = 'http://x'\nencoding.codec = 'json'\nlabels = {}";
    let config: LokiConfig = toml::from_str(no_labels).unwrap();
    assert!(matches!(
        config.build("loki").map(drop),
        Err(LokiConfigError::NoLabels)
    ));
}

#[test]
fn label_names_are_checked_as_in_vector() {
    for name in ["name", " name ", "bee_bop", "a09b", "abc_*", "_*", "*"] {
        assert!(is_label_name(name), "{name:?}");
    }
    for name in ["0ab", "", " ", "a-b", "a*b", "**"] {
        assert!(!is_label_name(name), "{name:?}");
    }
    assert_eq!(
        parse("labels.'{{ a }}-{{ b }}' = 'x'")
            .unwrap()
            .labels()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn endpoint_is_taken_apart() {
    let table = [
        (
            "http://loki:3100/",
            "http://loki:3100/loki/api/v1/push",
            None,
        ),
        (
            "http://[::1]:3100/a/",
            "http://[::1]:3100/a/loki/api/v1/push",
            None,
        ),
        (
            "http://us%40er:pa%3Ass@loki/a",
            "http://loki/a/loki/api/v1/push",
            Some("Basic dXNAZXI6cGE6c3M="),
        ),
    ];
    for (endpoint, push, credentials) in table {
        let sink = with_endpoint(endpoint).unwrap();
        assert_eq!(sink.format.push.uri, push, "{endpoint}");
        assert_eq!(authorization(&sink), credentials, "{endpoint}");
    }
    for (endpoint, expected) in [
        ("ftp://loki", "http://"),
        ("loki:3100", "http://"),
        ("/loki", "http://"),
        ("http://lo ki", "URL"),
    ] {
        let message = with_endpoint(endpoint).unwrap_err().to_string();
        assert!(message.contains(expected), "{endpoint}: {message}");
    }
}

#[test]
fn credentials_become_a_header() {
    let basic = sink_with("auth = { strategy = 'basic', user = 'u', password = 'p' }");
    assert_eq!(authorization(&basic), Some("Basic dTpw"));
    let bearer = sink_with("auth = { strategy = 'bearer', token = 't' }");
    assert_eq!(authorization(&bearer), Some("Bearer t"));

    let mut both = parse("auth = { strategy = 'bearer', token = 't' }").unwrap();
    both.endpoint = "http://u:p@loki".to_owned();
    assert!(matches!(
        both.build("loki").map(drop),
        Err(LokiConfigError::Option(OptionError::TwoCredentials(
            "endpoint"
        )))
    ));
    assert!(matches!(
        parse("auth = { strategy = 'bearer', token = \"a\\nb\" }")
            .unwrap()
            .build("loki")
            .map(drop),
        Err(LokiConfigError::Option(OptionError::Credentials))
    ));
}

#[test]
fn secrets_do_not_show() {
    for (endpoint, auth) in [
        ("http://user:hunter2@loki:3100/x", ""),
        (
            "http://loki",
            "auth = { strategy = 'basic', user = 'user', password = 'hunter2' }",
        ),
        (
            "http://loki",
            "auth = { strategy = 'bearer', token = 'hunter2' }",
        ),
        ("https://user:hunter2@loki", ""),
        ("http://user:hunter2@lo ki", ""),
        ("http://user:hunter2@loki", "path = '/a b'"),
    ] {
        let mut config = parse(auth).unwrap();
        config.endpoint = endpoint.to_owned();
        let mut shown = format!("{config:?}");
        match config.sink("loki", Told) {
            Ok(sink) => shown.push_str(&format!("{sink:?}")),
            Err(error) => shown.push_str(&format!("{error} {error:?}")),
        }
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("aHVudGVyMg"), "{shown}");
    }
}
