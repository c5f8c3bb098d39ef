//! The table that `bench` prints.

use std::fmt;

use comfy_table::CellAlignment;

use crate::floor::Floor;

/// The measurements, beside the floor.
pub(crate) struct ResultTable {
    floor: Floor,
    rows: Vec<[String; 4]>,
}

impl ResultTable {
    pub(crate) fn new(floor: Floor) -> Self {
        let mut table = Self { floor, rows: Vec::new() };
        table.push("pgbench insert, 1 client", per_second(floor.insert_1_client), "1.0".into(), "");
        let ratio = table.times_one_client(floor.insert_64_clients);
        table.push("pgbench insert, 64 clients", per_second(floor.insert_64_clients), ratio, "");
        table.push("pgbench -S, 16 clients", per_second(floor.select_16_clients), "1.0 (select)".into(), "");
        let ratio = table.times_select(floor.select_prepared_16_clients);
        table.push("pgbench -S prepared, 16 clients", per_second(floor.select_prepared_16_clients), ratio, "");
        table
    }

    /// Adds a rate of durable writes, as a multiple of pgbench with one client.
    pub(crate) fn writes(&mut self, what: &str, rate: f64, goal: f64) {
        let ratio = self.times_one_client(rate);
        self.push(what, per_second(rate), ratio, &format!("at least {goal:.0} times"));
    }

    /// Adds a rate of reads, as a multiple of pgbench selecting by key.
    pub(crate) fn reads(&mut self, what: &str, rate: f64, goal: f64) {
        let ratio = self.times_select(rate);
        self.push(what, per_second(rate), ratio, &format!("at least {goal} times"));
    }

    /// Adds any other figure, with the goal in words.
    pub(crate) fn push(&mut self, what: &str, figure: String, ratio: String, goal: &str) {
        self.rows.push([what.to_owned(), figure, ratio, goal.to_owned()]);
    }

    fn times_one_client(&self, rate: f64) -> String {
        format!("{:.1}", rate / self.floor.insert_1_client)
    }

    fn times_select(&self, rate: f64) -> String {
        format!("{:.2} (select)", rate / self.floor.select_16_clients)
    }
}

/// Formats a rate in whole events, transactions or requests a second.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

impl fmt::Display for ResultTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header([
            "measured",
            "figure",
            "times pgbench",
            "goal",
        ]);
        table.add_rows(&self.rows);
        for index in [1, 2] {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.fmt(f)
    }
}
