//! The services of a ledger over stores of their own, to be killed, held still and started again.

use std::sync::{Arc, RwLock};

use embedded_postgres::{Durability, Options, Server};
use event_log::SharedLog;

use crate::support::{Client, DataDir, EventStore, Program, Proxy, eventually, run};

/// Two command services, two projectors and a query service, each a process, over an event store and a Postgres server that no
/// other test uses.
pub struct Cluster {
    pub store: EventStore,
    pub views: Views,
    /// The ways to the two, where the services go through proxies.
    ways: Option<Ways>,
    pub commands: [Option<Program>; 2],
    pub projectors: [Option<Program>; 2],
    pub query: Option<Program>,
    /// Where commands are taken at the moment, for whoever sends them.
    pub takers: Takers,
}

/// The proxies that the services go through.
struct Ways {
    to_store: Proxy,
    to_views: Proxy,
}

/// The command services that there are at the moment.
pub type Takers = Arc<RwLock<Vec<Client>>>;

/// A Postgres server with the views' database.
pub struct Views {
    server: Option<Server>,
    url: String,
    data_dir: DataDir,
}

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Command(usize),
    Projector(usize),
    Query,
}

impl Views {
    const DATABASE: &str = "ledger";

    async fn start() -> Self {
        let data_dir = DataDir::new();
        let server = Self::serve(&data_dir).await;
        server.create_database(Self::DATABASE).await.expect("make the views' database");
        Self { url: server.url(Self::DATABASE), server: Some(server), data_dir }
    }

    async fn serve(data_dir: &DataDir) -> Server {
        let options = Options { durability: Durability::ProcessDeath, ..Options::default() };
        Server::start_with(data_dir.path(), options).await.expect("start the views' server")
    }

    pub async fn stop(&mut self) {
        let server = self.server.take().expect("a server that runs");
        server.stop().await.expect("stop the views' server");
    }

    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        self.server = Some(Self::serve(&self.data_dir).await);
    }
}

impl Cluster {
    /// Starts all of it, and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(EventStore::start().await, Views::start().await, None).await
    }

    /// The same, over an event store that was started before.
    pub async fn start_over(store: EventStore) -> Self {
        Self::start_with(store, Views::start().await, None).await
    }

    /// As [`Self::start`], and its services go through a proxy to the event store and through another to the views' server.
    pub async fn start_behind_proxies() -> Self {
        let (store, views) = (EventStore::start().await, Views::start().await);
        let ways = Ways { to_store: store.proxy(), to_views: Proxy::to_postgres(&views.url) };
        Self::start_with(store, views, Some(ways)).await
    }

    async fn start_with(store: EventStore, views: Views, ways: Option<Ways>) -> Self {
        let mut cluster = Self {
            store,
            views,
            ways,
            commands: [None, None],
            projectors: [None, None],
            query: None,
            takers: Takers::default(),
        };
        for part in cluster.parts() {
            cluster.start_part(part).await;
        }
        cluster.ready().await;
        cluster
    }

    /// The proxy on the services' way to the event store.
    pub fn way_to_store(&self) -> &Proxy {
        &self.ways.as_ref().expect("services behind proxies").to_store
    }

    /// The proxy on the services' way to the views' server.
    pub fn way_to_views(&self) -> &Proxy {
        &self.ways.as_ref().expect("services behind proxies").to_views
    }

    pub fn parts(&self) -> [Part; 5] {
        [Part::Projector(0), Part::Projector(1), Part::Command(0), Part::Command(1), Part::Query]
    }

    /// Starts a part that does not run, ready or not.
    pub async fn start_part(&mut self, part: Part) {
        self.start_part_with(part, &[]).await;
    }

    /// The same, with more in its environment.
    pub async fn start_part_with(&mut self, part: Part, environment: &[(&str, &str)]) {
        let role = match part {
            Part::Command(_) => "command",
            Part::Projector(_) => "projector",
            Part::Query => "query",
        };
        let (store, views) = match &self.ways {
            None => (self.store.arguments(), self.views.url.clone()),
            Some(ways) => (self.store.arguments_through(&ways.to_store), ways.to_views.postgres_url(&self.views.url)),
        };
        let mut arguments = vec!["--role", role, "--views", &views];
        arguments.extend(store.iter().map(String::as_str));
        let program = Program::start_in(environment, &arguments).await;
        if matches!(part, Part::Command(_)) {
            self.takers.write().expect("the services").push(program.client().clone());
        }
        let place = self.place(part);
        assert!(place.is_none(), "{part:?} runs");
        *place = Some(program);
    }

    /// Kills a part as `kill -9` does.
    pub fn kill(&mut self, part: Part) {
        let program = self.place(part).take().unwrap_or_else(|| panic!("{part:?} does not run"));
        let gone = program.client().base_url().to_owned();
        program.kill();
        self.takers.write().expect("the services").retain(|client| client.base_url() != gone);
    }

    pub fn part(&self, part: Part) -> &Program {
        let place = match part {
            Part::Command(index) => &self.commands[index],
            Part::Projector(index) => &self.projectors[index],
            Part::Query => &self.query,
        };
        place.as_ref().unwrap_or_else(|| panic!("{part:?} does not run"))
    }

    fn place(&mut self, part: Part) -> &mut Option<Program> {
        match part {
            Part::Command(index) => &mut self.commands[index],
            Part::Projector(index) => &mut self.projectors[index],
            Part::Query => &mut self.query,
        }
    }

    /// Waits until every part that runs is ready.
    pub async fn ready(&mut self) {
        for program in self.commands.iter_mut().chain(&mut self.projectors).chain([&mut self.query]).flatten() {
            program.until_ready().await;
        }
    }

    /// Which projector is at work.
    pub async fn active_projector(&self) -> Part {
        eventually("a projector at work", async || {
            for (index, projector) in self.projectors.iter().enumerate() {
                if let Some(projector) = projector
                    && state(projector).await.as_deref() == Some("running")
                {
                    return Some(Part::Projector(index));
                }
            }
            None
        })
        .await
    }

    /// The log itself.
    pub async fn log(&self) -> SharedLog {
        self.store.log().await
    }

    /// Waits until the views include everything that is in the log, and compares every row of theirs with it.
    pub async fn verify(&self) {
        let head = self.log().await.head().await.expect("the log's end");
        let query = self.part(Part::Query).client();
        eventually("the views to come to the log's end", async || {
            let answer = query.get("/projections").await;
            let position = answer.body[0]["position"].as_u64();
            (position.is_some_and(|position| position >= head)).then_some(())
        })
        .await;
        let store = self.store.arguments();
        let mut arguments = vec!["projections", "verify", "--views", &self.views.url];
        arguments.extend(store.iter().map(String::as_str));
        let ran = run(&arguments).await;
        assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    }
}

/// What a projector says that it does.
pub async fn state(projector: &Program) -> Option<String> {
    let answer = projector.client().get("/health").await;
    answer.body["components"]["projector"]["details"]["state"].as_str().map(str::to_owned)
}
