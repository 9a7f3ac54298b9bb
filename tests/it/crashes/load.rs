//! What a busy cluster says, at random: several lines of one index, several events in a line, with and without times of their
//! own, short and long.

use bytes::Bytes;
use nomad_events::testing::nomad::{BatchText, EventText};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::servers::now_nanos;

/// The namespace beside `default`.
pub(super) const SECOND_NAMESPACE: &str = "team-a";

const SECOND: i64 = 1_000_000_000;
/// Without an event with a time of a server for so long, the next line has one: a reader that is live would date the others by
/// its own clock otherwise, and two readers differ then.
const DATED_WITHIN: i64 = 3 * SECOND;
/// The client update of an allocation that a server touches later: too old to be believed.
const STALE_BY: i64 = 600 * SECOND;
/// Lines of one index.
const MOST_LINES: u32 = 8;
/// Events of one line.
const MOST_EVENTS: u32 = 6;
/// Text of a payload that nobody needs.
const LONG: usize = 120_000;

/// Makes lines. The same seed makes the same ones, but for their times.
pub(super) struct Load {
    random: StdRng,
    index: u64,
    /// Events so far: makes each of them another one.
    events: u64,
    /// The newest time set by a server.
    dated: i64,
}

impl Load {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            index: 10,
            events: 0,
            dated: 0,
        }
    }

    /// The lines of the next index.
    pub(super) fn next_index(&mut self) -> (u64, Vec<Bytes>) {
        self.index += self.random.random_range(1..4);
        let lines = if self.random.random_bool(0.5) {
            1
        } else {
            self.random.random_range(2..=MOST_LINES)
        };
        let lines = (0..lines).map(|_| self.line()).collect();
        (self.index, lines)
    }

    fn line(&mut self) -> Bytes {
        let mut batch = BatchText::new(self.index);
        if now_nanos() - self.dated > DATED_WITHIN {
            batch = batch.event(self.evaluation());
        }
        for _ in 0..self.random.random_range(1..=MOST_EVENTS) {
            batch = batch.event(self.event());
        }
        batch.to_bytes().expect("payloads are JSON")
    }

    fn event(&mut self) -> EventText {
        match self.random.random_range(0..12) {
            0..=2 => self.job(),
            3..=5 => self.allocation(),
            6..=7 => self.evaluation(),
            8 => self.deployment(),
            9 => self.service(),
            _ => self.node(),
        }
    }

    /// The moment, as a server writes it.
    fn now(&mut self) -> i64 {
        self.dated = now_nanos();
        self.dated
    }

    fn number(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn namespace(&mut self) -> &'static str {
        if self.random.random_bool(0.2) {
            SECOND_NAMESPACE
        } else {
            "default"
        }
    }

    /// A map, which Nomad prints in another order each time.
    fn meta(&mut self) -> Value {
        let long = self.random.random_bool(0.01);
        let pad = if long { LONG } else { 10 };
        let pad = "x".repeat(self.random.random_range(0..pad));
        let keys = (0..self.random.random_range(2..6)).map(|key| (format!("key-{key}"), key));
        let mut meta: Value = keys.map(|(key, value)| (key, json!(value))).collect();
        meta["pad"] = json!(pad);
        meta
    }

    /// One of few jobs, so that the same one is reported several times at one index, with another payload each time.
    fn job(&mut self) -> EventText {
        let id = format!("job-{}", self.random.random_range(0..5));
        let (event_type, submitted) = match self.random.random_range(0..3) {
            0 => ("JobRegistered", self.now()),
            // Neither has a time of its own: the one of the registration is not theirs.
            1 => ("EvaluationUpdated", now_nanos() - STALE_BY),
            _ => ("JobDeregistered", now_nanos() - STALE_BY),
        };
        let version = self.number();
        let payload = json!({"Job": {
            "ID": id, "Name": id, "Type": "service", "Status": "running", "Priority": 50,
            "Version": version, "SubmitTime": submitted, "Meta": self.meta(),
        }});
        EventText::new("Job", event_type, &id)
            .namespace(self.namespace())
            .payload(payload.to_string())
    }

    fn allocation(&mut self) -> EventText {
        let number = self.number();
        let id = uuid(1, number);
        let (event_type, modified) = match self.random.random_range(0..3) {
            0 => ("PlanResult", now_nanos() - STALE_BY),
            _ => ("AllocationUpdated", self.now()),
        };
        let status = if self.random.random_bool(0.5) {
            "running"
        } else {
            "complete"
        };
        let payload = json!({"Allocation": {
            "ID": id, "Name": format!("web.group[{number}]"), "JobID": "web", "TaskGroup": "group",
            "NodeID": uuid(2, number % 5), "EvalID": uuid(3, number), "ClientStatus": status,
            "DesiredStatus": "run", "ModifyTime": modified,
            "TaskStates": {"first": {"State": "running", "Failed": false, "Restarts": 0}, "second": {"State": "running"}},
            "Meta": self.meta(),
        }});
        EventText::new("Allocation", event_type, &id)
            .namespace(self.namespace())
            .payload(payload.to_string())
    }

    fn evaluation(&mut self) -> EventText {
        let number = self.number();
        let id = uuid(3, number);
        let payload = json!({"Evaluation": {
            "ID": id, "JobID": "web", "Status": "complete", "TriggeredBy": "job-register",
            "Priority": 50, "ModifyTime": self.now(), "QueuedAllocations": self.meta(),
        }});
        EventText::new("Evaluation", "EvaluationUpdated", &id)
            .namespace(self.namespace())
            .payload(payload.to_string())
    }

    fn deployment(&mut self) -> EventText {
        let number = self.number();
        let id = uuid(4, number);
        let payload = json!({"Deployment": {
            "ID": id, "JobID": "web", "JobVersion": number, "Status": "running",
            "StatusDescription": "Deployment is running", "ModifyTime": self.now(),
        }});
        EventText::new("Deployment", "DeploymentStatusUpdate", &id)
            .namespace(self.namespace())
            .payload(payload.to_string())
    }

    /// A service never has a time.
    fn service(&mut self) -> EventText {
        let number = self.number();
        let id = format!("_nomad-task-{number}");
        let payload = json!({"Service": {
            "ID": id, "ServiceName": format!("web-{number}"), "AllocID": uuid(1, number),
            "JobID": "web", "NodeID": uuid(2, number % 5), "Datacenter": "dc1", "Port": 80,
        }});
        EventText::new("Service", "ServiceRegistration", &id)
            .namespace(self.namespace())
            .payload(payload.to_string())
    }

    /// Most of these are what the recommended configuration drops.
    fn node(&mut self) -> EventText {
        let number = self.number();
        let id = uuid(2, number);
        let event_type = match self.random.random_range(0..3) {
            0 => "NodeDrain",
            _ => "AllocationUpdated",
        };
        let payload = json!({"Node": {
            "ID": id, "Name": "vm", "Status": "ready", "SchedulingEligibility": "eligible",
            "StatusUpdatedAt": now_nanos() / SECOND, "Attributes": self.meta(),
        }});
        EventText::new("Node", event_type, &id)
            .namespace("")
            .payload(payload.to_string())
    }
}

/// What looks like an id of Nomad.
fn uuid(kind: u64, number: u64) -> String {
    format!("{kind:08x}-0000-0000-0000-{number:012x}")
}
