//! Everything that is done to an event between the wire and a sink.

use bytes::Bytes;

use crate::envelope::{self, Line};
use crate::payload::time::{Dating, Received};
use crate::payload::value::Shaper;
use crate::position::proof::{Proof, ProofKey};

/// A line, read, dated, proved and shaped: the same twice over, but for the time.
///
/// # Panics
///
/// When the second reading differs.
pub fn events(data: &[u8]) {
    let line = Bytes::copy_from_slice(data);
    let Ok(Line::Batch(batch)) = envelope::parse(&line) else {
        return;
    };
    let received = Received {
        at: 1_795_343_465_120_000_001,
        live: data.len().is_multiple_of(2),
    };
    let mut dating = Dating::default();
    let times = dating.date(&batch.events, received);
    assert_eq!(times.len(), batch.events.len());
    for (raw, time) in batch.events.iter().zip(times) {
        let proof = || Proof::of(ProofKey::new(42), batch.index.0, raw);
        assert_eq!(proof(), proof());
        let shaped = |redact| {
            let event = raw.clone().dated(batch.index, time);
            serde_json::to_string(&Shaper::new(redact, Some("eu")).log_event(&event)).ok()
        };
        assert!(shaped(true).is_some());
        assert_eq!(shaped(true), shaped(true));
        assert!(shaped(false).is_some());
    }
}
