//! Commands over HTTP, and answers that include them.

use std::time::Duration;

use anyhow::Context as _;

use super::{
    plain::{CALLERS, PlainRates},
    table::ServerTable,
};
use crate::{
    http::{Connection, calls_over_http, header, tier_request},
    measure::{MeasuredCalls, UNUSED_NUMBER, number},
    progress::in_stage,
};

/// The first indexes of the new cases of one caller, and of many.
const ONE_CALLER: u64 = UNUSED_NUMBER;
const MANY_CALLERS: u64 = UNUSED_NUMBER + 20_000_000;

/// The largest number of cases that one caller goes back to.
const KNOWN_CASES_MAX: usize = 1_000;

/// The tier that a new case gets. Known cases get others, as the same one again would record
/// nothing.
const NEW_TIER: &str = "B2";
const KNOWN_TIERS: [&str; 2] = ["A1", "C2"];
const ANSWERED_TIERS: [&str; 2] = ["A3", "D0"];

/// Measures commands on new and known cases; with views, also the answers that include them.
pub(super) async fn measure(
    address: &str,
    has_views: bool,
    duration: Duration,
    plain: &PlainRates,
    table: &mut ServerTable,
) -> anyhow::Result<()> {
    let bench = CommandBench { address, duration };
    let append = (plain.append, "append");
    let new = in_stage("sending commands", bench.new_cases(1, ONE_CALLER)).await?;
    let cases: Vec<u64> = new.indexes.iter().take(KNOWN_CASES_MAX).map(|index| ONE_CALLER + index).collect();
    let known = in_stage("sending commands", bench.known_cases(1, &cases, KNOWN_TIERS)).await?;
    table.times("command on a known case over HTTP, one caller, median", known.median, append, 3.0);
    table.times("command on a new case over HTTP, one caller, median", new.median, append, 4.0);
    if has_views {
        let answered = in_stage("asking for answers", bench.answers(&cases)).await?;
        table.times("command, then the answer with it, one caller, median", answered.median, append, 8.0);
    }

    let appends = (plain.appends, "64 callers");
    let new = in_stage("sending commands", bench.new_cases(CALLERS, MANY_CALLERS)).await?;
    let cases: Vec<u64> = new.indexes.iter().map(|index| MANY_CALLERS + index).collect();
    let known = in_stage("sending commands", bench.known_cases(CALLERS, &cases, KNOWN_TIERS)).await?;
    table.rate(&format!("commands on known cases over HTTP, {CALLERS} callers"), known.rate, appends, 0.5);
    table.rate(&format!("commands on new cases over HTTP, {CALLERS} callers"), new.rate, appends, 0.5);
    Ok(())
}

/// Commands to a serving ledger.
struct CommandBench<'a> {
    address: &'a str,
    duration: Duration,
}

impl CommandBench<'_> {
    /// Sends a command on a case of its own each.
    async fn new_cases(&self, callers: u64, first: u64) -> anyhow::Result<MeasuredCalls> {
        let send = async |connection: &mut Connection, index: u64| {
            connection.ask(&tier_request(self.address, &number(first + index), NEW_TIER)).await.map(drop)
        };
        calls_over_http(self.address, callers, self.duration, send).await
    }

    /// Sends commands on cases that have events, in turn.
    async fn known_cases(&self, callers: u64, cases: &[u64], tiers: [&str; 2]) -> anyhow::Result<MeasuredCalls> {
        let send = async |connection: &mut Connection, index: u64| {
            self.send_to_known(connection, cases, tiers, index).await.map(drop)
        };
        calls_over_http(self.address, callers, self.duration, send).await
    }

    /// Sends commands on cases that have events, each before a question whose answer must include
    /// it.
    async fn answers(&self, cases: &[u64]) -> anyhow::Result<MeasuredCalls> {
        let address = self.address;
        let ask = async |connection: &mut Connection, index: u64| {
            let position = self.send_to_known(connection, cases, ANSWERED_TIERS, index).await?;
            let number = number(case(cases, index).0);
            let request = format!(
                "GET /prisoners/{number}/responsibility HTTP/1.1\r\nHost: {address}\r\n\
                 Ledger-Position-At-Least: {position}\r\n\r\n"
            );
            connection.ask(&request).await.map(drop)
        };
        calls_over_http(address, 1, self.duration, ask).await
    }

    /// Sends a command on one of the cases, and returns the position of its event.
    async fn send_to_known(
        &self,
        connection: &mut Connection,
        cases: &[u64],
        tiers: [&str; 2],
        index: u64,
    ) -> anyhow::Result<u64> {
        let (case, turn) = case(cases, index);
        let head = connection.ask(&tier_request(self.address, &number(case), tiers[turn % 2])).await?;
        let position = header(head, "ledger-position").and_then(|position| position.parse().ok());
        position.context("find the position in the answer to a command")
    }
}

/// The case that is next, and how often it was before.
fn case(cases: &[u64], index: u64) -> (u64, usize) {
    let index = usize::try_from(index).unwrap_or_default();
    (cases[index % cases.len()], index / cases.len())
}
