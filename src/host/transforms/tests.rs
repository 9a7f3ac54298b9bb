use std::sync::{Arc, Mutex};

use vrl::compiler::runtime::Runtime;
use vrl::value::{ObjectMap, Value};

use super::condition::{Condition, ConditionText};
use super::filter::{Filter, FilterConfig};
use super::program::{Access, Compiled, Failure, ProgramText};
use super::remap::{Remap, RemapConfig, Remapped};
use super::route::{Route, RouteConfig};
use crate::event::BatchId;
use crate::host::event::{Answer, Finalizer, LogEvent};
use crate::position::Delivery;

/// A value as JSON has it.
fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap()
}

fn event(text: &str) -> LogEvent {
    LogEvent {
        value: value(text),
        metadata: Value::Object(ObjectMap::new()),
        finalizer: Finalizer::none(),
        weight: 100,
    }
}

fn text(source: &str) -> ProgramText {
    ProgramText {
        text: source.to_owned(),
        file: None,
    }
}

fn remap(source: &str, drop_on_error: bool, drop_on_abort: bool) -> Remap {
    let config = RemapConfig {
        program: text(source),
        drop_on_error,
        drop_on_abort,
        reroute_dropped: false,
    };
    Remap::new("r", &config).unwrap()
}

/// The events that come out, as JSON.
fn apply(remap: &Remap, input: &str) -> Vec<String> {
    match remap.apply(&mut Runtime::default(), event(input), true) {
        Remapped::Dropped => Vec::new(),
        Remapped::One(event) | Remapped::Rerouted(event) => vec![json(&event.value)],
        Remapped::Many(events) => events.iter().map(|event| json(&event.value)).collect(),
    }
}

/// What batches were answered with.
#[derive(Clone, Debug, Default)]
struct Answers(Arc<Mutex<Vec<(BatchId, Delivery)>>>);

impl Answer for Answers {
    fn resolve(&self, id: BatchId, delivery: Delivery) {
        self.0.lock().unwrap().push((id, delivery));
    }
}

