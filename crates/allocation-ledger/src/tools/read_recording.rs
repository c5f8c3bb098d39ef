//! Records in the access log what a tool shows, before it shows it.
//!
//! The access log is in the database of the views. A tool that finds none, or whose login may not
//! add to it, says so once and goes on: whoever may read the stores without the program needs no
//! tool to see what is in them.

use access_log::{AccessEntry, Reader, Shown};
use anyhow::{Context as _, bail};
use command::Clock;
use nix::unistd::{Uid, User};
use sqlx::PgPool;

/// The sign-on of a user of the operating system, in entries.
const OPERATING_SYSTEM: &str = "os";

/// Records a read by a tool.
pub(crate) async fn record_read(database: Option<&PgPool>, tool: &'static str, shown: Shown) {
    if !shown.is_of_person() {
        return;
    }
    let entry = AccessEntry::of_tool(Clock::system().now(), tool, user(), shown);
    if let Err(error) = store(database, &entry).await {
        eprintln!("This read is not in the access log: {error:#}.");
    }
}

async fn store(database: Option<&PgPool>, entry: &AccessEntry) -> anyhow::Result<()> {
    let Some(database) = database else { bail!("--views does not name the database that has it") };
    if access_log::insert(database, &[entry]).await.is_ok() {
        return Ok(());
    }
    // A ledger of an earlier version has no access log yet.
    access_log::SCHEMA.migrate_as_owner(database).await?;
    access_log::insert(database, &[entry]).await.context("add to it")
}

/// The user of the operating system that runs the tool.
fn user() -> Reader {
    let id = Uid::current();
    let name = User::from_uid(id).ok().flatten().map_or_else(|| format!("uid {id}"), |user| user.name);
    Reader { username: Some(name), client: None, auth_source: Some(OPERATING_SYSTEM.to_owned()) }
}
