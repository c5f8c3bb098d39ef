//! The access log: who read which person's data.

mod auditors;
mod every_question;
mod faults;
mod tools;

use access_log::{AccessQuestion, StoredAccess, read_entries};
use uuid::Uuid;

use crate::support::{TestDatabase, eventually};

/// All entries, oldest first.
async fn entries(database: &TestDatabase) -> Vec<StoredAccess> {
    let question = AccessQuestion { rows: 1_000, ..AccessQuestion::default() };
    let mut entries = read_entries(&database.pool, &question).await.expect("the access log");
    entries.reverse();
    entries
}

/// The entry of a request, once it is stored.
async fn entry_of(database: &TestDatabase, correlation_id: Uuid) -> StoredAccess {
    let of_request = async || {
        let entries = entries(database).await;
        entries.into_iter().find(|entry| entry.correlation_id == Some(correlation_id))
    };
    eventually("the entry of a request", of_request).await
}
