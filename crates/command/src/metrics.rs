//! Metrics of the command side: commands by type and outcome, and the cost of appends.

use domain::Command;
use http_api::metrics::seconds;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use crate::{CommandError, Outcome};

/// The counts of one command side.
pub(crate) struct CommandMetrics {
    commands: Family<CommandLabels, Counter>,
    /// The duration of appends to the event store, successful or not.
    pub(crate) append_seconds: Histogram,
    /// Appends that found their stream moved on.
    pub(crate) append_conflicts: Counter,
    /// Keys with which two services recorded on two streams.
    pub(crate) key_collisions: Counter,
    /// Decisions that were made again, after a conflict or after a refusal by cached streams.
    pub(crate) retries: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    r#type: &'static str,
    outcome: &'static str,
}

impl CommandMetrics {
    pub(crate) fn new() -> Self {
        Self {
            commands: Family::default(),
            append_seconds: seconds(),
            append_conflicts: Counter::default(),
            key_collisions: Counter::default(),
            retries: Counter::default(),
        }
    }

    /// Adds the counts to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("ledger_commands", "Commands, by type and outcome", self.commands.clone());
        let help = "From an append to the event store's answer";
        registry.register("ledger_append_duration_seconds", help, self.append_seconds.clone());
        let help = "Appends that found their stream moved on";
        registry.register("ledger_append_conflicts", help, self.append_conflicts.clone());
        let help = "Idempotency keys that were recorded on two streams";
        registry.register("ledger_idempotency_key_collisions", help, self.key_collisions.clone());
        let help = "Decisions made again, by what the log had meanwhile";
        registry.register("ledger_command_retries", help, self.retries.clone());
    }

    /// Counts a command by its type and outcome.
    pub(crate) fn count(&self, command: &Command, result: &Result<Outcome, CommandError>) {
        let outcome = match result {
            Ok(outcome) if outcome.is_repeated() => "repeated",
            Ok(_) => "recorded",
            Err(error) => error.kind(),
        };
        self.commands.get_or_create(&CommandLabels { r#type: command.kind_name(), outcome }).inc();
    }

    /// Counts a command of this type that failed before it was known for which stream it is.
    pub(crate) fn count_failed(&self, kind_name: &'static str, error: &CommandError) {
        self.commands.get_or_create(&CommandLabels { r#type: kind_name, outcome: error.kind() }).inc();
    }
}
