//! The services of a ledger over stores of their own, to be killed, stopped and restarted.

use std::sync::{Arc, RwLock};

use embedded_postgres::{Durability, Options, Server};
use event_log::SharedLog;

use super::{Client, DataDir, EventStore, Program, Proxy, eventually, run};

/// Two command services, two projectors and a query service, each a process, over an event store
/// and a Postgres server that no other test uses.
pub struct ServiceCluster {
    pub store: EventStore,
    pub views: ViewsServer,
    /// The proxies to the two stores, if the services use proxies.
    proxies: Option<ServiceProxies>,
    pub commands: [Option<Program>; 2],
    pub projectors: [Option<Program>; 2],
    pub query: Option<Program>,
    /// Clients of the running command services.
    pub command_clients: CommandClients,
}

/// The proxies between the services and the stores.
struct ServiceProxies {
    to_store: Proxy,
    to_views: Proxy,
}

/// Clients of the running command services. The list changes as services are killed and started.
pub type CommandClients = Arc<RwLock<Vec<Client>>>;

/// A Postgres server with the views' database.
pub struct ViewsServer {
    server: Option<Server>,
    url: String,
    data_dir: DataDir,
}

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceName {
    Command(usize),
    Projector(usize),
    Query,
}

impl ViewsServer {
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

impl ServiceCluster {
    /// Starts all services and waits until they are ready.
    pub async fn start() -> Self {
        Self::start_with(EventStore::start().await, ViewsServer::start().await, None).await
    }

    /// As [`Self::start`], over an event store that runs already.
    pub async fn start_over(store: EventStore) -> Self {
        Self::start_with(store, ViewsServer::start().await, None).await
    }

    /// As [`Self::start`], with one proxy in front of the event store and one in front of the
    /// views' server.
    pub async fn start_behind_proxies() -> Self {
        let (store, views) = (EventStore::start().await, ViewsServer::start().await);
        let proxies = ServiceProxies { to_store: store.proxy(), to_views: Proxy::to_postgres(&views.url) };
        Self::start_with(store, views, Some(proxies)).await
    }

    async fn start_with(store: EventStore, views: ViewsServer, proxies: Option<ServiceProxies>) -> Self {
        let mut cluster = Self {
            store,
            views,
            proxies,
            commands: [None, None],
            projectors: [None, None],
            query: None,
            command_clients: CommandClients::default(),
        };
        for part in cluster.parts() {
            cluster.start_part(part).await;
        }
        cluster.wait_until_ready().await;
        cluster
    }

    /// The proxy between the services and the event store.
    pub fn way_to_store(&self) -> &Proxy {
        &self.proxies.as_ref().expect("services behind proxies").to_store
    }

    /// The proxy between the services and the views' server.
    pub fn way_to_views(&self) -> &Proxy {
        &self.proxies.as_ref().expect("services behind proxies").to_views
    }

    pub fn parts(&self) -> [ServiceName; 5] {
        [
            ServiceName::Projector(0),
            ServiceName::Projector(1),
            ServiceName::Command(0),
            ServiceName::Command(1),
            ServiceName::Query,
        ]
    }

    /// Starts a service that does not run, ready or not.
    pub async fn start_part(&mut self, part: ServiceName) {
        self.start_part_with(part, &[]).await;
    }

    /// As [`Self::start_part`], with additions to its environment.
    pub async fn start_part_with(&mut self, part: ServiceName, environment: &[(&str, &str)]) {
        let role = match part {
            ServiceName::Command(_) => "command",
            ServiceName::Projector(_) => "projector",
            ServiceName::Query => "query",
        };
        let (store, views) = match &self.proxies {
            None => (self.store.arguments(), self.views.url.clone()),
            Some(proxies) => {
                (self.store.arguments_through(&proxies.to_store), proxies.to_views.postgres_url(&self.views.url))
            }
        };
        let mut arguments = vec!["--role", role, "--views", &views];
        arguments.extend(store.iter().map(String::as_str));
        let program = Program::start_in(environment, &arguments).await;
        if matches!(part, ServiceName::Command(_)) {
            self.command_clients.write().expect("the services").push(program.client().clone());
        }
        let place = self.place(part);
        assert!(place.is_none(), "{part:?} runs");
        *place = Some(program);
    }

    /// Kills a service as `kill -9` does.
    pub fn kill(&mut self, part: ServiceName) {
        let program = self.place(part).take().unwrap_or_else(|| panic!("{part:?} does not run"));
        let gone = program.client().base_url().to_owned();
        program.kill();
        self.command_clients.write().expect("the services").retain(|client| client.base_url() != gone);
    }

    pub fn part(&self, part: ServiceName) -> &Program {
        let place = match part {
            ServiceName::Command(index) => &self.commands[index],
            ServiceName::Projector(index) => &self.projectors[index],
            ServiceName::Query => &self.query,
        };
        place.as_ref().unwrap_or_else(|| panic!("{part:?} does not run"))
    }

    fn place(&mut self, part: ServiceName) -> &mut Option<Program> {
        match part {
            ServiceName::Command(index) => &mut self.commands[index],
            ServiceName::Projector(index) => &mut self.projectors[index],
            ServiceName::Query => &mut self.query,
        }
    }

    /// Waits until every running service is ready.
    pub async fn wait_until_ready(&mut self) {
        for program in self.commands.iter_mut().chain(&mut self.projectors).chain([&mut self.query]).flatten() {
            program.wait_until_ready().await;
        }
    }

    /// The projector that holds the lock.
    pub async fn active_projector(&self) -> ServiceName {
        eventually("a projector at work", async || {
            for (index, projector) in self.projectors.iter().enumerate() {
                if let Some(projector) = projector
                    && state(projector).await.as_deref() == Some("running")
                {
                    return Some(ServiceName::Projector(index));
                }
            }
            None
        })
        .await
    }

    pub async fn log(&self) -> SharedLog {
        self.store.log().await
    }

    /// Waits until the views include the whole log, and compares all their rows with it.
    pub async fn verify(&self) {
        let head = self.log().await.head().await.expect("the log's end");
        let query = self.part(ServiceName::Query).client();
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

/// The state that a projector reports.
pub async fn state(projector: &Program) -> Option<String> {
    let answer = projector.client().get("/health").await;
    answer.body["components"]["projector"]["details"]["state"].as_str().map(str::to_owned)
}
