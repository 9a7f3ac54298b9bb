use bytes::Bytes;
use chrono::{TimeZone as _, Utc};
use vrl::value::{ObjectMap, Value};

use super::*;
use crate::host::event::Finalizer;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn at(path: &str) -> vrl::path::OwnedValuePath {
    path.parse().unwrap()
}

fn event() -> LogEvent {
    let mut value = json(
        r#"{"message":"hello","number":-3,"big":9007199254740993,"float":1.5,"whole":2.0,"yes":true,"nothing":null,
            "list":[1,"two",null],"object":{"b":2,"a":{"c":"d"}},"a b":{"c.d":"quoted"},"empty":""}"#,
    );
    let fields: &mut ObjectMap = value.as_object_mut().unwrap();
    let time = Utc.with_ymd_and_hms(2026, 3, 4, 5, 6, 7).unwrap();
    fields.insert("timestamp".into(), Value::Timestamp(time));
    fields.insert(
        "raw".into(),
        Value::Bytes(Bytes::from_static(b"caf\xe9 \xf0\x9f end")),
    );
    LogEvent {
        value,
        metadata: json(r#"{"vector":{"source":"nomad"},"plain":"meta"}"#),
        finalizer: Finalizer::none(),
        weight: 0,
    }
}

fn render(source: &str) -> Result<String, String> {
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    let mut out = String::from(">");
    match template.render(&event(), &mut out) {
        Ok(()) => Ok(out[1..].to_owned()),
        Err(missing) => {
            assert_eq!(out, ">", "a failed rendering leaves nothing behind");
            Err(missing.to_string())
        }
    }
}

#[test]
fn templates_render_as_in_vector() {
    let table = [
        ("", ""),
        ("plain text", "plain text"),
        ("{{message}}", "hello"),
        ("{{ message }}", "hello"),
        ("{{ .message }}", "hello"),
        ("<{{ message }}|{{number}}>", "<hello|-3>"),
        ("{{ big }}", "9007199254740993"),
        ("{{ float }}", "1.5"),
        ("{{ whole }}", "2"),
        ("{{ yes }}", "true"),
        ("{{ nothing }}", "<null>"),
        ("{{ empty }}", ""),
        ("{{ list }}", r#"[1,"two",null]"#),
        ("{{ list[1] }}", "two"),
        ("{{ list[-3] }}", "1"),
        ("{{ object }}", r#"{"a":{"c":"d"},"b":2}"#),
        ("{{ object.a.c }}", "d"),
        (r#"{{ "a b"."c.d" }}"#, "quoted"),
        ("{{ timestamp }}", "2026-03-04T05:06:07Z"),
        ("{{ raw }}", "caf\u{fffd} \u{fffd} end"),
        ("{{ %plain }}", "meta"),
        ("{{ %vector.source }}", "nomad"),
        ("%F", "2026-03-04"),
        ("%Y/%m/%d %H:%M:%S%.3f %Z", "2026/03/04 05:06:07.000 UTC"),
        ("day %j of {{ message }}", "day 063 of hello"),
        // Two signs are one only where the text is a time format.
        ("100%%", "100%%"),
        ("100%% of %Y", "100% of 2026"),
        // Braces that are no reference.
        ("{{}}", "{{}}"),
        ("{{ message }", "{{ message }"),
        ("{ message }", "{ message }"),
        ("{{ a } }} {{message}}", "{{ a } }} hello"),
        ("}}{{message}}{{", "}}hello{{"),
    ];
    for (source, expected) in table {
        assert_eq!(
            render(source).as_deref(),
            Ok(expected),
            "template {source:?}"
        );
    }
}

#[test]
fn missing_fields_are_named_as_written() {
    assert_eq!(
        render("{{ message }}-{{ .nope }}-{{ object.nope[0] }}"),
        Err("missing fields on event: .nope, object.nope[0]".to_owned())
    );
    assert_eq!(
        render("{{ %nope }}"),
        Err("missing fields on event: %nope".to_owned())
    );
}

#[test]
fn what_does_not_parse_is_refused_with_the_template() {
    for source in ["{{ a..b }}", "{{ }}", "{{{message}}}", "{{ a b }}"] {
        assert!(
            matches!(Template::parse(source), Err(TemplateError::Path)),
            "template {source:?}"
        );
    }
    assert_eq!(
        Template::parse("50% {{ a }}").unwrap_err(),
        TemplateError::Time
    );
}

#[test]
fn time_is_now_for_an_event_without_one() {
    let mut event = event();
    event
        .value
        .as_object_mut()
        .unwrap()
        .insert("timestamp".into(), "2001-02-03T04:05:06Z".into());
    let mut out = String::new();
    let before = Utc::now().timestamp();
    Template::parse("%s")
        .unwrap()
        .render(&event, &mut out)
        .unwrap();
    let rendered: i64 = out.parse().unwrap();
    assert!((before..=Utc::now().timestamp()).contains(&rendered));
}

#[test]
fn an_event_that_is_no_object_has_no_fields_but_a_root() {
    let event = LogEvent {
        value: Value::from("text"),
        metadata: Value::Object(ObjectMap::new()),
        finalizer: Finalizer::none(),
        weight: 0,
    };
    let mut out = String::new();
    Template::parse("{{ . }}")
        .unwrap()
        .render(&event, &mut out)
        .unwrap();
    assert_eq!(out, "text");
    assert!(
        Template::parse("{{ message }}")
            .unwrap()
            .render(&event, &mut out)
            .is_err()
    );
}

#[test]
fn fields_and_kind_are_known_without_an_event() {
    let template = Template::parse("%Y {{ a }} {{ %b.c }}").unwrap();
    let fields: Vec<String> = template.fields().map(ToString::to_string).collect();
    assert_eq!(fields, [".a", "%b.c"]);
    assert!(template.is_dynamic());
    assert!(!Template::parse("100%% {{}}").unwrap().is_dynamic());
    assert!(!Template::parse("").unwrap().is_dynamic());
    assert!(Template::parse("%F").unwrap().is_dynamic());
}

#[test]
fn removing_a_field_takes_it_from_its_own_side() {
    let mut event = event();
    for path in ["message", "%plain", "object.a.c"] {
        remove(&mut event, &parse_target_path(path).unwrap());
    }
    assert_eq!(event.value.get(&at("message")), None);
    assert_eq!(event.metadata.get(&at("plain")), None);
    // Emptied parents stay, as in Vector.
    assert_eq!(event.value.get(&at("object.a")), Some(&json("{}")));
}
