//! Random behaviour of servers and hosts against the whole stream, over real sockets, judged by the promises.
//!
//! The machine and the outbox alone are played thousands of times by `src/stream/machine/histories`; here are the driver, the
//! client and the sockets, so cases are few, and run side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use nomad_events::invariants::{History, Seen, Written};
use nomad_events::options::Options;
use nomad_events::stream::notice::NoticeKind;
use nomad_events::testing::nomad::{FakeNomad, Fault, Point, Script, Version};
use nomad_events::{Acknowledger, BatchId, Delivery, EventStream, Item, RaftIndex};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::follower::PATIENCE;
use super::job;

/// How many scripts are played.
const SCRIPTS: u64 = 24;
/// How many indexes are written before the end.
const INDEXES: u64 = 40;
/// What a stop is given.
const DEADLINE: Duration = Duration::from_secs(1);

/// How many times a host says that a sink has failed, at most: each makes a pause, of real time here.
const FAILURES: usize = 4;

/// What may happen to a connection.
fn fault(rng: &mut StdRng) -> Script {
    let script = match rng.random_range(0..4) {
        0 => Script::new().one_byte_at_a_time(),
        _ => Script::new(),
    };
    let point = match rng.random_range(0..3) {
        0 => Point::Bytes(rng.random_range(0..3000)),
        1 => Point::Lines(rng.random_range(0..15)),
        _ => Point::InsideLine(rng.random_range(1..15)),
    };
    match rng.random_range(0..8) {
        0 => Script::refuse(),
        1 => Script::answer(500, "No cluster leader"),
        2 | 3 => script.fault(point, Fault::Reset),
        4 => script.fault(point, Fault::Text("event dropped from buffer".to_owned())),
        5 => script.fault(point, Fault::SubscriptionClosed),
        _ => script.fault(point, Fault::Close),
    }
}

/// A host that takes, answers late and in any order, and writes down what it sees.
struct Host {
    stream: EventStream,
    acknowledger: Acknowledger,
    history: History,
    unanswered: Vec<BatchId>,
    failures: usize,
    largest: usize,
    queue_bytes: usize,
}

