use bytes::{Bytes, BytesMut};
use chrono::{TimeZone as _, Utc};

use super::*;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn at(path: &str) -> OwnedValuePath {
    path.parse().unwrap()
}

fn config(options: &str) -> EncodingConfig {
    toml::from_str(options).unwrap()
}

fn event() -> Value {
    let mut event = json(
        r#"{"message":"hello","b":{"c":{"d":1,"e":2}},"list":[{"x":1,"y":2},{"x":3}],"n":9007199254740993,"f":1.0,"nothing":null}"#,
    );
    event.insert(
        &at("when"),
        Value::Timestamp(
            Utc.timestamp_opt(1_700_000_000, 123_456_789)
                .single()
                .unwrap(),
        ),
    );
    event.insert(
        &at("list[2]"),
        Value::Timestamp(Utc.timestamp_opt(1_700_000_001, 0).single().unwrap()),
    );
    event
}

fn encode(options: &str, mut event: Value) -> String {
    let mut out = BytesMut::new();
    config(options)
        .build()
        .unwrap()
        .encode(&mut event, &mut out)
        .unwrap();
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn json_writes_the_whole_event_with_sorted_keys() {
    assert_eq!(
        encode("codec = 'json'", event()),
        r#"{"b":{"c":{"d":1,"e":2}},"f":1.0,"list":[{"x":1,"y":2},{"x":3},"2023-11-14T22:13:21Z"],"message":"hello","n":9007199254740993,"nothing":null,"when":"2023-11-14T22:13:20.123456789Z"}"#
    );
}

#[test]
fn json_replaces_what_is_not_utf8_and_writes_what_is_no_object() {
    let raw = Value::Bytes(Bytes::from_static(b"a\xffb\"\n"));
    assert_eq!(encode("codec = 'json'", raw), "\"a\u{fffd}b\\\"\\n\"");
}

#[test]
fn json_can_be_pretty() {
    assert_eq!(
        encode(
            "codec = 'json'\njson.pretty = true",
            json(r#"{"a":[1],"b":{}}"#)
        ),
        "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}"
    );
}

#[test]
fn text_writes_the_message_alone() {
    let table = [
        (r#"{"message":"hello","other":1}"#, "hello"),
        (r#"{"message":{"b":1,"a":[2]}}"#, r#"{"a":[2],"b":1}"#),
        (r#"{"message":null}"#, "<null>"),
        (r#"{"message":1.5}"#, "1.5"),
        (r#"{"other":1}"#, ""),
        (r#""bare""#, ""),
    ];
    for (event, expected) in table {
        assert_eq!(
            encode("codec = 'text'", json(event)),
            expected,
            "event {event}"
        );
    }
}

#[test]
fn text_keeps_bytes_that_are_no_utf8() {
    let mut event = json("{}");
    event.insert(&at("message"), Value::Bytes(Bytes::from_static(b"a\xffb")));
    let mut out = Vec::new();
    config("codec = 'text'")
        .build()
        .unwrap()
        .encode(&mut event, &mut out)
        .unwrap();
    assert_eq!(out, b"a\xffb");
}

#[test]
fn only_fields_keeps_nothing_else() {
    assert_eq!(
        encode(
            "codec = 'json'\nonly_fields = ['.message', 'b.c.d', 'list[0].y', 'absent']",
            event()
        ),
        r#"{"b":{"c":{"d":1}},"list":[{"y":2}],"message":"hello"}"#
    );
    assert_eq!(
        encode("codec = 'json'\nonly_fields = ['a']", json("[1]")),
        "{}"
    );
}

#[test]
fn except_fields_are_left_out_and_emptied_parents_stay() {
    assert_eq!(
        encode(
            "codec = 'json'\nexcept_fields = ['b.c.d', 'b.c.e', 'list', 'when', 'n', 'f', 'nothing', 'absent']",
            event()
        ),
        r#"{"b":{"c":{}},"message":"hello"}"#
    );
}

#[test]
fn except_fields_apply_before_only_fields() {
    assert_eq!(
        encode(
            "codec = 'json'\nonly_fields = ['b', 'message']\nexcept_fields = ['b.c.d']",
            event()
        ),
        r#"{"b":{"c":{"e":2}},"message":"hello"}"#
    );
}

#[test]
fn timestamps_are_formatted_wherever_they_stand() {
    let table = [
        (
            "rfc3339",
            r#""2023-11-14T22:13:20.123456789Z""#,
            r#""2023-11-14T22:13:21Z""#,
        ),
        ("unix", "1700000000", "1700000001"),
        ("unix_ms", "1700000000123", "1700000001000"),
        ("unix_us", "1700000000123456", "1700000001000000"),
        ("unix_ns", "1700000000123456789", "1700000001000000000"),
        ("unix_float", "1700000000.123456", "1700000001.0"),
    ];
    for (format, when, in_list) in table {
        let options = format!(
            "codec = 'json'\nonly_fields = ['when', 'list[2]']\ntimestamp_format = '{format}'"
        );
        assert_eq!(
            encode(&options, event()),
            format!(r#"{{"list":[null,null,{in_list}],"when":{when}}}"#),
            "format {format}"
        );
    }
}

#[test]
fn a_time_that_does_not_fit_in_nanoseconds_stays_text() {
    let far = Value::Timestamp(Utc.with_ymd_and_hms(3000, 1, 1, 0, 0, 0).unwrap());
    assert_eq!(
        encode("codec = 'json'\ntimestamp_format = 'unix_ns'", far),
        r#""3000-01-01T00:00:00Z""#
    );
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    assert!(matches!(
        config("codec = 'json'\nonly_fields = ['a', 'b']\nexcept_fields = ['.b']").build(),
        Err(EncodingError::BothOnlyAndExcept(path)) if path.to_string() == "b"
    ));
    assert_eq!(
        config("codec = 'text'\njson.pretty = true")
            .build()
            .unwrap_err(),
        EncodingError::JsonOptionsForText
    );
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let refusal = |options: &str| {
        toml::from_str::<EncodingConfig>(options)
            .unwrap_err()
            .to_string()
    };
    assert!(refusal("codec = 'avro'").contains("nomad-vector"));
    assert!(refusal("codec = 'json'\nmetric_tag_values = 'full'").contains("metric_tag_values"));
    assert!(refusal("only_fields = ['a']").contains("codec"));
    assert!(refusal("codec = 'json'\nonly_fields = ['a..b']").contains("a..b"));
    assert!(refusal("codec = 'json'\ntimestamp_format = 'iso'").contains("iso"));
}
