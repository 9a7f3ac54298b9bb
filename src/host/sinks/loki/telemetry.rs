//! The log lines and metrics that only this sink has.

use std::fmt::Display;

use tracing::{error, warn};

use crate::host::sinks::outbound;
use crate::host::throttle::Occasion;

/// Reports what happens to single events.
#[derive(Debug)]
pub(super) struct Telemetry {
    shared: outbound::Telemetry,
    expansion_failed: Occasion,
    overridden: Occasion,
    unlabeled: Occasion,
    time_out_of_range: Occasion,
}

impl Telemetry {
    pub(super) fn new(shared: outbound::Telemetry) -> Self {
        let occasion = |error_type| shared.metrics().occasion(error_type);
        Self {
            expansion_failed: occasion("expansion_failed"),
            overridden: occasion("label_overridden"),
            unlabeled: occasion("unlabeled"),
            time_out_of_range: occasion("time_out_of_range"),
            shared,
        }
    }

    /// What all sinks of this kind report.
    pub(super) fn shared(&self) -> &outbound::Telemetry {
        &self.shared
    }

    /// A pair of templates asks for a field that the event lacks; the pair is left out.
    pub(super) fn pair_failed(&self, option: &str, key: &str, value: &str, error: &dyn Display) {
        self.shared.template_failed(|held_back| {
            warn!(component_id = self.id(), option, key, value, %error, held_back, "left out of the event: template cannot be rendered");
        });
    }

    /// `tenant_id` asks for a field that the event lacks; the event is sent without a tenant, as Vector does it.
    pub(super) fn tenant_failed(&self, tenant_id: &str, error: &dyn Display) {
        self.shared.template_failed(|held_back| {
            warn!(component_id = self.id(), tenant_id, %error, held_back, "sent without a tenant: template cannot be rendered");
        });
    }

    /// The value of a pair whose name ends with `*` is no object; the pair is left out.
    pub(super) fn expansion_failed(&self, key: &str) {
        self.expansion_failed.note(|held_back| {
            warn!(
                component_id = self.id(),
                key, held_back, "left out of the event: value is no object that could be expanded"
            );
        });
    }

    /// A name given in full hides one that an expansion made.
    pub(super) fn overridden(&self, name: &str) {
        self.overridden.note(|held_back| {
            warn!(
                component_id = self.id(),
                name, held_back, "a name given in full overrides an expanded one"
            );
        });
    }

    /// No label was left, so `agent="vector"` stands in.
    pub(super) fn unlabeled(&self) {
        self.unlabeled.note(|held_back| {
            warn!(
                component_id = self.id(),
                held_back, "event had no labels, adding the default label `agent`"
            );
        });
    }

    /// An event's time does not fit in Loki's nanoseconds; the event is dropped.
    pub(super) fn time_out_of_range(&self) {
        self.shared.metrics().add_lost(1);
        self.time_out_of_range.note(|held_back| {
            error!(
                component_id = self.id(),
                held_back, "event dropped: its time does not fit in 64-bit nanoseconds"
            );
        });
    }

    fn id(&self) -> &str {
        self.shared.id()
    }
}
