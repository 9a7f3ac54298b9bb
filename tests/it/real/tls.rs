//! The engine against a real server that speaks TLS and wants certificates of its clients.

use std::fs;
use std::sync::Arc;

use futures_util::future::join_all;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::{Authority, Issued};
use crate::following::follower::Follower;
use crate::servers::nomad::NomadServer;
use crate::servers::wire::Reader;
use crate::servers::{folder, scenario};

use super::TOPICS;
use super::compare::{CAUGHT_UP_LIMIT, assert_same, until_connected};

/// A server with the names that Nomad's documentation gives its certificate, and no address among them.
struct Stage {
    nomad: NomadServer,
    authority: Authority,
    files: TempDir,
}

impl Stage {
    fn set() -> Self {
        let authority = Authority::new("nomad");
        let files = folder("tls");
        let server = authority.issue(&["server.global.nomad", "localhost"]);
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let configuration = format!(
            r#"
tls {{
  http                = true
  verify_https_client = true
  ca_file             = "{}"
  cert_file           = "{}"
  key_file            = "{}"
}}
"#,
            write("ca.pem", &authority.pem()),
            write("server.pem", &server.crt),
            write("server.key", &server.key),
        );
        let tls = Arc::new(client(&authority));
        Self {
            nomad: NomadServer::start_with(&configuration, Some(&tls)),
            authority,
            files,
        }
    }

    /// Options with these certificates, in files.
    fn options(&self, token: &str, name: &str, ca: &Authority, client: Option<&Issued>) -> Value {
        let write = |kind: &str, text: &str| {
            let path = self.files.path().join(format!("{name}.{kind}"));
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let mut tls = json!({
            "ca_file": write("ca", &ca.pem()), "server_name": "server.global.nomad",
        });
        if let Some(client) = client {
            tls["crt_file"] = json!(write("crt", &client.crt));
            tls["key_file"] = json!(write("key", &client.key));
        }
        json!({"token": token, "backoff_max_secs": 1, "tls": tls})
    }

    fn follow(&self, scheme: &str, options: &Value) -> Follower {
        let url = format!("{scheme}://{}", self.nomad.address());
        Follower::with_endpoints(&[url], &options.to_string())
    }
}

/// The harness's own way in.
fn client(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let own = authority.issue(&["cli.global.nomad"]);
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(own.crt.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
        )
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn a_server_that_wants_certificates_is_followed_and_its_end_is_an_ordinary_end() {
    let stage = Stage::set();
    scenario::prepare(&stage.nomad);
    let token = stage.nomad.shipped_token();
    let reader = Reader::start(stage.nomad.api().clone(), &TOPICS, "*");
    let own = stage.authority.issue(&["client.global.nomad"]);
    let options = stage.options(&token.secret, "right", &stage.authority, Some(&own));
    let mut follower = stage.follow("https", &options);
    until_connected(&mut follower, 1).await;
    scenario::play_some(&stage.nomad);
    super::wait_until_quiet(&reader, super::CAUGHT_UP);
    assert_same(&mut follower, &reader.stop()).await;
    assert_eq!(follower.told(), Vec::<&_>::new());
    assert_eq!(follower.gaps().len(), 0, "{:?}", follower.gaps());

    // Nobody says goodbye, which TLS would have one do.
    let stopped = tokio::task::spawn_blocking(|| stage.nomad.stop());
    let told = |follower: &Follower| !follower.told().is_empty();
    follower.until_within(CAUGHT_UP_LIMIT, told).await;
    assert_eq!(follower.told()[0].cause, "closed", "{:?}", follower.told());
    stopped.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(feature = "real-servers"),
    ignore = "needs Go and minutes: cargo test --features real-servers"
)]
async fn what_a_real_server_refuses_is_told_with_the_option_that_mends_it() {
    let stage = Stage::set();
    let nomad = &stage.authority;
    let other = Authority::new("other");
    let right = nomad.issue(&["client.global.nomad"]);
    let secret = stage.nomad.shipped_token().secret;
    let named = |name: &str, server_name: Option<&str>| {
        let mut options = stage.options(&secret, name, nomad, Some(&right));
        options["tls"]["server_name"] = json!(server_name);
        options
    };
    let with_client = |name: &str, own: &Issued| stage.options(&secret, name, nomad, Some(own));
    let cases = [
        (
            "https",
            stage.options(&secret, "other-ca", &other, Some(&right)),
            "is issued by no authority in",
        ),
        (
            "https",
            stage.options(&secret, "no-client", nomad, None),
            "wants a client certificate",
        ),
        (
            "https",
            with_client("other-client", &other.issue(&["client.global.nomad"])),
            "refuses our certificate",
        ),
        (
            "https",
            with_client("expired", &nomad.issue_expired(&["client.global.nomad"])),
            "refuses our certificate",
        ),
        (
            "https",
            named("other-name", Some("server.mars.nomad")),
            "is for server.global.nomad, localhost, not for server.mars.nomad; set `tls.server_name`",
        ),
        (
            "https",
            named("no-name", None),
            "not for 127.0.0.1; set `tls.server_name`",
        ),
        (
            "http",
            json!({"token": secret, "backoff_max_secs": 1}),
            "write the address with https://",
        ),
    ];
    let told = cases.into_iter().map(async |(scheme, options, words)| {
        let mut follower = stage.follow(scheme, &options);
        // Tried on, and said once.
        let often = |follower: &Follower| follower.status().disconnects >= 3;
        follower.until_within(CAUGHT_UP_LIMIT, often).await;
        let told = follower.told();
        assert_eq!(told.len(), 1, "{words}: {told:?}");
        assert_eq!(told[0].cause, "tls", "{words}: {told:?}");
        assert!(told[0].message.contains(words), "{words}: {told:?}");
        assert!(!told[0].message.contains(&secret), "{told:?}");
        assert_eq!(follower.notices("Connected"), 0, "{words}");
    });
    join_all(told).await;
}
