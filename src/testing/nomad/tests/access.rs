//! Answers of a real 1.11.3 with ACLs on, row by row.

use super::*;
use crate::testing::nomad::{Access, STREAM_PATH};

const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

async fn status(fake: &FakeNomad, path: &str) -> (u16, String) {
    let mut client = Raw::connect(fake).await;
    client
        .send(&format!(
            "GET {path} HTTP/1.1\r\nX-Nomad-Token: {TOKEN}\r\nConnection: close\r\n\r\n"
        ))
        .await;
    let text = client.rest().await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn lists_and_stream_are_open_to_whom_they_are_at_a_real_server() {
    let jobs = ["read-job", "list-jobs"];
    let policies = [
        ("a", Access::client().namespace("team-a", ["read-job"])),
        ("star", Access::client().namespace("*", jobs).node_read()),
        (
            "deny",
            Access::client()
                .namespace("*", jobs)
                .namespace("team-b", [])
                .node_read(),
        ),
        ("csi", Access::client().namespace("*", ["csi-read-volume"])),
        (
            "expired",
            Access::client().namespace("*", jobs).node_read().expired(),
        ),
        ("root", Access::management()),
    ];
    // One letter for each policy: yes, no, error.
    let table = [
        ("/v1/acl/token/self", "yyyyey"),
        ("/v1/namespaces", "yyyyny"),
        ("/v1/regions", "yyyyyy"),
        ("/v1/evaluations?namespace=*", "yyynny"),
        ("/v1/evaluations?namespace=team-a", "yyynny"),
        ("/v1/evaluations?namespace=team-b", "nynnny"),
        ("/v1/evaluations?namespace=no-such", "nyynny"),
        ("/v1/jobs?namespace=*", "nyynny"),
        ("/v1/nodes", "nyynny"),
        ("/v1/volumes?type=csi&namespace=*", "nyyyny"),
        ("/v1/volumes?type=host", "yyyyny"),
        ("/v1/agent/self", "nnnnny"),
        ("/v1/operator/scheduler/configuration", "nnnnny"),
    ];
    for (column, (name, access)) in policies.into_iter().enumerate() {
        let fake = quiet(Version::V1_11_1)
            .namespace("team-a", 3)
            .namespace("team-b", 4)
            .token_with(TOKEN, access);
        let fake = fake.start().await.unwrap();
        for (path, expected) in table {
            let (status, body) = status(&fake, path).await;
            let shown = match status {
                200 => 'y',
                403 => 'n',
                500 => 'e',
                other => panic!("{other}"),
            };
            assert_eq!(
                Some(shown),
                expected.chars().nth(column),
                "{name} {path}: {body}"
            );
        }
        // The stream wants the right in each namespace, not in any. Granted ones do not end.
        if !["star", "root"].contains(&name) {
            let stream = format!("{STREAM_PATH}?topic=Job&namespace=*");
            assert_eq!(status(&fake, &stream).await.0, 403, "{name}");
        }
    }
}

#[tokio::test]
async fn a_token_sees_the_namespaces_in_which_it_has_a_right() {
    let access = Access::client()
        .namespace("team-*", [])
        .namespace("team-a", ["read-job"]);
    let fake = quiet(Version::V1_11_3)
        .namespace("team-a", 3)
        .namespace("team-b", 4)
        .token_with(TOKEN, access);
    let fake = fake.start().await.unwrap();
    let (_, body) = status(&fake, "/v1/namespaces").await;
    assert!(body.contains("team-a") && !body.contains("team-b") && !body.contains("default"));
    fake.set_anonymous(Access::client().namespace("*", ["read-job"]));
    fake.revoke(TOKEN);
    assert_eq!(status(&fake, "/v1/namespaces").await.0, 403);
}