#[test]
fn remap_changes_the_event() {
    for (program, input, expected) in [
        (".b = 1", r#"{"a":2}"#, vec![r#"{"a":2,"b":1}"#]),
        ("del(.a)", r#"{"a":2}"#, vec!["{}"]),
        (". = {\"x\": .a}", r#"{"a":2}"#, vec![r#"{"x":2}"#]),
        // Integers stay exact.
        (
            ".b = int!(.a) + 1",
            r#"{"a":9007199254740993}"#,
            vec![r#"{"a":9007199254740993,"b":9007199254740994}"#],
        ),
        // An array becomes events; what is no object becomes the field `message`.
        (
            ". = [{\"x\": 1}, \"text\", 5, null, {\"x\": 2}]",
            "{}",
            vec![
                r#"{"x":1}"#,
                r#"{"message":"text"}"#,
                r#"{"message":5}"#,
                r#"{"message":null}"#,
                r#"{"x":2}"#,
            ],
        ),
        (". = []", r#"{"a":1}"#, vec![]),
        (". = \"text\"", r#"{"a":1}"#, vec![r#"{"message":"text"}"#]),
        (". = true", r#"{"a":1}"#, vec![r#"{"message":true}"#]),
        // The result of the last expression is not the event.
        ("\"ignored\"\n.a", r#"{"a":1}"#, vec![r#"{"a":1}"#]),
        ("return .x\n.a = 1", r#"{}"#, vec!["{}"]),
    ] {
        assert_eq!(
            apply(&remap(program, false, true), input),
            expected,
            "for {program}"
        );
    }
}

#[test]
fn failed_and_aborted_programs_pass_the_original_or_drop_it() {
    let fails = ".b = 1\n.c = int!(.a)";
    let aborts = ".b = 1\nabort";
    let aborts_sometimes = ".b = 1\nif exists(.a) { abort }";
    let original = vec![r#"{"a":"text"}"#];
    for (program, drop_on_error, drop_on_abort, expected) in [
        (fails, false, true, original.clone()),
        (fails, false, false, original.clone()),
        (fails, true, true, vec![]),
        (fails, true, false, vec![]),
        (aborts, false, true, vec![]),
        (aborts, true, true, vec![]),
        (aborts, false, false, original.clone()),
        (aborts, true, false, original.clone()),
        (aborts_sometimes, false, false, original.clone()),
    ] {
        let remap = remap(program, drop_on_error, drop_on_abort);
        assert_eq!(
            apply(&remap, r#"{"a":"text"}"#),
            expected,
            "for {program:?}, drop_on_error {drop_on_error}, drop_on_abort {drop_on_abort}"
        );
        let (errors, discarded, lost) = (
            remap.metrics().errors(),
            remap.metrics().discarded(),
            remap.metrics().lost(),
        );
        if program == fails {
            assert_eq!((errors, discarded, lost), (1, 0, u64::from(drop_on_error)));
        } else {
            assert_eq!((errors, discarded, lost), (0, u64::from(drop_on_abort), 0));
        }
    }
    // Metadata is put back as well.
    let remap = remap("%x = 1\n.c = int!(.a)", false, true);
    let Remapped::One(event) = remap.apply(&mut Runtime::default(), event("{}"), true) else {
        panic!("passed on");
    };
    assert_eq!(json(&event.metadata), "{}");
}

#[test]
fn events_of_an_array_share_answer_metadata_and_weight() {
    let answers = Answers::default();
    let remap = remap("%x = 1\n. = [{}, {}]", false, true);
    let mut input = event("{}");
    input.finalizer = Finalizer::new(answers.clone(), BatchId(7));
    let Remapped::Many(events) = remap.apply(&mut Runtime::default(), input, true) else {
        panic!("two events");
    };
    assert!(
        events
            .iter()
            .all(|event| json(&event.metadata) == r#"{"x":1}"# && event.weight == 100)
    );
    let [first, second] = <[LogEvent; 2]>::try_from(events).unwrap();
    first.finalizer.note(Delivery::Rejected);
    drop(first);
    assert_eq!(*answers.0.lock().unwrap(), vec![]);
    second.finalizer.note(Delivery::Delivered);
    drop(second);
    assert_eq!(
        *answers.0.lock().unwrap(),
        vec![(BatchId(7), Delivery::Rejected)]
    );
}

#[test]
fn a_dropped_event_counts_as_delivered() {
    let answers = Answers::default();
    for (id, remap) in [
        (1, remap("abort", false, true)),
        (2, remap(".a = int!(.b)", true, true)),
        (3, remap(". = []", false, true)),
    ] {
        let mut input = event("{}");
        input.finalizer = Finalizer::new(answers.clone(), BatchId(id));
        drop(remap.apply(&mut Runtime::default(), input, true));
    }
    assert_eq!(
        *answers.0.lock().unwrap(),
        vec![
            (BatchId(1), Delivery::Delivered),
            (BatchId(2), Delivery::Delivered),
            (BatchId(3), Delivery::Delivered),
        ]
    );
}

#[test]
fn programs_that_do_not_compile_show_the_compilers_diagnostics() {
    for (program, access, parts) in [
        (
            ".a = ",
            Access::ReadWrite,
            &["error[E204]: syntax error"][..],
        ),
        (
            ".a = parse_json(.b)",
            Access::ReadWrite,
            &[
                "error[E103]: unhandled fallible assignment",
                "1 │ .a = parse_json(.b)",
            ],
        ),
        (
            ".a = get_enrichment_table_record!(\"t\", {})",
            Access::ReadWrite,
            &[
                "error[E105]: call to undefined function",
                "`get_enrichment_table_record` is a function that Vector has and this program does not: run this file with `nomad-vector`",
            ],
        ),
        (
            ".a = get_env_var!(\"HOME\")",
            Access::ReadWrite,
            &["`get_env_var` is a function that Vector has"],
        ),
        // Nothing is known of the event's fields, so an addition may fail, as in Vector without schemas.
        (".b = .a + 1", Access::ReadWrite, &["error[E103]"]),
        ("%vector.x = 1", Access::ReadWrite, &["read-only"]),
        ("% = {}", Access::ReadWrite, &["read-only"]),
        (".a = 1\ntrue", Access::ReadOnly, &["read-only"]),
        ("del(.a)\ntrue", Access::ReadOnly, &["read-only"]),
        ("%a = 1\ntrue", Access::ReadOnly, &["read-only"]),
        (
            "5",
            Access::ReadOnly,
            &["a condition must give a boolean, whatever the event"],
        ),
        (".a", Access::ReadOnly, &["a condition must give a boolean"]),
    ] {
        let error = Compiled::new(&text(program), access).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "for {program:?}: {error}");
        }
    }
    let misspelt = Compiled::new(&text(".a = upcas(\"a\")"), Access::ReadWrite).unwrap_err();
    assert!(!misspelt.contains("nomad-vector"), "{misspelt}");
}

#[test]
fn warnings_of_the_compiler_are_kept() {
    let unused = Compiled::new(&text("x = 1\n.a = 2"), Access::ReadWrite).unwrap();
    assert!(unused.warnings.unwrap().contains("unused variable"));
    let clean = Compiled::new(&text(".a = 2"), Access::ReadWrite).unwrap();
    assert_eq!(clean.warnings, None);
}

#[test]
fn failures_name_the_place_and_nothing_of_the_event() {
    for (program, expected) in [
        (
            ".x = 1\n  .y = to_int!(.a)",
            (Some("to_int"), Some(2), Some(8)),
        ),
        // The innermost call that failed.
        (
            ".y = upcase(string!(.b))",
            (Some("string"), Some(1), Some(13)),
        ),
        (
            "if .b == 5 {\n .y = assert!(false)\n}",
            (Some("assert"), Some(2), Some(7)),
        ),
    ] {
        let compiled = Compiled::new(&text(program), Access::ReadWrite).unwrap();
        let mut input = value(r#"{"a":"SECRET","b":5}"#);
        let mut metadata = value("{}");
        let mut secrets = vrl::value::Secrets::new();
        let mut target = vrl::compiler::TargetValueRef {
            value: &mut input,
            metadata: &mut metadata,
            secrets: &mut secrets,
        };
        let stopped = compiled
            .run(&mut Runtime::default(), &mut target)
            .unwrap_err();
        let (function, line, column) = expected;
        let shown = format!("{stopped:?}");
        let super::program::Stopped::Failed(failure, _) = stopped else {
            panic!("{program} fails");
        };
        assert_eq!(
            failure,
            Failure {
                function: function.map(str::to_owned),
                line,
                column,
            },
            "for {program}"
        );
        assert!(!shown.contains("SECRET"));
    }
}

fn condition(source: &str) -> ConditionText {
    ConditionText(source.to_owned())
}

#[test]
fn conditions_ask_without_changing() {
    let filter = |source: &str| {
        Filter::new(
            "f",
            &FilterConfig {
                condition: condition(source),
            },
        )
        .unwrap()
    };
    for (source, expected, errors) in [
        (".a == 1", true, 0),
        (".a == 2", false, 0),
        ("exists(.b.c) && .b.c == \"x\"", true, 0),
        ("%m == null", true, 0),
        ("exists(%m)", false, 0),
        ("x = .a; x == 1", true, 0),
        // A condition that fails says no, and so does one that aborts.
        ("to_bool!(.b)", false, 1),
        ("if .a == 1 { abort }; true", false, 1),
    ] {
        let filter = filter(source);
        let input = event(r#"{"a":1,"b":{"c":"x"}}"#);
        assert_eq!(
            filter.passes(&mut Runtime::default(), &input, true),
            expected,
            "for {source}"
        );
        assert_eq!(json(&input.value), r#"{"a":1,"b":{"c":"x"}}"#);
        assert_eq!(filter.metrics().errors(), errors, "for {source}");
        assert_eq!(filter.metrics().discarded(), u64::from(!expected));
        assert_eq!(filter.metrics().lost(), 0);
    }
}

#[test]
fn conditions_are_written_as_text_or_table() {
    #[derive(serde::Deserialize)]
    struct Holder {
        condition: ConditionText,
    }
    for text in [
        "condition = '.a == 1'",
        "condition.type = 'vrl'\ncondition.source = '.a == 1'",
        "condition = { type = 'vrl', source = '.a == 1' }",
    ] {
        let holder: Holder = toml::from_str(text).unwrap();
        assert_eq!(holder.condition, condition(".a == 1"));
    }
}

#[test]
fn route_finds_every_output_whose_condition_is_met() {
    let config = |reroute_unmatched: bool| RouteConfig {
        route: [
            ("big", ".a > 10 ?? false"),
            ("odd", "mod(int(.a) ?? 0, 2) == 1"),
            ("text", "is_string(.a)"),
        ]
        .into_iter()
        .map(|(name, source)| (name.to_owned(), condition(source)))
        .collect(),
        reroute_unmatched,
    };
    let matches = |route: &Route, input: &str| {
        let mut outputs = Vec::new();
        route.matches(&mut Runtime::default(), &event(input), true, |output| {
            outputs.push(output);
        });
        outputs
    };
    let route = Route::new("r", &config(true)).unwrap();
    for (input, expected) in [
        (r#"{"a":11}"#, vec![0, 1]),
        (r#"{"a":12}"#, vec![0]),
        (r#"{"a":1}"#, vec![1]),
        (r#"{"a":"x"}"#, vec![2]),
        (r#"{"a":2}"#, vec![3]),
    ] {
        assert_eq!(matches(&route, input), expected, "for {input}");
    }
    assert_eq!(route.metrics().errors(), 0);
    let quiet = Route::new("r", &config(false)).unwrap();
    assert_eq!(matches(&quiet, r#"{"a":2}"#), Vec::<usize>::new());

    let broken = RouteConfig {
        route: [("a", "5"), ("b", "true"), ("c", ".x = 1")]
            .into_iter()
            .map(|(name, source)| (name.to_owned(), condition(source)))
            .collect(),
        reroute_unmatched: true,
    };
    let errors = Route::new("r", &broken).unwrap_err();
    let names: Vec<&str> = errors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, vec!["a", "c"]);
    assert!(Condition::new(&condition("true")).is_ok());
}
