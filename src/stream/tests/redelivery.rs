//! What a host says of its batches, with a paused clock: what errored is handed out again when its pause is over, and what is
//! lost is told.

use tokio::time::Instant;

use super::*;
use crate::event::{Batch, RaftIndex};
use crate::position::{MAX_REDELIVERIES, REDELIVERY_PAUSE};
use crate::stream::notice::Rejected;

/// Sends these lines, then heartbeats.
fn serving(indexes: &[u64]) -> Arc<Memory> {
    let lines: Vec<String> = indexes.iter().map(|&index| job(index, "running")).collect();
    let mut acts = vec![Act::Bytes(
        Framing::Close
            .answer(lines.iter().map(String::as_str))
            .into(),
    )];
    for _ in 0..100 {
        acts.push(Act::Pause(Duration::from_secs(30)));
        acts.push(Act::Bytes("{}\n".into()));
    }
    Memory::new(move |_, request| match asked_for(request) {
        None => list(),
        Some(_) => acts.clone(),
    })
}

/// A host that says what a test wants, and notes when what came.
struct Host {
    stream: EventStream,
    notices: Vec<(Instant, NoticeKind)>,
}

impl Host {
    fn of(memory: &Arc<Memory>) -> Self {
        // No notice but those that are looked for wakes anybody up.
        let options: Options = serde_json::from_str(r#"{"status_interval_secs": 3600}"#).unwrap();
        let settings = options.settings(|_| None).unwrap();
        Self {
            stream: EventStream::follow_over(settings, Arc::new(Dialer(Arc::clone(memory))), None),
            notices: Vec::new(),
        }
    }

    /// The next batch, if one comes within an hour of the paused clock.
    async fn batch(&mut self) -> Option<Batch> {
        self.batch_within(Duration::from_secs(3600)).await
    }

    async fn batch_within(&mut self, limit: Duration) -> Option<Batch> {
        let deadline = Instant::now() + limit;
        loop {
            let next = tokio::time::timeout_at(deadline, self.stream.next());
            match next.await.ok()?.unwrap() {
                Item::Batch(batch) => return Some(batch),
                Item::Notice(notice) => self.notices.push((Instant::now(), notice.kind)),
            }
        }
    }

    fn answer(&self, batch: &Batch, delivery: Delivery) {
        self.stream.acknowledger().resolve(batch.id, delivery);
    }

    fn acknowledged(&self) -> RaftIndex {
        self.stream.positions().acknowledged.index
    }

    /// When losses were told, and which.
    fn losses(&self) -> Vec<(Instant, Rejected)> {
        let lost = |(at, kind): &(Instant, NoticeKind)| match kind {
            NoticeKind::Rejected(rejected) => Some((*at, rejected.clone())),
            _ => None,
        };
        self.notices.iter().filter_map(lost).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_errored_comes_again_by_itself_and_newer_batches_do_not_wait() {
    let mut host = Host::of(&serving(&[5, 7]));
    let first = host.batch().await.unwrap();
    let newer = host.batch().await.unwrap();
    let failed_at = Instant::now();
    host.answer(&first, Delivery::Errored);
    host.answer(&newer, Delivery::Delivered);
    assert_eq!(host.acknowledged(), RaftIndex(0));

    let again = host.batch().await.unwrap();
    let waited = failed_at.elapsed();
    let slack = Duration::from_millis(5);
    assert!(
        (REDELIVERY_PAUSE..REDELIVERY_PAUSE + slack).contains(&waited),
        "{waited:?}"
    );
    assert_eq!((again.index, again.redelivery), (first.index, 1));
    assert_eq!(again.events, first.events);
    assert_ne!(again.id, first.id);
    // What is said of it late is said of nothing.
    host.answer(&first, Delivery::Rejected);
    assert_eq!(host.acknowledged(), RaftIndex(0));
    host.answer(&again, Delivery::Delivered);
    assert_eq!(host.acknowledged(), RaftIndex(7));
    assert!(host.batch().await.is_none(), "something else came again");
    let status = host.stream.acknowledger().status();
    assert_eq!((status.events, status.rejected_events), (2, 0));
    assert_eq!(status.queued_bytes, 0);
    assert_eq!(host.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn what_errors_each_time_is_lost_and_told_at_once_and_the_stream_goes_on() {
    let mut host = Host::of(&serving(&[5, 7]));
    let mut batch = host.batch().await.unwrap();
    let newer = host.batch().await.unwrap();
    let mut pauses = Vec::new();
    for redelivery in 0..=MAX_REDELIVERIES {
        assert_eq!(batch.redelivery, redelivery);
        let failed_at = Instant::now();
        host.answer(&batch, Delivery::Errored);
        if redelivery < MAX_REDELIVERIES {
            batch = host.batch().await.unwrap();
            pauses.push(failed_at.elapsed().as_secs());
        }
    }
    let lost_at = Instant::now();
    assert_eq!(pauses, [1, 2, 4]);
    assert_eq!(host.acknowledged(), RaftIndex(5));
    host.answer(&newer, Delivery::Delivered);
    assert_eq!(host.acknowledged(), RaftIndex(7));
    assert!(host.batch().await.is_none());
    let rejected = Rejected {
        events: 1,
        rejected: 0,
        errored: 1,
        from: RaftIndex(5),
        to: RaftIndex(5),
    };
    assert_eq!(host.losses(), [(lost_at, rejected)]);
    let status = host.stream.acknowledger().status();
    assert_eq!((status.events, status.rejected_events), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn losses_are_told_once_a_minute_and_none_of_them_is_left_out() {
    let mut host = Host::of(&serving(&[5, 7, 9, 11]));
    let mut batches = Vec::new();
    while batches.len() < 4 {
        batches.push(host.batch().await.unwrap());
    }
    let start = Instant::now();
    for (batch, pause) in batches.iter().zip([10, 20, 300, 30]) {
        host.answer(batch, Delivery::Rejected);
        assert!(
            host.batch_within(Duration::from_secs(pause))
                .await
                .is_none()
        );
    }
    let told: Vec<(u64, u64, u64, u64)> = host
        .losses()
        .iter()
        .map(|(at, lost)| ((*at - start).as_secs(), lost.events, lost.from.0, lost.to.0))
        .collect();
    assert_eq!(told, [(0, 1, 5, 5), (60, 2, 7, 9), (330, 1, 11, 11)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_nothing_comes_again_and_what_errored_counts_as_unanswered() {
    let mut host = Host::of(&serving(&[5, 7, 9]));
    let errored = host.batch().await.unwrap();
    let answered = host.batch().await.unwrap();
    let late = host.batch().await.unwrap();
    host.answer(&errored, Delivery::Errored);
    host.answer(&answered, Delivery::Delivered);
    let acknowledger = host.stream.acknowledger();
    let asked = Instant::now();
    let closing = tokio::spawn(host.stream.close(Duration::from_secs(60)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!closing.is_finished(), "one batch has no answer yet");
    acknowledger.resolve(late.id, Delivery::Errored);
    assert_eq!(closing.await.unwrap(), 2);
    // It did not wait for a redelivery that does not come.
    assert_eq!(asked.elapsed().as_secs(), 3);
    assert_eq!(acknowledger.status().acknowledged, RaftIndex(0));
    assert_eq!(acknowledger.status().rejected_events, 0);
}
