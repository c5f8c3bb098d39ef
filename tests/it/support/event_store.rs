//! Where a test's log is kept: in a Postgres database, or on a server of its own.

use std::sync::Arc;

use event_log::{PostgresLog, SharedLog};
use ledger::postgres::{Durability, Options, Server};
use sqlx::postgres::PgPoolOptions;

use super::DataDir;

/// An event store that no other test uses, which can be stopped.
pub struct EventStore {
    server: Option<Server>,
    url: String,
    data_dir: DataDir,
}

impl EventStore {
    const DATABASE: &str = "ledger";

    /// Starts one in which there is nothing.
    pub async fn start() -> Self {
        let data_dir = DataDir::new();
        let server = Self::serve(&data_dir).await;
        server.create_database(Self::DATABASE).await.expect("make the log's database");
        Self { url: server.url(Self::DATABASE), server: Some(server), data_dir }
    }

    async fn serve(data_dir: &DataDir) -> Server {
        let options = Options { durability: Durability::ProcessDeath, ..Options::default() };
        Server::start_with(data_dir.path(), options).await.expect("start the log's server")
    }

    /// How the program is told of it.
    pub fn arguments(&self) -> Vec<String> {
        vec!["--event-store".to_owned(), self.url.clone()]
    }

    /// The log in it.
    pub async fn log(&self) -> SharedLog {
        let pool = PgPoolOptions::new().max_connections(4).connect(&self.url).await.expect("connect to the log");
        Arc::new(PostgresLog::connect(&pool).await.expect("the log"))
    }

    pub async fn stop(&mut self) {
        let server = self.server.take().expect("a server that runs");
        server.stop().await.expect("stop the log's server");
    }

    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        self.server = Some(Self::serve(&self.data_dir).await);
    }
}
