use super::*;
use crate::host::event::Finalizer;

const EVENT: &str = r#"{"ns":"default","topic":"Job","n":7,"nothing":null,"quote":"a\"b\\c\nd\te\u0001é",
    "key":"dyn","meta":{"App Name":"web","nested":{"a":[1,2.5]},"none":null,"n":3,"upper":"x"},
    "text":"{\"B\":1,\"b\":2,\"s\":\"<null>\"}","list":[1],"count":"app"}"#;

fn event(json: &str) -> LogEvent {
    LogEvent {
        value: serde_json::from_str(json).unwrap(),
        metadata: serde_json::from_str(r#"{"m":"meta"}"#).unwrap(),
        finalizer: Finalizer::none(),
        weight: 0,
    }
}

fn templates(pairs: &[(&str, &str)]) -> Vec<(Template, Template)> {
    let parse = |text| Template::parse(text).unwrap();
    pairs
        .iter()
        .map(|(key, value)| (parse(*key), parse(*value)))
        .collect()
}

fn telemetry() -> Telemetry {
    Telemetry::new(crate::host::sinks::outbound::Telemetry::new("test", "loki"))
}

fn labels(pairs: &[(&str, &str)]) -> String {
    Labels::new(templates(pairs))
        .of(&event(EVENT), &telemetry())
        .text
        .clone()
}

fn metadata(pairs: &[(&str, &str)]) -> String {
    let mut arena = BytesMut::new();
    Metadata::new(templates(pairs))
        .of(&event(EVENT), &mut arena, &telemetry())
        .iter()
        .map(|pair| format!("{}={};", text_of(&pair.name), text_of(&pair.value)))
        .collect()
}

fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn labels_are_rendered_and_sorted() {
    let table: [(&[(&str, &str)], &str); 13] = [
        (&[("app", "static")], r#"{app="static"}"#),
        (
            &[
                ("topic", "{{ topic }}"),
                ("ns", "{{ ns }}"),
                ("n", "{{ n }}"),
            ],
            r#"{n="7", ns="default", topic="Job"}"#,
        ),
        (&[("m", "{{ %m }}")], r#"{m="meta"}"#),
        (&[("{{ key }}_name", "x")], r#"{dyn_name="x"}"#),
        (&[("nothing", "{{ nothing }}")], r#"{nothing="<null>"}"#),
        // Values that would end the text early, or change when Loki undoes the escapes.
        (
            &[("q", "{{ quote }}")],
            "{q=\"a\\\"b\\\\c\\nd\\te\\u0001é\"}",
        ),
        // A missing field costs its pair, and with none left Vector's default stands in.
        (&[("a", "{{ absent }}"), ("b", "x")], r#"{b="x"}"#),
        (&[("{{ absent }}", "x"), ("b", "x")], r#"{b="x"}"#),
        (&[("a", "{{ absent }}")], r#"{agent="vector"}"#),
        // Expansion of objects: names become lower case, nulls are left out.
        (
            &[("*", "{{ meta }}")],
            r#"{app_name="web", n="3", nested="{"a":[1,2.5]}", upper="x"}"#,
        ),
        (
            &[("Pod-*", "{{ meta }}"), ("n", "1")],
            r#"{n="1", pod_app_name="web", pod_n="3", pod_nested="{"a":[1,2.5]}", pod_upper="x"}"#,
        ),
        // A name in full wins over an expanded one; text that is an object expands too, the later of two alike names wins.
        (
            &[("n", "full"), ("*", "{{ text }}"), ("b", "full")],
            r#"{b="full", n="full"}"#,
        ),
        (
            &[("*", "{{ list }}"), ("__tenant_id__", "t"), ("b", "x")],
            r#"{b="x"}"#,
        ),
    ];
    for (pairs, expected) in table {
        let expected = expected.replace(r#""{"a":[1,2.5]}""#, r#""{\"a\":[1,2.5]}""#);
        assert_eq!(labels(pairs), expected, "labels {pairs:?}");
    }
}

#[test]
fn structured_metadata_follows_the_same_rules() {
    let table: [(&[(&str, &str)], &str); 5] = [
        (
            &[("a", "{{ ns }}"), ("b", "{{ absent }}"), ("c", "x")],
            "a=default;c=x;",
        ),
        (&[("q", "{{ quote }}")], "q=a\"b\\c\nd\te\u{1}é;"),
        (&[("absent", "{{ absent }}")], ""),
        (
            &[
                ("*", "{{ text }}"),
                ("{{ key }}", "x"),
                ("z", "{{ absent }}"),
            ],
            "b=2;dyn=x;",
        ),
        (&[("p_*", "{{ count }}"), ("a", "b")], "a=b;"),
    ];
    for (pairs, expected) in table {
        assert_eq!(metadata(pairs), expected, "structured metadata {pairs:?}");
    }
}

#[test]
fn each_distinct_set_is_built_once() {
    let mut labels = Labels::new(templates(&[("a", "{{ a }}"), ("b", "{{ b }}")]));
    let telemetry = telemetry();
    let mut of = |json| labels.of(&event(json), &telemetry);
    let first = of(r#"{"a":"x","b":"y"}"#);
    let again = of(r#"{"a":"x","b":"y","c":1}"#);
    assert!(Arc::ptr_eq(&first, &again));

    // Concatenated, or with one missing, these would look alike.
    let alike = [
        r#"{"a":"xy","b":""}"#,
        r#"{"a":"","b":"xy"}"#,
        r#"{"a":"xy"}"#,
        r#"{"b":"xy"}"#,
        r#"{"a":"x\u0001\u0000\u0000\u0000\u0000y","b":""}"#,
        "{}",
    ];
    let texts: Vec<String> = alike.iter().map(|json| of(json).text.clone()).collect();
    assert_eq!(
        texts,
        [
            r#"{a="xy", b=""}"#,
            r#"{a="", b="xy"}"#,
            r#"{a="xy"}"#,
            r#"{b="xy"}"#,
            r#"{a="x\u0001\u0000\u0000\u0000\u0000y", b=""}"#,
            r#"{agent="vector"}"#,
        ]
    );
}

#[test]
fn cache_is_bounded() {
    let mut labels = Labels::new(templates(&[("a", "{{ a }}")]));
    let telemetry = telemetry();
    for number in 0..2 * MAX_CACHED_SETS + 1 {
        let set = labels.of(&event(&format!(r#"{{"a":{number}}}"#)), &telemetry);
        assert_eq!(set.text, format!(r#"{{a="{number}"}}"#));
        assert!(labels.cache.len() <= MAX_CACHED_SETS);
    }
}
