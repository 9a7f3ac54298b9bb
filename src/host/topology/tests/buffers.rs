//! `buffer`: what waits in front of a sink, and who waits for it.

use super::*;
use crate::position::Epoch;

const DROPPING: &str = "buffer = { max_events = 2, when_full = \"drop_newest\" }\n";

/// A sink for everything, and an alert sink with these options that takes nothing while the test runs.
fn with_stalled_alerts(options: &str) -> (Bench, oneshot::Sender<()>) {
    let sinks = blackhole("loki", "[\"nomad\"]")
        + ACKNOWLEDGED
        + &blackhole("alerts", "[\"nomad\"]")
        + options;
    let mut bench = Bench::new("queue_bytes = 1000000", &sinks);
    let (go, wait) = oneshot::channel();
    bench.behave("alerts", Behaviour::Waits(wait));
    for number in 0..50 {
        bench.batch(&[("Job", &number.to_string())]);
    }
    (bench, go)
}

#[tokio::test(start_paused = true)]
async fn a_stalled_alert_sink_that_drops_never_holds_up_loki() {
    for acknowledgements in ["", ACKNOWLEDGED] {
        let (bench, _stalled) = with_stalled_alerts(&format!("{DROPPING}{acknowledgements}"));
        let _input = bench.input.clone();
        let (_, seen, answers) = bench.run(tokio::time::sleep(Duration::from_secs(1))).await;
        assert_eq!(seen["loki"].len(), 50);
        // What was dropped stands for delivered. The two that still wait do so only where somebody waits for the sink; they
        // are given up when the run is.
        let delivered = answers
            .get()
            .iter()
            .filter(|(_, delivery)| *delivery == Delivery::Delivered)
            .count();
        let expected = if acknowledgements.is_empty() { 50 } else { 48 };
        assert_eq!(delivered, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_alert_sink_that_blocks_holds_up_loki() {
    let (bench, _stalled) = with_stalled_alerts("buffer.max_events = 2\n");
    let _input = bench.input.clone();
    let (_, seen, _) = bench.run(tokio::time::sleep(Duration::from_secs(1))).await;
    // Two wait for the alert sink, the third holds the source up; that one has come to Loki already.
    assert_eq!(seen["loki"].len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_drops_gets_what_fits_and_what_comes_later() {
    let (mut bench, go) = with_stalled_alerts(DROPPING);
    let seen = bench.sinks["alerts"].clone();
    let running = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        go.send(()).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(seen.get(), [line("Job", "0"), line("Job", "1")]);
    };
    bench.next = 100;
    let late = bench.input.clone().unwrap();
    let stop = async {
        running.await;
        let event = Event {
            topic: ByteString::from("Job"),
            event_type: ByteString::from("T"),
            key: ByteString::from("late"),
            namespace: ByteString::from("default"),
            filter_keys: None,
            index: RaftIndex(101),
            payload: Bytes::from_static(b"{}"),
            time: EventTime {
                nanos: 0,
                source: TimeSource::Receipt,
            },
            origin: Origin::Stream,
            changes: None,
        };
        let batch = Batch {
            id: BatchId(101),
            epoch: Epoch::default(),
            index: RaftIndex(101),
            events: vec![event],
            text_bytes: 2,
            redelivery: 0,
        };
        late.send(Item::Batch(batch)).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let (_, seen, _) = bench.run(stop).await;
    assert_eq!(
        seen["alerts"],
        ["0", "1", "late"].map(|key| line("Job", key))
    );
}

#[test]
fn buffers_that_only_vector_has_are_refused_by_name() {
    let refusal = |options: &str| {
        let text = format!(
            "[sources.nomad]\ntype = \"nomad_events\"\n{}{options}",
            blackhole("out", "[\"nomad\"]")
        );
        let files = move |_: &Path| -> io::Result<String> { Ok(text.clone()) };
        let errors = Config::load(Path::new("t.toml"), &|_| None, &files).unwrap_err();
        errors.to_string()
    };
    for (options, expected) in [
        (
            "buffer = { type = \"disk\", max_size = 268435488 }\n",
            "sink \"out\": option `buffer`: Vector has `type = \"disk\"`",
        ),
        (
            "buffer.when_full = \"overflow\"\n",
            "sink \"out\": option `buffer.when_full`: Vector has `overflow`",
        ),
        (
            "buffer.max_events = 0\n",
            "sink \"out\": option `buffer.max_events`: expected a whole number from 1",
        ),
        (
            "[[sinks.out.buffer]]\ntype = \"memory\"\n",
            "sink \"out\": option `buffer`: Vector takes several buffers",
        ),
    ] {
        let message = refusal(options);
        assert!(message.contains(expected), "{options}: {message}");
        if !options.contains('0') {
            assert!(message.contains("nomad-vector"), "{message}");
        }
    }
}
