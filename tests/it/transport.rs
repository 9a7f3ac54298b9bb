//! The engine over TLS and over a socket of the file system, against the fake Nomad.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nomad_events::testing::nomad::{
    BatchText, EventText, FakeNomad, Fault, Point, Script, Version,
};
use nomad_events::testing::tls::ServerTls;
use serde_json::json;
use tempfile::TempDir;

use crate::certificates::{Authority, Issued};
use crate::following::follower::{Follower, PATIENCE};

const TOKEN: &str = "8fa7d2b1-token";

fn job(index: u64) -> BatchText {
    BatchText::new(index).event(
        EventText::new("Job", "JobRegistered", "web").payload(r#"{"Job":{"ID":"web"}}"#.to_owned()),
    )
}

fn server(issued: &Issued) -> ServerTls {
    ServerTls::new(&issued.crt, &issued.key).unwrap()
}

/// A server that wants certificates of its authority.
fn strict_server(authority: &Authority) -> ServerTls {
    let issued = authority.issue(&["server.global.nomad", "localhost"]);
    ServerTls::for_clients_of(&issued.crt, &issued.key, &authority.pem()).unwrap()
}

async fn fake_with(tls: ServerTls, indexes: impl IntoIterator<Item = u64>) -> FakeNomad {
    let fake = FakeNomad::builder().tls(tls).start().await.unwrap();
    for index in indexes {
        fake.append_batch(&job(index)).unwrap();
    }
    fake
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn every_version_is_followed_over_tls_and_an_end_without_farewell_is_an_ordinary_end() {
    let authority = Authority::new("nomad");
    let client = authority.issue(&["client.global.nomad"]);
    let options = json!({"token": TOKEN, "tls": {
        "ca_file": authority.pem(), "crt_file": client.crt, "key_file": client.key,
        "server_name": "server.global.nomad",
    }});
    for version in Version::ALL {
        let fake = FakeNomad::builder()
            .version(version)
            .token(TOKEN)
            .tls(strict_server(&authority))
            .start()
            .await
            .unwrap();
        for index in 1..=20 {
            fake.append_batch(&job(index)).unwrap();
        }
        fake.script(
            Script::new()
                .one_byte_at_a_time()
                .fault(Point::InsideLine(9), Fault::Close),
        );
        fake.script(Script::new().fault(Point::Lines(5), Fault::Close));
        let mut follower = Follower::of(&fake, &options.to_string());
        follower.until_events(20).await;
        assert!(
            !follower.repeated() && follower.indexes_in_order(),
            "{version:?}"
        );
        assert_eq!(follower.notices("Gap"), 0, "{version:?}");
        assert_eq!(follower.notices("Connected"), 3, "{version:?}");
        // Not an error of TLS, although nobody said goodbye: chunks tell that they are not whole, and nothing else does.
        let cause = if version.hijacks() {
            "\"closed\""
        } else {
            "\"broken\""
        };
        let told = follower.notice("Disconnected");
        assert!(told.contains(cause), "{version:?}: {told}");
        for request in fake.stream_requests() {
            assert!(request.has_client_certificate() && request.token_is(TOKEN));
            assert_eq!(request.server_name(), Some("server.global.nomad"));
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_told_and_following_goes_on_when_it_is_right() {
    let authority = Authority::new("nomad");
    let trusting = json!({"tls": {"ca_file": authority.pem()}});
    let cases = [
        (
            server(&Authority::new("other").issue(&["127.0.0.1"])),
            "the certificate of 127.0.0.1 is issued by no authority in the text given; name the certificate",
        ),
        (
            server(&authority.issue_expired(&["127.0.0.1"])),
            "expired on 2020-01-02",
        ),
        (
            server(&authority.issue(&["server.global.nomad"])),
            "is for server.global.nomad, not for 127.0.0.1; set `tls.server_name` to one of them",
        ),
        (
            server(&authority.issue_authority(&["127.0.0.1"])),
            "certificate of an authority as its own",
        ),
    ];
    for (tls, expected) in cases {
        let fake = fake_with(tls, [1]).await;
        let mut follower = Follower::of(&fake, &trusting.to_string());
        follower.until_notices("Disconnected", 1).await;
        let told = follower.notice("Disconnected");
        assert!(
            told.contains("\"tls\"") && told.contains(expected),
            "{told}"
        );
        assert!(
            fake.requests().is_empty(),
            "no request goes to a server that is not trusted"
        );
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_none_and_the_option_is_named() {
    let authority = Authority::new("nomad");
    let fake = fake_with(strict_server(&authority), [1]).await;
    let options = json!({"tls": {"ca_file": authority.pem(), "server_name": "localhost"}});
    let mut follower = Follower::of(&fake, &options.to_string());
    follower.until_notices("Disconnected", 1).await;
    let told = follower.notice("Disconnected");
    assert!(
        told.contains("\"tls\"") && told.contains("wants a client certificate"),
        "{told}"
    );
    assert!(
        told.contains("set `tls.crt_file` and `tls.key_file`"),
        "{told}"
    );
}

#[tokio::test]
async fn http_to_https_and_https_to_http_say_which_it_is() {
    let authority = Authority::new("nomad");
    let fake = fake_with(server(&authority.issue(&["127.0.0.1"])), [1]).await;
    let plain = format!("http://{}", fake.address());
    let mut follower = Follower::with_endpoints(&[plain], "{}");
    follower.until_notices("Disconnected", 1).await;
    let told = follower.notice("Disconnected");
    assert!(
        told.contains("\"tls\"") && told.contains("write the address with https://"),
        "{told}"
    );

    let fake = FakeNomad::builder().start().await.unwrap();
    let secure = format!("https://{}", fake.address());
    let options = json!({"tls": {"ca_file": authority.pem()}});
    let mut follower = Follower::with_endpoints(&[secure], &options.to_string());
    follower.until_notices("Disconnected", 1).await;
    let told = follower.notice("Disconnected");
    assert!(
        told.contains("\"tls\"")
            && told.contains("does not speak TLS there; is its address http://?"),
        "{told}"
    );
}

#[tokio::test]
async fn without_verification_any_server_is_followed() {
    let fake = fake_with(
        server(&Authority::new("other").issue_expired(&["elsewhere"])),
        [1, 2],
    )
    .await;
    let mut follower = Follower::of(&fake, r#"{"tls": {"verify_certificate": false}}"#);
    follower.until_events(2).await;
    let authority = Authority::new("nomad");
    let fake = fake_with(server(&authority.issue(&["elsewhere"])), [1, 2]).await;
    let options = json!({"tls": {"ca_file": authority.pem(), "verify_hostname": false}});
    let mut follower = Follower::of(&fake, &options.to_string());
    follower.until_events(2).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_at_the_next_connect() {
    let folder = TempDir::new().unwrap();
    let old = Authority::new("old");
    let new = Authority::new("new");
    let renew = |authority: &Authority| {
        let client = authority.issue(&["client.global.nomad"]);
        let ca = write(&folder, "ca.pem", &authority.pem());
        let crt = write(&folder, "client.crt", &client.crt);
        let key = write(&folder, "client.key", &client.key);
        json!({"backoff_max_secs": 1, "tls": {
            "ca_file": ca, "crt_file": crt, "key_file": key, "server_name": "localhost",
        }})
    };
    let options = renew(&old);
    let first = fake_with(strict_server(&old), [1]).await;
    let second = fake_with(strict_server(&new), [1, 2]).await;
    let mut follower = Follower::with_endpoints(&[first.url(), second.url()], &options.to_string());
    follower.until_events(1).await;
    // The whole cluster has another authority now.
    renew(&new);
    first.stop().await;
    follower.until_events(2).await;
    assert!(second.stream_requests()[0].has_client_certificate());

    // Half a renewal is told, and tried again.
    fs::write(Path::new(options["tls"]["key_file"].as_str().unwrap()), "").unwrap();
    second.inject(&Fault::Close);
    follower
        .until(|follower| {
            follower
                .last_notice("Disconnected")
                .is_some_and(|told| told.contains("client.key is no private key"))
        })
        .await;
    renew(&new);
    second.wait_for_streams(1, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_socket_of_the_file_system_is_followed_with_a_token() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("api.sock");
    let fake = FakeNomad::builder()
        .token(TOKEN)
        .version(Version::V1_11_1)
        .unix_socket(&path);
    let fake = fake.start().await.unwrap();
    fake.append_batch(&job(1)).unwrap();
    let address = format!("unix://{}", path.display());

    let mut follower = Follower::with_endpoints(std::slice::from_ref(&address), "{}");
    follower.until_notices("Disconnected", 1).await;
    let told = follower.notice("Disconnected");
    assert!(
        told.contains("no_token") && told.contains("set `token`, `token_file` or NOMAD_TOKEN"),
        "{told}"
    );
    assert!(told.contains(&format!("endpoint: {address:?}")), "{told}");

    let options = json!({"token": TOKEN}).to_string();
    let mut follower = Follower::with_endpoints(std::slice::from_ref(&address), &options);
    follower.until_events(1).await;
    let requests = fake.stream_requests();
    assert_eq!(requests.last().unwrap().header("host"), Some("127.0.0.1"));

    // The client is restarted, and makes its socket anew.
    fake.stop().await;
    follower.until_notices("Disconnected", 1).await;
    fake.append_batch(&job(2)).unwrap();
    fake.start_again().await.unwrap();
    follower.until_events(2).await;
    assert!(!follower.repeated());
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_told() {
    let mut follower = Follower::with_endpoints(&["unix:///no/such/api.sock".to_owned()], "{}");
    follower.until_notices("Disconnected", 1).await;
    let told = follower.notice("Disconnected");
    assert!(
        told.contains("\"connect\"") && told.contains("No such file"),
        "{told}"
    );
}

#[tokio::test]
async fn user_information_goes_to_the_proxy_and_the_token_to_nomad() {
    let fake = FakeNomad::builder().token(TOKEN).start().await.unwrap();
    fake.append_batch(&job(1)).unwrap();
    let address = format!("http://me:hunter2@{}", fake.address());
    let mut follower = Follower::with_endpoints(&[address], &json!({"token": TOKEN}).to_string());
    follower.until_events(1).await;
    let requests = fake.stream_requests();
    // me:hunter2
    assert!(requests[0].basic_auth_is("bWU6aHVudGVyMg==") && requests[0].token_is(TOKEN));
    follower.settle(Duration::from_millis(50)).await;
    let said = format!("{:?}", follower.seen());
    assert!(
        said.contains(&fake.url()) && !said.contains("hunter2"),
        "{said}"
    );
}
