use super::*;
use crate::event::RaftIndex;

fn parse(text: &str) -> Result<Settings, String> {
    let options: Options = serde_json::from_str(text).map_err(|error| error.to_string())?;
    options
        .settings(|_| None)
        .map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_table() {
    let settings = parse("{}").unwrap();
    assert_eq!(settings.endpoint_names(), ["http://127.0.0.1:4646"]);
    let topics: Vec<String> = settings.topics.iter().map(ToString::to_string).collect();
    assert_eq!(topics, DEFAULT_TOPICS);
    assert_eq!(settings.namespace, "*");
    assert_eq!(settings.region, None);
    assert_eq!(settings.start_at, StartAt::Earliest);
    assert!(settings.redact);
    assert!(!settings.job_changes);
    assert!(!settings.multiple_outputs);
    assert_eq!(settings.max_line_bytes, 16 << 20);
    assert_eq!(settings.queue_bytes, 32 << 20);
    assert_eq!(settings.connect_timeout, Duration::from_secs(10));
    assert_eq!(settings.idle_timeout, Duration::from_secs(75));
    assert_eq!(settings.backoff_max, Duration::from_secs(30));
    assert_eq!(settings.status_interval, Duration::from_secs(60));
    assert_eq!(settings.stop_timeout, Duration::from_secs(4));
}

/// Each row: what is written, and a piece of the message that tells what to do.
#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let cases = [
        (r#"{"endpoints": []}"#, "the list is empty"),
        (r#"{"endpoints": ["127.0.0.1:4646"]}"#, "not an address"),
        (r#"{"endpoints": ["ftp://host"]}"#, "scheme is none"),
        (
            r#"{"endpoints": ["https://host:4646"], "tls": {"ca_file": "/no/such/ca.pem"}}"#,
            "option `tls.ca_file`: /no/such/ca.pem cannot be read",
        ),
        (
            r#"{"endpoints": ["https://host:4646"], "tls": {"key_file": "/k"}}"#,
            "option `tls.crt_file`: is missing",
        ),
        (
            r#"{"endpoints": ["http://host:4646"], "tls": {"ca_file": "/ca.pem"}}"#,
            "no endpoint is an https:// address",
        ),
        (r#"{"tls": {"enabled": true}}"#, "unknown field `enabled`"),
        (
            r#"{"endpoints": ["unix://api.sock"]}"#,
            "absolute path of a socket",
        ),
        (r#"{"endpoints": ["unix://"]}"#, "absolute path of a socket"),
        (r#"{"endpoints": ["http://host:4646/v1"]}"#, "has a path"),
        (
            r#"{"endpoints": ["http://pw#me@host:4646"]}"#,
            "%2F, %3F and %23",
        ),
        (
            r#"{"endpoints": ["http://host:4646/?token=s3cret"]}"#,
            "it has a path, a query or a fragment",
        ),
        (
            r#"{"endpoints": ["http://me:pw@host:4646/v1"]}"#,
            "it has a path, a query or a fragment",
        ),
        (r#"{"endpoints": ["me:pw@host:4646"]}"#, "scheme is none"),
        (r#"{"endpoints": ["http://me:pw@"]}"#, "not an address"),
        (r#"{"topics": []}"#, "the list is empty"),
        (r#"{"topics": ["job"]}"#, "did you mean \"Job\""),
        (r#"{"topics": ["Job", "Job"]}"#, "sends nothing of it"),
        (r#"{"topics": ["Job", "Job:*"]}"#, "sends nothing of it"),
        (r#"{"topics": ["Job", "Job:web"]}"#, "sends only the latter"),
        (r#"{"topics": ["Job:web", "Job:web"]}"#, "twice"),
        (
            r#"{"topics": ["Job:a", "Job:web", "Job:web"]}"#,
            "sends its events twice",
        ),
        (
            r#"{"topics": ["Allocation:a", "Allocation:b"]}"#,
            "can match the same event",
        ),
        (r#"{"topics": ["Job:a:b"]}"#, "a key with a colon"),
        (r#"{"topics": ["Job:web-*"]}"#, "no patterns"),
        (r#"{"topics": ["Job:"]}"#, "empty key"),
        (r#"{"topics": ["*", "Job"]}"#, "beside other topics"),
        (r#"{"topics": [""]}"#, "names no topic"),
        (
            r#"{"job_changes": true, "topics": ["Node", "Service"]}"#,
            "it needs the topic Job",
        ),
        (r#"{"namespace": ""}"#, "it is empty"),
        (r#"{"namespace": "team-*"}"#, "no patterns"),
        (r#"{"region": ""}"#, "it is empty"),
        (r#"{"token": "a", "token_file": "/t"}"#, "keep one of them"),
        (r#"{"token": "s3cret token"}"#, "line ends and quotes"),
        (
            r#"{"start_at": "now"}"#,
            "\"earliest\", \"latest\" or a Raft index",
        ),
        (r#"{"start_at": -1}"#, "Raft index"),
        (r#"{"start_at": 9223372036854775808}"#, "Raft index"),
        (r#"{"idle_timeout_secs": 0}"#, "from 1 to 86400"),
        (r#"{"max_line_bytes": 0}"#, "less than one allocation"),
        (r#"{"max_line_bytes": 4095}"#, "at least 4096"),
        (
            r#"{"topics": ["allocation"]}"#,
            "did you mean \"Allocation\"?",
        ),
        (
            r#"{"topics": ["AclToken:a"]}"#,
            "did you mean \"ACLToken\"?",
        ),
        (r#"{"endpoint": "http://host"}"#, "unknown field `endpoint`"),
    ];
    for (text, expected) in cases {
        let message = parse(text).expect_err(text);
        assert!(message.contains(expected), "{text}: {message}");
        assert!(!message.contains("pw"), "{text}: {message}");
        assert!(!message.contains("s3cret"), "{text}: {message}");
    }
}

#[test]
fn several_jobs_and_several_topics_are_fine() {
    let settings = parse(r#"{"topics": ["Job:a", "Job:b", "Allocation:a", "Node"]}"#).unwrap();
    let topics: Vec<String> = settings.topics.iter().map(ToString::to_string).collect();
    assert_eq!(topics, ["Job:a", "Job:b", "Allocation:a", "Node"]);
    // Topics whose objects have one key each.
    for topic in [
        "Job",
        "Node",
        "NodePool",
        "Variable",
        "ACLToken",
        "ACLPolicy",
        "ACLAuthMethod",
        "CSIPlugin",
    ] {
        parse(&format!(r#"{{"topics": ["{topic}:a", "{topic}:b"]}}"#)).unwrap();
    }
}

#[test]
fn what_a_program_sets_is_checked_like_what_a_file_says() {
    let mut refused = Vec::new();
    for secs in [0, u64::MAX] {
        let set: [fn(&mut Options, u64); 5] = [
            |options, secs| options.connect_timeout_secs = Some(secs),
            |options, secs| options.idle_timeout_secs = Some(secs),
            |options, secs| options.backoff_max_secs = Some(secs),
            |options, secs| options.status_interval_secs = Some(secs),
            |options, secs| options.stop_timeout_secs = Some(secs),
        ];
        for set in set {
            let mut options = Options::default();
            set(&mut options, secs);
            let error = options
                .settings(|_| None)
                .expect_err("no number of seconds");
            assert!(error.problem.contains("from 1 to 86400"), "{error}");
            refused.push(error.option);
        }
    }
    refused.dedup();
    assert_eq!(refused.len(), 10);

    let options = Options {
        start_at: StartAt::Index(RaftIndex(u64::MAX)),
        ..Options::default()
    };
    let error = options.settings(|_| None).expect_err("Nomad refuses it");
    assert_eq!(error.option, "start_at");
}

#[test]
fn an_explicit_option_wins_over_the_environment() {
    let env = |name: &str| match name {
        "NOMAD_ADDR" => Some("http://env:1".to_owned()),
        "NOMAD_REGION" => Some("env".to_owned()),
        "NOMAD_TOKEN" => Some("env-token".to_owned()),
        "NOMAD_NAMESPACE" => Some("env-namespace".to_owned()),
        _ => None,
    };
    let unset = Options::default().settings(env).unwrap();
    assert_eq!(unset.endpoint_names(), ["http://env:1"]);
    assert_eq!(unset.region.as_deref(), Some("env"));
    assert!(matches!(unset.token, Token::Fixed(token) if token.expose_secret() == "env-token"));
    // Nomad sets NOMAD_NAMESPACE in every task; following it would hide all other namespaces.
    assert_eq!(unset.namespace, "*");

    let options: Options = serde_json::from_str(
        r#"{"endpoints": ["http://a:1", "http://b:2"], "region": "eu", "token_file": "/run/token"}"#,
    )
    .unwrap();
    let set = options.settings(env).unwrap();
    assert_eq!(set.endpoint_names(), ["http://a:1", "http://b:2"]);
    assert_eq!(set.region.as_deref(), Some("eu"));
    assert!(matches!(set.token, Token::File(path) if path.as_os_str() == "/run/token"));
}

#[test]
fn a_token_and_a_password_never_show_in_debug_output() {
    let options: Options = serde_json::from_str(
        r#"{"token": "hunter2-token", "endpoints": ["http://hunter2:hunter2@host"]}"#,
    )
    .unwrap();
    let env = |name: &str| (name == "NOMAD_HTTP_AUTH").then(|| "hunter2:hunter2".to_owned());
    let settings = options.settings(env).unwrap();
    let shown = format!("{options:?} {settings:?} {settings}");
    // `aHVudGVyMg` is the name in Base64.
    assert!(
        !shown.contains("hunter2") && !shown.contains("aHVudGVyMg"),
        "{shown}"
    );
    assert_eq!(settings.endpoint_names(), ["http://host"]);
}

#[test]
fn addresses_of_all_kinds_are_shown_as_they_are_written() {
    let settings = parse(
        r#"{"endpoints": ["http://a:1", "https://[::1]", "unix:///secrets/api.sock", "unix:/x.sock"],
            "tls": {"verify_certificate": false}}"#,
    )
    .unwrap();
    assert_eq!(
        settings.endpoint_names(),
        [
            "http://a:1",
            "https://[::1]",
            "unix:///secrets/api.sock",
            "unix:///x.sock"
        ]
    );
    let places: Vec<&Place> = settings
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.place)
        .collect();
    let https = Place::Tcp {
        host: "::1".to_owned(),
        port: 443,
        tls: true,
    };
    assert_eq!(
        places[1..3],
        [&https, &Place::Unix("/secrets/api.sock".into())]
    );
    assert_eq!(settings.endpoints[2].authority(), "127.0.0.1");
}

#[test]
fn user_information_comes_from_the_address_or_from_its_variable_as_nomad_reads_it() {
    let headers = |endpoints: &str, auth: &'static str| -> Vec<Option<String>> {
        let options: Options =
            serde_json::from_str(&format!(r#"{{"endpoints": {endpoints}}}"#)).unwrap();
        let settings = options
            .settings(|name| (name == "NOMAD_HTTP_AUTH").then(|| auth.to_owned()))
            .unwrap();
        let endpoints = settings.endpoints.iter();
        endpoints
            .map(|endpoint| endpoint.auth.as_ref().map(|auth| auth.header().to_owned()))
            .collect()
    };
    let basic = |encoded: &str| Some(format!("Basic {encoded}"));
    assert_eq!(headers(r#"["http://a"]"#, ""), [None]);
    // user:pass:word
    assert_eq!(
        headers(r#"["http://a"]"#, "user:pass:word"),
        [basic("dXNlcjpwYXNzOndvcmQ=")]
    );
    // user:
    assert_eq!(headers(r#"["http://a"]"#, "user"), [basic("dXNlcjo=")]);
    // me:pw
    assert_eq!(
        headers(r#"["http://me:pw@a", "http://b"]"#, "user"),
        [basic("bWU6cHc="), basic("dXNlcjo=")]
    );
}

/// Each variable, and what it turns into: the name of what is wrong, or of what is used, in the effective values.
#[test]
fn nomads_variables_stand_for_the_options_of_tls() {
    const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/client.crt");
    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    let effective = |tls: &str, set: &[(&str, &str)]| -> String {
        let text = format!(r#"{{"endpoints": ["https://host"], "tls": {tls}}}"#);
        let options: Options = serde_json::from_str(&text).unwrap();
        let env = |name: &str| {
            let found = set.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let settings = options.settings(env).map_err(|error| error.to_string());
        settings.map_or_else(|error| error, |settings| settings.tls.unwrap().to_string())
    };
    let ca = ("NOMAD_CACERT", CA);
    assert_eq!(effective("{}", &[ca]), format!("by {CA}"));
    assert_eq!(
        effective("{}", &[("NOMAD_CAPATH", FOLDER)]),
        format!("by {FOLDER}")
    );
    assert_eq!(
        effective("{}", &[ca, ("NOMAD_CAPATH", "/none")]),
        format!("by {CA}")
    );
    assert_eq!(
        effective(
            "{}",
            &[ca, ("NOMAD_TLS_SERVER_NAME", "server.global.nomad")]
        ),
        format!("by {CA} as server.global.nomad")
    );
    for (text, expected) in [
        ("true", " without verification"),
        ("1", " without verification"),
        ("false", ""),
    ] {
        assert_eq!(
            effective("{}", &[ca, ("NOMAD_SKIP_VERIFY", text)]),
            format!("by {CA}{expected}")
        );
    }
    for (set, expected) in [
        (
            ("NOMAD_SKIP_VERIFY", "yes"),
            "option `NOMAD_SKIP_VERIFY`: \"yes\" is neither",
        ),
        (
            ("NOMAD_CLIENT_CERT", "/none.crt"),
            "option `NOMAD_CLIENT_KEY`: is missing",
        ),
        (
            ("NOMAD_CLIENT_KEY", "/none.key"),
            "option `NOMAD_CLIENT_CERT`: is missing",
        ),
        (
            ("NOMAD_TLS_SERVER_NAME", "no name"),
            "option `NOMAD_TLS_SERVER_NAME`: \"no name\"",
        ),
        (
            ("NOMAD_CACERT", "/none"),
            "option `NOMAD_CACERT`: /none cannot be read",
        ),
    ] {
        // The last one wins over the first.
        let said = if set.0 == "NOMAD_CACERT" {
            effective("{}", &[set])
        } else {
            effective("{}", &[ca, set])
        };
        assert!(said.contains(expected), "{said}");
    }
    // An option wins.
    let wins = format!(r#"{{"ca_file": "{CA}", "server_name": "a", "verify_certificate": true}}"#);
    assert_eq!(
        effective(
            &wins,
            &[
                ("NOMAD_CACERT", "/none"),
                ("NOMAD_TLS_SERVER_NAME", "b"),
                ("NOMAD_SKIP_VERIFY", "true")
            ]
        ),
        format!("by {CA} as a")
    );
}

#[test]
fn outputs_are_named_in_snake_case() {
    for (topic, name) in [
        ("Job", "job"),
        ("ACLToken", "acl_token"),
        ("ACLAuthMethod", "acl_auth_method"),
        ("CSIVolume", "csi_volume"),
        ("NodePool", "node_pool"),
        ("HostVolume", "host_volume"),
        ("Service", "service"),
    ] {
        assert_eq!(topics::output_name(topic), name);
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    for (text, expected) in [
        ("{}", None),
        (r#"{"topics": ["*"]}"#, None),
        (r#"{"topics": ["Operator", "Job:jobs"]}"#, None),
        (r#"{"topics": ["Jobs"]}"#, Some("has the topic \"Jobs\"")),
        (r#"{"idle_timeout_secs": 31}"#, None),
        (
            r#"{"idle_timeout_secs": 30}"#,
            Some("a heartbeat every 30 s"),
        ),
    ] {
        let warnings = parse(text).unwrap().warnings();
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{text}");
        if let Some(expected) = expected {
            assert!(warnings[0].contains(expected), "{text}: {warnings:?}");
        }
    }
}
