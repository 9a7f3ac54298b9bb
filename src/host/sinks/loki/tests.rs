//! The sink as a whole: with a scripted transport where time matters, with the fake Loki where bytes matter.

mod batching;
mod failures;
mod over_http;
mod tenants;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use vrl::value::{ObjectMap, Value};

use super::*;
use crate::host::sinks::outbound::harness::{DEADLINE, Harness, Reply, Scripted, all};
use crate::loki_push::PushRequest;
use crate::position::Delivery;

/// A time that Loki can hold.
const NANOS: i64 = 1_700_000_000_123_456_789;

/// A configuration without network, to which options are added.
const SCRIPTED: &str = "endpoint = 'http://127.0.0.1:9'\nhealthcheck = false\n";

/// Labels and encoding of tests to which they do not matter.
const PLAIN: &str = "labels.app = 'test'\nencoding.codec = 'json'\n";

fn object(json: &str) -> ObjectMap {
    match serde_json::from_str(json).unwrap() {
        Value::Object(fields) => fields,
        other => panic!("no object: {other:?}"),
    }
}

/// A value with the fields of `json` and a timestamp.
fn value(json: &str, nanos: i64) -> Value {
    let mut fields = object(json);
    let time = chrono::DateTime::from_timestamp_nanos(nanos);
    fields.insert("timestamp".into(), Value::Timestamp(time));
    Value::Object(fields)
}

impl Harness {
    /// Hands over so many events of the same form, numbered.
    async fn send_numbered(&mut self, numbers: std::ops::Range<i64>) {
        self.send(numbers.map(|number| value(&format!(r#"{{"n":{number}}}"#), NANOS + number)))
            .await;
    }
}

impl Scripted {
    fn sink(&self, options: &str) -> LokiSink<Self> {
        let config: LokiConfig = toml::from_str(&format!("{SCRIPTED}{options}")).unwrap();
        config.sink("loki", |_, _| self.clone()).unwrap()
    }

    /// The lines of each push, streams one after the other.
    fn lines(&self) -> Vec<Vec<String>> {
        let requests = self.requests();
        requests
            .iter()
            .map(|request| {
                let entries = request.streams.iter().flat_map(|stream| &stream.entries);
                entries
                    .map(|entry| String::from_utf8(entry.line.to_vec()).unwrap())
                    .collect()
            })
            .collect()
    }

    fn requests(&self) -> Vec<PushRequest> {
        let script = self.script();
        let bodies = script.pushes.iter().map(|(_, request)| request.body());
        bodies
            .map(|body| {
                let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap();
                PushRequest::decode(Bytes::from(plain)).unwrap()
            })
            .collect()
    }
}
