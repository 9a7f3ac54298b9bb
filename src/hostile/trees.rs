//! Payloads that no server would write, and what could be smuggled in them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fields::shown;

fn payload(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A name that comes twice: both values go through the rules, and the last one is shown.
#[test]
fn a_name_that_comes_twice_smuggles_nothing() {
    for (json, expected) in [
        (
            r#"{"Job":{"Env":{"A":"hunter2"},"Env":{"B":"hunter2"}}}"#,
            json!({"Job": {"Env": {"B": "[REDACTED]"}}}),
        ),
        (
            r#"{"Job":{"Env":{"A":"hunter2","A":"hunter2"}},"Job":{"Env":{"A":"hunter2"}}}"#,
            json!({"Job": {"Env": {"A": "[REDACTED]"}}}),
        ),
        (
            r#"{"Job":{"ID":"a","ID":"b"}}"#,
            json!({"Job": {"ID": "b"}}),
        ),
        (
            r#"{"Job":{"Meta":{"a":"b"},"\u004deta":"http://u:hunter2@h"}}"#,
            json!({"Job": {"Meta": "http://[REDACTED]@h"}}),
        ),
        (
            r#"{"Job":1,"Job":{"Payload":"hunter2"},"Evaluation":{"Job":{"Payload":["hunter2"]}}}"#,
            json!({"Job": {"Payload": "[REDACTED]"}, "Evaluation": {"Job": {"Payload": "[REDACTED]"}}}),
        ),
    ] {
        let text = shown("Job", json);
        assert!(!text.contains("hunter2"), "{json}: {text}");
        assert_eq!(payload(&text)["Payload"], expected, "{json}");
    }
}

/// Nomad's encoder writes the names of its structs; only in what users write below them is there another case, and of that
/// nothing is shown.
#[test]
fn a_name_in_another_case_is_no_field_of_nomads() {
    let text = shown(
        "Job",
        r#"{"Job":{"TaskGroups":[{"Tasks":[{"Config":{"IMAGE":"hunter2","Env":"hunter2","env":["hunter2"]}}]}]}}"#,
    );
    assert!(!text.contains("hunter2"), "{text}");
    // The limit of it, said in the README: nothing is looked for by what it looks like.
    assert!(shown("Job", r#"{"Job":{"env":{"A":"shown"}}}"#).contains("shown"));
}

#[test]
fn a_name_that_looks_like_a_path_is_a_name() {
    for name in [
        "Job.Env", "Job[0]", "$.Job", "../Job", "Job/Env", "\u{0}", "%5B", "a\"b", "",
    ] {
        let json = json!({"Job": {"Meta": {name: "shown"}, "Env": {name: "hunter2"}}});
        let text = shown("Job", &json.to_string());
        let job = &payload(&text)["Payload"]["Job"];
        assert_eq!(job["Meta"][name], "shown", "{text}");
        assert_eq!(job["Env"][name], "[REDACTED]", "{text}");
    }
}

#[test]
fn control_characters_and_numbers_beyond_all_ranges_stay_hidden() {
    for value in [
        "\"\\u0000\\u001bhunter2\\n\"",
        "\"\\ud83d\\ude00hunter2\"",
        "4242424242424242424242424242",
        "-4242424242424242424",
        "42424242424242424242",
        "4.242424242e42",
        "{\"hunter2\":[[[[{\"hunter2\":\"hunter2\"}]]]]}",
    ] {
        for json in [
            format!(r#"{{"Job":{{"Env":{{"A":{value}}}}}}}"#),
            format!(r#"{{"Job":{{"Payload":{value}}}}}"#),
            format!(r#"{{"Job":{{"TaskGroups":[{{"Tasks":[{{"Config":{{"a":[{value}]}}}}]}}]}}}}"#),
        ] {
            let text = shown("Job", &json);
            assert!(
                !text.contains("hunter2") && !text.contains("4242"),
                "{json}: {text}"
            );
            assert!(text.contains("[REDACTED]"), "{json}: {text}");
        }
    }
}

/// A payload that cannot be read as a tree is left out as a whole.
#[test]
fn an_unreadable_payload_shows_nothing_of_itself() {
    let deep = |depth: usize, inside: &str| {
        format!("{}{inside}{}", "{\"a\":[".repeat(depth), "]}".repeat(depth))
    };
    for json in [
        deep(65, "\"hunter2\""),
        deep(20_000, "\"hunter2\""),
        r#"{"ID":"hunter2","a":1e999}"#.to_owned(),
        r#"{"ID":"hunter2","a":-1e999,"b":{"#.to_owned(),
        r#"{"ID":"hunter2","a":NaN}"#.to_owned(),
        r#"{"ID":"hunter2","a":"\ud800"}"#.to_owned(),
        r#"{"ID":"hunter2","a":"\x"}"#.to_owned(),
        "{\"ID\":\"hunter2\",\"a\":\"\u{1}\"}".to_owned(),
        r#"{"ID":"hunter2"} {"ID":"hunter2"}"#.to_owned(),
        String::new(),
    ] {
        let text = shown("Job", &json);
        assert!(!text.contains("hunter2"), "{text}");
        let event = payload(&text);
        assert_eq!(event["Payload"], Value::Null);
        assert!(event["nomad"]["payload_error"].is_string(), "{text}");
    }
    // Just deep enough.
    assert!(shown("Job", &deep(63, "\"shown\"")).contains("shown"));
}

/// Names and values out of which payloads are made that nobody has thought of.
fn tree() -> impl Strategy<Value = Value> {
    let name = proptest::sample::select(
        [
            "Job",
            "Env",
            "Meta",
            "Config",
            "image",
            "ports",
            "Tasks",
            "Volumes",
            "MountFlags",
            "Checks",
            "Path",
            "Args",
            "Artifacts",
            "TaskStates",
            "Events",
            "CNI",
            "SecretID",
            "AuthMethod",
            "PemKey",
            "Volume",
            "Parameters",
            "Evaluation",
            "LeaderACL",
            "Metadata",
            "Lock",
            "ID",
            "Proxy",
            "Secrets",
            "Job.Env",
            "\u{0}",
            "",
        ]
        .as_slice(),
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        any::<String>().prop_map(Value::from),
        "[a-z]{0,3}(://|[?@:/\"'\\\\ é])[a-z:@/?\"' ]{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 60, 5, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => proptest::collection::btree_map(name.clone(), inner, 0..5).prop_map(|entries| {
                entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

/// What is shown of a value: the value, or less.
fn shows_no_more(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (_, Value::String(text)) if text == "[REDACTED]" => true,
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before.iter().all(|(name, value)| {
                    after
                        .get(name)
                        .is_some_and(|shown| shows_no_more(value, shown))
                })
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len()
                && before
                    .iter()
                    .zip(after)
                    .all(|(before, after)| shows_no_more(before, after))
        }
        (Value::String(before), Value::String(after)) => {
            before == after || after.contains("[REDACTED]")
        }
        // An integer that fits no other number is shown by its digits.
        (Value::Number(before), Value::String(after)) => before.to_string() == *after,
        (before, after) => before == after,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Redaction takes away and never adds, moves or breaks anything, also when it is done twice.
    #[test]
    fn redaction_only_takes_away(tree in tree(), topic in proptest::sample::select(super::TOPICS.to_vec())) {
        let text = tree.to_string();
        let after = payload(&shown(topic, &text))["Payload"].take();
        prop_assert!(shows_no_more(&tree, &after), "{} as {}", text, after);
        let again = payload(&shown(topic, &after.to_string()))["Payload"].take();
        // Not always nothing: of `://:://@` the first time shows what the second takes for an address.
        prop_assert!(shows_no_more(&after, &again), "{} as {}", after, again);
    }
}
