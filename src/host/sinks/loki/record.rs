//! Turns an event into a finished entry with the labels of its stream.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use vrl::path::OwnedTargetPath;

use crate::host::encoding::Encoder;
use crate::host::event::LogEvent;
use crate::host::sinks::outbound::{Cause, Format, Packed, Unsettled};
use crate::host::template::{self, TIMESTAMP, Template};
use crate::loki_push::{Entry, Timestamp};
use crate::position::Delivery;

use super::batch::LokiBatch;
use super::labels::{LabelSet, Labels, Metadata, keep};
use super::request::Push;
use super::telemetry::Telemetry;

/// Size of the buffer that lines are encoded into; when it is full, `BytesMut` takes another of that size. A buffer lives as long
/// as any of its lines.
const ARENA_BYTES: usize = 64 * 1024;

/// An event that is ready to be sent.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) labels: Arc<LabelSet>,
    pub(super) entry: Entry,
}

/// What the options say about single events.
#[derive(Debug)]
pub(super) struct RecordOptions {
    pub(super) tenant_id: Option<Template>,
    pub(super) labels: Vec<(Template, Template)>,
    pub(super) structured_metadata: Vec<(Template, Template)>,
    pub(super) encoder: Encoder,
    pub(super) remove_label_fields: bool,
    pub(super) remove_structured_metadata_fields: bool,
    pub(super) remove_timestamp: bool,
}

/// Encodes events one after the other.
#[derive(Debug)]
pub(super) struct LokiFormat {
    pub(super) push: Arc<Push>,
    tenant_id: Option<Template>,
    labels: Labels,
    metadata: Metadata,
    encoder: Encoder,
    /// Removed once the labels are known, so structured metadata cannot use them: as in Vector.
    pub(super) label_fields: Vec<OwnedTargetPath>,
    pub(super) metadata_fields: Vec<OwnedTargetPath>,
    pub(super) remove_timestamp: bool,
    arena: BytesMut,
    /// The line at hand. A vector takes the encoder's many small writes faster than the shared buffer does.
    line: Vec<u8>,
    telemetry: Telemetry,
}

impl LokiFormat {
    pub(super) fn new(push: Push, options: RecordOptions, telemetry: Telemetry) -> Self {
        let fields = |templates: &[(Template, Template)], remove: bool| {
            let values = templates.iter().filter(|_| remove).map(|(_, value)| value);
            values.flat_map(Template::fields).cloned().collect()
        };
        Self {
            push: Arc::new(push),
            tenant_id: options.tenant_id,
            label_fields: fields(&options.labels, options.remove_label_fields),
            metadata_fields: fields(
                &options.structured_metadata,
                options.remove_structured_metadata_fields,
            ),
            labels: Labels::new(options.labels),
            metadata: Metadata::new(options.structured_metadata),
            encoder: options.encoder,
            remove_timestamp: options.remove_timestamp,
            arena: BytesMut::with_capacity(ARENA_BYTES),
            line: Vec::new(),
            telemetry,
        }
    }

    /// Whose entry this is. Without the fields that the template asks for it is nobody's.
    fn tenant(&self, event: &LogEvent) -> Option<String> {
        let template = self.tenant_id.as_ref()?;
        let mut tenant = String::new();
        match template.render(event, &mut tenant) {
            Ok(()) => Some(tenant),
            Err(missing) => {
                self.telemetry.tenant_failed(template.source(), &missing);
                None
            }
        }
    }

    /// Moves the line to the buffer that the batch shares. The codec `text` passes on whatever bytes there are, Loki takes UTF-8
    /// alone.
    fn finished_line(&mut self) -> Bytes {
        match std::str::from_utf8(&self.line) {
            Ok(line) => keep(line, &mut self.arena),
            Err(_) => keep(&String::from_utf8_lossy(&self.line), &mut self.arena),
        }
    }
}

impl Format for LokiFormat {
    /// The tenant.
    type Key = Option<String>;
    type Record = Record;
    type Batch = LokiBatch;

    fn open(&self) -> LokiBatch {
        LokiBatch::new(Arc::clone(&self.push))
    }

    fn pack(&mut self, mut event: LogEvent) -> Option<Packed<Option<String>, Record>> {
        let finalizer = Unsettled::new(std::mem::take(&mut event.finalizer));
        let tenant = self.tenant(&event);
        let labels = self.labels.of(&event, &self.telemetry);
        for path in &self.label_fields {
            template::remove(&mut event, path);
        }
        let structured_metadata = self.metadata.of(&event, &mut self.arena, &self.telemetry);
        for path in &self.metadata_fields {
            template::remove(&mut event, path);
        }

        let time = template::timestamp(&event.value).copied();
        let Some(nanos) = time.unwrap_or_else(Utc::now).timestamp_nanos_opt() else {
            finalizer.settle(Delivery::Errored);
            self.telemetry.time_out_of_range();
            return None;
        };
        if self.remove_timestamp
            && let Some(fields) = event.value.as_object_mut()
        {
            fields.remove(TIMESTAMP);
        }

        self.line.clear();
        self.line.shrink_to(ARENA_BYTES);
        if let Err(error) = self.encoder.encode(&mut event.value, &mut self.line) {
            finalizer.settle(Delivery::Rejected);
            let telemetry = self.telemetry.shared();
            telemetry.rejected(1, Cause::Encoding, &error);
            return None;
        }
        let entry = Entry {
            timestamp: Some(Timestamp::from_nanos(nanos)),
            line: self.finished_line(),
            structured_metadata,
        };
        Some(Packed {
            key: tenant,
            record: Record { labels, entry },
            finalizer,
        })
    }
}
