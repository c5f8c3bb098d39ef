//! `bench --event-store`: the ledger on an operator's KurrentDB server, beside a plain client of it
//! in the same run.
//!
//! | measurement | how |
//! |---|---|
//! | appends and reads of a plain client | in process, without the ledger's store (`plain`) |
//! | `generate`, `copy`, `replay`, `projections rebuild` | the program, a process each |
//! | starts, commands, answers | the program serves in a process of its own; commands over HTTP (`commands`) |
//!
//! Everything is written under a stream prefix of its own, and the views are in a database of their
//! own. All of it is removed at the end, also after an error or Ctrl-C.

mod commands;
mod plain;
mod table;

use std::time::Duration;

use allocation_ledger::{
    stdout::print_line,
    trial::{self, TrialDatabase},
};
use anyhow::{Context as _, bail};
use command::policies;
use event_log_kurrentdb::{KurrentLog, NamingKey, StreamPrefix};
use tokio::process::Command;
use uuid::Uuid;

use self::{
    plain::{PlainClient, PlainRates},
    table::ServerTable,
};
use crate::{
    program::{self, ServingProcess, run_tool},
    progress::{in_stage, spinner},
};

/// The settings of `bench --event-store`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerBenchSettings {
    /// Measure on this KurrentDB server instead, `kurrentdb://…` or `esdb://…`, beside a plain
    /// client of it. Its user must be allowed to read `$all`, and to write and delete streams; all
    /// that is written is deleted again
    #[arg(long, value_name = "URL")]
    pub(crate) event_store: Option<String>,
    /// With --event-store: measure with views, in a database made for that on this Postgres server,
    /// `postgres://…`, and dropped again. Its user must be allowed to make one
    #[arg(long, value_name = "URL", requires = "event_store")]
    views: Option<String>,
    /// With --event-store: the beginning of the names of a ledger's streams on that server; the
    /// streams measured with begin otherwise
    #[arg(long, env = "LEDGER_STREAM_PREFIX", value_name = "PREFIX", default_value_t)]
    stream_prefix: StreamPrefix,
}

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Scale {
    /// How long each rate is measured.
    pub(crate) duration: Duration,
    /// About how many events are made up.
    pub(crate) events: u64,
    /// Arguments of `serve` about commands.
    pub(crate) command_arguments: [String; 2],
}

/// Measures, prints the table, and removes what was written.
///
/// # Errors
/// A server is out of reach or does not allow something, a measurement fails, it is interrupted, or
/// something cannot be removed.
pub(crate) async fn run(url: &str, settings: &ServerBenchSettings, scale: &Scale) -> anyhow::Result<()> {
    if !event_log_kurrentdb::is_url(url) {
        bail!(
            "--event-store must be the URL of a KurrentDB server, such as kurrentdb://user:password@host:2113; on Postgres, \
             measure with `bench` alone, which starts a Postgres of its own"
        );
    }
    let root = trial::stream_prefix("bench", &settings.stream_prefix, Uuid::new_v4());
    let place = |name: &str| LedgerPlace::new(url, &root, name);
    let (plain, made_up, copied) = (place("plain")?, place("made-up")?, place("copied")?);
    let leader = plain.log.leader().await;
    let leader = leader.context("reach the server that --event-store names: is it running, and the URL right?")?;
    let client = PlainClient::connect(leader).await?;
    let views = match &settings.views {
        Some(views) => Some(TrialDatabase::create("--views", views, "bench").await?),
        None => None,
    };
    let views_url = views.as_ref().map(TrialDatabase::url);
    let bench = ServerBench { client, scale, plain: &plain, made_up: &made_up, copied: &copied, views: views_url };
    // Each stage ends in order when it is interrupted.
    let measured = bench.measure().await;
    // Printed now, as cleaning up takes a while and may fail.
    let printed = match &measured {
        Ok(table) => print_line(&table.to_string()),
        Err(_) => Ok(()),
    };
    match (remove(&[plain, made_up, copied], views).await, measured) {
        (Err(left), Err(failed)) => Err(left.context(format!("{failed:#}"))),
        (Err(left), Ok(_)) => Err(left),
        (Ok(()), Err(failed)) => Err(failed),
        (Ok(()), Ok(_)) => printed,
    }
}

/// Removes everything that was written, as far as it can.
async fn remove(places: &[LedgerPlace], views: Option<TrialDatabase>) -> anyhow::Result<()> {
    let spinner = spinner("deleting what was written");
    let mut outcome = Ok(());
    for place in places {
        outcome = outcome.and(place.remove().await);
    }
    if let Some(database) = views {
        outcome = outcome.and(database.remove().await);
    }
    spinner.finish_and_clear();
    outcome
}

/// The place of a ledger's log: the streams with a prefix on the server.
struct LedgerPlace {
    url: String,
    prefix: StreamPrefix,
    naming_key: String,
    log: KurrentLog,
}

impl LedgerPlace {
    fn new(url: &str, root: &StreamPrefix, name: &str) -> anyhow::Result<Self> {
        let prefix: StreamPrefix = format!("{root}{name}-").parse()?;
        let naming_key = NamingKey::new_text();
        let log = KurrentLog::new(url, &prefix, Some(naming_key.parse()?))?;
        Ok(Self { url: url.to_owned(), prefix, naming_key, log })
    }

