//! The configurations, each a test.

use super::{Case, Stream, check};

/// The recommended configuration and that of the talk: two ways to the same lines.
#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_configurations_give_the_lines_of_vector() {
    for config in ["config/vector.toml", "config/talk.toml"] {
        check(&Case {
            config,
            fixture: "shipped",
            stream: Stream::Whole,
        })
        .await;
    }
}

/// Whole events, and an output for each topic.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_those_of_vector() {
    of("events.toml", Stream::Sample).await;
}

/// All events of the recording, told by their numbers.
#[tokio::test(flavor = "multi_thread")]
async fn every_output_has_the_order_of_vector() {
    of("order.toml", Stream::Whole).await;
}

/// Tenants, labels and structured metadata, as protobuf.
#[tokio::test(flavor = "multi_thread")]
async fn labels_are_those_of_vector() {
    of("labels.toml", Stream::Sample).await;
}

/// Programs that fail, abort, and make of an event none, another, or several.
#[tokio::test(flavor = "multi_thread")]
async fn what_programs_make_is_what_they_make_in_vector() {
    of("programs.yaml", Stream::Sample).await;
}

/// Routes, filters and conditions.
#[tokio::test(flavor = "multi_thread")]
async fn ways_through_the_topology_are_those_of_vector() {
    of("ways.json", Stream::Sample).await;
}

/// Codecs, fields and times, and what stands between events.
#[tokio::test(flavor = "multi_thread")]
async fn encoded_events_and_requests_are_those_of_vector() {
    of("encodings.toml", Stream::Sample).await;
}

/// Parts of payloads, which the embedded host builds only where a program reads them.
#[tokio::test(flavor = "multi_thread")]
async fn what_programs_read_of_payloads_is_what_they_read_in_vector() {
    of("payloads.toml", Stream::Sample).await;
}

/// Texts that are none, times without end, and what else sinks may be given.
#[tokio::test(flavor = "multi_thread")]
async fn values_at_the_edge_are_those_of_vector() {
    of("edges.toml", Stream::Sample).await;
}

async fn of(name: &'static str, stream: Stream) {
    let config = format!("tests/fixtures/parity/{name}");
    let fixture = name.split('.').next().unwrap_or(name);
    check(&Case {
        config: &config,
        fixture,
        stream,
    })
    .await;
}
