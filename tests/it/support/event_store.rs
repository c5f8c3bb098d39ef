//! Event stores for tests: see [`Topology`].

use std::sync::Arc;

use embedded_postgres::{Durability, Options, Server};
use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::OnceCell;

use super::{DataDir, Nodes, Proxy, StandIn, Topology, log_at};

/// An event store that no other test uses.
pub struct EventStore {
    place: Place,
    /// Opened once, because a client needs time to find its server.
    log: OnceCell<SharedLog>,
}

enum Place {
    /// In a database that belongs to the test.
    Database { url: String },
    /// On a Postgres server of its own.
    Postgres { server: Option<Server>, url: String, data_dir: DataDir },
    /// On a stand-in of its own.
    StandIn(Box<StandIn>),
    /// On a cluster of stand-ins.
    Nodes(Nodes),
}

impl EventStore {
    const DATABASE: &str = "ledger";

    /// The store that belongs to a test's database.
    pub fn beside(database_url: &str) -> Self {
        let place = match Topology::from_environment().is_log_on_stand_in {
            true => Place::StandIn(Box::new(StandIn::start())),
            false => Place::Database { url: database_url.to_owned() },
        };
        Self::at(place)
    }

    /// Starts an empty store that can be stopped.
    pub async fn start() -> Self {
        if Topology::from_environment().is_log_on_stand_in {
            return Self::at(Place::StandIn(Box::new(StandIn::start())));
        }
        let data_dir = DataDir::new();
        let server = serve(&data_dir).await;
        server.create_database(Self::DATABASE).await.expect("make the log's database");
        Self::at(Place::Postgres { url: server.url(Self::DATABASE), server: Some(server), data_dir })
    }

    /// An empty store on a stand-in, whatever the topology.
    pub fn on_stand_in() -> Self {
        Self::at(Place::StandIn(Box::new(StandIn::start())))
    }

    /// Starts an empty store on a cluster of three nodes.
    pub async fn start_nodes() -> Self {
        Self::at(Place::Nodes(Nodes::start().await))
    }

    /// The nodes of a store on a cluster.
    pub fn nodes(&mut self) -> &mut Nodes {
        let Place::Nodes(nodes) = &mut self.place else { panic!("it is on no cluster") };
        nodes
    }

    fn at(place: Place) -> Self {
        Self { place, log: OnceCell::new() }
    }

    /// The arguments that tell the program where the store is.
    pub fn arguments(&self) -> [String; 2] {
        ["--event-store".to_owned(), self.url()]
    }

    /// A proxy in front of the store.
    pub fn proxy(&self) -> Proxy {
        match &self.place {
            Place::Database { url } | Place::Postgres { url, .. } => Proxy::to_postgres(url),
            Place::StandIn(server) => server.proxy(),
            Place::Nodes(_) => panic!("there is more than one way to it"),
        }
    }

    /// The arguments for a program that reaches the store through a proxy.
    pub fn arguments_through(&self, proxy: &Proxy) -> [String; 2] {
        let url = match &self.place {
            Place::Database { url } | Place::Postgres { url, .. } => proxy.postgres_url(url),
            Place::StandIn(_) | Place::Nodes(_) => proxy.url(),
        };
        ["--event-store".to_owned(), url]
    }

    fn url(&self) -> String {
        match &self.place {
            Place::Database { url } | Place::Postgres { url, .. } => url.clone(),
            Place::StandIn(server) => server.url(),
            Place::Nodes(nodes) => nodes.url(),
        }
    }

    pub async fn log(&self) -> SharedLog {
        self.log.get_or_init(|| self.open()).await.clone()
    }

    async fn open(&self) -> SharedLog {
        let url = self.url();
        match &self.place {
            Place::Database { .. } | Place::Postgres { .. } => {
                let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.expect("connect to the log");
                Arc::new(PostgresLog::connect(&pool).await.expect("the log"))
            }
            Place::StandIn(_) | Place::Nodes(_) => Arc::new(log_at(&url)),
        }
    }

    pub async fn stop(&mut self) {
        match &mut self.place {
            Place::Database { .. } => panic!("other tests use its server"),
            Place::Postgres { server, .. } => {
                let server = server.take().expect("a server that runs");
                server.stop().await.expect("stop the log's server");
            }
            Place::StandIn(server) => server.kill(),
            Place::Nodes(_) => panic!("it is stopped node by node"),
        }
    }

    pub async fn start_again(&mut self) {
        match &mut self.place {
            Place::Database { .. } | Place::Nodes(_) => panic!("it was not stopped"),
            Place::Postgres { server, data_dir, .. } => {
                assert!(server.is_none(), "it runs");
                *server = Some(serve(data_dir).await);
            }
            Place::StandIn(server) => server.start_again(),
        }
    }
}

async fn serve(data_dir: &DataDir) -> Server {
    let options = Options { durability: Durability::ProcessDeath, ..Options::default() };
    Server::start_with(data_dir.path(), options).await.expect("start the log's server")
}
