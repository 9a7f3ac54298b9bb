//! Leaving out what no program reads changes nothing that comes to a sink.

use super::*;
use crate::envelope::{self, Line};
use crate::payload::value::Shaper;
use crate::position::Epoch;
use crate::testing::recording::Recording;

/// What comes to the sink `out` from the sample, with whole payloads or with the wanted parts.
async fn seen(source: &str, rest: &str, whole: bool) -> Vec<String> {
    sample(Bench::new(source, rest), "out", whole).await
}

/// The same at another sink.
pub(super) async fn seen_at(sink: &str, rest: &str, whole: bool) -> Vec<String> {
    sample(Bench::new("", rest), sink, whole).await
}

async fn sample(mut bench: Bench, sink: &str, whole: bool) -> Vec<String> {
    for line in Recording::sample().batches() {
        let Ok(Line::Batch(batch)) = envelope::parse(&line) else {
            continue;
        };
        bench.next += 1;
        let time = EventTime {
            nanos: 0,
            source: TimeSource::Carried,
        };
        let events = batch
            .events
            .into_iter()
            .map(|raw| raw.dated(batch.index, time))
            .collect();
        bench.send(Item::Batch(Batch {
            id: BatchId(bench.next),
            epoch: Epoch::default(),
            index: batch.index,
            events,
            text_bytes: line.len(),
            redelivery: 0,
        }));
    }
    bench.input = None;
    let shaper = Shaper::new(true, None);
    let shape = move |event: &Event, wanted: &Wanted| {
        shaper.log_event_with(event, if whole { &Wanted::All } else { wanted })
    };
    let feeds = bench.feeds;
    let open = |_: &SourceNode| (feeds.lock().unwrap().pop_front().unwrap(), shape.clone());
    bench.topology.run_with(open, std::future::pending()).await;
    bench.sinks[sink].get()
}

fn remap(program: &str) -> String {
    format!(
        "[transforms.t]\ntype = \"remap\"\ninputs = [\"nomad\"]\ndrop_on_error = false\nsource = '''\n{program}\n'''\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"t\"]\n"
    )
}

/// Each row is a program; some keep the payload, some replace it, some do either.
#[tokio::test]
async fn programs_give_the_same_with_the_parts_that_they_read() {
    let programs = [
        r#". = {"id": .Payload.Job.ID, "type": .Type}"#,
        r#".seen = .Payload.Job.ID"#,
        r#"if .Topic == "Job" { . = {"id": .Payload.Job.ID} }"#,
        r#"if .Topic == "Job" { .Payload = "gone" }"#,
        r#". = {"whole": .Payload}"#,
        r#". = {"event": .}"#,
        r#". = [{"a": .Payload.Allocation.ID}, {"b": .Payload.Allocation.TaskStates}]"#,
        r#"del(.Payload)"#,
        r#".copy = del(.Payload)"#,
        r#"%kept = .Payload.Job.Name; . = {"name": %kept}"#,
        r#". = {"first": .Payload.Job.TaskGroups[0].Name, "any": exists(.Payload.Node)}"#,
        r#". = {"n": to_int!(.Payload.Job.ID)}"#,
        r#"payload = .Payload; . = {"keys": length(object(payload) ?? {})}"#,
        r#".Payload.Job.Extra = 1"#,
        r#". = object!(.Payload.Job)"#,
        r#"root = .; . = {"p": root.Payload}"#,
    ];
    for program in programs {
        let whole = seen("", &remap(program), true).await;
        assert!(!whole.is_empty());
        assert_eq!(seen("", &remap(program), false).await, whole, "{program}");
    }
}

#[tokio::test]
async fn conditions_before_a_program_and_programs_behind_one_count_too() {
    let rest = "
        [transforms.some]
        type = \"filter\"
        inputs = [\"nomad\"]
        condition = '.Payload.Allocation.ClientStatus == \"failed\" || .Payload.Job.Type == \"service\"'
        [transforms.first]
        type = \"remap\"
        inputs = [\"some\"]
        source = '.note = .Payload.Job.Type'
        [transforms.which]
        type = \"route\"
        inputs = [\"first\"]
        route.jobs = 'exists(.Payload.Job.Version)'
        [transforms.second]
        type = \"remap\"
        inputs = [\"which.jobs\", \"which._unmatched\"]
        source = '. = {\"note\": .note, \"status\": .Payload.Job.Status, \"alloc\": .Payload.Allocation.Name}'
        [sinks.out]
        type = \"blackhole\"
        inputs = [\"second\"]
    ";
    let whole = seen("", rest, true).await;
    assert!(whole.len() > 3);
    assert_eq!(seen("", rest, false).await, whole);
}

#[tokio::test]
async fn the_shipped_configurations_give_the_same() {
    for file in ["config/vector.toml", "config/talk.toml"] {
        let text = std::fs::read_to_string(file).unwrap();
        let (_, transforms) = text.split_once("[transforms.").unwrap();
        let (transforms, sink) = transforms.split_once("[sinks.loki]").unwrap();
        let mut rest = format!("[transforms.{transforms}[sinks.out]\ntype = \"blackhole\"\n");
        rest.extend(sink.lines().filter(|line| line.starts_with("inputs")));
        for program in [
            "allocation",
            "deployment",
            "evaluation",
            "job",
            "node",
            "notices",
            "other",
            "service",
        ] {
            let path = format!("vrl/{program}.vrl");
            let source = std::fs::read_to_string(&path).unwrap();
            rest = rest.replace(
                &format!("file = \"{path}\""),
                &format!("source = '''\n{source}\n'''"),
            );
        }
        let source = if text.contains("multiple_outputs = true") {
            "multiple_outputs = true"
        } else {
            ""
        };
        let whole = seen(source, &rest, true).await;
        assert!(whole.len() > 50);
        assert_eq!(seen(source, &rest, false).await, whole, "{file}");
    }
}

#[test]
fn a_sink_without_a_program_before_it_wants_all() {
    let bench = Bench::new("", &blackhole("out", "[\"nomad\"]"));
    let consumers = bench.topology.graph.consumers(&OutputId {
        component: "nomad".to_owned(),
        port: None,
    });
    assert_eq!(bench.topology.graph.wanted(&consumers), Wanted::All);
}
