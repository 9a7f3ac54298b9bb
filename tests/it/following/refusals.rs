//! Who refuses us, and why: said by every version in its own way, or not at all.

use std::time::Duration;

use futures_util::future::join_all;
use nomad_events::testing::nomad::{
    Access, FakeNomad, FakeNomadBuilder, Fault, Leader, Point, STREAM_PATH, Script, Version,
};

use super::follower::Follower;
use super::job;

const TOKEN: &str = "11111111-2222-3333-4444-555555555555";
const OPTIONS: &str = r#"{"token": "11111111-2222-3333-4444-555555555555", "backoff_max_secs": 1}"#;

/// What the shipped policy gives.
fn policy() -> Access {
    Access::client()
        .namespace("*", ["read-job", "list-jobs"])
        .node_read()
}

fn builder(version: Version) -> FakeNomadBuilder {
    FakeNomad::builder()
        .version(version)
        .eof_delay(Duration::from_millis(10))
}

struct Row {
    case: &'static str,
    fake: fn(FakeNomadBuilder) -> FakeNomadBuilder,
    after: fn(&FakeNomad),
    options: &'static str,
    cause: &'static str,
    words: &'static [&'static str],
}

fn with_rights_in_team_a(fake: FakeNomadBuilder) -> FakeNomadBuilder {
    let access = Access::client()
        .namespace("team-a", ["read-job"])
        .node_read();
    fake.namespace("team-a", 3).token_with(TOKEN, access)
}

const ROW: Row = Row {
    case: "",
    fake: |fake| fake,
    after: |_| {},
    options: OPTIONS,
    cause: "",
    words: &[],
};

const ROWS: [Row; 17] = [
    Row {
        case: "a namespace that a rule by its name hides",
        fake: |fake| {
            fake.namespace("team-a", 3)
                .token_with(TOKEN, policy().namespace("team-a", []))
        },
        cause: "namespace",
        words: &["hides the one for `*`", "set `namespace`"],
        ..ROW
    },
    Row {
        case: "no token",
        fake: |fake| fake.token(TOKEN),
        options: r#"{"backoff_max_secs": 1}"#,
        cause: "no_token",
        words: &["`read-job`", "set `token`"],
        ..ROW
    },
    Row {
        case: "a wrong token",
        fake: |fake| fake.token("99999999-2222-3333-4444-555555555555"),
        cause: "token_unknown",
        words: &["does not know the token"],
        ..ROW
    },
    Row {
        case: "a token that is none",
        fake: |fake| fake.token(TOKEN),
        options: r#"{"token": "hunter2", "backoff_max_secs": 1}"#,
        cause: "token_unknown",
        words: &["workload identity"],
        ..ROW
    },
    Row {
        case: "an expired token",
        fake: |fake| fake.token_with(TOKEN, policy().expired()),
        cause: "token_expired",
        words: &["create a new token"],
        ..ROW
    },
    Row {
        case: "no right for nodes",
        fake: |fake| fake.token_with(TOKEN, Access::client().namespace("*", ["read-job"])),
        cause: "token_rights",
        words: &["node { policy", "(for Node)"],
        ..ROW
    },
    Row {
        case: "no right at all",
        fake: |fake| fake.token_with(TOKEN, Access::client()),
        cause: "token_rights",
        words: &["`read-job`", "node { policy", "nomad-events.policy.hcl"],
        ..ROW
    },
    Row {
        case: "every topic, and a client token",
        fake: |fake| fake.token_with(TOKEN, policy()),
        options: r#"{"topics": ["*"], "token": "11111111-2222-3333-4444-555555555555", "backoff_max_secs": 1}"#,
        cause: "token_rights",
        words: &["a management token (for *)"],
        ..ROW
    },
    Row {
        case: "volumes",
        fake: |fake| fake.token_with(TOKEN, Access::client().namespace("*", ["read-job"])),
        options: r#"{"topics": ["HostVolume", "CSIVolume"], "token": "11111111-2222-3333-4444-555555555555", "backoff_max_secs": 1}"#,
        cause: "token_rights",
        words: &["`host-volume-read`", "`csi-read-volume`"],
        ..ROW
    },
    Row {
        case: "one namespace of several",
        fake: |fake| {
            fake.namespace("team-a", 3)
                .namespace("team-b", 4)
                .token_with(TOKEN, policy().namespace("team-b", ["submit-job"]))
        },
        cause: "namespace",
        words: &[
            "`read-job` in team-b",
            "it can read default, team-a",
            "set `namespace`",
        ],
        ..ROW
    },
    Row {
        case: "namespaces that it does not see",
        fake: with_rights_in_team_a,
        cause: "namespace",
        words: &["rights in team-a only"],
        ..ROW
    },
    Row {
        case: "a namespace that does not exist",
        fake: with_rights_in_team_a,
        options: r#"{"namespace": "ghost", "token": "11111111-2222-3333-4444-555555555555", "backoff_max_secs": 1}"#,
        cause: "namespace",
        words: &["in ghost", "does not exist", "it sees", "team-a"],
        ..ROW
    },
    Row {
        case: "an unknown region",
        fake: |fake| fake.region("eu"),
        options: r#"{"region": "mars", "backoff_max_secs": 1}"#,
        cause: "region",
        words: &["no region \\\"mars\\\"", "it knows eu"],
        ..ROW
    },
    Row {
        case: "no broker, and a token that may see the configuration",
        fake: |fake| {
            fake.without_event_broker()
                .token_with(TOKEN, policy().agent_read())
        },
        cause: "no_event_broker",
        words: &["enable_event_broker = true"],
        ..ROW
    },
    Row {
        case: "no broker, and a token that may not",
        fake: |fake| fake.without_event_broker().token_with(TOKEN, policy()),
        cause: "no_event_broker",
        words: &["enable_event_broker = true"],
        ..ROW
    },
    Row {
        case: "no broker and no ACLs, and a token all the same",
        fake: |fake| fake.without_event_broker(),
        cause: "no_event_broker",
        words: &["enable_event_broker"],
        ..ROW
    },
    Row {
        case: "an agent that reaches no server",
        after: |fake| {
            for _ in 0..20 {
                fake.script(Script::answer(
                    500,
                    "dial tcp 127.0.0.1:6521: connect: connection refused",
                ));
            }
        },
        cause: "no_server",
        words: &["dial tcp", "nomad server members"],
        ..ROW
    },
];

