use super::*;

fn asked(namespace: &str) -> Asked {
    Asked {
        topics: ["Job", "Allocation", "Node"].map(str::to_owned).to_vec(),
        namespace: namespace.to_owned(),
        region: None,
        has_token: true,
    }
}

fn client() -> Facts {
    Facts {
        identity: Answer::Yes(Identity::Client),
        leader: Some(true),
        ..Facts::default()
    }
}

fn unlimited(identity: Identity) -> Facts {
    Facts {
        identity: Answer::Yes(identity),
        ..client()
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn check(right: Right, namespace: &str, granted: bool) -> Check {
    Check {
        right,
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        granted: Some(granted),
    }
}

/// A client token for which these checks were made, and which sees these namespaces.
fn checked(seen: &[&str], checks: Vec<Check>) -> Facts {
    Facts {
        namespaces: Answer::Yes(strings(seen)),
        checks,
        ..client()
    }
}

fn said(text: &str) -> Facts {
    Facts {
        identity: Answer::Said(500, text.to_owned()),
        ..Facts::default()
    }
}

/// Kind and message of what a refusal of 1.11.2 and later is put down to.
fn silent(asked: &Asked, facts: &Facts) -> (ErrorKind, String) {
    diagnosed(asked, facts, ErrorKind::NoFirstLine)
}

fn diagnosed(asked: &Asked, facts: &Facts, refused: ErrorKind) -> (ErrorKind, String) {
    let error = diagnose(asked, Error::new(refused, "http://a:4646: refused"), facts);
    (error.kind(), error.context().to_owned())
}

#[test]
fn every_cause_is_named() {
    let no_token = Asked {
        has_token: false,
        ..asked("*")
    };
    let region = Asked {
        region: Some("eu".to_owned()),
        ..asked("*")
    };
    let job = |namespace: &str, granted| check(Right::ReadJob, namespace, granted);
    let node = |granted| check(Right::NodeRead, "", granted);
    let table: Vec<(&str, Asked, Facts, ErrorKind, &[&str])> = vec![
        (
            "no token, and the anonymous policy gives nothing",
            no_token.clone(),
            Facts {
                identity: Answer::Yes(Identity::Anonymous),
                ..checked(&[], vec![node(false), job("*", false)])
            },
            ErrorKind::NoToken,
            &[
                "no token is set",
                "`read-job` in any namespace (for Job, Allocation)",
                "(for Node)",
            ],
        ),
        (
            "no token, and the server wants one for everything (task API)",
            no_token,
            Facts {
                identity: Answer::Said(401, String::new()),
                ..Facts::default()
            },
            ErrorKind::NoToken,
            &["none is set"],
        ),
        (
            "a token that the cluster does not know",
            asked("*"),
            Facts {
                identity: Answer::Denied,
                ..Facts::default()
            },
            ErrorKind::TokenUnknown,
            &["does not know the token"],
        ),
        (
            "a token of another form",
            asked("*"),
            Facts {
                namespaces: Answer::Denied,
                ..said("failed to parse signed token: go-jose/go-jose")
            },
            ErrorKind::TokenUnknown,
            &["workload identity"],
        ),
        (
            "an expired token",
            asked("*"),
            said("ACL token expired"),
            ErrorKind::TokenExpired,
            &["expired"],
        ),
        (
            "a missing right for nodes",
            asked("*"),
            checked(&["default"], vec![node(false), job("default", true)]),
            ErrorKind::TokenRights,
            &["lacks `node { policy = \"read\" }` (for Node)"],
        ),
        (
            "no right in any namespace",
            asked("*"),
            checked(&[], vec![node(true), job("*", false)]),
            ErrorKind::TokenRights,
            &["lacks `read-job` in any namespace (for Job, Allocation)"],
        ),
        (
            "a topic for management tokens only",
            Asked {
                topics: strings(&["*"]),
                ..asked("*")
            },
            checked(&[], vec![check(Right::Management, "", false)]),
            ErrorKind::TokenRights,
            &["lacks a management token (for *)"],
        ),
        (
            "one namespace of several",
            asked("*"),
            checked(
                &["default", "team-a", "team-b"],
                vec![
                    node(true),
                    job("default", true),
                    job("team-a", false),
                    job("team-b", true),
                ],
            ),
            ErrorKind::Namespace,
            &["`read-job` in team-a", "it can read default, team-b"],
        ),
        (
            "namespaces that it does not even see",
            asked("*"),
            Facts {
                in_any_namespace: Some(false),
                ..checked(&["team-a"], vec![node(true), job("team-a", true)])
            },
            ErrorKind::Namespace,
            &["rights in team-a only"],
        ),
        (
            "a namespace that does not exist",
            asked("ghost"),
            checked(&["team-a"], vec![node(true), job("ghost", false)]),
            ErrorKind::Namespace,
            &["`read-job` in ghost", "does not exist", "it sees team-a"],
        ),
        (
            "a namespace that it sees and may not read",
            asked("team-a"),
            checked(&["team-a"], vec![node(true), job("team-a", false)]),
            ErrorKind::TokenRights,
            &["`read-job` in team-a"],
        ),
        (
            "for the newest index of the jobs",
            asked("team-a"),
            checked(&["team-a"], vec![check(Right::ListJobs, "team-a", false)]),
            ErrorKind::TokenRights,
            &["`list-jobs` in team-a (for `start_at = \"latest\"`)"],
        ),
        (
            "an unknown region",
            region.clone(),
            Facts {
                regions: Answer::Yes(strings(&["global", "us"])),
                ..said("No path to region")
            },
            ErrorKind::Region,
            &["no region \"eu\"", "it knows global, us"],
        ),
        (
            "a token of another region",
            region,
            Facts {
                at_home: Answer::Denied,
                ..checked(&["default"], vec![node(true), job("default", true)])
            },
            ErrorKind::TokenUnknown,
            &["known in region \"eu\"", "not in the agent's own"],
        ),
        (
            "no leader, and a list that waits for one",
            asked("*"),
            said("No cluster leader"),
            ErrorKind::NoLeader,
            &["no leader"],
        ),
        (
            "no leader, and a server that says so",
            asked("*"),
            Facts {
                leader: Some(false),
                ..unlimited(Identity::AclsOff)
            },
            ErrorKind::NoLeader,
            &["no leader"],
        ),
        (
            "a broker that is off, as its configuration says",
            asked("*"),
            Facts {
                broker: Answer::Yes(Broker { enabled: false }),
                ..unlimited(Identity::Management)
            },
            ErrorKind::NoEventBroker,
            &["has `enable_event_broker = false`"],
        ),
        (
            "a broker that is probably off",
            asked("*"),
            Facts {
                broker: Answer::Denied,
                ..unlimited(Identity::AclsOff)
            },
            ErrorKind::NoEventBroker,
            &["event broker that is off"],
        ),
        (
            "a broker that is off, as a subscription that is permitted shows",
            asked("*"),
            Facts {
                in_any_namespace: Some(true),
                broker: Answer::Denied,
                trial: Some(false),
                ..checked(&["default"], vec![node(true), job("default", true)])
            },
            ErrorKind::NoEventBroker,
            &["no line either"],
        ),
        (
            "a hidden namespace",
            asked("*"),
            Facts {
                in_any_namespace: Some(true),
                broker: Answer::Denied,
                trial: Some(true),
                ..checked(&["default"], vec![node(true), job("default", true)])
            },
            ErrorKind::Namespace,
            &["hides the one for `*`"],
        ),
        (
            "a right of which the API does not tell",
            asked("team-a"),
            Facts {
                trial: Some(true),
                ..checked(
                    &["team-a"],
                    vec![Check {
                        granted: None,
                        ..check(Right::CsiReadVolume, "team-a", true)
                    }],
                )
            },
            ErrorKind::TokenRights,
            &["`csi-read-volume`"],
        ),
    ];
    for (case, asked, facts, kind, words) in table {
        let (found, message) = silent(&asked, &facts);
        assert_eq!(found, kind, "{case}: {message}");
        for word in words {
            assert!(message.contains(word), "{case}: {message}");
        }
    }
}

#[test]
fn what_was_not_found_out_is_not_guessed() {
    let everything_right = Facts {
        broker: Answer::Yes(Broker { enabled: true }),
        ..unlimited(Identity::Management)
    };
    let cut_short = Facts {
        cut_short: true,
        ..client()
    };
    let unreachable = Facts {
        identity: Answer::Failed("connection refused".to_owned()),
        ..Facts::default()
    };
    let proxied = Facts {
        broker: Answer::Yes(Broker { enabled: true }),
        trial: Some(false),
        ..unlimited(Identity::Management)
    };
    let table = [
        (proxied, "a proxy between"),
        (Facts::default(), "the agent was not asked"),
        (cut_short, "did not answer in time"),
        (unreachable, "connection refused"),
        (said("rpc error: EOF"), "answered 500 \"rpc error: EOF\""),
        (everything_right, "look right"),
    ];
    for (facts, words) in table {
        for refused in [ErrorKind::NoFirstLine, ErrorKind::Denied] {
            let (kind, message) = diagnosed(&asked("*"), &facts, refused);
            assert_eq!(kind, refused, "{message}");
            assert!(
                message.contains("could not find out why") && message.contains(words),
                "{message}"
            );
        }
    }
}

#[test]
fn a_proxy_that_wants_a_password_is_not_put_down_to_a_token_that_is_not_set() {
    let facts = Facts {
        identity: Answer::Said(401, "who are you?".to_owned()),
        ..Facts::default()
    };
    let (kind, message) = diagnosed(&asked("*"), &facts, ErrorKind::Denied);
    assert_eq!(kind, ErrorKind::Denied, "{message}");
    assert!(
        message.contains("answered 401 \"who are you?\"") && !message.contains("none is set"),
        "{message}"
    );
}

#[test]
fn trouble_at_home_is_not_put_down_to_the_token() {
    let abroad = Asked {
        region: Some("eu".to_owned()),
        ..asked("*")
    };
    for (status, text) in [
        (502, "bad gateway"),
        (429, "too many"),
        (500, "No cluster leader"),
    ] {
        let facts = Facts {
            at_home: Answer::Said(status, text.to_owned()),
            ..checked(&["default"], vec![check(Right::ReadJob, "default", true)])
        };
        let (kind, message) = silent(&abroad, &facts);
        assert_ne!(kind, ErrorKind::TokenUnknown, "{message}");
    }
}

#[test]
fn what_was_found_before_time_ran_out_counts() {
    let facts = Facts {
        cut_short: true,
        ..checked(&[], vec![check(Right::NodeRead, "", false)])
    };
    assert_eq!(silent(&asked("*"), &facts).0, ErrorKind::TokenRights);
}

#[test]
fn several_suspects_are_named_and_none_is_accused() {
    let facts = Facts {
        in_any_namespace: Some(true),
        broker: Answer::Denied,
        ..checked(&["default"], vec![check(Right::ReadJob, "default", true)])
    };
    let (kind, message) = silent(&asked("*"), &facts);
    assert_eq!(kind, ErrorKind::NoFirstLine, "{message}");
    for words in [
        "could not find out",
        "hides the one for `*`",
        "event broker that is off",
    ] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_403_is_not_put_down_to_the_broker() {
    let facts = Facts {
        in_any_namespace: Some(true),
        broker: Answer::Denied,
        ..checked(&["default"], vec![check(Right::ReadJob, "default", true)])
    };
    let (kind, message) = diagnosed(&asked("*"), &facts, ErrorKind::Denied);
    assert_eq!(kind, ErrorKind::Namespace, "{message}");
    assert!(!message.contains("broker"), "{message}");
}

#[test]
fn a_long_list_of_names_is_cut() {
    let seen: Vec<String> = (0..30).map(|number| format!("n{number}\u{1b}")).collect();
    assert_eq!(
        names(&seen),
        "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 20 more"
    );
}

#[test]
fn a_status_and_its_text_have_a_kind() {
    for (status, text, kind) in [
        (401, "", ErrorKind::Denied),
        (403, "Permission denied", ErrorKind::Denied),
        // Up to 1.9.5.
        (500, "Permission denied", ErrorKind::Denied),
        (
            429,
            "Your IP is issuing too many",
            ErrorKind::TooManyConnections,
        ),
        (500, "No path to region", ErrorKind::Region),
        (500, "EventBroker not configured", ErrorKind::NoEventBroker),
        (500, "No cluster leader", ErrorKind::NoLeader),
        (
            500,
            "dial tcp 127.0.0.1:6521: connect: connection refused",
            ErrorKind::NoServer,
        ),
        (500, "no servers", ErrorKind::NoServer),
        (500, "anything else", ErrorKind::Status),
        (302, "", ErrorKind::Status),
    ] {
        assert_eq!(kind_of(status, text), kind, "{status} {text}");
    }
}

#[test]
fn a_token_for_one_namespace_without_nodes_is_told_both_at_once() {
    let checks = vec![
        check(Right::NodeRead, "", false),
        check(Right::ReadJob, "default", true),
    ];
    let mut facts = checked(&["default"], checks);
    facts.in_any_namespace = Some(false);
    let (kind, text) = silent(&asked("*"), &facts);
    assert_eq!(kind, ErrorKind::TokenRights);
    assert!(
        text.contains("(for Node)") && text.contains("rights in default only"),
        "{text}"
    );
    // With a rule for all, or a subscription to one, there is nothing besides.
    for (namespace, anywhere) in [("*", Some(true)), ("*", None), ("default", None)] {
        facts.in_any_namespace = anywhere;
        let (_, text) = silent(&asked(namespace), &facts);
        assert!(text.ends_with("(for Node)"), "{text}");
    }
}

#[test]
fn what_is_granted_by_now_is_not_put_down_to_what_is_left() {
    let mut facts = checked(&["default"], vec![check(Right::ReadJob, "default", true)]);
    facts.in_any_namespace = Some(true);
    facts.trial = Some(true);
    let (kind, _) = silent(&asked("*"), &facts);
    assert_eq!(kind, ErrorKind::Namespace);
    facts.granted_now = Some(true);
    let (kind, text) = silent(&asked("*"), &facts);
    assert_eq!(kind, ErrorKind::NoFirstLine);
    assert!(text.ends_with("it is granted now"), "{text}");
    // After a reason that was told it is no news; after nothing it is.
    let gone = diagnose(
        &asked("*"),
        Error::new(ErrorKind::NoFirstLine, "refused"),
        &facts,
    );
    assert!(gone.is_same_cause(&Error::found_out(ErrorKind::TokenRights, "lacks")));
    assert!(!gone.is_same_cause(&Error::new(ErrorKind::Connect, "refused")));
}
