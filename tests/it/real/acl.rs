//! The engine against real servers with ACLs: what the shipped policy is enough for, and what is told of tokens, policies,
//! namespaces, regions and brokers that are not as they should be.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::following::follower::Follower;
use crate::servers::cluster::Writer;
use crate::servers::folder;
use crate::servers::nomad::{NomadServer, SHIPPED_POLICY};
use crate::servers::scenario::{self, SECOND_NAMESPACE};
use crate::servers::wire::{Line, Reader};
use nomad_events::checkpoint::GapCause;

use super::TOPICS;
use super::compare::{
    QUIET, assert_same, missing, seen_by, taken_by, until_connected, until_something_came,
};

/// Until a refusal has been met three times: each takes as long as a server may be silent before its first line, and a probe.
const REFUSED_LIMIT: Duration = Duration::from_secs(120);
/// How long the token lives that expires while it is used: enough to connect, also on a busy machine.
const LIFETIME: Duration = Duration::from_secs(10);

fn follow(nomad: &NomadServer, options: &Value) -> Follower {
    let url = format!("http://{}", nomad.address());
    Follower::with_endpoints(&[url], &options.to_string())
}

/// The largest index of a reader's lines.
fn newest(lines: &[Line]) -> u64 {
    seen_by(lines).keys().map(|key| key.0).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn the_shipped_policy_is_enough_for_everything_by_default_and_for_latest() {
    let nomad = NomadServer::start();
    scenario::prepare(&nomad);
    let token = nomad.shipped_token();
    let reader = Reader::start(nomad.api().clone(), &TOPICS, "*");
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    let before = newest(&reader.lines());
    let mut follower = follow(&nomad, &json!({"token": token.secret}));
    let mut latest = follow(
        &nomad,
        &json!({"token": token.secret, "start_at": "latest"}),
    );
    until_connected(&mut follower, 1).await;
    until_connected(&mut latest, 1).await;

    scenario::play_some(&nomad);
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    let lines = reader.stop();
    assert_same(&mut follower, &lines).await;
    let topics: BTreeSet<&str> = follower
        .events()
        .iter()
        .map(|event| &*event.topic)
        .collect();
    assert_eq!(topics, BTreeSet::from(TOPICS));
    let namespaces: BTreeSet<&str> =
        (follower.events().iter().map(|event| &*event.namespace)).collect();
    assert_eq!(
        namespaces,
        BTreeSet::from(["", "default", SECOND_NAMESPACE])
    );

    latest.settle(QUIET).await;
    let mut new = seen_by(&lines);
    new.retain(|key, _| key.0 > before);
    let taken = taken_by(&latest);
    assert_eq!(missing(&taken, &new), Vec::<String>::new());
    assert!(
        taken.keys().all(|key| key.0 > before),
        "{:?}",
        latest.indexes()
    );
    for follower in [&follower, &latest] {
        assert_eq!(follower.told(), Vec::<&_>::new());
        assert_eq!(follower.gaps().len(), 0, "{:?}", follower.gaps());
    }
}

/// A refusal, and what has to be told of it.
struct Refusal {
    case: &'static str,
    options: Value,
    cause: &'static str,
    words: &'static [&'static str],
}

