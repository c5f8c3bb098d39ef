//! The table that `bench` prints.

use std::fmt;

use allocation_ledger::stdout::table;
use comfy_table::CellAlignment;

use crate::yardstick::{INSERTERS, Pgbench, SELECTERS};

/// The measurements, beside the yardsticks.
pub(crate) struct ResultTable {
    pgbench: Pgbench,
    rows: Vec<[String; 4]>,
}

impl ResultTable {
    pub(crate) fn new(pgbench: Pgbench) -> Self {
        let mut table = Self { pgbench, rows: Vec::new() };
        let row = |what: &str, clients| format!("pgbench {what}, {clients} clients");
        table.push_rate(
            &row("insert, a row a transaction", INSERTERS),
            pgbench.insert,
            table.to_insert(pgbench.insert),
            "",
        );
        table.push_rate(&row("-S, a row by key", SELECTERS), pgbench.select, table.to_select(pgbench.select), "");
        let ratio = table.to_select(pgbench.select_prepared);
        table.push_rate(&row("-S, the same prepared", SELECTERS), pgbench.select_prepared, ratio, "");
        table
    }

    /// Adds a rate of durable writes, as a multiple of pgbench's inserts.
    pub(crate) fn writes(&mut self, what: &str, rate: f64, goal: f64) {
        self.push_rate(what, rate, self.to_insert(rate), &format!("at least {goal} times"));
    }

    /// Adds a rate of reads, as a multiple of pgbench's selects.
    pub(crate) fn reads(&mut self, what: &str, rate: f64, goal: f64) {
        self.push_rate(what, rate, self.to_select(rate), &format!("at least {goal} times"));
    }

    /// Adds a rate of events in bulk, as a multiple of the rate of `COPY`.
    pub(crate) fn bulk(&mut self, what: &str, rate: f64, copy: f64, goal: &str) {
        self.push_rate(what, rate, format!("{:.2} (COPY)", rate / copy), goal);
    }

    /// Adds a time, which has no yardstick.
    pub(crate) fn time(&mut self, what: &str, time: String, goal: &str) {
        self.rows.push([what.to_owned(), time, String::new(), goal.to_owned()]);
    }

    fn push_rate(&mut self, what: &str, rate: f64, ratio: String, goal: &str) {
        self.rows.push([what.to_owned(), per_second(rate), ratio, goal.to_owned()]);
    }

    fn to_insert(&self, rate: f64) -> String {
        format!("{:.2} (insert)", rate / self.pgbench.insert)
    }

    fn to_select(&self, rate: f64) -> String {
        format!("{:.2} (select)", rate / self.pgbench.select)
    }
}

/// Formats a rate in whole events, transactions or requests a second.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

impl fmt::Display for ResultTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, ["measured", "figure", "times the yardstick", "goal on 2 cores"], &self.rows)?;
        write!(f, "\n{WHAT_IS_MEASURED}")
    }
}

/// Writes a table whose figures and ratios are aligned.
pub(crate) fn write_table(f: &mut fmt::Formatter<'_>, header: [&str; 4], rows: &[[String; 4]]) -> fmt::Result {
    let mut table = table(&header);
    table.add_rows(rows);
    for index in [1, 2] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    write!(f, "{table}")
}

/// The exact meaning of the figures.
const WHAT_IS_MEASURED: &str = "\
The yardsticks are Postgres alone, on a server with the same settings in the same run; each ratio names its own: a rate divided
by that of pgbench's inserts, of its selects, or of COPY. Writes are durable when they count.
insert: pgbench inserts a row as wide as an event in each transaction, prepared. select: pgbench -S, each statement sent as text.
COPY: rows as wide as an event by COPY TO STDOUT (FORMAT binary) on one connection, into COPY FROM STDIN (FORMAT binary) on
another as they come, in one transaction, into a table with the log's two indexes.
appends: one event each, to a stream of its own, in process. commands: load, decide and append, each for a case of its own.
HTTP: a serving ledger in this process; the client shares the cores with it.
filling: 256 appends at a time, each to a stream of its own. catching up: the projector, from empty views to the end of the
log, with its rows and its checkpoint durable.";
