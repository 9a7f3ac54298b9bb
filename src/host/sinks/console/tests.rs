use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use vrl::value::{ObjectMap, Value};

use super::*;
use crate::event::BatchId;
use crate::host::buffer::Capacity;
use crate::host::channel::{self, Sender};
use crate::host::event::Answer;

#[derive(Clone, Debug, Default)]
struct Answers(Arc<Mutex<Vec<(u64, Delivery)>>>);

impl Answer for Answers {
    fn resolve(&self, id: BatchId, delivery: Delivery) {
        self.0.lock().unwrap().push((id.0, delivery));
    }
}

/// A stream that keeps what is flushed, and breaks at a write.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    buffered: Vec<u8>,
    flushed: Vec<Vec<u8>>,
    breaks_after: Option<(usize, io::ErrorKind)>,
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().buffered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = self.0.lock().unwrap();
        if let Some((flushes, kind)) = written.breaks_after
            && written.flushed.len() >= flushes
        {
            return Poll::Ready(Err(io::Error::from(kind)));
        }
        let block = std::mem::take(&mut written.buffered);
        written.flushed.push(block);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Stream {
    fn blocks(&self) -> Vec<String> {
        let written = self.0.lock().unwrap();
        let text = |block: &Vec<u8>| String::from_utf8(block.clone()).unwrap();
        written.flushed.iter().map(text).collect()
    }
}

fn console() -> Console {
    let config: ConsoleConfig = toml::from_str("encoding.codec = 'json'").unwrap();
    Console::new("out", &config).unwrap()
}

async fn send(sender: &Sender, answers: &Answers, id: u64, text: &str) {
    let event = LogEvent {
        value: Value::Object(ObjectMap::from([("m".into(), Value::from(text))])),
        metadata: Value::Object(ObjectMap::new()),
        finalizer: Finalizer::new(answers.clone(), BatchId(id)),
        weight: 1,
    };
    sender.send(vec![event]).await.unwrap();
}

#[tokio::test]
async fn events_are_lines_and_waiting_ones_share_a_block() {
    let (sender, receiver) = channel::channel(Capacity::of_bytes(100));
    let (answers, stream, console) = (Answers::default(), Stream::default(), console());
    for (id, text) in [(1, "a"), (2, "b\n\"c\"")] {
        send(&sender, &answers, id, text).await;
    }
    drop(sender);
    console.write(receiver, stream.clone()).await;
    assert_eq!(
        stream.blocks(),
        vec!["{\"m\":\"a\"}\n{\"m\":\"b\\n\\\"c\\\"\"}\n"]
    );
    assert_eq!(
        *answers.0.lock().unwrap(),
        vec![(1, Delivery::Delivered), (2, Delivery::Delivered)]
    );
    assert_eq!(console.metrics.sent(), 2);
}

#[tokio::test]
async fn a_block_is_out_before_the_next_event_is_waited_for() {
    let (sender, receiver) = channel::channel(Capacity::of_bytes(100));
    let (answers, stream, console) = (Answers::default(), Stream::default(), console());
    let mut writing = pin!(console.write(receiver, stream.clone()));
    for id in 1..=3 {
        send(&sender, &answers, id, "a").await;
        // Runs as far as it can without another event.
        tokio::select! {
            biased;
            () = &mut writing => panic!("the channel is open"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(stream.blocks().len() as u64, id);
        assert_eq!(answers.0.lock().unwrap().len() as u64, id);
    }
}

#[tokio::test]
async fn long_blocks_are_written_in_parts() {
    let (sender, receiver) = channel::channel(Capacity::of_bytes(100));
    let (answers, stream, console) = (Answers::default(), Stream::default(), console());
    let text = "x".repeat(BLOCK_BYTES / 2);
    for id in 1..=5 {
        send(&sender, &answers, id, &text).await;
    }
    drop(sender);
    console.write(receiver, stream.clone()).await;
    let lines: Vec<usize> = stream
        .blocks()
        .iter()
        .map(|block| block.lines().count())
        .collect();
    assert_eq!(lines, vec![2, 2, 1]);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_the_sink_and_rejects_the_rest() {
    for (kind, errors) in [
        (io::ErrorKind::BrokenPipe, 0),
        (io::ErrorKind::StorageFull, 1),
    ] {
        let (sender, receiver) = channel::channel(Capacity::of_bytes(1));
        let (answers, stream, console) = (Answers::default(), Stream::default(), console());
        stream.0.lock().unwrap().breaks_after = Some((1, kind));
        let feeding = async {
            for id in 1..=2 {
                send(&sender, &answers, id, "a").await;
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(console.write(receiver, stream.clone()), feeding);
        assert_eq!(
            *answers.0.lock().unwrap(),
            vec![(1, Delivery::Delivered), (2, Delivery::Rejected)]
        );
        let metrics = &console.metrics;
        assert_eq!((metrics.sent(), metrics.lost()), (1, 1));
        assert_eq!(metrics.errors(), errors, "for {kind}");
    }
}

#[test]
fn options_are_read() {
    let config: ConsoleConfig =
        toml::from_str("target = 'stderr'\nencoding.codec = 'json'").unwrap();
    assert_eq!(config.target, Target::Stderr);
    let both = "encoding = { codec = 'json', only_fields = ['.a'], except_fields = ['.a'] }";
    assert!(Console::new("out", &toml::from_str(both).unwrap()).is_err());
    for wrong in [
        "",
        "encoding.codec = 'logfmt'",
        "encoding = {}",
        "target = 'file'\nencoding.codec = 'json'",
        "encoding.codec = 'json'\nframing.method = 'bytes'",
    ] {
        assert!(toml::from_str::<ConsoleConfig>(wrong).is_err(), "{wrong}");
    }
}
