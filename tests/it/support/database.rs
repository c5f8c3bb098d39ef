//! Databases for tests: each test has its own, on one server for the whole process.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use embedded_postgres::{Durability, Options, Server};
use event_log::SharedLog;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

use super::{DataDir, EventStore};

/// The database that tests copy.
const TEMPLATE: &str = "template_ledger";

/// The most connections that the pool of one test opens. The server has 100 for all tests that run
/// at a time.
const POOL_CONNECTIONS_MAX: u32 = 8;

/// A database for one test. It is removed with the server when the tests end.
pub struct TestDatabase {
    /// The URL of the database, for the program and for further pools.
    pub url: String,
    pub name: String,
    pub pool: PgPool,
    /// The event store that belongs to it.
    pub store: EventStore,
}

struct SharedPostgres {
    server: Server,
    template: OnceCell<()>,
    // Never dropped, because the server lives as long as the process.
    _data_dir: DataDir,
}

impl TestDatabase {
    /// The arguments that tell the program where the log and the views are.
    pub fn arguments(&self) -> [String; 4] {
        let [flag, store] = self.store.arguments();
        [flag, store, "--views".to_owned(), self.url.clone()]
    }

    pub async fn log(&self) -> SharedLog {
        self.store.log().await
    }

    /// The URL for another database user. The server trusts any user name.
    pub fn url_for(&self, user: &str) -> String {
        let (_, rest) = self.url.split_once('@').expect("a user in the URL");
        format!("postgres://{user}@{rest}")
    }
}

static SERVER: OnceLock<SharedPostgres> = OnceLock::new();
static DATABASE_COUNT: AtomicU32 = AtomicU32::new(0);

/// Creates a database from the template, with an empty event log and empty views.
pub async fn database() -> TestDatabase {
    let shared = shared_server();
    shared.template.get_or_init(|| prepare_template(&shared.server)).await;
    database_from(TEMPLATE).await
}

/// Creates an empty database.
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

fn shared_server() -> &'static SharedPostgres {
    SERVER.get_or_init(|| {
        // On a thread of its own: the caller is inside an async runtime, which must not block on
        // another.
        std::thread::spawn(|| {
            let data_dir = DataDir::new();
            let options = Options { durability: Durability::ProcessDeath, ..Options::default() };
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let server =
                runtime.block_on(Server::start_with(data_dir.path(), options)).expect("start the tests' server");
            SharedPostgres { server, template: OnceCell::new(), _data_dir: data_dir }
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
    access_log::SCHEMA.migrate_as_owner(&pool).await.expect("make the access log");
    // Postgres cannot copy a database that has connections.
    pool.close().await;
}
