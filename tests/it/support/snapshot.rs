//! Bodies prepared for snapshots.

use serde_json::{Value, json};

/// Members whose values differ from run to run.
const REDACTED: [&str; 9] =
    ["causationId", "commandId", "contactId", "correlationId", "eventId", "id", "position", "recordedAt", "username"];

/// A body in which values that differ from run to run are replaced by the member's name.
pub fn redact(body: &Value) -> Value {
    match body {
        Value::Object(members) => {
            let redact_member = |(name, value): (&String, &Value)| {
                let is_redacted = REDACTED.contains(&name.as_str()) && !value.is_null();
                (name.clone(), if is_redacted { json!(format!("[{name}]")) } else { redact(value) })
            };
            Value::Object(members.iter().map(redact_member).collect())
        }
        Value::Array(items) => items.iter().map(redact).collect(),
        value => value.clone(),
    }
}