async fn told_as_expected(row: &Row, version: Version) {
    let case = format!("{} at {version:?}", row.case);
    let fake = (row.fake)(builder(version)).start().await.unwrap();
    (row.after)(&fake);
    let mut follower = Follower::of(&fake, row.options);
    follower.until_notices("Disconnected", 1).await;
    let notice = follower.notice("Disconnected");
    let cause = format!("cause: {:?}", row.cause);
    assert!(notice.contains(&cause), "{case}: {notice}");
    for words in row.words {
        assert!(notice.contains(words), "{case}: {notice}");
    }
    for secret in [TOKEN, "hunter2", "the-secret-itself"] {
        assert!(!notice.contains(secret), "{case}: {notice}");
    }
    // Tried on, and said once.
    follower.until(|f| f.status().disconnects >= 3).await;
    assert_eq!(follower.notices("Disconnected"), 1, "{case}");
    assert_eq!(follower.notices("Connected"), 0, "{case}");
}

#[tokio::test]
async fn every_refusal_is_told_with_its_reason_by_every_version() {
    let cases = Version::ALL
        .into_iter()
        .flat_map(|version| ROWS.iter().map(move |row| told_as_expected(row, version)));
    join_all(cases).await;
}

#[tokio::test]
async fn without_a_leader_a_refusal_is_put_down_to_that() {
    for version in Version::ALL {
        let fake = builder(version).start().await.unwrap();
        fake.deny(STREAM_PATH);
        fake.set_leader(Leader {
            known: false,
            last_contact: Duration::from_secs(6),
        });
        let mut follower = Follower::of(&fake, OPTIONS);
        follower.until_notices("Disconnected", 1).await;
        let notice = follower.notice("Disconnected");
        assert!(notice.contains("\"no_leader\""), "{notice}");
    }
}

#[tokio::test]
async fn a_reason_is_told_once_and_again_when_it_changes() {
    for version in Version::ALL {
        let fake = builder(version)
            .token_with(TOKEN, Access::client())
            .start()
            .await
            .unwrap();
        let mut follower = Follower::of(&fake, OPTIONS);
        follower.until(|f| f.status().disconnects >= 3).await;
        follower.until_notices("Disconnected", 1).await;
        assert_eq!(follower.notices("Disconnected"), 1);

        // The same kind, and something else is missing.
        fake.grant(TOKEN, Access::client().namespace("*", ["read-job"]));
        follower.until_notices("Disconnected", 2).await;
        let notice = follower.notice("Disconnected");
        assert!(
            notice.contains("token_rights") && !notice.contains("lacks `read-job`"),
            "{notice}"
        );
        fake.grant(TOKEN, policy().expired());
        follower.until_notices("Disconnected", 3).await;
        assert!(follower.notice("Disconnected").contains("token_expired"));

        fake.grant(TOKEN, policy());
        fake.append_batch(&job(5, "a")).unwrap();
        follower.until_events(1).await;
        assert_eq!(follower.notices("Disconnected"), 3);

        // Revoked while it streams: that it ended, and then why it cannot be had again.
        fake.revoke(TOKEN);
        fake.inject(&Fault::SubscriptionClosed);
        follower.until_notices("Disconnected", 5).await;
        assert!(follower.notice("Disconnected").contains("token_unknown"));
    }
}

