//! Handshakes in memory: what is verified, what is refused, and what is said about it.

pub(crate) mod certificates;

use std::fs;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::testing::tls::ServerTls;
use certificates::{Authority, Issued};

/// A certificate, and its key under the passphrase `PassWord1`, as OpenSSL wrote them.
const CLIENT_CRT: &str = include_str!("../../tests/fixtures/tls/client.crt");
const CLIENT_KEY: &str = include_str!("../../tests/fixtures/tls/client-encrypted.key");
const CLIENT_KEY_OLD: &str = include_str!("../../tests/fixtures/tls/client-encrypted-old.key");

fn options(json: serde_json::Value) -> TlsOptions {
    serde_json::from_value(json).unwrap()
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions {
        ca_file: Some(authority.pem().as_str().into()),
        ..TlsOptions::default()
    }
}

fn server(issued: &Issued) -> ServerTls {
    ServerTls::new(&issued.crt, &issued.key).unwrap()
}

/// Shakes hands and sends a byte to and fro. What it says when that fails.
async fn talk(
    options: &TlsOptions,
    rule: NameRule,
    host: &str,
    server: &ServerTls,
) -> Result<(), String> {
    let tls = Tls::build(options, rule).map_err(|error| error.to_string())?;
    let (ours, theirs) = tokio::io::duplex(4096);
    let acceptor = TlsAcceptor::from(Arc::clone(&server.config));
    let echo = tokio::spawn(async move {
        let mut stream = acceptor.accept(theirs).await?;
        let byte = stream.read_u8().await?;
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        stream.write_u8(byte).await?;
        stream.flush().await?;
        Ok::<_, io::Error>(name)
    });
    let asked = async {
        let mut stream = tls.connect(host, ours).await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let asked = asked.await.map_err(|error| match failure(&error) {
        Some(failure) => tls.explain(host, failure),
        None => error.to_string(),
    });
    let _ = echo.await.unwrap();
    asked.map(|byte| assert_eq!(byte, 7))
}

#[tokio::test]
async fn a_server_is_accepted_for_its_name_and_its_authority_and_the_error_says_what_is_missing() {
    let authority = Authority::new("ours");
    let other = Authority::new("other");
    let good = server(&authority.issue(&["server.global.nomad", "localhost", "127.0.0.1"]));
    let trusting_ours = trusting(&authority);
    for host in ["localhost", "127.0.0.1"] {
        talk(&trusting_ours, NameRule::ServerName, host, &good)
            .await
            .unwrap();
    }
    let ca_file = |text: &str| TlsOptions {
        ca_file: Some(text.into()),
        ..TlsOptions::default()
    };
    // Several authorities in one text, in any order.
    let both = format!("# other\n{}\n# ours\n{}", other.pem(), authority.pem());
    talk(&ca_file(&both), NameRule::ServerName, "localhost", &good)
        .await
        .unwrap();

    let cases = [
        (
            trusting(&other),
            "localhost",
            "issued by no authority in the text given; name the certificate",
        ),
        (
            trusting_ours.clone(),
            "10.0.0.1",
            "is for server.global.nomad, localhost, 127.0.0.1, not for 10.0.0.1; set `tls.server_name`",
        ),
    ];
    for (options, host, expected) in cases {
        let said = talk(&options, NameRule::ServerName, host, &good)
            .await
            .unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
    let expired = server(&authority.issue_expired(&["localhost"]));
    let said = talk(&trusting_ours, NameRule::ServerName, "localhost", &expired)
        .await
        .unwrap_err();
    assert!(said.contains("expired on 2020-01-02; renew it"), "{said}");

    let itself = server(&authority.issue_authority(&["localhost"]));
    let said = talk(&trusting_ours, NameRule::ServerName, "localhost", &itself)
        .await
        .unwrap_err();
    assert!(
        said.contains("certificate of an authority as its own"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_switched_off_is_not_verified() {
    let authority = Authority::new("ours");
    let good = server(&authority.issue(&["server.global.nomad"]));
    let stranger = server(&Authority::new("other").issue(&["elsewhere"]));
    let talk = async |options: &TlsOptions, server: &ServerTls| {
        talk(options, NameRule::ServerName, "10.0.0.1", server)
            .await
            .is_ok()
    };
    let mut options = trusting(&authority);
    assert!(!talk(&options, &good).await);
    options.verify_hostname = Some(false);
    assert!(talk(&options, &good).await);
    assert!(!talk(&options, &stranger).await, "the chain counts still");
    options.verify_hostname = None;
    options.verify_certificate = Some(false);
    assert!(talk(&options, &stranger).await);
}

#[tokio::test]
async fn the_name_of_the_server_is_verified_as_nomad_has_it_or_only_sent_as_vector_has_it() {
    let authority = Authority::new("ours");
    let nomad = server(&authority.issue(&["server.global.nomad"]));
    let loki = server(&authority.issue(&["loki.internal"]));
    let mut options = trusting(&authority);
    options.server_name = Some("server.global.nomad".to_owned());
    talk(&options, NameRule::ServerName, "10.0.0.1", &nomad)
        .await
        .unwrap();
    talk(&options, NameRule::ServerName, "loki.internal", &loki)
        .await
        .unwrap_err();
    talk(&options, NameRule::Host, "loki.internal", &loki)
        .await
        .unwrap();
    let said = talk(&options, NameRule::Host, "10.0.0.1", &nomad)
        .await
        .unwrap_err();
    assert!(
        said.contains("not for 10.0.0.1; use one of them in the address"),
        "{said}"
    );
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_it() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&["localhost"]);
    let server = ServerTls::for_clients_of(&issued.crt, &issued.key, &authority.pem()).unwrap();
    let client = authority.issue(&["client.global.nomad"]);
    let mut options = trusting(&authority);
    let said = talk(&options, NameRule::ServerName, "localhost", &server)
        .await
        .unwrap_err();
    assert!(
        said.contains("wants a client certificate (CertificateRequired); set `tls.crt_file`"),
        "{said}"
    );
    options.crt_file = Some(client.crt.as_str().into());
    options.key_file = Some(client.key.as_str().into());
    talk(&options, NameRule::ServerName, "localhost", &server)
        .await
        .unwrap();
    let stranger = Authority::new("other").issue(&["client.global.nomad"]);
    options.crt_file = Some(stranger.crt.as_str().into());
    options.key_file = Some(stranger.key.as_str().into());
    let said = talk(&options, NameRule::ServerName, "localhost", &server)
        .await
        .unwrap_err();
    assert!(
        said.contains("refuses our certificate the text given"),
        "{said}"
    );
}

#[test]
fn a_key_with_a_passphrase_is_opened_with_it_only() {
    let key = |key: &str, pass: Option<&str>| {
        let options = TlsOptions {
            ca_file: Some(CLIENT_CRT.into()),
            crt_file: Some(CLIENT_CRT.into()),
            key_file: Some(key.into()),
            key_pass: pass.map(SecretString::from),
            ..TlsOptions::default()
        };
        Tls::build(&options, NameRule::Host)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    key(CLIENT_KEY, Some("PassWord1")).unwrap();
    key(
        &format!("some text before it\n{CLIENT_KEY}"),
        Some("PassWord1"),
    )
    .unwrap();
    let said = key(CLIENT_KEY, None).unwrap_err();
    assert!(said.contains("`tls.key_pass`: is missing"), "{said}");
    let said = key(CLIENT_KEY, Some("hunter2")).unwrap_err();
    assert!(
        said.contains("`tls.key_pass`: does not open the text given: the passphrase is wrong"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    let said = key(CLIENT_KEY_OLD, Some("PassWord1")).unwrap_err();
    assert!(said.contains("openssl pkcs8 -topk8"), "{said}");
}

#[test]
fn files_are_read_and_whatever_is_wrong_with_one_is_said_with_its_name() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let authority = Authority::new("ours");
    let issued = authority.issue(&["client"]);
    let other = authority.issue(&["client"]);
    let ca = file("ca.pem", authority.pem().as_bytes());
    let der = file(
        "ca.der",
        &CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap(),
    );
    let crt = file("client.crt", issued.crt.as_bytes());
    let key = file("client.key", issued.key.as_bytes());
    let wrong_key = file("other.key", other.key.as_bytes());
    let archive = file("client.p12", &[0x30, 0x82, 0x05, 0xff, 0x02]);
    let cut = file("cut.pem", &authority.pem().as_bytes()[..200]);
    let empty = file("empty.pem", b"");
    let good = [
        serde_json::json!({"ca_file": ca}),
        serde_json::json!({"ca_file": der}),
        serde_json::json!({"ca_file": ca, "crt_file": crt, "key_file": key}),
    ];
    for json in good {
        Tls::build(&options(json), NameRule::Host).unwrap();
    }
    let missing = folder.path().join("missing").display().to_string();
    let cases = [
        (
            serde_json::json!({"ca_file": missing}),
            vec![
                "`tls.ca_file`",
                "missing cannot be read (No such file",
                "or the PEM text itself",
            ],
        ),
        (
            serde_json::json!({"ca_file": cut}),
            vec!["`tls.ca_file`", "cut.pem is broken PEM text"],
        ),
        (
            serde_json::json!({"ca_file": empty}),
            vec!["`tls.ca_file`", "empty.pem holds no certificate"],
        ),
        (
            serde_json::json!({"ca_file": key}),
            vec![
                "`tls.ca_file`",
                "client.key holds no certificate",
                "BEGIN CERTIFICATE",
            ],
        ),
        (
            serde_json::json!({"ca_file": folder.path()}),
            vec!["`tls.ca_file`", "cannot be read"],
        ),
        (
            serde_json::json!({"crt_file": crt}),
            vec!["`tls.key_file`", "is missing"],
        ),
        (
            serde_json::json!({"key_file": key}),
            vec!["`tls.crt_file`", "is missing"],
        ),
        (
            serde_json::json!({"ca_file": ca, "key_pass": "hunter2"}),
            vec!["`tls.key_pass`", "without `key_file`"],
        ),
        (
            serde_json::json!({"ca_file": ca, "crt_file": archive, "key_file": key}),
            vec![
                "`tls.crt_file`",
                "PKCS#12",
                "openssl pkcs12 -in ",
                "client.p12",
            ],
        ),
        (
            serde_json::json!({"ca_file": ca, "crt_file": crt, "key_file": wrong_key}),
            vec!["`tls.key_file`", "other.key", "belong together"],
        ),
        (
            serde_json::json!({"ca_file": ca, "crt_file": crt, "key_file": ca}),
            vec![
                "`tls.key_file`",
                "ca.pem holds no private key",
                "BEGIN PRIVATE KEY",
            ],
        ),
        (
            serde_json::json!({"ca_file": ca, "crt_file": crt, "key_file": der}),
            vec!["`tls.key_file`", "neither in PEM nor in DER"],
        ),
        (
            serde_json::json!({"ca_file": ca, "server_name": "no name"}),
            vec!["`tls.server_name`", "neither a DNS name"],
        ),
        (
            serde_json::json!({"alpn_protocols": ["h2"]}),
            vec!["`tls.alpn_protocols`", "HTTP/1.1", "leave it out"],
        ),
    ];
    for (json, expected) in cases {
        let said = Tls::build(&options(json.clone()), NameRule::Host)
            .unwrap_err()
            .to_string();
        for part in expected {
            assert!(said.contains(part), "{json}: {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn options_that_vector_does_not_have_are_refused_by_name() {
    let said = serde_json::from_str::<TlsOptions>(r#"{"enabled": true}"#)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("unknown field `enabled`, expected one of `ca_file`"),
        "{said}"
    );
}

#[test]
fn a_certificate_that_was_renewed_is_seen_and_a_broken_one_is_told() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let authority = Authority::new("ours");
    let write = |issued: &Issued| {
        fs::write(path("crt"), &issued.crt).unwrap();
        fs::write(path("key"), &issued.key).unwrap();
    };
    write(&authority.issue(&["client"]));
    let tls = Tls::build(
        &options(serde_json::json!({"ca_file": authority.pem(), "crt_file": path("crt"), "key_file": path("key")})),
        NameRule::ServerName,
    )
    .unwrap();
    assert!(tls.read_again().unwrap().is_none());
    write(&authority.issue(&["client"]));
    let renewed = tls.read_again().unwrap().unwrap();
    assert!(renewed.read_again().unwrap().is_none());
    fs::write(path("key"), "").unwrap();
    assert_eq!(renewed.read_again().unwrap_err().option, "key_file");
}

#[test]
fn a_directory_of_authorities_is_read_whole() {
    let folder = TempDir::new().unwrap();
    for name in ["a", "b"] {
        fs::write(folder.path().join(name), Authority::new(name).pem()).unwrap();
    }
    fs::write(folder.path().join("README"), "not a certificate").unwrap();
    // An archive, and a key that the parser stumbles over.
    fs::write(folder.path().join("client.p12"), [0x30, 0x82]).unwrap();
    fs::write(folder.path().join("old.key"), CLIENT_KEY_OLD).unwrap();
    let options = |path: &std::path::Path| TlsOptions {
        ca_file: Some(PemSource::Directory(path.to_owned())),
        ..TlsOptions::default()
    };
    Tls::build(&options(folder.path()), NameRule::ServerName).unwrap();
    let empty = TempDir::new().unwrap();
    let said = Tls::build(&options(empty.path()), NameRule::ServerName)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("holds no certificate that can be used"),
        "{said}"
    );
}

#[test]
fn keys_and_passphrases_never_show() {
    let options = options(serde_json::json!({
        "crt_file": CLIENT_CRT, "key_file": CLIENT_KEY, "ca_file": CLIENT_CRT, "key_pass": "PassWord1"
    }));
    let tls = Tls::build(&options, NameRule::Host).unwrap();
    let shown = format!("{options:?} {tls:?}");
    assert!(
        !shown.contains("PassWord1") && !shown.contains("MIH") && !shown.contains("BEGIN"),
        "{shown}"
    );
}