impl Host {
    fn of(fake: &FakeNomad, queue_bytes: usize) -> Self {
        let options = format!(r#"{{"queue_bytes": {queue_bytes}, "backoff_max_secs": 1}}"#);
        let mut options: Options = serde_json::from_str(&options).unwrap();
        options.endpoints = Some(vec![fake.url()]);
        let stream = EventStream::follow(options.settings(|_| None).unwrap());
        Self {
            acknowledger: stream.acknowledger(),
            stream,
            history: History::default(),
            unanswered: Vec::new(),
            failures: 0,
            largest: 0,
            queue_bytes,
        }
    }

    /// Takes an item if one comes soon. Says whether one did.
    async fn take(&mut self) -> bool {
        let next = tokio::time::timeout(Duration::from_millis(20), self.stream.next());
        let Ok(item) = next.await else {
            self.look();
            return false;
        };
        match item.expect("the stream does not end") {
            Item::Batch(batch) => {
                self.largest = self.largest.max(batch.text_bytes);
                self.unanswered.push(batch.id);
                self.history.seen.push(Seen::Emitted {
                    batch: batch.id,
                    index: batch.index,
                    events: batch.events.iter().map(name).collect(),
                    connection: 0,
                });
            }
            Item::Notice(notice) => {
                if let NoticeKind::Gap(gap) = notice.kind {
                    self.history.seen.push(Seen::Gap {
                        from: gap.from,
                        to: gap.to,
                    });
                }
            }
            _ => {}
        }
        self.look();
        true
    }

    fn answer(&mut self, rng: &mut StdRng) {
        if self.unanswered.is_empty() {
            return;
        }
        let place = rng.random_range(0..self.unanswered.len());
        let batch = self.unanswered.remove(place);
        let delivery = match rng.random_range(0..10) {
            0 => Delivery::Rejected,
            1 if self.failures < FAILURES => {
                self.failures += 1;
                Delivery::Errored
            }
            _ => Delivery::Delivered,
        };
        self.acknowledger.resolve(batch, delivery);
        self.history.seen.push(Seen::Resolved(batch, delivery));
        self.look();
    }

    fn look(&mut self) {
        let status = self.acknowledger.status();
        self.history.seen.extend([
            Seen::Positions(self.stream.positions()),
            Seen::CountedLost(status.rejected_events),
            Seen::Memory {
                bytes: usize::try_from(status.queued_bytes).unwrap(),
                // What waits for the host is not known yet; all lines are about as long.
                largest: self.largest.max(2000),
                limit: self.queue_bytes,
            },
        ]);
    }
}

fn name(event: &nomad_events::Event) -> u64 {
    let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
    payload["Job"]["Status"].as_str().unwrap().parse().unwrap()
}

/// Plays one script. Gives the history, and whether the server forgot something.
async fn play(seed: u64) -> (History, bool) {
    let mut rng = StdRng::seed_from_u64(seed);
    let version = Version::ALL[rng.random_range(0..Version::ALL.len())];
    let fake = FakeNomad::builder()
        .version(version)
        .buffer_size(1000)
        .eof_delay(Duration::from_millis(10))
        .start()
        .await
        .unwrap();
    for _ in 0..rng.random_range(0..5) {
        fake.script(fault(&mut rng));
    }
    let queue_bytes = [1, 3000, 1 << 20][rng.random_range(0..3)];
    let mut host = Host::of(&fake, queue_bytes);
    let forgets = rng.random_bool(0.3);
    let mut written = Vec::new();
    let mut append = |index: u64, lines: u64| {
        for _ in 0..lines {
            let event = written.len() as u64;
            let line = job(index, &event.to_string());
            fake.append_batch(&line).unwrap();
            written.push(Written {
                index: RaftIndex(index),
                event,
                wanted: true,
                cluster: 0,
            });
        }
    };
    append(1, 1);
    // What is forgotten before the first connection is not wanted, so nothing is forgotten before it.
    let give_up = Instant::now() + PATIENCE;
    while host.stream.positions().emitted.index == RaftIndex(0) {
        host.take().await;
        host.answer(&mut rng);
        assert!(Instant::now() < give_up, "seed {seed}");
    }
    for index in 2..INDEXES {
        append(index, rng.random_range(1..4));
        match rng.random_range(0..12) {
            0 => fake.inject(&Fault::Reset),
            1 => fake.restart().await.unwrap(),
            2 if forgets => fake.evict_to(index.saturating_sub(rng.random_range(0..3))),
            3..8 => drop(host.take().await),
            _ => host.answer(&mut rng),
        }
    }
    // At the end all that is left comes, and all is answered.
    append(INDEXES, 1);
    let give_up = Instant::now() + PATIENCE;
    while host.stream.positions().acknowledged.index < RaftIndex(INDEXES) {
        host.take().await;
        host.answer(&mut rng);
        assert!(
            Instant::now() < give_up,
            "seed {seed}: {:?}",
            host.acknowledger.status()
        );
    }
    let mut history = host.history;
    history.seen.push(Seen::Settled);
    history.written = written;
    let asked = Instant::now();
    assert_eq!(host.stream.close(DEADLINE).await, 0);
    history.seen.push(Seen::Stopped {
        took: asked.elapsed(),
        deadline: DEADLINE,
    });
    (history, forgets)
}

#[tokio::test]
async fn whatever_a_server_does_to_its_connections_the_promises_hold() {
    let mut plays = tokio::task::JoinSet::new();
    let mut seeds = BTreeMap::new();
    for seed in 0..SCRIPTS {
        seeds.insert(plays.spawn(play(seed)).id(), seed);
    }
    let mut gaps = 0;
    while let Some(played) = plays.join_next_with_id().await {
        let (id, (history, forgets)) = played.unwrap();
        let holds = history.check();
        assert!(holds.is_ok(), "seed {}: {holds:?}\n{history:?}", seeds[&id]);
        // Before anything was taken there is nothing to prove by, and what went by between two connections is a gap.
        let announced = history
            .seen
            .iter()
            .any(|seen| matches!(seen, Seen::Gap { from, .. } if from.0 > 0));
        // A server that forgets nothing gives no reason.
        assert!(forgets || !announced, "seed {}", seeds[&id]);
        gaps += usize::from(announced);
    }
    // Or nothing was ever lost, and nothing shown.
    assert!(gaps > 0, "no script made a gap");
}
