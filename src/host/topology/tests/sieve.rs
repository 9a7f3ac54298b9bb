use super::*;

/// Events that nobody wants take no place in the queue for ever.
#[tokio::test]
async fn what_is_sorted_out_is_answered_and_notices_pass() {
    let rest = blackhole("out", "[\"nomad\"]") + ACKNOWLEDGED;
    let mut bench = Bench::new("", &rest);
    bench.batch(&[("Job", "a"), ("Node", "b")]);
    bench.batch(&[("Node", "c"), ("Node", "d")]);
    bench.send(Item::Notice(gap()));
    bench.batch(&[("Job", "e")]);
    bench.input = None;
    let feeds = bench.feeds;
    let open = |_: &SourceNode| {
        let feed = feeds.lock().unwrap().pop_front().unwrap();
        let keep = |event: &Event| event.topic == "Job";
        (Sieve { feed, keep }, shape as fn(&Event, &Wanted) -> Value)
    };
    let summary = bench.topology.run_with(open, std::future::pending()).await;
    assert_eq!(summary.unanswered_batches, 0);
    assert_eq!(
        bench.sinks["out"].get(),
        vec![
            line("Job", "a"),
            line("NomadEvents", "nomad"),
            line("Job", "e")
        ]
    );
    assert_eq!(
        bench.answers.get(),
        vec![
            (1, Delivery::Delivered),
            (2, Delivery::Delivered),
            (3, Delivery::Delivered)
        ]
    );
}