    /// The program, whose ledger is here. Its environment is not seen by other users, unlike its
    /// arguments.
    fn program(&self, views: Option<&str>) -> anyhow::Result<Command> {
        let mut command = program::program()?;
        command.env("LEDGER_EVENT_STORE", &self.url).env("LEDGER_STREAM_PREFIX", self.prefix.to_string());
        command.env("LEDGER_NAMING_KEY", &self.naming_key);
        if let Some(views) = views {
            command.env("LEDGER_VIEWS", views);
        }
        Ok(command)
    }

    async fn remove(&self) -> anyhow::Result<()> {
        let by_hand = || {
            let prefix = &self.prefix;
            format!("delete the streams measured with: delete those that begin with `{prefix}` or `.{prefix}` by hand")
        };
        // An interrupted measurement may have appends under way, which make streams meanwhile.
        while event_log_kurrentdb::remove(&self.log, &[policies::SNAPSHOT]).await.with_context(by_hand)? > 0 {}
        Ok(())
    }
}

/// The measurements, in the order in which they are taken.
struct ServerBench<'a> {
    client: PlainClient,
    scale: &'a Scale,
    plain: &'a LedgerPlace,
    made_up: &'a LedgerPlace,
    copied: &'a LedgerPlace,
    /// The URL of the database of the views.
    views: Option<String>,
}

impl ServerBench<'_> {
    async fn measure(&self) -> anyhow::Result<ServerTable> {
        let mut table = ServerTable::default();
        let plain = plain::measure(&self.client, &self.plain.prefix, self.scale.duration, &mut table).await?;
        let (events, plain_read) = self.make_up(&plain, &mut table).await?;
        self.read(events, plain_read, &mut table).await?;
        self.start(&plain, &mut table).await?;
        Ok(table)
    }

    /// Makes up a ledger and copies it. Returns how many events it has, and how many a second a
    /// plain client reads.
    async fn make_up(&self, plain: &PlainRates, table: &mut ServerTable) -> anyhow::Result<(u64, f64)> {
        let generated = self.run(&program::generate_arguments(self.scale.events)).await?;
        let read = in_stage("reading by a plain client", self.client.read(&self.made_up.prefix)).await?;
        let events = read.events;
        let plain_read = table::per_second(events, read.taken);
        table.plain_rate(&format!("plain client: `$all` of {events} events, filtered by prefix"), plain_read);
        let pipelined = (plain.batches_256, "256 in flight");
        table.rate("generate, events", table::per_second(events, generated), pipelined, 0.5);

        let (from, to) = (self.made_up, self.copied);
        let mut copy = from.program(None)?;
        copy.args(["copy", "--from", &from.url, "--from-stream-prefix"]).arg(from.prefix.to_string());
        copy.args(["--to", &to.url, "--to-stream-prefix"]).arg(to.prefix.to_string());
        copy.env("LEDGER_FROM_NAMING_KEY", &from.naming_key).env("LEDGER_TO_NAMING_KEY", &to.naming_key);
        let copied = run_tool(copy, "copy").await?.taken;
        table.rate("copy, events", table::per_second(events, copied), pipelined, 0.5);
        Ok((events, plain_read))
    }

    async fn read(&self, events: u64, plain_read: f64, table: &mut ServerTable) -> anyhow::Result<()> {
        let plain = (plain_read, "`$all` filtered");
        let replayed = self.run(&["replay", "--raw"]).await?;
        table.rate("replay --raw, events", table::per_second(events, replayed), plain, 0.9);
        if self.views.is_some() {
            let rebuilt = self.run(&["projections", "rebuild"]).await?;
            table.rate("projections rebuild, events", table::per_second(events, rebuilt), plain, 0.6);
        }
        Ok(())
    }

    /// Measures starts, and then commands and answers on the program that was started last.
    async fn start(&self, plain: &PlainRates, table: &mut ServerTable) -> anyhow::Result<()> {
        let (all, apart): (_, &[&str]) = match &self.views {
            Some(_) => ("all", &["command", "projector", "query"]),
            None => ("command", &[]),
        };
        let first = self.serve(all).await?;
        table.time(&format!("first start, role {all}: ready after"), first.ready_after);
        first.end().await?;
        for role in apart {
            let service = self.serve(role).await?;
            table.ready(&format!("second start, role {role}: ready after"), service.ready_after);
            service.end().await?;
        }
        let serving = self.serve(all).await?;
        table.ready(&format!("second start, role {all}: ready after"), serving.ready_after);
        let (address, has_views) = (&serving.address, self.views.is_some());
        commands::measure(address, has_views, self.scale.duration, plain, table).await?;
        serving.end().await
    }

    /// Starts the program in a role, on the ledger that was made up.
    async fn serve(&self, role: &str) -> anyhow::Result<ServingProcess> {
        let mut arguments = vec!["--role", role];
        arguments.extend(self.scale.command_arguments.iter().map(String::as_str));
        ServingProcess::start(self.made_up.program(self.views.as_deref())?, &arguments).await
    }

    /// Runs a tool on the ledger that was made up, and answers the time that it took.
    async fn run(&self, arguments: &[impl AsRef<str>]) -> anyhow::Result<Duration> {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut tool = self.made_up.program(self.views.as_deref())?;
        tool.args(&arguments);
        Ok(run_tool(tool, &arguments.join(" ")).await?.taken)
    }
}
