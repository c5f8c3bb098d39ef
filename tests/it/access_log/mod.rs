//! The access log: who read which person's data.

mod auditors;
mod every_question;
mod faults;
mod operators;
mod outages;
mod pages;
mod spreadsheets;
mod tools;

use access_log::{AccessPage, AccessQuestion, StoredAccess, read_entries};
use sqlx::Connection as _;
use uuid::Uuid;

use crate::support::{Client, HttpAnswer, Program, TestDatabase, eventually, questions::next_page};

/// All entries, oldest first.
async fn entries(database: &TestDatabase) -> Vec<StoredAccess> {
    let mut question = AccessQuestion { rows: 1_000, ..AccessQuestion::default() };
    let mut all = Vec::new();
    loop {
        let AccessPage { entries, is_more } = read_entries(&database.pool, &question).await.expect("the access log");
        question.older_than = entries.last().map(StoredAccess::key);
        all.extend(entries);
        if !is_more {
            all.reverse();
            return all;
        }
    }
}

/// A page of a list, and those that it leads to.
async fn pages(client: &Client, path: &str) -> Vec<HttpAnswer> {
    let mut pages = vec![client.get(path).await];
    while let Some(next) = pages.last().and_then(next_page) {
        pages.push(client.get(&next).await);
    }
    pages
}

/// The entry of a request, once it is stored.
async fn entry_of(database: &TestDatabase, correlation_id: Uuid) -> StoredAccess {
    let of_request = async || {
        let entries = entries(database).await;
        entries.into_iter().find(|entry| entry.correlation_id == Some(correlation_id))
    };
    eventually("the entry of a request", of_request).await
}

/// Holds the table of entries while something is done.
async fn while_locked<T>(database: &TestDatabase, work: impl AsyncFnOnce() -> T) -> T {
    let mut connection = database.pool.acquire().await.expect("a connection");
    let mut transaction = connection.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE access.entry IN EXCLUSIVE MODE").execute(&mut *transaction).await.expect("a lock");
    let done = work().await;
    transaction.rollback().await.expect("the end of the lock");
    done
}

/// Holds the table of entries under another name while something is done.
async fn while_renamed<T>(database: &TestDatabase, work: impl AsyncFnOnce() -> T) -> T {
    let rename = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&database.pool).await.expect("another name");
    };
    rename("ALTER TABLE access.entry RENAME TO entry_elsewhere").await;
    let done = work().await;
    rename("ALTER TABLE access.entry_elsewhere RENAME TO entry").await;
    done
}

/// The value of a series without labels.
async fn metric(program: &Program, name: &str) -> f64 {
    let text = program.client().get("/metrics").await.text;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}
