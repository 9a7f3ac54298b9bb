//! A stream that ends at every byte, in every framing.

use super::*;
use crate::testing::recording::Recording;

/// Recorded lines, the shortest ones; the first two are of one index and differ in their payload alone.
fn recorded() -> Vec<String> {
    let recording = Recording::sample();
    let line = |index: u64| {
        let start = format!("{{\"Index\":{index},");
        let mut lines = recording
            .batches()
            .map(|line| String::from_utf8(line.to_vec()).unwrap());
        lines.find(|line| line.starts_with(&start)).unwrap()
    };
    let changed = line(27).replace("\"CreateIndex\":26", "\"CreateIndex\":25");
    assert_ne!(line(27), changed);
    vec![line(27), changed, line(28)]
}

fn index_of(line: &str) -> u64 {
    let (_, rest) = line.split_once("\"Index\":").unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

/// Cuts the first connection after each number of bytes. The following ones are whole, and stay open.
async fn cut_everywhere(
    framing: Framing,
    end: Act,
    cause_after_first_line: impl Fn(bool) -> &'static str,
) {
    let lines: Arc<Vec<String>> = Arc::new(recorded());
    // A heartbeat between the lines: most ends come after one.
    let whole = framing.answer(lines.iter().map(String::as_str).chain(["{}"])) + framing.end();
    let head = framing.head().len();
    // Up to and with the newline of the first `{}`, which is a chunk of one byte.
    let first_line = head
        + framing.line("{}").find('\n').map_or(0, |at| match framing {
            Framing::Chunked => "2\r\n{}\r\n1\r\n\n".len(),
            Framing::Wrong | Framing::Close => at + 1,
        });
    let first_batch = head + (framing.line("{}") + &framing.line(&lines[0])).len()
        - match framing {
            // The end of the newline's chunk.
            Framing::Chunked => 2,
            Framing::Wrong | Framing::Close => 0,
        };
    let expected: Vec<u64> = lines.iter().map(|line| index_of(line)).collect();
    let mut payloads: Option<Vec<(u64, String)>> = None;

    // The whole answer first: what comes through it is the measure.
    for cut in (0..=whole.len()).rev() {
        let (lines, first, end) = (Arc::clone(&lines), whole[..cut].to_owned(), end.clone());
        let streams = std::sync::atomic::AtomicUsize::new(0);
        let memory = Memory::new(move |_, request| {
            let Some(index) = asked_for(request) else {
                return list();
            };
            if streams.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                return vec![Act::Bytes(first.clone().into()), end.clone()];
            }
            let rest = lines.iter().filter(|line| index_of(line) >= index);
            let answer = framing.answer(rest.map(String::as_str));
            vec![Act::Bytes(answer.into()), Act::Hold]
        });
        let mut follower = Follower::of(&memory);
        follower.until_disconnected().await;
        let connected = 1 + usize::from(cut >= first_line);
        follower
            .until("the second connection", |follower| {
                follower.count("Connected") >= connected
            })
            .await;
        follower.until_events(expected.len()).await;
        // What would come twice comes by then.
        let _ = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                follower.take().await;
            }
        })
        .await;

        let indexes: Vec<u64> = follower.payloads.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, expected, "{framing:?} cut at {cut}");
        let measure = payloads.get_or_insert_with(|| follower.payloads.clone());
        assert_eq!(&follower.payloads, measure, "{framing:?} cut at {cut}");
        // Before anything was taken, a start anew cannot show that nothing was forgotten meanwhile.
        let nothing_to_go_on = (first_line..first_batch).contains(&cut);
        let gaps = follower.count("Gap");
        assert!(
            gaps <= usize::from(nothing_to_go_on),
            "{framing:?} cut at {cut}"
        );
        assert_eq!(
            follower.count("LineDiscarded"),
            0,
            "{framing:?} cut at {cut}"
        );
        assert_eq!(
            follower.count("Connected"),
            connected,
            "{framing:?} cut at {cut}"
        );

        let cause = match cut {
            cut if cut < head => "broken",
            cut if cut < first_line => "no_first_line",
            cut => cause_after_first_line(cut == whole.len()),
        };
        let (told, message) = follower.cause().unwrap();
        assert_eq!(told, cause, "{framing:?} cut at {cut}: {message}");
        // Of the bytes of a line, their number is told and nothing else.
        assert!(!message.contains("NodePool"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunked_stream_that_ends_at_any_byte_is_resumed_without_loss_or_repetition() {
    cut_everywhere(Framing::Chunked, Act::Close, |whole| {
        if whole { "closed" } else { "broken" }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_1_11_2_that_ends_at_any_byte_is_resumed_without_loss_or_repetition() {
    cut_everywhere(Framing::Wrong, Act::Close, |_| "closed").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_1_11_3_that_ends_at_any_byte_is_resumed_without_loss_or_repetition() {
    cut_everywhere(Framing::Close, Act::Close, |_| "closed").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_reset_at_any_byte_is_resumed_without_loss_or_repetition() {
    cut_everywhere(Framing::Close, Act::Reset, |_| "broken").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_cut_into_reads_anywhere() {
    let lines = [job(7, "running")];
    for framing in Framing::ALL {
        let answer = framing.answer(lines.iter().map(String::as_str));
        for cut in 0..answer.len() {
            let (before, after) = (answer[..cut].to_owned(), answer[cut..].to_owned());
            let memory = Memory::new(move |_, _| {
                vec![
                    Act::Bytes(before.clone().into()),
                    Act::Bytes(after.clone().into()),
                    Act::Hold,
                ]
            });
            let mut follower = Follower::of(&memory);
            follower.until_events(lines.len()).await;
            assert_eq!(
                follower.count("Disconnected"),
                0,
                "{framing:?} cut at {cut}"
            );
        }
        let bytes: Vec<Act> = Act::byte_by_byte(answer.as_bytes())
            .chain([Act::Hold])
            .collect();
        let mut follower = Follower::of(&Memory::new(move |_, _| bytes.clone()));
        follower.until_events(lines.len()).await;
        assert_eq!(
            follower.count("Disconnected"),
            0,
            "{framing:?} byte by byte"
        );
    }
}

/// A dashboard showed the source as silent for its first minute.
#[tokio::test(start_paused = true)]
async fn the_first_status_does_not_wait_for_a_whole_interval() {
    for (options, moments) in [
        ("{}", [5, 65, 125]),
        (r#"{"status_interval_secs": 2}"#, [2, 4, 6]),
    ] {
        let memory = Memory::new(|_, request| match asked_for(request) {
            None => list(),
            Some(_) => vec![Act::Bytes(Framing::Close.answer([]).into()), Act::Hold],
        });
        let begun = tokio::time::Instant::now();
        let mut follower = Follower::with(&memory, options);
        for (number, at) in (1..).zip(moments) {
            follower
                .until("Status", |follower| follower.count("Status") == number)
                .await;
            assert_eq!(begun.elapsed().as_secs(), at, "{options}");
        }
    }
}
