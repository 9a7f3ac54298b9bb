//! Options that are refused, and how.

use super::*;

fn refusal(options: &str) -> String {
    let with_codec = if options.contains("codec") { "" } else { JSON };
    let with_uri = if options.starts_with("uri") {
        ""
    } else {
        SCRIPTED
    };
    match toml::from_str::<HttpConfig>(&format!("{with_codec}{with_uri}{options}")) {
        Err(error) => error.to_string(),
        Ok(config) => config
            .sink("alerts", |_, _| Scripted::default())
            .map(drop)
            .unwrap_err()
            .to_string(),
    }
}

#[test]
fn what_only_vector_has_says_where_it_works() {
    for option in [
        "compression = 'zstd'",
        "compression = 'snappy'",
        "compression = { algorithm = 'gzip', level = 9 }",
        "auth = { strategy = 'aws', service = 'x' }",
        "auth = { strategy = 'custom', value = 'x' }",
        "proxy.enabled = false",
        "request.concurrency = 'adaptive'",
        "request.retry_jitter_mode = 'None'",
        "request.adaptive_concurrency.initial_concurrency = 1",
        "encoding.codec = 'native_json'",
    ] {
        let message = refusal(option);
        assert!(message.contains("nomad-vector"), "{option}: {message}");
    }
}

#[test]
fn mistakes_are_refused_with_the_option() {
    for (option, expected) in [
        ("uri = 'localhost:80'", "`uri`: must start with http"),
        ("uri = '/x'", "`uri`: must start with http"),
        ("uri = 'ht tp'", "`uri`: not a URL"),
        ("uri = 'http://{{ a..b }}'", "`uri`: not a template"),
        ("method = 'connect'", "connect"),
        ("payload_prefix = '{'", "`payload_prefix`"),
        ("payload_suffix = '}'", "`payload_suffix`"),
        ("framing.method = 'length_delimited'", "length_delimited"),
        ("framing.method = 'character_delimited'", "delimiter"),
        (
            "framing = { method = 'bytes', character_delimited.delimiter = ',' }",
            "delimiter",
        ),
        (
            "framing = { method = 'character_delimited', character_delimited.delimiter = 'é' }",
            "ASCII",
        ),
        ("request.headers.'a b' = 'x'", "\"(not shown)\" is no name"),
        ("request.headers.a = \"x\\ny\"", "value of \"a\""),
        (
            "request.headers.Authorization = 'x'\nauth = { strategy = 'bearer', token = 't' }",
            "remove one of them",
        ),
        (
            "uri = 'http://u:p@h'\nauth = { strategy = 'bearer', token = 't' }",
            "credentials in `uri` too",
        ),
        ("batch.max_events = 0", "batch.max_events"),
        ("batch.max_bytes = 0", "batch.max_bytes"),
        ("batch.timeout_secs = 0", "batch.timeout_secs"),
        ("request.timeout_secs = 0", "request.timeout_secs"),
        ("request.rate_limit_num = 0", "request.rate_limit_num"),
        ("healthcheck.uri = 'nowhere'", "`healthcheck.uri`"),
        (
            "retry_strategy = { type = 'custom', status_codes = [99] }",
            "99",
        ),
        ("retry_strategy = { type = 'sometimes' }", "sometimes"),
        ("tls.crt_file = '/x'", "`tls.key_file`"),
        ("endpoint = 'http://x'", "endpoint"),
    ] {
        let message = refusal(option);
        assert!(message.contains(expected), "{option}: {message}");
    }
}

#[test]
fn defaults_are_those_of_vector() {
    let sink = scripted(&Scripted::default(), JSON);
    assert_eq!(sink.batch.max_bytes, 10_000_000);
    assert_eq!(sink.batch.max_events, usize::MAX);
    assert_eq!(sink.batch.timeout.as_secs(), 1);
    assert_eq!(sink.request.timeout.as_secs(), 60);
    assert_eq!(sink.request.concurrency, 1);
    assert_eq!(sink.request.retry.attempts, usize::MAX);
    assert_eq!(sink.request.rate, None);
}
