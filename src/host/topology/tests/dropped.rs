//! `reroute_dropped`: events that a program drops go to an output of their own, as Vector has them.

use super::*;
use crate::testing::recording::Recording;

/// A `remap` with sinks at both outputs.
fn rerouting(program: &str, options: &str) -> String {
    format!(
        "[transforms.shape]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = '''\n{program}\n'''\n{options}\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"shape\"]\n\
         [sinks.dropped]\ntype = \"blackhole\"\ninputs = [\"shape.dropped\"]\n"
    )
}

/// The event `k`, as it came, with the reason why it was dropped.
fn with_reason(reason: &str, message: &str) -> String {
    format!(
        r#"{{"k":"a","metadata":{{"dropped":{{"component_id":"shape","component_kind":"transform","component_type":"remap","message":"{message}","reason":"{reason}"}}}},"t":"Job"}}"#
    )
}

#[tokio::test]
async fn dropped_events_go_to_their_output_with_the_reason() {
    let fails = ".x = 1\n.y = int!(.t)";
    let asserts = "assert!(.k == \"b\", message: \"not b\")";
    let aborts = ".x = 1\nabort";
    let says = "abort \"said so\"";
    let original = line("Job", "a");
    let failed = r#"function call error for \"int\" at (12:20): expected integer, got string"#;
    for (program, options, out, dropped) in [
        (fails, "", Some(&original), None),
        (
            fails,
            "drop_on_error = true",
            None,
            Some(with_reason("error", failed)),
        ),
        // The message that a user wrote comes alone, without the place in the program.
        (
            asserts,
            "drop_on_error = true",
            None,
            Some(with_reason("error", "not b")),
        ),
        (aborts, "", None, Some(with_reason("abort", "aborted"))),
        (says, "", None, Some(with_reason("abort", "said so"))),
        (aborts, "drop_on_abort = false", Some(&original), None),
    ] {
        let options = format!("reroute_dropped = true\n{options}");
        let mut bench = Bench::new("", &rerouting(program, &options));
        bench.batch(&[("Job", "a")]);
        let (_, seen, answers) = bench.run_to_end().await;
        let expected = |lines: Option<String>| Vec::from_iter(lines);
        assert_eq!(
            seen["out"],
            expected(out.cloned()),
            "{program:?} {options:?}"
        );
        assert_eq!(
            seen["dropped"],
            expected(dropped),
            "{program:?} {options:?}"
        );
        assert_eq!(answers.get(), [(1, Delivery::Delivered)]);
    }
}

#[tokio::test]
async fn what_is_dropped_for_good_comes_to_no_output() {
    let dropping = rerouting("abort", "").replace("shape.dropped", "nomad");
    let mut bench = Bench::new("", &dropping);
    bench.batch(&[("Job", "a")]);
    let (_, seen, _) = bench.run_to_end().await;
    assert_eq!(seen["out"], Vec::<String>::new());
}

/// Programs read parts of a payload, and only these are built; an event that goes on as it came has all of it.
#[tokio::test]
async fn a_rerouted_event_has_its_whole_payload() {
    let rest = rerouting(
        ".id = .Payload.Job.ID\nabort",
        "reroute_dropped = true\ndrop_on_abort = true",
    );
    let whole = wanted::seen_at("dropped", &rest, true).await;
    let parts = wanted::seen_at("dropped", &rest, false).await;
    assert_eq!(whole.len(), Recording::sample().counts().events);
    assert_eq!(whole, parts);
}

#[test]
fn an_unused_output_of_dropped_events_is_warned_of() {
    let load = |inputs: &str| {
        let text = format!(
            "[sources.nomad]\ntype = \"nomad_events\"\n{}",
            rerouting(".", "reroute_dropped = true").replace("\"shape.dropped\"", inputs)
        );
        let files = move |_: &Path| -> io::Result<String> { Ok(text.clone()) };
        let (_, warnings) = Config::load(Path::new("t.toml"), &|_| None, &files).unwrap();
        warnings.to_string()
    };
    assert_eq!(
        load("\"shape\""),
        "Transform \"shape.dropped\" has no consumers"
    );
    assert_eq!(load("\"shape.dropped\""), "");
}
