//! Kills at random under load. After each the program needs no help: it goes on, or the next start
//! succeeds. At the end every acknowledged command must be in the log once, and the views must
//! equal the log.
//!
//! Left to chance: what each process is doing when it dies. The seed decides the rest.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use embedded_postgres::Server;
use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use sqlx::PgPool;

use super::{client_process, kill, postmaster_pid};
use crate::support::{
    DataDir, Program, command_load::CommandLoad, eventually, random_numbers::RandomNumbers, run,
    service_cluster::CommandClients,
};

/// The number of kills, unless [`KILLS_VARIABLE`] says another.
const KILLS: usize = 20;

/// For more kills, and for the seed of an earlier run:
///
/// ```text
/// LEDGER_TESTS_KILLS=200 LEDGER_TESTS_SEED=1 \
///     cargo test -p tests --test it program::kills -- --nocapture
/// ```
const KILLS_VARIABLE: &str = "LEDGER_TESTS_KILLS";
const SEED_VARIABLE: &str = "LEDGER_TESTS_SEED";

/// Commands a second.
const RATE: u32 = 100;

/// The victim of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Program,
    /// The first process of the Postgres server. The program starts the server again.
    Server,
    /// A process of the server that answers the program. The server recovers.
    Backend,
    /// The program and the server at once. Either may be the first.
    ProgramAndServer,
    /// The program, while the server recovers from the death of a backend.
    ProgramDuringRecovery,
    /// The program, and then the server while the next program starts.
    ServerDuringStart,
}

const VICTIMS: [Victim; 6] = [
    Victim::Program,
    Victim::Server,
    Victim::Backend,
    Victim::ProgramAndServer,
    Victim::ProgramDuringRecovery,
    Victim::ServerDuringStart,
];

/// A program on a data directory, and its clients.
struct Killing {
    dir: DataDir,
    program: Option<Program>,
    clients: CommandClients,
    random: RandomNumbers,
    /// The process id of the server that was killed last, until another one is there.
    killed_server: Option<i32>,
}

impl Killing {
    fn variable(name: &str, default: u64) -> u64 {
        std::env::var(name).map_or(default, |text| text.parse().expect(name))
    }

    async fn pause(&mut self, ms_max: usize) {
        tokio::time::sleep(Duration::from_millis(self.random.roll(ms_max) as u64)).await;
    }

    fn kill_program(&mut self) {
        self.clients.write().expect("the clients").clear();
        self.program.take().expect("a program").kill();
    }

    async fn kill_server(&mut self) {
        let killed = async || {
            let pid = postmaster_pid(&self.dir)?;
            kill(pid).map(|()| pid)
        };
        self.killed_server = Some(eventually("a server to kill", killed).await);
    }

    async fn kill_backend(&self) {
        let killed = async || kill(client_process(postmaster_pid(&self.dir)?)?);
        eventually("a process with a client to kill", killed).await;
    }

    async fn start_program(&mut self) {
        let program = Program::serve(self.dir.path()).await;
        self.clients.write().expect("the clients").push(program.client().clone());
        self.program = Some(program);
    }

    /// Kills a victim. Returns once the program is ready again.
    async fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Program => self.kill_program(),
            Victim::Server => self.kill_server().await,
            Victim::Backend => self.kill_backend().await,
            Victim::ProgramAndServer => {
                if self.random.roll(2) == 0 {
                    self.kill_server().await;
                    self.kill_program();
                } else {
                    self.kill_program();
                    self.kill_server().await;
                }
            }
            Victim::ProgramDuringRecovery => {
                self.kill_backend().await;
                self.pause(60).await;
                self.kill_program();
            }
            Victim::ServerDuringStart => {
                self.kill_program();
                let data_dir = self.dir.path().to_owned();
                let starting = tokio::spawn(async move { Program::serve(&data_dir).await });
                self.pause(600).await;
                self.kill_server().await;
                let program = starting.await.expect("a program that serves");
                self.clients.write().expect("the clients").push(program.client().clone());
                self.program = Some(program);
            }
        }
        if self.program.is_none() {
            self.start_program().await;
        }
        // The program may answer before it notices that its server is gone.
        if let Some(killed) = self.killed_server.take() {
            let is_there = async || (postmaster_pid(&self.dir)? != killed).then_some(());
            eventually("another server", is_there).await;
        }
        self.program.as_mut().expect("a program").wait_until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_in_kills_at_random() {
    let kills = Killing::variable(KILLS_VARIABLE, KILLS as u64) as usize;
    let seed = Killing::variable(SEED_VARIABLE, u64::from(std::process::id()));
    println!("{kills} kills, {SEED_VARIABLE}={seed}");
    let clients = CommandClients::default();
    let random = RandomNumbers(seed);
    let mut killing =
        Killing { dir: DataDir::new(), program: None, clients: Arc::clone(&clients), random, killed_server: None };
    killing.start_program().await;
    let load = CommandLoad::start(&clients, RATE);
    let mut victims = Vec::new();
    let mut slowest: BTreeMap<Victim, Duration> = BTreeMap::new();
    for number in 1..=kills {
        let more = 1 + killing.random.roll(40);
        load.wait_for_acknowledgements(more).await;
        if victims.is_empty() {
            victims = VICTIMS.to_vec();
        }
        let victim = victims.swap_remove(killing.random.roll(victims.len()));
        println!("kill {number}: {victim:?}");
        let begun = Instant::now();
        killing.kill(victim).await;
        let longest = slowest.entry(victim).or_default();
        *longest = begun.elapsed().max(*longest);
    }
    assert_eq!(slowest.len(), kills.min(VICTIMS.len()), "each kind of victim");
    load.wait_for_acknowledgements(50).await;

    let program = killing.program.take().expect("a program");
    let server = Server::start(killing.dir.path()).await.expect("join the server");
    let pool = PgPool::connect(&server.url("ledger")).await.expect("connect to the log");
    let log: SharedLog = Arc::new(PostgresLog::connect(&pool).await.expect("the log"));
    let verify = async {
        let data_dir = killing.dir.path().to_str().expect("a path in UTF-8");
        let ran = run(&["projections", "verify", "--data-dir", data_dir]).await;
        assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    };
    let outcome = load.finish_at(&log, program.client(), verify).await;
    drop((log, pool));
    assert!(program.stop().await.success());
    server.stop().await.expect("stop Postgres");
    println!(
        "{} commands, sent again {} times: none lost, none doubled; ready again after at most {slowest:?}",
        outcome.commands, outcome.resent
    );
}
