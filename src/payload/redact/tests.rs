use bytes::Bytes;
use vrl::value::Value;

use super::*;
use crate::payload::tree::{self, Treatment};
use crate::payload::wanted::Wanted;

fn read(json: &str, treatment: Treatment) -> Value {
    let json = Bytes::copy_from_slice(json.as_bytes());
    tree::read(&json, treatment, &Wanted::All)
        .map(|tree| tree.value)
        .unwrap()
}

fn redacted(json: &str) -> String {
    let value = read(json, Treatment::Show(Place::Root));
    if value != read(json, Treatment::Clear) {
        assert!(may_need_redaction(json.as_bytes()), "{json}");
    }
    serde_json::to_string(&value).unwrap()
}

#[test]
fn a_name_or_an_address_that_is_escaped_is_not_overlooked() {
    for (json, expected) in [
        (
            r#"{"J\u006fb":{"\u0045nv":{"PW":"hunter2"}}}"#,
            r#"{"Job":{"Env":{"PW":"[REDACTED]"}}}"#,
        ),
        (
            r#"{"Allocation":{"x":"http:\/\/u:hunter2@h\/"}}"#,
            r#"{"Allocation":{"x":"http://[REDACTED]@h/"}}"#,
        ),
    ] {
        assert_eq!(redacted(json), expected);
    }
}

