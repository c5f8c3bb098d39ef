//! Counts of messages, by type and by what became of them.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{
    notification::READ_TYPES,
    plan::{IntakeOutcome, PassReason},
};

/// The counts of one process.
#[derive(Default)]
pub(crate) struct IntakeMetrics {
    messages: Family<MessageLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    r#type: &'static str,
    outcome: &'static str,
}

impl IntakeMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Messages of the estate, by type and by what became of them";
        registry.register("ledger_integration_messages", help, self.messages.clone());
    }

    /// Counts a message. Types that the ledger does not read are counted as one.
    pub(crate) fn count(&self, event_type: Option<&str>, taken_in: IntakeOutcome) {
        let known = READ_TYPES.into_iter().find(|known| event_type == Some(known));
        let outcome = match taken_in {
            IntakeOutcome::Recorded => "recorded",
            IntakeOutcome::PassedOver(PassReason::Irrelevant) => "irrelevant",
            IntakeOutcome::PassedOver(PassReason::UnknownPerson) => "unknown-person",
            IntakeOutcome::PassedOver(PassReason::AlreadyHeld) => "already-held",
            IntakeOutcome::PassedOver(PassReason::Dismissed) => "dismissed",
            IntakeOutcome::Parked => "parked",
        };
        self.messages.get_or_create(&MessageLabels { r#type: known.unwrap_or("other"), outcome }).inc();
    }
}
