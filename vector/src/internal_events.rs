//! What the source says in Vector's own way. Metrics and log lines about the stream itself are the engine's.

use tracing::error;
use vector_lib::NamedInternalEvent;
use vector_lib::counter;
use vector_lib::internal_event::{CounterName, InternalEvent, error_stage, error_type};

/// The engine has ended without having been asked to, which only a defect can make it do.
#[derive(Debug, NamedInternalEvent)]
pub(crate) struct NomadEventsStreamEndedError;

impl InternalEvent for NomadEventsStreamEndedError {
    fn emit(self) {
        error!(
            message = "Event stream ended without having been asked to. This is a defect of the source, please report it with the lines above.",
            error_code = "stream_ended",
            error_type = error_type::READER_FAILED,
            stage = error_stage::RECEIVING,
        );
        counter!(
            CounterName::ComponentErrorsTotal,
            "error_code" => "stream_ended",
            "error_type" => error_type::READER_FAILED,
            "stage" => error_stage::RECEIVING,
        )
        .increment(1);
    }
}
