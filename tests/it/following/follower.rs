//! A host in small: takes items, remembers them, answers them.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use nomad_events::options::{Options, Settings};
use nomad_events::stream::notice::{Disconnected, Gap, Notice, NoticeKind, Status};
use nomad_events::testing::nomad::FakeNomad;
use nomad_events::{Acknowledger, BatchId, Delivery, Event, EventStream, Item};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Follower {
    stream: EventStream,
    acknowledger: Acknowledger,
    events: Vec<Event>,
    batches: usize,
    notices: Vec<Notice>,
    held: Option<Vec<BatchId>>,
}

impl Follower {
    /// Follows a fake with these options, as JSON.
    pub(crate) fn of(fake: &FakeNomad, options: &str) -> Self {
        Self::with_endpoints(&[fake.url()], options)
    }

    pub(crate) fn with_endpoints(endpoints: &[String], options: &str) -> Self {
        let mut options: Options = serde_json::from_str(options).unwrap();
        options.endpoints = Some(endpoints.to_vec());
        Self::with_settings(options.settings(|_| None).unwrap())
    }

    /// The same, with the position saved in this folder.
    pub(crate) fn saving(data_dir: &Path, endpoints: &[String], options: &str) -> Self {
        let mut options: Options = serde_json::from_str(options).unwrap();
        options.endpoints = Some(endpoints.to_vec());
        let mut settings = options.settings(|_| None).unwrap();
        settings.keep_position(Some(data_dir), "nomad").unwrap();
        Self::with_settings(settings)
    }

    fn with_settings(settings: Settings) -> Self {
        let stream = EventStream::follow(settings);
        Self {
            acknowledger: stream.acknowledger(),
            stream,
            events: Vec::new(),
            batches: 0,
            notices: Vec::new(),
            held: None,
        }
    }

    async fn take(&mut self) {
        match self.stream.next().await.unwrap() {
            Item::Batch(batch) => {
                self.batches += 1;
                self.events.extend(batch.events);
                match &mut self.held {
                    Some(held) => held.push(batch.id),
                    None => self.acknowledger.resolve(batch.id, Delivery::Delivered),
                }
            }
            Item::Notice(notice) => self.notices.push(notice),
            _ => {}
        }
    }

    /// Takes items until the condition holds.
    pub(crate) async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        self.until_within(PATIENCE, condition).await;
    }

    /// The same, with what a real server needs.
    pub(crate) async fn until_within(
        &mut self,
        patience: Duration,
        condition: impl Fn(&Self) -> bool,
    ) {
        let waited = tokio::time::timeout(patience, async {
            while !condition(self) {
                // Some conditions are about what happens without an item.
                let _ = tokio::time::timeout(Duration::from_millis(20), self.take()).await;
            }
        })
        .await;
        assert!(waited.is_ok(), "gave up with {:?}", self.seen());
    }

    pub(crate) async fn until_events(&mut self, count: usize) {
        self.until(|follower| follower.events.len() >= count).await;
        assert_eq!(self.events.len(), count, "{:?}", self.seen());
    }

    pub(crate) async fn until_batches(&mut self, count: usize) {
        self.until(|follower| follower.batches >= count).await;
    }

    pub(crate) async fn until_notices(&mut self, kind: &str, count: usize) {
        self.until(|follower| follower.notices(kind) >= count).await;
    }

    /// Takes what comes until nothing has come for so long.
    pub(crate) async fn settle(&mut self, quiet: Duration) {
        while tokio::time::timeout(quiet, self.take()).await.is_ok() {}
    }

    /// Answers nothing from now on.
    pub(crate) fn hold_answers(&mut self) {
        self.held = Some(Vec::new());
    }

    /// Answers the oldest of what is held.
    pub(crate) fn answer_oldest(&mut self, delivery: Delivery) {
        let held = self.held.as_mut().unwrap();
        self.acknowledger.resolve(held.remove(0), delivery);
    }

    /// The oldest of what is held, with the means to answer it when the stream is gone.
    pub(crate) fn oldest_held(&self) -> (Acknowledger, BatchId) {
        (self.acknowledger.clone(), self.held.as_ref().unwrap()[0])
    }

    /// Answers what was held, and what comes.
    pub(crate) fn answer_held(&mut self, delivery: Delivery) {
        for id in self.held.take().unwrap_or_default() {
            self.acknowledger.resolve(id, delivery);
        }
    }

    pub(crate) async fn close(self, deadline: Duration) -> usize {
        self.stream.close(deadline).await
    }

    pub(crate) fn status(&self) -> Status {
        self.acknowledger.status()
    }

    pub(crate) fn event(&self, place: usize) -> &Event {
        &self.events[place]
    }

    /// All events so far.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// All announced gaps, with their bounds.
    pub(crate) fn gaps(&self) -> Vec<&Gap> {
        let notices = self.notices.iter();
        notices
            .filter_map(|notice| match &notice.kind {
                NoticeKind::Gap(gap) => Some(gap),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn indexes(&self) -> Vec<u64> {
        self.events.iter().map(|event| event.index.0).collect()
    }

    pub(crate) fn indexes_in_order(&self) -> bool {
        self.events.is_sorted_by_key(|event| event.index)
    }

    /// Whether an event came twice: same place, same payload.
    pub(crate) fn repeated(&self) -> bool {
        let mut seen = HashSet::new();
        !self.events.iter().all(|event| {
            // Maps come in random order in real payloads, the scripted ones are texts.
            let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
            seen.insert((
                event.index,
                event.topic.clone(),
                event.key.clone(),
                payload.to_string(),
            ))
        })
    }

    /// How many notices of a type have come.
    pub(crate) fn notices(&self, kind: &str) -> usize {
        self.notices
            .iter()
            .filter(|notice| notice.kind.name() == kind)
            .count()
    }

    /// What was told of ends and refusals, oldest first.
    pub(crate) fn told(&self) -> Vec<&Disconnected> {
        let notices = self.notices.iter();
        notices
            .filter_map(|notice| match &notice.kind {
                NoticeKind::Disconnected(told) => Some(told),
                _ => None,
            })
            .collect()
    }

    /// The fields of the notices of a type, as hosts write them.
    pub(crate) fn fields(&self, kind: &str) -> Vec<serde_json::Value> {
        let of_kind = self
            .notices
            .iter()
            .filter(|notice| notice.kind.name() == kind);
        of_kind
            .map(|notice| serde_json::to_value(&notice.kind).unwrap()[kind].take())
            .collect()
    }

    /// The last notice of a type, as `Debug` prints it.
    pub(crate) fn notice(&self, kind: &str) -> String {
        self.last_notice(kind).unwrap()
    }

    /// The same, if there was one.
    pub(crate) fn last_notice(&self, kind: &str) -> Option<String> {
        let mut notices = self.notices.iter().rev();
        notices
            .find(|notice| notice.kind.name() == kind)
            .map(|notice| format!("{notice:?}"))
    }

    /// What came, for messages.
    pub(crate) fn seen(&self) -> (Vec<u64>, &[Notice]) {
        (self.indexes(), &self.notices)
    }
}