/// Follows until it was refused three times, and asserts that this was told once.
async fn assert_told(nomad: &NomadServer, refusal: Refusal) {
    let Refusal {
        case,
        mut options,
        cause,
        words,
    } = refusal;
    options["backoff_max_secs"] = json!(1);
    let mut follower = follow(nomad, &options);
    let often =
        |follower: &Follower| follower.status().disconnects >= 3 && !follower.told().is_empty();
    follower.until_within(REFUSED_LIMIT, often).await;
    let told = follower.told();
    assert_eq!(told.len(), 1, "{case}: {told:?}");
    assert_eq!(told[0].cause, cause, "{case}: {told:?}");
    let message = &told[0].message;
    for words in words {
        assert!(message.contains(words), "{case}: {message}");
    }
    if let Some(secret) = options["token"].as_str() {
        assert!(!format!("{told:?}").contains(secret), "{case}: {told:?}");
    }
    assert_eq!(follower.notices("Connected"), 0, "{case}");
    println!("{case}: {message}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn every_refusal_of_a_real_server_is_told_once_with_what_is_missing() {
    const ALL_JOBS: &str = r#"namespace "*" { capabilities = ["read-job"] }"#;
    const NODES: &str = r#"node { policy = "read" }"#;
    let nomad = NomadServer::start();
    scenario::prepare(&nomad);
    let shipped = nomad.shipped_token();
    let expired = nomad.make_token("nomad-events", Some(Duration::from_secs(1)));
    let with_policy = |name: &str, rules: &[&str]| {
        nomad.apply_policy(name, &rules.join("\n"));
        json!({"token": nomad.make_token(name, None).secret})
    };
    let one_namespace = r#"namespace "default" { capabilities = ["read-job"] }"#;
    let topics = |topics: &[&str]| json!({"token": shipped.secret, "topics": topics});
    let mut latest = with_policy("no-list", &[ALL_JOBS, NODES]);
    latest["start_at"] = json!("latest");
    nomad.wait_until_expired(&expired);
    let refusals = [
        Refusal {
            case: "no token",
            options: json!({}),
            cause: "no_token",
            words: &["`read-job`", "node { policy", "set `token`"],
        },
        Refusal {
            case: "a wrong token",
            options: json!({"token": "99999999-2222-3333-4444-555555555555"}),
            cause: "token_unknown",
            words: &["does not know the token"],
        },
        Refusal {
            case: "the accessor instead of the secret",
            options: json!({"token": shipped.accessor}),
            cause: "token_unknown",
            words: &["it is the SecretID, not the AccessorID"],
        },
        Refusal {
            case: "a token that is none",
            options: json!({"token": "hunter2"}),
            cause: "token_unknown",
            words: &["workload identity"],
        },
        Refusal {
            case: "an expired token",
            options: json!({"token": expired.secret}),
            cause: "token_expired",
            words: &["create a new token"],
        },
        Refusal {
            case: "one namespace, and no nodes",
            options: with_policy("narrow", &[one_namespace]),
            cause: "token_rights",
            words: &[
                "node { policy = \"read\" }",
                "(for Node)",
                "rights in default only",
                "nomad-events.policy.hcl",
            ],
        },
        Refusal {
            case: "one namespace",
            options: with_policy("one-namespace", &[one_namespace, NODES]),
            cause: "namespace",
            words: &["rights in default only", "set `namespace`"],
        },
        Refusal {
            case: "a namespace with other rights",
            options: with_policy(
                "other-rights",
                &[
                    ALL_JOBS,
                    NODES,
                    r#"namespace "team-a" { capabilities = ["submit-job"] }"#,
                ],
            ),
            cause: "namespace",
            words: &["`read-job` in team-a", "it can read default"],
        },
        Refusal {
            case: "a namespace that a rule hides",
            options: with_policy(
                "hidden",
                &[
                    ALL_JOBS,
                    NODES,
                    r#"namespace "team-a" { capabilities = [] }"#,
                ],
            ),
            cause: "namespace",
            words: &["hides the one for `*`"],
        },
        Refusal {
            case: "no nodes",
            options: with_policy("no-nodes", &[ALL_JOBS]),
            cause: "token_rights",
            words: &["node { policy = \"read\" }"],
        },
        Refusal {
            case: "no jobs",
            options: with_policy("no-jobs", &[NODES]),
            cause: "token_rights",
            words: &[
                "`read-job`",
                "(for Job, Allocation, Evaluation, Deployment, Service)",
            ],
        },
        Refusal {
            case: "latest without the list",
            options: latest,
            cause: "token_rights",
            words: &["`list-jobs`", "start_at = \"latest\""],
        },
        Refusal {
            case: "every topic",
            options: topics(&["*"]),
            cause: "token_rights",
            words: &["a management token (for *)"],
        },
        Refusal {
            case: "volumes",
            options: topics(&["Job", "HostVolume"]),
            cause: "token_rights",
            words: &["`host-volume-read`", "(for HostVolume)"],
        },
        Refusal {
            case: "an unknown region",
            options: json!({"token": shipped.secret, "region": "mars"}),
            cause: "region",
            words: &["no region \"mars\"", "it knows global"],
        },
    ];
    join_all(refusals.map(|refusal| assert_told(&nomad, refusal))).await;
}

/// What the message about a token for one namespace says to do is right.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_token_for_one_namespace_follows_that_one() {
    let nomad = NomadServer::start();
    scenario::prepare(&nomad);
    let rules = SHIPPED_POLICY.replace(r#""*""#, r#""team-a""#);
    nomad.apply_policy("team-a", &rules);
    let token = nomad.make_token("team-a", None);
    let options = json!({"token": token.secret, "namespace": "team-a"});
    let mut follower = follow(&nomad, &options);
    let reader = Reader::start(nomad.api().clone(), &TOPICS, "team-a");
    until_connected(&mut follower, 1).await;
    scenario::play_some(&nomad);
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    assert_same(&mut follower, &reader.stop()).await;
    let namespaces: BTreeSet<&str> =
        (follower.events().iter().map(|event| &*event.namespace)).collect();
    assert_eq!(namespaces, BTreeSet::from(["", "team-a"]));
    assert_eq!(follower.told(), Vec::<&_>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_broker_that_is_off_is_told_whatever_the_token_may_see() {
    let nomad = NomadServer::start_with("server {\n  enable_event_broker = false\n}\n", None);
    let shipped = nomad.shipped_token();
    let sees_agents = format!("{SHIPPED_POLICY}\nagent {{ policy = \"read\" }}\n");
    nomad.apply_policy("sees-agents", &sees_agents);
    let sees_agents = nomad.make_token("sees-agents", None);
    let refusal = |case, token: &str| Refusal {
        case,
        options: json!({"token": token}),
        cause: "no_event_broker",
        words: &["enable_event_broker = true"],
    };
    let refusals = [
        refusal("no broker, the shipped policy", &shipped.secret),
        refusal("no broker, seen in the configuration", &sees_agents.secret),
        refusal("no broker, a management token", nomad.management_token()),
    ];
    join_all(refusals.map(|refusal| assert_told(&nomad, refusal))).await;
}

/// From 1.11.2 on the server says nothing: no event and no heartbeat any more, and the end at some later time.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_right_that_is_lost_while_streaming_is_told_and_nothing_is_lost_when_it_is_back() {
    let nomad = NomadServer::start();
    scenario::prepare(&nomad);
    let reader = Reader::start(nomad.api().clone(), &TOPICS, "*");
    let deleted = nomad.shipped_token();
    nomad.apply_policy("narrowed", SHIPPED_POLICY);
    let narrowed = nomad.make_token("narrowed", None);
    let files = folder("tokens");
    let file_of = |name: &str, secret: &str| {
        let path = files.path().join(name);
        fs::write(&path, secret).unwrap();
        path
    };
    let options = |name: &str, secret: &str| {
        // Short against a silent server, which a heartbeat does not contradict as long as there are writes.
        json!({
            "token_file": file_of(name, secret), "idle_timeout_secs": 5, "backoff_max_secs": 1,
        })
    };
    let writer = Writer::start(nomad.api().clone(), "write", 3);
    let expires = nomad.make_token("nomad-events", Some(LIFETIME));
    let mut followers = [
        ("deleted", &deleted, "token_unknown"),
        ("narrowed", &narrowed, "token_rights"),
        ("expired", &expires, "token_expired"),
    ]
    .map(|(name, token, cause)| (follow(&nomad, &options(name, &token.secret)), name, cause));
    for (follower, ..) in &mut followers {
        until_something_came(follower).await;
    }

    nomad.delete_token(&deleted);
    nomad.apply_policy(
        "narrowed",
        r#"namespace "*" { capabilities = ["read-job"] }"#,
    );
    // The server looks at the open streams before the change is in its state, and may find the old one; the next change of
    // a policy, whichever, has it look again.
    nomad.apply_policy("unrelated", SHIPPED_POLICY);
    // Of an unread notice and a newer one only the newer is kept, so nothing may be waited for but the followers.
    let told = followers.each_mut().map(async |(follower, name, cause)| {
        let reason_told =
            |follower: &Follower| follower.told().iter().any(|told| told.cause == *cause);
        follower.until_within(REFUSED_LIMIT, reason_told).await;
        println!("{name}: {:?}", follower.told());
    });
    join_all(told).await;

    nomad.apply_policy("narrowed", SHIPPED_POLICY);
    for name in ["deleted", "expired"] {
        file_of(name, &nomad.make_token("nomad-events", None).secret);
    }
    for (follower, name, cause) in &mut followers {
        until_connected(follower, 2).await;
        // That it ended, and then why it could not be had again: each once.
        let told: Vec<&str> = follower.told().iter().map(|told| told.cause).collect();
        assert!(
            matches!(told.as_slice(), ["idle" | "closed" | "broken", why] if why == cause),
            "{name}: {:?}",
            follower.told()
        );
    }
    drop(writer);
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    let lines = reader.stop();
    for (follower, name, _) in &mut followers {
        assert_same(follower, &lines).await;
        assert_eq!(follower.gaps().len(), 0, "{name}: {:?}", follower.gaps());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_namespace_that_is_made_while_connected_is_followed_and_its_beginning_is_a_gap() {
    let nomad = NomadServer::start();
    scenario::prepare(&nomad);
    let token = nomad.shipped_token();
    let options = json!({"token": token.secret, "namespace_refresh_secs": 5});
    let mut follower = follow(&nomad, &options);
    until_connected(&mut follower, 1).await;
    follower.settle(QUIET).await;
    let register = |namespace: &str, name: &str| {
        let mut job = nomad.parse(scenario::CLEANUP);
        for field in ["ID", "Name"] {
            job[field] = json!(name);
        }
        job["Namespace"] = json!(namespace);
        nomad.register(&job);
    };

    nomad.post("/v1/namespace", &json!({"Name": "young"}));
    register("young", "first");
    // Later than the namespace's own, so that something of it has gone by.
    register("default", "other");
    until_connected(&mut follower, 2).await;
    register("young", "second");

    let reader = Reader::start(nomad.api().clone(), &TOPICS, "*");
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    let seen = seen_by(&reader.stop());
    follower.settle(QUIET).await;
    let taken = taken_by(&follower);
    let gaps = follower.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let gap = gaps[0];
    assert_eq!(gap.cause, GapCause::NamespaceAdded);
    assert_eq!(gap.namespace.as_deref(), Some("young"));
    let to = gap.to.expect("an end");
    let lost = seen.keys().filter(|key| !taken.contains_key(*key));
    let lost: Vec<u64> = lost.map(|key| key.0).collect();
    assert!(
        lost.iter().all(|index| (gap.from.0..=to.0).contains(index)),
        "{lost:?}: {gap:?}"
    );
    assert!(
        !lost.is_empty(),
        "nothing was passed over, so nothing was shown"
    );
    let second = (follower.events().iter()).any(|event| &*event.key == "second");
    assert!(second, "it is not followed: {:?}", follower.seen());
    assert!(missing(&seen, &taken).is_empty());
    assert!(!follower.repeated());
    assert_eq!(follower.told(), Vec::<&_>::new());
}
