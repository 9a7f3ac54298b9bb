use super::*;

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
        (r#"{"endpoints": ["ftp://host"]}"#, "not a scheme"),
        (
            r#"{"endpoints": ["https://host:4646"]}"#,
            "not supported by this version",
        ),
        (r#"{"endpoints": ["http://host:4646/v1"]}"#, "has a path"),
        (
            r#"{"endpoints": ["http://host:4646/?token=s3cret"]}"#,
            "http://host:4646 has a path or query",
        ),
        (
            r#"{"endpoints": ["http://me:pw@host:4646"]}"#,
            "remove the part before",
        ),
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
fn a_token_never_shows_in_debug_output() {
    let options: Options = serde_json::from_str(r#"{"token": "hunter2-token"}"#).unwrap();
    let settings = options.settings(|_| None).unwrap();
    assert!(!format!("{options:?} {settings:?} {settings}").contains("hunter2"));
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
