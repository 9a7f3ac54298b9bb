//! The driver with a scripted region, on a clock that stands still until everybody waits.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::*;
use crate::changes::JobVersion;
use crate::nomad::{Namespace, NamespaceList, Tables};
use crate::options::Options;
use crate::position::Delivery;
use crate::stream::Item;
use crate::stream::agents::Body;

/// What an agent does with one subscription: after so long, so many bytes; then nothing.
type Script = Vec<(Duration, &'static str)>;

#[derive(Default)]
struct Region {
    scripts: Mutex<VecDeque<Result<Script, ErrorKind>>>,
    /// When a subscription was asked for, and of which address.
    subscribed: Mutex<Vec<(Duration, usize)>>,
    /// When the namespaces were asked for.
    listed: Mutex<Vec<Duration>>,
    namespaces: Mutex<Vec<&'static str>>,
    /// How long an inquiry takes.
    inquiry: Duration,
    inquiries: Mutex<Vec<Duration>>,
    /// How long a list takes.
    listing: Duration,
    /// What the tables say, and when they were asked.
    tables: Mutex<Option<Tables>>,
    asked: Mutex<Vec<Duration>>,
    begin: Option<Instant>,
}

struct Lines(VecDeque<(Duration, &'static str)>);

impl Body for Lines {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let Some(&(pause, text)) = self.0.front() else {
            return pending().await;
        };
        // A cancelled wait begins anew, so a script waits with deadlines further apart than its pauses.
        tokio::time::sleep(pause).await;
        self.0.pop_front();
        Some(Ok(Bytes::from_static(text.as_bytes())))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Region {
    fn now(&self) -> Duration {
        self.begin.map_or(Duration::ZERO, |begin| begin.elapsed())
    }
}

impl Agents for Arc<Region> {
    type Body = Lines;

    fn name(&self, endpoint: usize) -> String {
        format!("address {endpoint}")
    }

    async fn subscribe(&self, endpoint: usize, _: RaftIndex) -> Result<Lines, Error> {
        lock(&self.subscribed).push((self.now(), endpoint));
        let script = lock(&self.scripts).pop_front();
        match script {
            Some(Ok(script)) => Ok(Lines(script.into())),
            Some(Err(kind)) => Err(Error::new(kind, "refused")),
            None => Ok(Lines(VecDeque::from([(Duration::ZERO, "{}\n")]))),
        }
    }

    async fn latest_index(&self, _: usize) -> Result<RaftIndex, Error> {
        Ok(RaftIndex(0))
    }

    async fn tables(&self, _: usize, _: &[TopicFilter]) -> Result<Tables, Error> {
        lock(&self.asked).push(self.now());
        lock(&self.tables).ok_or_else(|| Error::new(ErrorKind::List, "no tables"))
    }

    async fn namespaces(&self, _: usize) -> Result<NamespaceList, Error> {
        lock(&self.listed).push(self.now());
        tokio::time::sleep(self.listing).await;
        let names = lock(&self.namespaces).clone();
        Ok(NamespaceList {
            namespaces: names
                .into_iter()
                .map(|name| Namespace {
                    name: name.to_owned(),
                    create_index: RaftIndex(1),
                })
                .collect(),
            leader: Some(true),
        })
    }

    async fn job_versions(&self, _: usize, _: &str, _: &str) -> Result<Vec<JobVersion>, Error> {
        Ok(Vec::new())
    }

    async fn explain(&self, _: usize, _: Purpose, _: Error) -> Error {
        lock(&self.inquiries).push(self.now());
        tokio::time::sleep(self.inquiry).await;
        Error::found_out(ErrorKind::TokenExpired, "found out")
    }
}

/// A driver that runs, what it said with the moment, and the events that it took.
struct Lab {
    region: Arc<Region>,
    outbox: Arc<Outbox>,
    begin: Instant,
    said: Vec<(Duration, String)>,
    events: usize,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.outbox.end();
    }
}

impl Lab {
    fn start(options: &str, region: Region, scripts: Vec<Result<Script, ErrorKind>>) -> Self {
        let options: Options = serde_json::from_str(options).unwrap();
        let settings = Arc::new(options.settings(|_| None).unwrap());
        let begin = Instant::now();
        let region = Arc::new(Region {
            begin: Some(begin),
            scripts: Mutex::new(scripts.into()),
            ..region
        });
        let outbox = Outbox::new(settings.queue_bytes, None);
        let driver = Driver::new(settings, Arc::clone(&region), Arc::clone(&outbox));
        tokio::spawn(driver.run());
        Self {
            region,
            outbox,
            begin,
            said: Vec::new(),
            events: 0,
        }
    }

    /// Takes and answers what comes for so long.
    async fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(item) =
            tokio::time::timeout_at(end, poll_fn(|cx| self.outbox.poll_item(cx))).await
        {
            match item.unwrap() {
                Item::Batch(batch) => {
                    self.events += batch.events.len();
                    let now = self.outbox.now();
                    self.outbox.resolve(now, batch.id, Delivery::Delivered);
                }
                Item::Notice(notice) => {
                    let said = match notice.kind {
                        NoticeKind::Disconnected(d) => format!("{} {}", d.endpoint, d.cause),
                        NoticeKind::Gap(gap) => format!("Gap {}", gap.cause),
                        kind => kind.name().to_owned(),
                    };
                    self.said.push((self.begin.elapsed(), said));
                }
            }
        }
    }

    /// The moment at which it was said, alone.
    fn said_at(&self, words: &str) -> Duration {
        let moments: Vec<Duration> = self
            .said
            .iter()
            .filter(|(_, said)| said == words)
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(moments.len(), 1, "{words}: {:?}", self.said);
        moments[0]
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const LINE: &str =
    "{\"Index\":5,\"Events\":[{\"Topic\":\"Job\",\"Key\":\"web\",\"Namespace\":\"default\"}]}\n";

#[tokio::test(start_paused = true)]
async fn a_head_without_a_line_is_left_after_ten_seconds() {
    let mut lab = Lab::start("{}", Region::default(), vec![Ok(vec![])]);
    lab.run(secs(30)).await;
    assert_eq!(lab.said_at("address 0 token_expired"), secs(10));
    let subscribed = lock(&lab.region.subscribed).clone();
    assert_eq!(subscribed[0].0, secs(0));
    // The first pause is half a second at most.
    assert!((secs(10)..=Duration::from_millis(10_500)).contains(&subscribed[1].0));
    assert_eq!(subscribed.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn silence_is_left_after_the_idle_timeout_and_not_before() {
    for (options, limit) in [("{}", 75), (r#"{"idle_timeout_secs": 20}"#, 20)] {
        let script = vec![(secs(0), "{}\n"), (secs(3), LINE)];
        let mut lab = Lab::start(options, Region::default(), vec![Ok(script)]);
        lab.run(secs(3 + limit + 5)).await;
        assert_eq!(lab.events, 1);
        assert_eq!(lab.said_at("address 0 idle"), secs(3 + limit), "{options}");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_never_make_a_line_are_left_after_five_minutes() {
    let mut script = vec![(secs(0), "{}\n")];
    script.extend(vec![(secs(30), "x"); 20]);
    // Only one namespace is asked for, so that no list comes between.
    let options = r#"{"topics": ["Node"]}"#;
    let mut lab = Lab::start(options, Region::default(), vec![Ok(script)]);
    lab.run(secs(320)).await;
    assert_eq!(lab.said_at("address 0 idle"), secs(300));
}

/// A stream at 5, and then another one in which nothing comes but heartbeats.
fn forgotten(tables: Option<u64>) -> Lab {
    let beats = vec![(secs(5), "{}\n"); 100];
    let scripts = vec![
        Ok(vec![(secs(0), "{}\n"), (secs(0), LINE)]),
        Ok([vec![(secs(0), "{}\n")], beats].concat()),
    ];
    let region = Region::default();
    *lock(&region.tables) = tables.map(|newest| Tables {
        newest: RaftIndex(newest),
        complete: true,
    });
    let options = r#"{"topics": ["Node"], "idle_timeout_secs": 60}"#;
    Lab::start(options, region, scripts)
}

#[tokio::test(start_paused = true)]
async fn without_a_proof_for_ten_seconds_the_tables_decide() {
    let mut lab = forgotten(Some(9));
    lab.run(secs(100)).await;
    let resumed = lock(&lab.region.subscribed)[1].0;
    assert_eq!(lab.said_at("Gap evicted"), resumed + secs(10));
    assert_eq!(lock(&lab.region.asked).len(), 1);

    let mut lab = forgotten(Some(5));
    lab.run(secs(100)).await;
    assert_eq!(lock(&lab.region.asked).len(), 1);
    assert!(!lab.said.iter().any(|(_, said)| said.starts_with("Gap")));
}

#[tokio::test(start_paused = true)]
async fn tables_that_cannot_be_read_for_five_minutes_are_a_gap() {
    let mut lab = forgotten(None);
    lab.run(secs(400)).await;
    let resumed = lock(&lab.region.subscribed)[1].0;
    assert_eq!(lab.said_at("Gap unproven"), resumed + secs(310));
    let asked = lock(&lab.region.asked).len();
    assert!((10..=16).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn lower_indexes_for_thirty_seconds_make_all_begin_anew() {
    let mut lab = forgotten(Some(3));
    lab.run(secs(120)).await;
    let resumed = lock(&lab.region.subscribed)[1].0;
    assert_eq!(lab.said_at("IndexReset"), resumed + secs(40));
    assert_eq!(lab.said_at("Gap index_reset"), resumed + secs(40));
    assert_eq!(lock(&lab.region.subscribed).len(), 3);
    let positions = lab.outbox.positions();
    assert_eq!(positions.acknowledged, at(RaftIndex(5)).after_reset());
}

#[tokio::test(start_paused = true)]
async fn an_inquiry_delays_no_retry_and_counts_each_refusal() {
    let region = Region {
        inquiry: secs(10),
        ..Region::default()
    };
    let refused = (0..4).map(|_| Err(ErrorKind::Denied)).collect();
    let mut lab = Lab::start(r#"{"backoff_max_secs": 1}"#, region, refused);
    lab.run(secs(5)).await;
    // Four refusals and a success within the pauses of half a second and of a second, while the inquiry still runs.
    assert_eq!(lock(&lab.region.subscribed).len(), 5);
    // It was accepted before the reason was known: what was seen is told, and then that it is over.
    let denied = lab.said_at("address 0 denied");
    assert!(denied <= lab.said_at("Connected") && denied < secs(4));
    assert_eq!(lab.outbox.status(Instant::now()).disconnects, 4);
    lab.run(secs(20)).await;
    assert_eq!(lab.said.len(), 3, "{:?}", lab.said);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_lasts_is_not_asked_about_at_every_retry() {
    let region = Region {
        inquiry: secs(4),
        ..Region::default()
    };
    let refused = (0..2000).map(|_| Err(ErrorKind::Denied)).collect();
    let mut lab = Lab::start(r#"{"backoff_max_secs": 1}"#, region, refused);
    lab.run(secs(400)).await;
    let inquiries = lock(&lab.region.inquiries).clone();
    assert!((9..=11).contains(&inquiries.len()), "{inquiries:?}");
    // Each of hundreds of refusals counts under the reason that is known, which is told once.
    let disconnects = lab.outbox.status(Instant::now()).disconnects;
    assert!(disconnects > 400, "{disconnects}");
    lab.said_at("address 0 token_expired");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_namespaces_that_takes_long_does_not_hold_up_the_stream() {
    let region = Region {
        listing: secs(60),
        ..Region::default()
    };
    let beats = vec![(secs(5), "{}\n"); 60];
    let mut lab = Lab::start("{}", region, vec![Ok(beats)]);
    lab.run(secs(250)).await;
    assert_eq!(lock(&lab.region.subscribed)[0].0, secs(3));
    assert_eq!(lab.said_at("Connected"), secs(8));
    // It is read beside the stream, which goes on.
    assert_eq!(lock(&lab.region.listed)[1], secs(3));
    assert_eq!(lab.outbox.status(Instant::now()).disconnects, 0);
    assert_eq!(lab.said.len(), 2, "{:?}", lab.said);
}

#[tokio::test(start_paused = true)]
async fn an_inquiry_ends_beside_another_address_that_works() {
    let region = Region {
        inquiry: secs(8),
        ..Region::default()
    };
    let options = r#"{"endpoints": ["http://a", "http://b"]}"#;
    let mut lab = Lab::start(options, region, vec![Err(ErrorKind::Denied)]);
    lab.run(secs(30)).await;
    assert!(lab.said_at("Connected") < secs(1));
    assert_eq!(lab.said_at("address 0 token_expired"), secs(8));
    assert!(lab.outbox.status(Instant::now()).connected);
}

#[tokio::test(start_paused = true)]
async fn the_clock_stands_still_while_nothing_is_read() {
    let script = vec![(secs(0), "{}\n"), (secs(0), LINE), (secs(1), LINE)];
    let mut lab = Lab::start(r#"{"queue_bytes": 1}"#, Region::default(), vec![Ok(script)]);
    // Nobody takes the first line, so the second finds no room.
    tokio::time::sleep(secs(200)).await;
    lab.run(secs(74)).await;
    assert_eq!(lab.events, 2);
    assert_eq!(lab.outbox.status(Instant::now()).disconnects, 0);
    lab.run(secs(2)).await;
    lab.said_at("address 0 idle");
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_looked_at_as_often_as_the_option_says() {
    for (options, interval) in [("{}", 60.0), (r#"{"namespace_refresh_secs": 10}"#, 10.0)] {
        let beats = vec![(secs(5), "{}\n"); 200];
        let mut lab = Lab::start(options, Region::default(), vec![Ok(beats)]);
        lab.run(secs(600)).await;
        let listed = lock(&lab.region.listed).clone();
        assert_eq!(listed[0], secs(0), "before the subscription");
        for pair in listed.windows(2) {
            let pause = (pair[1] - pair[0]).as_secs_f64();
            assert!(
                (interval * 0.89..=interval * 1.11).contains(&pause),
                "{pause}"
            );
        }
        assert!(listed.len() as f64 >= 600.0 / (interval * 1.11));
        // Nothing new, nothing done.
        assert_eq!(lock(&lab.region.subscribed).len(), 1);
        lock(&lab.region.namespaces).push("new");
        lab.run(secs(70)).await;
        assert_eq!(lock(&lab.region.subscribed).len(), 2);
        assert_eq!(lab.outbox.status(Instant::now()).disconnects, 0);
    }
}