/// Each row is a payload and what is left of it.
#[test]
fn secrets_go_and_keys_stay() {
    let cases = [
        (
            r#"{"Job":{"Env":{"PW":"hunter2"},"ID":"web"}}"#,
            r#"{"Job":{"Env":{"PW":"[REDACTED]"},"ID":"web"}}"#,
        ),
        (
            r#"{"Job":{"TaskGroups":[{"Tasks":[{"Config":{"image":"redis:7","ports":["db"],"args":["-p","hunter2"],"auth":{"password":"hunter2"}}}]}]}}"#,
            r#"{"Job":{"TaskGroups":[{"Tasks":[{"Config":{"args":"[REDACTED]","auth":"[REDACTED]","image":"redis:7","ports":["db"]}}]}]}}"#,
        ),
        (
            r#"{"Job":{"Config":{"image":"https://me:hunter2@registry/x"}}}"#,
            r#"{"Job":{"Config":{"image":"https://[REDACTED]@registry/x"}}}"#,
        ),
        (
            r#"{"Job":{"Templates":[{"EmbeddedTmpl":"hunter2","DestPath":"local/x"}]}}"#,
            r#"{"Job":{"Templates":[{"DestPath":"local/x","EmbeddedTmpl":"[REDACTED]"}]}}"#,
        ),
        (
            r#"{"Job":{"Artifacts":[{"GetterSource":"https://u:hunter2@h/x?token=hunter2","GetterHeaders":{"Authorization":"hunter2"},"GetterOptions":{"sshkey":"hunter2"}}]}}"#,
            r#"{"Job":{"Artifacts":[{"GetterHeaders":{"Authorization":"[REDACTED]"},"GetterOptions":{"sshkey":"[REDACTED]"},"GetterSource":"https://[REDACTED]@h/x?[REDACTED]"}]}}"#,
        ),
        (
            r#"{"Job":{"Checks":[{"Header":{"Auth":["hunter2"]},"Body":"hunter2","Path":"/health"}]}}"#,
            r#"{"Job":{"Checks":[{"Body":"[REDACTED]","Header":{"Auth":"[REDACTED]"},"Path":"/health"}]}}"#,
        ),
        (
            r#"{"Job":{"Payload":"O+h7hunter2","Meta":{"Env":"prod","Payload":"x"}}}"#,
            r#"{"Job":{"Meta":{"Env":"prod","Payload":"x"},"Payload":"[REDACTED]"}}"#,
        ),
        (
            r#"{"Job":{"SidecarTask":{"Env":{"A":"hunter2"},"Config":{"b":"hunter2"}},"Proxy":{"Config":{"c":"hunter2"}}}}"#,
            r#"{"Job":{"Proxy":{"Config":{"c":"[REDACTED]"}},"SidecarTask":{"Config":{"b":"[REDACTED]"},"Env":{"A":"[REDACTED]"}}}}"#,
        ),
        (
            r#"{"Job":{"VaultToken":"hunter2","ConsulToken":""}}"#,
            r#"{"Job":{"ConsulToken":"","VaultToken":"[REDACTED]"}}"#,
        ),
        (
            r#"{"Volume":{"Parameters":{"p":"hunter2"},"Context":{"c":"hunter2"},"Secrets":null,"Name":"v"}}"#,
            r#"{"Volume":{"Context":{"c":"[REDACTED]"},"Name":"v","Parameters":{"p":"[REDACTED]"},"Secrets":null}}"#,
        ),
        (
            r#"{"Evaluation":{"LeaderACL":"hunter2","ID":"e"}}"#,
            r#"{"Evaluation":{"ID":"e","LeaderACL":"[REDACTED]"}}"#,
        ),
        (
            r#"{"Metadata":{"Lock":{"ID":"hunter2","TTL":"30s"},"Path":"a/b"}}"#,
            r#"{"Metadata":{"Lock":{"ID":"[REDACTED]","TTL":"30s"},"Path":"a/b"}}"#,
        ),
        (
            r#"{"Job":{"TaskGroups":[{"Services":[{"Connect":{"Gateway":{"Ingress":{"Listeners":[{"Services":[{"RequestHeaders":{"Add":{"Authorization":"hunter2"},"Set":{"X-Key":"hunter2"},"Remove":["X-Old"]}}]}]}}}}]}]}}"#,
            r#"{"Job":{"TaskGroups":[{"Services":[{"Connect":{"Gateway":{"Ingress":{"Listeners":[{"Services":[{"RequestHeaders":{"Add":{"Authorization":"[REDACTED]"},"Remove":["X-Old"],"Set":{"X-Key":"[REDACTED]"}}}]}]}}}}]}]}}"#,
        ),
        // Servers before 1.9.7 send it in clear.
        (
            r#"{"AuthMethod":{"Config":{"OIDCClientID":"id","OIDCClientSecret":"hunter2","OIDCClientAssertion":{"ClientSecret":"hunter2","PrivateKey":{"PemKey":"hunter2","KeyID":"k"}}}}}"#,
            r#"{"AuthMethod":{"Config":{"OIDCClientAssertion":{"ClientSecret":"[REDACTED]","PrivateKey":{"KeyID":"k","PemKey":"[REDACTED]"}},"OIDCClientID":"id","OIDCClientSecret":"[REDACTED]"}}}"#,
        ),
        (
            r#"{"ACLToken":{"AccessorID":"a","SecretID":"hunter2"}}"#,
            r#"{"ACLToken":{"AccessorID":"a","SecretID":"[REDACTED]"}}"#,
        ),
        // A job inside something else, and secrets that are not there.
        (
            r#"{"Allocation":{"Job":{"Env":{"PW":"hunter2"}}}}"#,
            r#"{"Allocation":{"Job":{"Env":{"PW":"[REDACTED]"}}}}"#,
        ),
        (
            r#"{"Job":{"Env":{},"Payload":null,"Templates":[{"EmbeddedTmpl":""}]}}"#,
            r#"{"Job":{"Env":{},"Payload":null,"Templates":[{"EmbeddedTmpl":""}]}}"#,
        ),
        (
            r#"{"Allocation":{"TaskStates":{"t":{"Events":[{"DisplayMessage":"failed \"http://u:hunter2@h:1/x.tgz?sig=hunter2\": Get","Details":{"download_error":"git::https://hunter2@h/x: no"}}]}}}}"#,
            r#"{"Allocation":{"TaskStates":{"t":{"Events":[{"Details":{"download_error":"git::https://[REDACTED]@h/x: no"},"DisplayMessage":"failed \"http://[REDACTED]@h:1/x.tgz?[REDACTED]\": Get"}]}}}}"#,
        ),
        // A query says something elsewhere, and may stay.
        (
            r#"{"Node":{"Attributes":{"url":"http://h/x?a=b"}}}"#,
            r#"{"Node":{"Attributes":{"url":"http://h/x?a=b"}}}"#,
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(redacted(json), expected);
    }
}

/// Fields that only look like those with secrets say something.
#[test]
fn what_is_no_secret_stays() {
    for json in [
        r#"{"Job":{"TaskGroups":[{"Tasks":[{"Identity":{"Env":true,"File":false},"Vault":{"Env":false}}]}]}}"#,
        r#"{"Job":{"ParameterizedJob":{"MetaRequired":["a"],"Payload":"required"}}}"#,
        r#"{"Job":{"Meta":{"Config":"a","EmbeddedTmpl":"b","Env":"c"},"TaskGroups":[{"Services":[{"CanaryMeta":{"Env":"c"}}]}]}}"#,
    ] {
        assert_eq!(redacted(json), json);
    }
}

/// A failed download by SSH quotes `git@github.com:...` with the private key among its options.
#[test]
fn the_query_of_an_artifact_source_is_masked_without_a_scheme_too() {
    for (json, expected) in [
        (
            r#"{"Allocation":{"TaskStates":{"t":{"Events":[{"DisplayMessage":"failed to download artifact \"git@github.com:o/r.git?sshkey=hunter2&depth=1\": exit status 1, why?"}]}}}}"#,
            r#"{"Allocation":{"TaskStates":{"t":{"Events":[{"DisplayMessage":"failed to download artifact \"git@github.com:o/r.git?[REDACTED]\": exit status 1, why?"}]}}}}"#,
        ),
        (
            r#"{"Job":{"Artifacts":[{"GetterSource":"s3.amazonaws.com/b/k?aws_access_key_secret=hunter2"}]}}"#,
            r#"{"Job":{"Artifacts":[{"GetterSource":"s3.amazonaws.com/b/k?[REDACTED]"}]}}"#,
        ),
    ] {
        assert_eq!(redacted(json), expected);
    }
}

/// Tasks and volumes are named by users, and their names are keys.
#[test]
fn a_name_that_is_a_rule_elsewhere_opens_no_hole() {
    for name in ["Meta", "Job", "TaskStates", "Events"] {
        let states = |query: &str| {
            format!(
                r#"{{"Allocation":{{"TaskStates":{{"{name}":{{"Events":[{{"DisplayMessage":"http://h/x?{query}"}}]}}}}}}}}"#
            )
        };
        assert_eq!(redacted(&states("sig=hunter2")), states("[REDACTED]"));
    }
    for name in ["Meta", "Checks", "Artifacts", "Env"] {
        let volumes = |flags: &str| {
            format!(
                r#"{{"Job":{{"TaskGroups":[{{"Volumes":{{"{name}":{{"MountOptions":{{"FSType":"cifs","MountFlags":{flags}}}}}}}}}]}}}}"#
            )
        };
        assert_eq!(
            redacted(&volumes(r#"["password=hunter2"]"#)),
            volumes(r#""[REDACTED]""#)
        );
    }
}

/// Found by planting secrets at random: below a task of such a name nothing was looked for any more.
#[test]
fn a_task_that_is_called_like_a_field_hides_no_network_plugin() {
    for name in ["TaskStates", "Meta", "Job", "CNI", "Args"] {
        for map in ["Tasks", "TaskResources", "ResourcesExhausted"] {
            let args = |args: &str| {
                format!(
                    r#"{{"Allocation":{{"{map}":{{"{name}":{{"Networks":[{{"CNI":{{"Args":{{"key":"{args}"}}}}}}]}}}}}}}}"#
                )
            };
            assert_eq!(redacted(&args("hunter2")), args("[REDACTED]"));
        }
    }
}

#[test]
fn a_payload_that_is_no_object_is_masked_too() {
    assert_eq!(
        redacted(r#"["http://u:hunter2@h"]"#),
        r#"["http://[REDACTED]@h"]"#
    );
}