/// The last refusal before a policy is mended is asked about when all is well.
#[tokio::test]
async fn a_refusal_that_is_mended_before_it_is_asked_about_accuses_nobody() {
    for version in Version::ALL {
        let fake = builder(version)
            .token_with(TOKEN, policy())
            .start()
            .await
            .unwrap();
        fake.script(Script::new().fault(Point::Bytes(0), Fault::Close));
        fake.append_batch(&job(5, "a")).unwrap();
        let mut follower = Follower::of(&fake, OPTIONS);
        follower.until_events(1).await;
        follower.until_notices("Disconnected", 1).await;
        let told = follower.told();
        assert_eq!(told.len(), 1, "{version:?}: {told:?}");
        assert_eq!(told[0].cause, "no_first_line", "{version:?}: {told:?}");
        let message = &told[0].message;
        assert!(message.contains("granted now"), "{version:?}: {message}");
    }
}

#[tokio::test]
async fn a_probe_that_learns_nothing_says_so() {
    let fake = builder(Version::V1_11_3).start().await.unwrap();
    fake.deny(STREAM_PATH);
    fake.answer_once("/v1/acl/token/self", 500, "rpc error: EOF");
    let mut follower = Follower::of(&fake, r#"{"backoff_max_secs": 1}"#);
    follower.until_notices("Disconnected", 1).await;
    let notice = follower.notice("Disconnected");
    assert!(
        notice.contains("no_first_line")
            && notice.contains("could not find out why")
            && notice.contains("rpc error: EOF"),
        "{notice}"
    );
}

#[tokio::test]
async fn latest_is_refused_with_its_reason_too() {
    let access = Access::client().namespace("*", ["read-job"]).node_read();
    let fake = builder(Version::V1_11_3)
        .token_with(TOKEN, access)
        .start()
        .await
        .unwrap();
    let options = r#"{"start_at": "latest", "token": "11111111-2222-3333-4444-555555555555"}"#;
    let mut follower = Follower::of(&fake, options);
    follower.until_notices("Disconnected", 1).await;
    let notice = follower.notice("Disconnected");
    assert!(
        notice.contains("token_rights") && notice.contains("`list-jobs`"),
        "{notice}"
    );
    fake.grant(TOKEN, policy());
    fake.append_batch(&job(5, "old")).unwrap();
    follower.until_notices("Connected", 1).await;
    fake.append_batch(&job(6, "new")).unwrap();
    follower.until_events(1).await;
    assert_eq!(follower.indexes(), [6]);
}

#[tokio::test]
async fn one_dead_and_one_refusing_address_do_not_stop_the_good_one() {
    let dead = builder(Version::V1_11_3).start().await.unwrap();
    dead.stop().await;
    let refusing = builder(Version::V1_11_3)
        .token("other")
        .start()
        .await
        .unwrap();
    let good = builder(Version::V1_11_3)
        .token_with(TOKEN, policy())
        .start()
        .await
        .unwrap();
    good.append_batch(&job(5, "a")).unwrap();
    let endpoints = [dead.url(), refusing.url(), good.url()];
    let mut follower = Follower::with_endpoints(&endpoints, OPTIONS);
    follower.until_events(1).await;
    follower.until_notices("Disconnected", 2).await;
    let told = |follower: &Follower, url: &str| {
        let endpoint = format!("endpoint: {url:?}");
        let (_, notices) = follower.seen();
        let notices = notices.iter().map(|notice| format!("{notice:?}"));
        notices
            .filter(|notice| notice.contains("Disconnected") && notice.contains(&endpoint))
            .collect::<Vec<String>>()
    };
    assert!(told(&follower, &dead.url())[0].contains("\"connect\""));
    assert!(told(&follower, &refusing.url())[0].contains("token_unknown"));

    // Round again, twice. What was said of the two others still holds, and is not repeated.
    for round in 1..=2_usize {
        good.inject(&Fault::Close);
        let index = 5 + round as u64;
        good.append_batch(&job(index, "b")).unwrap();
        follower.until_events(1 + round).await;
        follower.until_notices("Connected", 1 + round).await;
        assert_eq!(told(&follower, &good.url()).len(), round);
    }
    assert_eq!(told(&follower, &dead.url()).len(), 1);
    assert_eq!(told(&follower, &refusing.url()).len(), 1);
    assert!(!follower.repeated());
    assert_eq!(follower.notices("Gap"), 0);
    assert!(follower.status().disconnects >= 8);

    // When the first one is back, it is taken again after the last one has failed.
    dead.start_again().await.unwrap();
    for index in 5..=8 {
        dead.append_batch(&job(index, if index == 5 { "a" } else { "b" }))
            .unwrap();
    }
    good.inject(&Fault::Close);
    follower.until_events(4).await;
    assert_eq!(dead.open_streams(), 1);
}
