//! A database of a test's own, on one server for the whole process.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use embedded_postgres::{Durability, Options, Server};
use event_log::SharedLog;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

use super::{DataDir, EventStore};

/// The database that the tests' databases are copies of.
const TEMPLATE: &str = "template_ledger";

/// Connections that one test's pool may open; the server has 100 for all that run at a time.
const POOL_CONNECTIONS_MAX: u32 = 8;

/// A database of a test's own. It goes with the server when the tests end.
pub struct TestDatabase {
    /// Its URL, for the program and for pools of a test's own.
    pub url: String,
    /// Its name.
    pub name: String,
    /// Connections to it.
    pub pool: PgPool,
    /// Where the log is that goes with it.
    pub store: EventStore,
}

struct SharedServer {
    server: Server,
    template: OnceCell<()>,
    // Never dropped: the server lives as long as the process.
    _data_dir: DataDir,
}

impl TestDatabase {
    /// How the program is told where the log and the views are.
    pub fn arguments(&self) -> [String; 4] {
        let [flag, store] = self.store.arguments();
        [flag, store, "--views".to_owned(), self.url.clone()]
    }

    /// The log.
    pub async fn log(&self) -> SharedLog {
        self.store.log().await
    }

    /// Its URL for somebody else, of whom the server takes their word.
    pub fn url_for(&self, user: &str) -> String {
        let (_, rest) = self.url.split_once('@').expect("a user in the URL");
        format!("postgres://{user}@{rest}")
    }
}

static SERVER: OnceLock<SharedServer> = OnceLock::new();
static DATABASE_COUNT: AtomicU32 = AtomicU32::new(0);

/// Makes a database from the prepared template: with an empty event log and empty views.
pub async fn database() -> TestDatabase {
    let shared = shared_server();
    shared.template.get_or_init(|| prepare_template(&shared.server)).await;
    database_from(TEMPLATE).await
}

/// Makes a database in which there is nothing yet.
pub async fn bare_database() -> TestDatabase {
    database_from("template0").await
}

async fn database_from(template: &str) -> TestDatabase {
    let shared = shared_server();
    let name = format!("test_{}", DATABASE_COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection =
        PgConnection::connect(&shared.server.url("postgres")).await.expect("connect to the tests' server");
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
        .execute(&mut connection)
        .await
        .expect("make a test's database");
    connection.close().await.expect("leave the tests' server");
    let url = shared.server.url(&name);
    let pool = PgPoolOptions::new()
        .max_connections(POOL_CONNECTIONS_MAX)
        .connect(&url)
        .await
        .expect("connect to a test's database");
    TestDatabase { store: EventStore::beside(&url), url, name, pool }
}

fn shared_server() -> &'static SharedServer {
    SERVER.get_or_init(|| {
        // On a thread of its own, as the caller is inside an async runtime that must not wait for another.
        std::thread::spawn(|| {
            let data_dir = DataDir::new();
            let options = Options { durability: Durability::ProcessDeath, ..Options::default() };
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let server =
                runtime.block_on(Server::start_with(data_dir.path(), options)).expect("start the tests' server");
            SharedServer { server, template: OnceCell::new(), _data_dir: data_dir }
        })
        .join()
        .expect("start the tests' server")
    })
}

async fn prepare_template(server: &Server) {
    server.create_database(TEMPLATE).await.expect("make the template");
    let pool = PgPoolOptions::new().connect(&server.url(TEMPLATE)).await.expect("connect to the template");
    event_log_postgres::migrate(&pool).await.expect("make the event log");
    projector::migrate(&pool).await.expect("make the views");
    // A database that somebody is connected to cannot be copied.
    pool.close().await;
}
